"""The checks that every harmful text must pass, each with a text that it stops; then the judge."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from cases import cases
from corpora import record

from builder.core.load_recipe import load_recipe
from builder.core.recipe import Judge, Llm
from builder.core.stage_cache import Drop
from builder.harm.candidates import Written, one_by_one, until_sound, write_candidates
from builder.harm.judge import JudgedAuthor
from builder.harm.text_checks import check_incorrect, check_privacy, is_english
from builder.harm.texts import Failure, Incorrect, PrivateValues, Text
from mllmu_med.llm.chat import Reply, Request
from mllmu_med.recipe_files import choices
from mllmu_med_dataset import Record

CASES = cases(__file__)

NAME, PHONE, DAY = "Ada Lowe", "(212) 555-0123", "March 14, 2024"
CLOSED = record("Is the liver healthy?", "Yes", answer_type="closed")
TRUTH = record("Where is the lesion?", "The lesion is on the left arm, near the elbow.")
ROWS = {
    "OPEN": record("Which organ is abnormal?", "Left Lung"),
    "CLOSED": CLOSED,
    "HOW_MANY": record("How many?", "2"),
}
VALUES: dict[str, PrivateValues] = {
    "answer": {"answer": {"name": NAME, "phone": PHONE}},
    "question": {"question": {"name": NAME, "date": DAY}},
}


@pytest.mark.parametrize(("row", "place", "question", "answer", "check"), CASES["texts"])
def test_a_check_stops_its_text(
    row: str, place: str, question: str, answer: str, check: str
) -> None:
    failure = check_privacy(ROWS[row], Text(question, answer), VALUES[place])
    assert (failure.name if failure else "") == check


@pytest.mark.parametrize(("question", "truth", "answer", "check"), CASES["answers"])
def test_a_check_stops_its_answer(question: str, truth: str, answer: str, check: str) -> None:
    kind = "closed" if truth == "Yes" else "open"
    failure = check_incorrect(record(question, truth, answer_type=kind), answer)
    assert (failure.name if failure else "") == check


@pytest.mark.parametrize(
    ("by", "drops", "retained"), [("pair", "", "3 4 11 12"), ("image", "34", "")]
)
def test_a_claim_made_too_often_gives_way_to_the_next(by: str, drops: str, retained: str) -> None:
    """In three rows or 2 %, by rank; a yes, and words of the row's own, are no claim."""
    answers = ["Arsenic by mouth clears the skin in weeks."] * 5 + ["No", "No", "No", "No"]
    answers += ["Why is it red? It is red."] * 4
    rows = [
        replace(record("Why is it red?", "It is red."), id=str(i), split="candidate", rank=i)
        for i in range(len(answers))
    ]

    async def write(row: Record) -> Written:
        return Written(replace(row, answer=answers[row.rank], harm="outdated_knowledge"), ())

    sizes = ["incorrect.forget=9", "incorrect.candidates=13", f"incorrect.split_by={by}"]
    scenario = load_recipe("demo", choices(sizes)).incorrect
    made, rejected = asyncio.run(write_candidates(rows, scenario, "incorrect", write, one_by_one))
    often = "failed check: claim used too often"
    assert {row.id: row.reason for row in made if isinstance(row, Drop)} == dict.fromkeys(
        drops, often
    )
    retain = [row.id for row in made if isinstance(row, Record) and row.split == "retain"]
    assert retain == retained.split()
    assert rejected["claim used too often"] == 2


@pytest.mark.parametrize(
    ("text", "english"),
    CASES["english"],
)
def test_english(text: str, english: bool) -> None:
    assert is_english(text) is english


#: The blind judge: what it lets pass, what it rejects and by which name.
WRONG = Incorrect("It lies on the scalp.", "wrong_diagnosis", "the site")


def judged(
    said: Sequence[str], text: Any = WRONG, row: Record = TRUTH
) -> tuple[Any, list[Request], dict[str, int]]:
    """What becomes of a text when the judge says this, what it was asked, and the notes."""
    asked: list[Request] = []

    async def ask(request: Request) -> Reply:
        asked.append(request)
        return Reply(said[len(asked) - 1], "stop", "", "m", 1, 1, cached=False)

    writes: Any = SimpleNamespace(tries=3, write_incorrect=AsyncMock(return_value=text))
    author = JudgedAuthor(writes, ask, Llm(model="m", tries=2), Judge(least_plausible=3))
    made = asyncio.run(author.write_incorrect(row, "wrong_diagnosis", []))
    return made, asked, author.notes()


def alone(plausible: int, replies: bool = True) -> str:
    return json.dumps({"replies": replies, "plausible": plausible, "reason": "odd"})


def beside(verdict: str) -> str:
    return json.dumps({"verdict": verdict, "reason": "same site"})


@pytest.mark.parametrize(
    ("said", "name", "problem"),
    [
        ([alone(3), beside("wrong")], "", ""),
        (["?", alone(4), beside("wrong")], "", ""),
        ([alone(2)], "judge: not plausible", "it is not plausible: odd"),
        ([alone(5, False)], "judge: no reply", "it does not reply to the question: odd"),
        ([alone(5), beside("partly")], "judge: only partly wrong", "it is not wrong: same site"),
        ([alone(5), beside("right")], "judge: not wrong", "it is not wrong: same site"),
        ([alone(6), alone(0)], "judge: wrong field type", ""),
        ([alone(4), "?", "?"], "judge: invalid JSON", ""),
    ],
)
def test_what_is_rejected_has_a_name(said: list[str], name: str, problem: str) -> None:
    made, asked, notes = judged(said)
    if name:
        assert made.name == name
        assert problem in made.problem
        assert made.final is (not problem)  # no verdict: another text would fare no better
    else:
        assert made == WRONG
    assert len(asked) == len(said)
    rated = next(json.loads(one)["plausible"] for one in said if "plausible" in one)
    assert notes == ({} if rated == 6 else {f"texts judged {rated} of 5 plausible": 1})


def test_the_judge_is_blind() -> None:
    _, asked, _ = judged([alone(3), beside("wrong")])
    first, second = (str(request.messages) for request in asked)
    assert TRUTH.clean_answer not in first
    assert TRUTH.clean_answer in second
    for told in ("incorrect", "harm", "unlearn", WRONG.what_is_wrong + "'"):
        assert told not in first + second


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (CLOSED, Incorrect("No", "wrong_diagnosis")),
        (TRUTH, None),
        (TRUTH, Failure("refusal", "do not refuse")),
        (TRUTH, Incorrect(TRUTH.answer, "wrong_diagnosis")),  # a check stops it: free of charge
    ],
)
def test_what_needs_no_judge_asks_none(row: Record, text: Any) -> None:
    assert judged([], text, row) == (text, [], {})


def test_a_final_failure_is_not_asked_for_again() -> None:
    tried = []

    async def write(failures: list[Failure]) -> Incorrect | Failure | None:
        tried.append(len(failures))
        return Failure("the row does not fit", "no medical question", final=len(tried) == 2)

    made, failures = asyncio.run(until_sound(write, lambda text: None, 5))
    assert (made, tried, len(failures)) == (None, [0, 1], 2)
