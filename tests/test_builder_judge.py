"""The blind judge: what it lets pass, what it rejects and by which name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from test_builder_checks import CLOSED, TRUTH

from builder.core.recipe import Judge, Llm
from builder.harm.candidates import until_sound
from builder.harm.judge import JudgedAuthor
from builder.harm.texts import Failure, Incorrect
from mllmu_med.llm.chat import Reply, Request
from mllmu_med_dataset import Record

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
