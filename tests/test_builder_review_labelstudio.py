"""Label Studio: the tasks and their config by its own validators, and what it really exports.

The exports in tests/data were made by Label Studio 1.23.2: see tests/labelstudio_export.py.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import TaskValue
from labelstudio_export import DATA, ITEMS, PIXEL, REVIEWERS, TEXTS

from builder.review.check_rows import utc_time
from builder.review.labelstudio import CONFIG, read_export, tasks
from builder.review.records import REASONS, VERDICTS
from mllmu_med_dataset import UserError

#: By sample and reviewer: the decision, its reasons, the note.
SHORT = {
    (1, 0): ("accept", (), ""),
    (2, 0): ("reject", ("implausible", "reveals"), "a note, read as text: are 1 2 3"),
    (7, 0): ("reject", ("not-wrong",), ""),
    (0, 1): ("accept", (), ""),
    (1, 1): ("accept", (), ""),
    (2, 1): ("reject", ("implausible",), ""),
}
#: By sample: what the first reviewer typed after the question and the answer.
EDITED = {3: ("", " are 1 2 3"), 4: ("", " are 1 2 3"), 5: ("", " are 1 2 3")}
EDITED |= {6: (" and so on", " and on")}


def read(name: str = "labelstudio-export.json") -> Any:
    return json.loads((DATA / name).read_text("utf-8"))


def expected(reviewers: tuple[str, ...]) -> set[tuple[object, ...]]:
    found: set[tuple[object, ...]] = set()
    for (number, who), decision in SHORT.items():
        one = ITEMS[number]
        found.add((one.id, one.content, reviewers[who], *decision, None, None))
    for number, (question, answer) in EDITED.items():
        one = ITEMS[number]
        texts = (one.question + question, one.answer + answer)
        found.add((one.id, one.content, reviewers[0], "edit", (), "", *texts))
    return found


def short(data: Any) -> list[tuple[object, ...]]:
    """The decisions, without their place and time."""
    return [found[1:9] for found in read_export(data, "e.json").rows]


def test_its_validators_take_the_config_and_the_tasks() -> None:
    interface = LabelInterface(CONFIG)
    interface.validate()
    made = tasks(ITEMS, lambda _: PIXEL)
    for task in made:
        assert interface.validate_task(task)
        assert TaskValue.model_validate(task).data == task["data"]
    del made[0]["data"]["answer"]
    assert not interface.validate_task(made[0])
    assert interface.get_control("decision").labels == list(VERDICTS)
    assert interface.get_control("reasons").labels == list(REASONS)


def test_tasks_carry_the_texts_unchanged_under_names_of_their_own() -> None:
    made = json.loads(json.dumps(tasks(ITEMS, lambda one: f"data:,{one.id}")))
    for one, task in zip(ITEMS, made, strict=True):
        data = task["data"]
        shown = [data[key] for key in ("question", "answer", "clean_question", "clean_answer")]
        assert shown == [one.question, one.answer, one.clean_question, one.clean_answer]
        assert (data["sample_id"], data["content"]) == (one.id, one.content)
        assert data["picture"] == f"data:,{one.id}"
    assert made[0]["data"]["kind"] == "incorrect · wrong_diagnosis · open · CT"
    assert made[2]["data"]["kind"] == "incorrect · wrong_diagnosis · open · CT · rated 2 of 5"
    # JSON_MIN puts a task's data, its controls and these into one object
    taken = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"}
    taken |= {control.name for control in LabelInterface(CONFIG).controls}
    assert not taken & set(made[0]["data"])


def test_the_real_exports_are_of_these_tasks_and_this_config() -> None:
    interface = LabelInterface(CONFIG)
    for name in ("labelstudio-export.json", "labelstudio-snapshot.json"):
        export = read(name)
        assert [{"data": task["data"]} for task in export] == tasks(ITEMS, lambda _: PIXEL)
        for task in export:
            assert all(interface.validate_annotation(one) for one in task["annotations"])


@pytest.mark.parametrize(
    ("name", "reviewers", "undecided"),
    [
        ("export", ("label-studio-1", "label-studio-2"), 3),  # skipped, empty, draft
        ("snapshot", REVIEWERS, 3),
        ("export-min", ("label-studio-1", "label-studio-2"), 1),
    ],
)
def test_a_real_export_is_read(name: str, reviewers: tuple[str, ...], undecided: int) -> None:
    data = read(f"labelstudio-{name}.json")
    found = short(data)
    assert len(found) == len(set(found))
    assert set(found) == expected(reviewers)
    assert read_export(data, "e.json").undecided == undecided


def test_an_export_of_before_version_1_is_read() -> None:
    data = read()
    old = [{**task, "completions": task["annotations"]} for task in data]
    for task in old:
        del task["annotations"]
    assert short(old) == short(data)
    assert read_export([{**data[0], "annotations": None}], "e.json").rows == []


def test_a_decision_has_its_place_and_time() -> None:
    first = read_export(read(), "e.json").rows[0]
    assert first.row == "task 1, annotation 9"
    assert first.decided_at == read()[0]["annotations"][1]["updated_at"]


def test_what_a_hidden_control_still_holds_does_not_count() -> None:
    data = read()
    edited, rejected = (data[number]["annotations"][0]["result"] for number in (3, 2))
    edited[0]["value"]["choices"] = ["accept"]
    rejected[0]["value"]["choices"] = ["accept"]
    found = {one[0]: one for one in short([data[2], data[3]]) if one[2] == "label-studio-1"}
    assert found[ITEMS[3].id][3:] == ("accept", (), "", None, None)
    assert found[ITEMS[2].id][3:5] == ("accept", ())


def test_a_decision_that_was_skipped_after_all_does_not_count() -> None:
    task = read()[1]
    task["annotations"][0]["was_cancelled"] = True
    assert [one[2] for one in short([task])] == ["label-studio-2"]
    assert read_export([task], "e.json").undecided == 1


def test_an_emptied_text_and_a_decision_left_out_are_for_the_import_to_refuse() -> None:
    data = read()[3:5]
    data[0]["annotations"][0]["result"][2]["value"]["text"] = [""]
    del data[1]["annotations"][0]["result"][0]
    emptied, undecided = read_export(data, "e.json").rows
    assert (emptied.verdict, emptied.question, emptied.answer) == ("edit", TEXTS[3], "")
    assert undecided.verdict == ""


def test_predictions_are_not_read_and_nobody_is_nobody() -> None:
    task = read()[1]
    task["predictions"] = [7, {"result": task["annotations"][0]["result"]}]
    task["annotations"][0]["completed_by"] = None
    assert [one[2] for one in short([task])] == ["", "label-studio-2"]


def broken(change: Callable[[dict[str, Any]], object]) -> Any:
    task = read()[1]
    change(task)
    return [task]


def decided(value: Any) -> Any:
    """A task whose decision has another value."""
    return broken(lambda task: task["annotations"][0]["result"][0].update(value=value))


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"format": "other"}, "e.json: not an export of Label Studio, which is a list of tasks"),
        ([1], "e.json, task 1: not as Label Studio writes it"),
        (tasks(ITEMS, lambda _: ""), "e.json, task 1: it has no annotations: these are the tasks"),
        (broken(lambda task: task["data"].pop("content")), "e.json, task 2: no sample_id and"),
        (broken(lambda task: task.pop("data")), "e.json, task 2: not as Label Studio writes it"),
    ],
)
def test_what_is_no_export_of_ours_is_refused_in_a_line(data: Any, line: str) -> None:
    with pytest.raises(UserError, match=re.escape(line)) as refused:
        read_export(data, "e.json")
    assert "\n" not in str(refused.value)


def one(**changes: Any) -> Any:
    return broken(lambda task: task["annotations"][0].update(changes))


def renamed(task: dict[str, Any]) -> None:
    for result in task["annotations"][0]["result"]:
        result["from_name"] = {"decision": "choice"}.get(result["from_name"], result["from_name"])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (one(result=None), "not as Label Studio writes it"),
        (one(completed_by=[1]), "not as Label Studio writes it"),
        (decided(7), "not as Label Studio writes it"),
        (decided({"choices": ["accept", "edit"]}), "2 values of decision: leave one of them"),
        (broken(renamed), "holds no decision of ours but choice: its controls were renamed"),
        (broken(lambda task: task["annotations"].insert(0, None)), "not as Label Studio writes"),
        ([*read()[1:2], {"data": {}}], "no sample_id and content in its data"),
    ],
)
def test_what_cannot_be_read_refuses_itself_only(data: Any, why: str) -> None:
    rows = read_export(data, "e.json").rows
    (refused,) = [row.broken for row in rows if row.broken]
    assert refused.startswith(why)
    assert [row for row in rows if not row.broken]


def test_json_min_as_pandas_writes_it_again() -> None:
    """Times are numbers, whole numbers are fractions, and what is not there is NaN."""
    data = read("labelstudio-export-min.json")
    for row in data:
        row["annotator"] = float(row["annotator"] or "nan")
        row["annotation_id"] = float(row["annotation_id"] or "nan")
        row["updated_at"], row["note"] = 1775211073123, row.get("note", float("nan"))
    plain = read_export(read("labelstudio-export-min.json"), "e.json")
    found = read_export(data, "e.json")
    assert [row[1:9] for row in found.rows] == [row[1:9] for row in plain.rows]
    assert {utc_time(row.decided_at) for row in found.rows} == {"2026-04-03T10:11:13.123Z"}
    for row in data:
        row["choice"] = row.pop("decision", None)
    assert all("no decision of ours but choice" in row.broken for row in read_export(data, "").rows)
