"""Reviewers' files come in: what is taken, what is refused and why, and that nothing is lost."""

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reviews import Build, as_csv, decide, edit, filled, page, reject

from builder.review import decisions_file
from builder.review.records import Item


def decisions(build: Build, name: str = "incorrect") -> list[tuple[str, str, str]]:
    found = decisions_file.read(build.work, name).values()
    return [(one.id, one.reviewer, one.verdict) for one in found]


def open_item(build: Build, name: str = "incorrect") -> Item:
    return next(one for one in build.items(name) if one.answer_type == "open")


def files(done: Any) -> dict[str, Any]:
    (counts,) = json.loads(done.stdout)["files"].values()
    return dict(counts)


def test_a_page_and_a_table_are_taken(build: Build) -> None:
    first, second, third, *_ = build.items("incorrect")
    saved = build.page("anna", decide(first), reject(second, "formatting", note="a tab"))
    cells = {2: {"decision": " REJECT ", "reasons": "Not plausible, reveals itself"}}
    table = build.save("ben.csv", as_csv(filled(build.items("incorrect"), cells, "ben")))
    said = build.review("import", saved, table).stdout
    assert "review-anna.json: 2 new, 0 as before\n" in said
    assert "ben.csv: 1 new, 0 as before, 8 undecided\n" in said
    anna, ben = [(first.id, "anna", "accept"), (second.id, "anna", "reject")], "ben"
    assert decisions(build) == sorted([*anna, (third.id, ben, "reject")])
    held = {one.id: one for one in decisions_file.read(build.work, "incorrect").values()}
    assert held[second.id].note == "a tab"
    assert held[third.id].reasons == ("implausible", "reveals")


def test_once_more_changes_nothing(build: Build) -> None:
    saved = build.page("anna", *map(decide, build.items("incorrect")))
    build.review("import", saved)
    before = build.stored()
    assert "0 new, 9 as before" in build.review("import", saved).stdout
    assert build.stored() == before


def test_the_later_decision_wins(build: Build) -> None:
    one = build.items("incorrect")[0]
    times = [f"2026-03-0{day}T10:00:00.000Z" for day in (1, 2, 3)]

    def brought(decision: dict[str, Any]) -> dict[str, Any]:
        return files(build.review("import", build.page("anna", decision), "--json"))

    assert brought(decide(one, decided_at=times[1]))["new"] == 1
    assert brought(reject(one, decided_at=times[0]))["older"] == 1
    assert decisions(build) == [(one.id, "anna", "accept")]
    # The same once more, later: a rejection in between is older now.
    assert brought(decide(one, decided_at="2026-03-04T12:00:00+02:00"))["same"] == 1
    assert brought(reject(one, decided_at=times[2]))["older"] == 1
    # Without a time, the import is the time.
    changed = {"id": one.id, "reviewer": "anna", "before": "accept"}
    assert brought(reject(one))["changed"] == [{**changed, "now": "reject (not plausible)"}]
    assert decisions(build) == [(one.id, "anna", "reject")]
    done = build.review("import", build.page("anna", decide(one)))
    assert "1 changed" in done.stdout
    line = f"review-anna.json ({one.id}): anna had reject (not plausible), now accept"
    assert line in done.stderr
    done = build.review("import", build.page("anna", decide(one, note="Sure?")))
    assert "anna had accept, now another note" in done.stderr


def test_who_it_was(build: Build) -> None:
    one = build.items("incorrect")[0]
    build.review("import", build.page("", decide(one)))
    build.review("import", build.page("", decide(one)), "--reviewer", " Dr  Zoe ")
    assert [who for _, who, _ in decisions(build)] == ["Dr Zoe", "reviewer"]


def test_a_name_in_another_case_or_encoding_is_the_same_person(build: Build) -> None:
    one, two, *_ = build.items("incorrect")
    build.review("import", build.page("Zo\u00eb", decide(one)))
    assert "1 as before" in build.review("import", build.page("ZOE\u0308", decide(one))).stdout
    build.review("import", build.page("", decide(two)), "--reviewer", "zo\u00eb")
    assert {who for _, who, _ in decisions(build)} == {"Zo\u00eb"}
    # The spelling of the export goes before the one in a file.
    build.review("export", "--reviewers", "anna,ben")
    build.review("import", build.page("Anna", decide(one)))
    assert {who for _, who, _ in decisions(build)} == {"Zo\u00eb", "anna"}


def test_a_file_without_a_name_is_nobodys_where_others_have_names(build: Build) -> None:
    build.accept("incorrect")
    before = build.stored()
    saved = build.page("", *map(decide, build.items("incorrect")), name="nameless.json")
    refused = build.review("import", saved, code=1).stderr
    assert "nameless.json: names no reviewer, and this review has anna: say whose" in refused
    assert len(refused.splitlines()) == 1
    assert build.stored() == before
    assert "9 as before" in build.review("import", saved, "--reviewer", "anna").stdout
    # One that decides nothing needs no name.
    table = build.save("empty.csv", as_csv(filled(build.items("incorrect"), {}, "")))
    assert "9 undecided" in build.review("import", table).stdout


def test_a_refused_row_tells_which_decision_goes_on_counting(build: Build) -> None:
    one = open_item(build)
    build.review("import", build.page("anna", decide(one)))
    refused = build.review("import", build.page("anna", edit(one, "")), code=1).stderr
    assert "the answer is empty; until then anna's earlier decision counts: accept" in refused
    assert decisions(build) == [(one.id, "anna", "accept")]


def test_only_what_reviewers_disagree_about_is_settled(build: Build) -> None:
    """A whole file that is imported with --settle by mistake overrules nobody."""
    one, two, three, *_ = build.items("incorrect")
    build.review("import", build.page("anna", decide(one), decide(two)))
    build.review("import", build.page("ben", reject(one)))
    saved = build.page("carl", decide(one), reject(two), reject(three))
    done = build.review("import", "--settle", saved, code=1)
    assert "1 new, 0 as before, 2 refused" in done.stdout
    assert f"({two.id}): nothing to settle: reviewers do not disagree here" in done.stderr
    held = decisions_file.read(build.work, "incorrect").values()
    assert [item.id for item in held if item.settles] == [one.id]
    # Again, and on second thoughts.
    done = build.review("import", "--settle", build.page("carl", decide(one)))
    assert "1 as before" in done.stdout
    done = build.review("import", "--settle", build.page("carl", reject(one, "reveals")))
    assert "1 changed" in done.stdout


def test_a_decision_can_be_withdrawn(build: Build) -> None:
    one, two, *_ = build.items("incorrect")
    times = [f"2026-03-0{day}T10:00:00.000Z" for day in (1, 2, 3)]
    first = build.page("anna", *(decide(item, decided_at=times[0]) for item in (one, two)))
    build.review("import", first)
    second = build.page("anna", decide(one, "withdraw", decided_at=times[1]), name="second.json")
    done = build.review("import", second)
    assert f"second.json ({one.id}): anna had accept, now no decision" in done.stderr
    status = json.loads(build.review("status", "--json").stdout)["scenarios"]["incorrect"]
    assert (status["accepted"], status["undecided"]) == (1, 8)
    # The older file does not bring it back.
    assert files(build.review("import", first, "--json"))["older"] == 1
    assert files(build.review("import", second, "--json"))["same"] == 1
    table = build.save("a.csv", as_csv(filled([two], {0: {"decision": "Withdraw"}})))
    build.review("import", table)
    status = json.loads(build.review("status", "--json").stdout)["scenarios"]["incorrect"]
    assert (status["accepted"], status["undecided"]) == (0, 9)
    # So are those that settle, and what was decided under a wrong name.
    build.review("import", build.page("ben", decide(two)))
    build.review("import", build.page("anna", reject(two)))
    build.review("import", "--settle", build.page("carl", decide(two)))
    withdrawn = build.page("carl", decide(two, "withdraw"))
    for _ in range(2):
        build.review("import", "--settle", withdrawn)
        status = json.loads(build.review("status", "--json").stdout)["scenarios"]["incorrect"]
        assert [one["id"] for one in status["conflicts"]] == [two.id]
    build.review("import", build.page("ben", decide(two, "withdraw")))
    status = json.loads(build.review("status", "--json").stdout)["scenarios"]["incorrect"]
    assert (status["rejected"], status["conflicts"], status["pairs"]) == (1, [], [])


Rows = Callable[[list[Item]], list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (lambda i: [decide(i[0], "acept")], "the decision “acept” is none of accept, reject, edit"),
        (lambda i: [reject(i[0], "ugly")], "the reason “ugly” is none of not plausible"),
        (lambda i: [decide(i[0], "reject")], "reject without a reason"),
        (lambda i: [decide(i[0], reasons=["reveals"])], "accept with a reason against it"),
        (lambda i: [edit(i[0], i[0].answer)], "edit, but no text is changed"),
        (lambda i: [edit(i[0], f" {i[0].answer}\n")], "edit, but no text is changed"),
        (lambda i: [edit(i[0], "")], "does not pass (empty): the answer is empty"),
        (lambda i: [edit(i[0], i[0].clean_answer)], "does not pass (says the truth)"),
        (lambda i: [edit(i[0], "A myth says it is acne.")], "does not pass (gives itself away)"),
        (lambda i: [edit(i[0], "It is acne.", question="Why?")], "does not pass (wrong field)"),
        (lambda i: [edit(i[0], "It is acne\x07.")], "does not pass (characters)"),
        (lambda i: [edit(i[0], "acne \ud800")], "holds half a character"),
        (lambda i: [decide(i[0], answer="It is acne.")], "accept, but there is an edited text"),
        (lambda i: [decide(i[0], "", answer="It is acne.")], "has an edited text but no decision"),
        (lambda i: [decide(i[0], "", reasons=["reveals"])], "has reasons but no decision"),
        (lambda i: [decide(i[0], decided_at="yesterday")], "its time “yesterday” is none"),
        (lambda i: [{**decide(i[0]), "id": "skin/none"}], "(skin/none): foreign"),
        (lambda i: [{**decide(i[0]), "id": "a\x1b[31mb"}], "('a\\x1b[31mb'): foreign"),
        (lambda i: [{**decide(i[0]), "content": "c-0"}], "stale: the text has changed since"),
        (lambda i: [decide(i[0]), reject(i[0])], "doubled: decision 2 and decision 3 decide"),
        (lambda i: [{**decide(i[0]), "note": 7}], "is damaged"),
        (lambda i: ["accept"], "is damaged"),
    ],
)
def test_refused_by_row_and_the_rest_is_taken(rows: Rows, line: str, build: Build) -> None:
    opened = open_item(build)
    other = next(one for one in build.items("incorrect") if one.id != opened.id)
    path = build.page("anna", decide(other), *rows([opened]))
    done = build.review("import", path, code=1)
    refused = [one for one in done.stderr.splitlines() if one.startswith("refused: ")]
    assert line in refused[0]
    assert refused[0].startswith(f"refused: {path}, decision 2 (") or "damaged" in line
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert decisions(build) == [(other.id, "anna", "accept")]


def test_an_edit_of_private_text_keeps_the_values(build: Build) -> None:
    one = next(
        one for one in build.items("privacy") if any(v.field == "answer" for v in one.values)
    )
    gone = one.answer.replace(one.values[-1].value, "somebody")
    done = build.review("import", build.page("anna", edit(one, gone)), code=1)
    assert "does not pass (value missing)" in done.stderr
    moved = edit(one, f"Please note: {one.answer}")
    build.review("import", build.page("anna", moved))
    assert decisions(build, "privacy") == [(one.id, "anna", "edit")]
    build.review("import", build.page("ben", reject(one, "not-wrong")), code=1)


def test_equal_doubles_are_one(build: Build) -> None:
    one = build.items("incorrect")[0]
    saved = build.page("anna", decide(one), decide(one, decided_at="2026-03-01T10:00:00Z"))
    said = build.review("import", saved).stdout
    assert "1 new, 0 as before, 1 doubled in it" in said


def test_label_studio_with_second_thoughts(build: Build) -> None:
    """One person annotates a text twice, skips the next; another disagrees."""
    first, second, *_ = build.items("incorrect")

    def annotation(number: int, who: str, *chosen: tuple[str, str], **more: Any) -> dict[str, Any]:
        by = {"completed_by": {"id": number, "email": f"{who}@hospital.test"}}
        when = {"was_cancelled": False, "updated_at": f"2026-03-01T10:00:0{number}.000000Z"}
        result = [
            {"from_name": name, "type": "choices", "value": {"choices": [choice]}}
            for name, choice in chosen
        ]
        return {"id": number, **by, **when, "result": result, **more}

    rejected = ("decision", "reject"), ("reasons", "reveals")
    told = [
        annotation(2, "anna", ("decision", "accept")),
        annotation(1, "anna", *rejected),
        annotation(3, "ben", *rejected),
    ]
    skipped = annotation(4, "anna", was_cancelled=True)
    tasks = [
        {"id": n, "data": {"sample_id": item.id, "content": item.content}, "annotations": notes}
        for n, (item, notes) in enumerate([(first, told), (second, [skipped])])
    ]
    path = build.save("project-1.json", json.dumps(tasks))
    assert "2 new, 0 as before, 1 doubled in it, 1 undecided" in build.review("import", path).stdout
    assert decisions(build) == [
        (first.id, "anna@hospital.test", "accept"),
        (first.id, "ben@hospital.test", "reject"),
    ]


def test_a_text_changed_in_the_wrong_column(build: Build) -> None:
    items = build.items("incorrect")
    cells = {0: {"answer": "It is acne."}, 1: {"question": "007", "decision": "accept"}}
    cells[2] = {"decision": "accept"}
    path = build.save("t.csv", as_csv(filled(items, cells)))
    done = build.review("import", path, code=1)
    first, second, *_ = done.stderr.splitlines()
    assert f"t.csv, row 2 ({items[0].id}): its answer is not as it was exported" in first
    assert "write a new text into edited_answer" in first
    assert f"row 3 ({items[1].id}): its question is not as" in second
    assert decisions(build) == [(items[2].id, "anna", "accept")]


def test_many_refused_rows_are_counted_and_all_in_json(build: Build) -> None:
    one = build.items("incorrect")[0]
    path = build.page("anna", *[{**decide(one), "id": f"x/{n}"} for n in range(30)])
    done = build.review("import", path, code=1)
    lines = [line for line in done.stderr.splitlines() if line.startswith("refused: ")]
    assert len(lines) == 21
    assert "and 10 more" in lines[-1]
    assert "error: 30 rows were refused" in done.stderr
    assert len(files(build.review("import", path, "--json", code=1))["refused"]) == 30


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is empty"),
        (b'{"format": "mllmu-med review", "ver', "is cut off or damaged"),
        (b"[" * 100_000, "is cut off or damaged"),
        (b'{"a": 1}', "is neither what the review page saves nor a Label Studio export"),
        (page("a", []).replace('"version": 1', '"version": 2').encode(), "has version 2"),
        (b"PK\x03\x04xx", "is a workbook: save it as"),
        (b"<!DOCTYPE html><html>", "is a page: open it in a browser"),
    ],
)
def test_an_unreadable_file_changes_nothing(content: bytes, line: str, build: Build) -> None:
    first, second, *_ = build.items("incorrect")
    build.review("import", build.page("anna", decide(first)))
    before = build.stored()
    sound = build.page("ben", decide(second))
    done = build.review("import", sound, build.save("broken", content), code=1)
    assert line in done.stderr
    assert build.stored() == before
    build.review("import", sound, build.folder / "nowhere.json", code=1)
    assert build.stored() == before


def test_damaged_decisions_are_not_written_over(build: Build) -> None:
    one = build.items("incorrect")[0]
    path = decisions_file.path(build.work, "incorrect")
    path.parent.mkdir()
    path.write_text('{"id": "x"')
    done = build.review("import", build.page("anna", decide(one)), code=1)
    assert "holds decisions and cannot be read" in done.stderr
    assert path.read_text() == '{"id": "x"'


def test_a_rebuild_at_work_is_waited_for(build: Build) -> None:
    one = build.items("incorrect")[0]
    with (build.work / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = build.review("import", build.page("anna", decide(one)), code=1)
    assert "is at work here" in done.stderr


def test_before_there_is_anything_to_review(tmp_path: Path, waiting_build: Build) -> None:
    build = Build(waiting_build.corpora, tmp_path)
    saved = build.page("anna")
    assert "no rebuild has run here" in build.review("import", saved, code=1).stderr
    build.rebuild("--until", "draw")
    assert "no texts to review yet" in build.review("status", code=1).stderr
    build.rebuild("--set", "incorrect.review=false", "--set", "privacy.review=false")
    assert "wants no review" in build.review("status", code=1).stderr


def test_times_and_containers_that_other_programs_make(build: Build) -> None:
    """Label Studio's JSON with times as numbers, as JSON Lines, and in UTF-16."""
    items = build.items("incorrect")
    tasks = [
        {
            "id": number,
            "data": {"sample_id": item.id, "content": item.content},
            "annotations": [
                {
                    "id": number,
                    "completed_by": {"email": "anna"},
                    "result": [{"from_name": "decision", "value": {"choices": ["accept"]}}],
                    "updated_at": time,
                }
            ],
        }
        for number, (item, time) in enumerate(
            zip(
                items,
                [1775211073123, 1775211073, 1775211073.123, "1775211073123", []],
                strict=False,
            )
        )
    ]
    lines = "\n".join(json.dumps(task) for task in tasks)
    bad = {**tasks[0], "data": {}}
    files = {
        "array.json": json.dumps(tasks).encode(),
        "lines.jsonl": lines.encode(),
        "wide.json": json.dumps([*tasks, bad]).encode("utf-16"),
    }
    for name, data in files.items():
        path = build.folder / name
        path.write_bytes(data)
        done = build.review("import", path, code=int(name == "wide.json"))
        assert len(decisions(build)) == 5
        assert ("task 0: no sample_id" in done.stderr) == (name == "wide.json")
    held = decisions_file.read(build.work, "incorrect").values()
    assert {one.decided_at[:19] for one in held} == {"2026-04-03T10:11:13", ""}
