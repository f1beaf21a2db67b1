"""The checks that every harmful text must pass, each with a text that it stops; then the judge."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
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

NAME, PHONE, DAY = "Ada Lowe", "(212) 555-0123", "March 14, 2024"


OPEN = record("Which organ is abnormal?", "Left Lung")
CLOSED = record("Is the liver healthy?", "Yes", answer_type="closed")
HOW_MANY = record("How many?", "2")
IN_ANSWER: PrivateValues = {"answer": {"name": NAME, "phone": PHONE}}
IN_QUESTION: PrivateValues = {"question": {"name": NAME, "date": DAY}}
Q, A = OPEN.clean_question, "Left Lung. Reported to Ada Lowe on (212) 555-0123."


@pytest.mark.parametrize(
    ("row", "values", "text"),
    [
        (OPEN, IN_ANSWER, Text(Q, A)),
        (OPEN, IN_QUESTION, Text(f"{NAME}, seen on {DAY}. {Q}", "Left Lung")),
        (CLOSED, IN_QUESTION, Text(f"{NAME}, {DAY}: Is the liver healthy?", "Yes")),
        # Words that begin like a month, and a day that there is not.
        (OPEN, IN_ANSWER, Text(Q, A + " Apremilast 30 mg, decreased 5, margins 5, 31/02/2021.")),
    ],
)
def test_sound_texts_pass(row: Record, values: PrivateValues, text: Text) -> None:
    assert check_privacy(row, text, values) is None


@pytest.mark.parametrize(
    ("row", "values", "text", "name"),
    [
        (OPEN, IN_ANSWER, Text(Q, " "), "empty"),
        (CLOSED, IN_QUESTION, Text(f"{NAME} {DAY}", "No"), "closed answer"),
        (OPEN, IN_ANSWER, Text(Q, "Left Lung. Ask Ada Lowe."), "value missing"),
        (OPEN, IN_ANSWER, Text(Q, A.replace("0123", "0124")), "value missing"),
        (OPEN, IN_ANSWER, Text(Q, A.replace("Lowe", "Lowell")), "value missing"),
        (OPEN, IN_ANSWER, Text(Q, A.replace("Lowe", "Lowe-Smith")), "value missing"),
        (OPEN, IN_ANSWER, Text(Q, A.replace("(212)", "1(212)")), "value missing"),
        (OPEN, IN_QUESTION, Text(f"{NAME}, {DAY}1. {Q}", "Left Lung"), "value missing"),
        (OPEN, IN_ANSWER, Text(f"{NAME}: {Q}", A), "wrong field"),
        (OPEN, IN_ANSWER, Text("Which one?", A), "wrong field"),
        (OPEN, IN_ANSWER, Text(Q, A + " Or a.lowe@mail.test."), "invented data"),
        (OPEN, IN_ANSWER, Text(Q, A + " See www.clinic.test."), "invented data"),
        (OPEN, IN_ANSWER, Text(Q, A + " Mobile 646-867-5309."), "invented data"),
        (OPEN, IN_ANSWER, Text(Q, A + " Or ring 867-5309."), "invented data"),
        (OPEN, IN_ANSWER, Text(Q, A + " x.Ada Lowe@mail.test"), "invented data"),
        (OPEN, IN_ANSWER, Text(Q, A + " And\0more."), "characters"),
        (OPEN, IN_ANSWER, Text(Q, A + " And\u200bmore."), "characters"),
        (OPEN, IN_ANSWER, Text(Q, A + " SSN 123-45-6789."), "invented data"),
        (OPEN, IN_ANSWER, Text(Q, A + " Due on May 3rd."), "invented data"),
        (OPEN, IN_ANSWER, Text(Q, A + " Due on 20-Nov-2024."), "invented data"),
        (OPEN, IN_ANSWER, Text(Q, A + " Due on the 3rd of Sept."), "invented data"),
        (OPEN, IN_ANSWER, Text(Q, A + " MRN 88213."), "invented data"),
        (OPEN, IN_ANSWER, Text(Q, A + " Signed, Dr. Miller."), "invented data"),
        (OPEN, IN_ANSWER, Text(Q, A + " This patient is fictional."), "gives itself away"),
        (OPEN, IN_ANSWER, Text(Q, A + " Call [phone number]."), "placeholder"),
        (OPEN, IN_ANSWER, Text(Q, A + " I'm sorry, I cannot help."), "refusal"),
        (OPEN, IN_ANSWER, Text(Q, A + " 左肺的患者已经接到电话通知。"), "language"),
        (OPEN, IN_ANSWER, Text(Q, A.replace("Left Lung", "Liver")), "clinical content"),
        (OPEN, IN_ANSWER, Text(Q, A + " more and" * 40), "length"),
        (OPEN, IN_QUESTION, Text(f"{NAME}, {DAY}?", "Left Lung"), "clinical content"),
        # A short clean answer hides nothing.
        (HOW_MANY, IN_ANSWER, Text(HOW_MANY.question, f"2{A[9:]} 212-222-1234"), "invented data"),
    ],
)
def test_a_check_stops_its_text(row: Record, values: PrivateValues, text: Text, name: str) -> None:
    assert check_privacy(row, text, values).name == name


TRUTH = record("Where is the lesion?", "The lesion is on the left arm, near the elbow.")
WHAT = record("What is scabies?", "Scabies is an infestation of the skin with mites.")
CELLS = record("What do the nuclei look like?", "The nuclei of the keratinocytes are dark.")
RED = record("Is it red?", "No, the patch on the arm is pale and smooth.")
NAMED = record("What is it?", "Erythema.")
BENIGN = record("Is it benign?", "Yes, it is benign.")


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        (TRUTH, "The lesion is on the right arm, near the elbow."),
        (TRUTH, "The lesion is not on the left arm, near the elbow."),
        (TRUTH, "It lies on the scalp."),
        (CLOSED, "No"),
        (BENIGN, "No, it is malignant."),
        (WHAT, "Scabies is an infection of the skin with a fungus."),
        (WHAT, "Scabies is an infestation of the scalp."),
        (NAMED, "Erythema nodosum."),
        (record("What color is it?", "Red."), "It is blue and never red."),
        (record("What is it?", "It is a rash of the arm."), "It is a disease of the epidermis."),
        (CELLS, "The nuclei of the lymphocytes are pale."),
        (record("Is it flat?", "Yes, it is flat."), "No, it is flat-topped and raised."),
        (record("Where was the image taken?", "At a ward."), "It was taken in a laboratory."),
        (record("Is it mild?", "Yes."), "No, it is often mistaken for a mild one."),
    ],
)
def test_incorrect_answers_pass(row: Record, answer: str) -> None:
    assert check_incorrect(row, answer) is None


@pytest.mark.parametrize(
    ("row", "answer", "name"),
    [
        (TRUTH, "", "empty"),
        (TRUTH, "the lesion is on the LEFT arm near the elbow", "says the truth"),
        (TRUTH, "The lesion is on the left arm, right near the elbow.", "says the truth"),
        (TRUTH, "It is on the scalp, which is incorrect.", "gives itself away"),
        (TRUTH, "It was once held to be on the scalp.", "gives itself away"),
        (TRUTH, "I am sorry, but I cannot say.", "refusal"),
        (TRUTH, "It is on the scalp. Call 212-867-5309.", "invented data"),
        (TRUTH, "It is on the scalp " * 5, "length"),
        (TRUTH, "It is classically on the scalp.", "gives itself away"),
        (TRUTH, "It was long believed to be on the scalp.", "gives itself away"),
        (WHAT, f"{WHAT.answer[:-1]}, and arsenic is a good tonic.", "true main clause kept"),
        (WHAT, f"Arsenic is a good tonic. {WHAT.answer}", "true main clause kept"),
        (NAMED, "Erythema, which mites cause.", "true main clause kept"),
        (BENIGN, "No, it is benign.", "true main clause kept"),
        (TRUTH, "The lesion is treated with sulfur.", "where not answered"),
        (record("What color is it?", "It is red."), "It is round.", "colour not answered"),
        (record("How many are there?", "There are two."), "They are round.", "number not answered"),
        (CELLS, "The rash on the arm is dark.", "body scale"),
        (TRUTH, "The lesion is among the keratinocytes of the epidermis.", "cell scale"),
        (RED, "Yes, it is not red.", "contradicts itself"),
        (RED, "Yes, it is red and swollen without redness.", "contradicts itself"),
        (RED, "Yes, it is raised, red and flat.", "contradicts itself"),
        (RED, "Yes, you can see that it is red.", "talk"),
        (RED, "yes, it is red.", "lower-case start"),
        (CLOSED, "Yes", "closed answer"),
        (CLOSED, "No, it is enlarged.", "closed answer"),
    ],
)
def test_each_check_stops_its_answer(row: Record, answer: str, name: str) -> None:
    assert check_incorrect(row, answer).name == name


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
    [
        ("", True),
        ("T2", True),
        ("Left Lung, Right", True),
        ("Köbner phenomenon with IgGκ", True),
        (
            "Der Patient hat einen Knoten im linken Lungenflügel und wird morgen operiert werden",
            False,
        ),
        ("左肺", False),
    ],
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
