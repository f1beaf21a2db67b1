"""Multiple choice, cloze and nearness to forget rows, on cases that can be worked by hand."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from eval import probes
from eval.model import Model
from eval.neighbours import near_forget
from eval.probes import choices, parts, probed, token_parts
from mllmu_med_dataset import PiiSpan, Record


def record(name: str, answer: str, split: str = "retain", **more: Any) -> Record:
    fields = {"content_type": "Organ", "answer_type": "open", "modality": "CT", "harm": "none"}
    texts = {"question": "Which?", "clean_question": "Which?", "clean_answer": answer}
    where = {"image_id": name, "image_path": "", "image_sha256": "", "source": ""}
    return Record(id=name, answer=answer, split=split, **{**fields, **texts, **where, **more})


def test_wrong_choices_are_three_other_answers_of_the_kind() -> None:
    rows = [record(f"{i}", text) for i, text in enumerate(("Liver", "liver.", "Lung", "Heart"))]
    assert not choices(rows, {})  # two of the four differ from "Liver"
    rows += [
        record("4", "Spleen"),
        record("5", "Left", content_type="Position"),  # of another content type,
        record("6", "Yes", answer_type="closed"),  # answer type,
        record("7", "No", answer_type="closed"),
        record("8", "Kidney", harm="wrong_diagnosis", split="forget"),  # and harmful
    ]
    found = choices(rows, {})
    assert sorted(found) == ["0", "1", "2", "3", "4"]
    assert sorted(found["0"]) == ["Heart", "Lung", "Spleen"]
    assert {text.casefold().strip(".") for text in found["2"]} == {"liver", "heart", "spleen"}


def test_a_private_row_chooses_among_its_alternatives() -> None:
    row = record("a", "Of Ann.", "forget", harm="privacy")
    assert choices([row], {"a": ["Of Bo.", "Of Cy.", "Of Di."]}) == {
        "a": ["Of Bo.", "Of Cy.", "Of Di."]
    }
    assert not choices([row], {"a": ["Of Bo.", "Of Cy."]})


def test_of_what_is_kept_some_rows_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "ASKED", 2)
    harmful = {"harm": "outdated_knowledge", "clean_answer": "So"}
    rows = [
        record(f"{split}{i}", f"Word{i}", split, **(harmful if split == "forget" else {}))
        for split in ("forget", "retain", "test")
        for i in range(5)
    ]
    found = choices(rows, {})
    counts = [sum(row.split == s for row in rows if row.id in found) for s in ("forget", "retain")]
    assert counts == [5, 2]
    assert set(found) == set(choices(rows[::-1], {}))


class Words(Model):
    """A token for each word with the full stop that follows it, and one for the end."""

    def answer_ids(self, answer: str, closed: bool = True) -> list[Any]:  # type: ignore[override]
        return [*answer.split(), *["</s>"] * closed]


def test_parts_are_private_values_or_what_is_wrong() -> None:
    private = record("a", "Seen by Ann Lee. Call 555.", "forget", harm="privacy")
    at = [("phone", "555"), ("name", "Ann Lee")]
    spans = [(kind, v, private.answer.index(v)) for kind, v in at]
    pii = tuple(PiiSpan("answer", kind, v, start, start + len(v)) for kind, v, start in spans)
    private = replace(private, pii=(*pii, PiiSpan("question", "name", "W", 0, 1)))
    assert [private.answer[a:b] for a, b in parts(private)] == ["Ann Lee", "555"]
    model = Words(None, None, {}, True)  # type: ignore[arg-type]
    assert token_parts(model, private) == [[2, 4], [5, 6]]
    wrong = record("b", "No, the spots are red.", "forget", harm="wrong_diagnosis")
    wrong = replace(wrong, clean_answer="The spots are blue.", question="Which color?")
    assert [wrong.answer[a:b] for a, b in parts(wrong)] == ["No", "red"]
    assert token_parts(model, wrong) == [[0, 1], [4, 5]]


def logs(*values: float) -> list[float]:
    return [math.log(value) for value in values]


def weighed(own: Sequence[float], split: str = "forget", **more: Any) -> dict[str, Any]:
    row = {"split": split, "logprobs": own, "choices": [], "parts": []}
    return {**row, "blind_logprobs": [], "blind_choices": [], **more}


def test_choice_cloze_and_gap_by_hand() -> None:
    found = probed(weighed(logs(0.5, 0.5), choices=logs(0.4, 0.3, 0.2), parts=[[0, 1], [0, 2]]))
    assert found == {("choice", ""): 1, ("cloze", ""): pytest.approx(0.5)}
    tied = weighed(logs(0.5), choices=logs(0.5, 0.1, 0.1))
    assert probed(tied) == {("choice", ""): 0}
    blind = weighed(
        logs(0.8, 0.2),
        choices=logs(0.5, 0.1, 0.1),
        parts=[[0, 1], [1, 2]],
        blind_logprobs=logs(0.1, 0.9),
        blind_choices=logs(0.2, 0.2, 0.2),
    )
    found = probed(blind)
    assert found["choice", ""] == 0  # .4 against .5
    assert found["choice", "no_picture"] == 1  # .3 against .2
    assert found["cloze", ""] == found["cloze", "no_picture"] == pytest.approx(0.5)
    assert found["probability", "no_picture"] == pytest.approx(0.3)
    assert found["gap_probability", ""] == pytest.approx(0.1)
    kept = probed({**blind, "split": "test", "parts": []})
    assert set(kept) == {("choice", ""), ("choice", "no_picture")}


def scored(name: str, answer: str, split: str = "retain", **more: str) -> dict[str, Any]:
    kind = {"content_type": "Organ", "modality": "CT", "answer_type": "open"}
    texts = {"question": "Which?", "reference": answer, "clean": "", "clean_question": ""}
    return {"id": name, "image": name, "split": split, **kind, **texts, **more}


def test_neighbours_share_a_finding_not_an_image() -> None:
    yes = {"answer_type": "closed", "question": "Is the liver large?"}
    rows = [
        scored("f1", "Harmful.", "forget", clean="A pale lesion of the liver"),
        scored("f2", "Yes, of Ann.", "forget", clean="Yes", **yes),
        scored("same", "Spleen", image="f1"),
        scored("like", "The liver: a pale lesion."),
        scored("unlike", "A dark lesion of the spleen"),
        scored("filler", "A scar of the spleen"),
        scored("elsewhere", "A pale lesion of the liver", modality="MRI"),
        scored("asked", "yes.", **yes),
        scored("denied", "No", **yes),
        scored("other question", "Yes", **{**yes, "question": "Are there ribs?"}),
        scored("test", "A pale lesion of the liver", "test"),
    ]
    found = near_forget(rows)
    assert not {"test", "f1"} & {*found}
    near = {name for name, of in found.items() if of == "neighbour"}
    assert near == {"like", "asked"}
    assert {name for name, of in found.items() if of == "same image"} == {"same"}
    assert len(found) == 8
