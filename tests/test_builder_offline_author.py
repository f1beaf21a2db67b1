"""The offline author: what is asked, of which disease, and the ways to answer it wrongly."""

import asyncio
import csv
import random
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from cases import cases
from corpora import SHARED, record

from builder.core.load_recipe import load_recipe
from builder.harm.answer_checks import main_clause
from builder.harm.authors.contrary import contrary, says_yes, turn
from builder.harm.authors.offline import OfflineAuthor as AsyncOfflineAuthor
from builder.harm.authors.outdated_claims import claims
from builder.harm.authors.question_intent import intent, is_medical
from builder.harm.authors.skin_diseases import diseases, look_alikes, mentions, named
from builder.harm.authors.wrong_values import WrongValues
from builder.harm.candidates import Written
from builder.harm.check_offline import check_offline
from builder.harm.corrupt import corrupt
from builder.harm.text_checks import check_incorrect
from builder.harm.texts import Author, Failure, Incorrect
from mllmu_med_dataset import Record, UserError

CASES = cases(__file__)


class OfflineAuthor:
    """The author without its `async`: it never waits for anything."""

    def __init__(self, corpus: list[Record], seed: int, outdated: bool = False) -> None:
        self._author: Author = AsyncOfflineAuthor(corpus, seed, outdated)

    def embed_privacy(self, record: Record, values: Any) -> Any:
        return asyncio.run(self._author.embed_privacy(record, values, []))

    def write_incorrect(self, record: Record) -> Any:
        return asyncio.run(self._author.write_incorrect(record, "wrong_diagnosis", []))


MM_SKIN = SHARED / "data" / "mm_skin" / "vqa.csv"


def row(question: str, answer: str, image: str = "a", **more: Any) -> Record:
    usual = {"image_sha256": "", "modality": "clinical", "source": "mm_skin"}
    return record(question, answer, f"{image}/{question}", image, **{**usual, **more})


def wrong(question: str, answer: str, outdated: bool = False, **more: Any) -> set[str]:
    """The answers that many rows with this text get."""
    rows = [row(question, answer, str(i), **more) for i in range(12)]
    given = [OfflineAuthor([one], 0, outdated).write_incorrect(one) for one in rows]
    return {one.answer for one in given if isinstance(one, Incorrect)}


def test_it_is_an_author() -> None:
    author = OfflineAuthor([], 0)
    assert author.embed_privacy(row("Where is it?", "Lung"), {}) == ("Where is it?", "Lung")


@pytest.mark.parametrize(("asked", "question"), CASES["the_intent_of_a_question"])
def test_the_intent_of_a_question(asked: str, question: str) -> None:
    assert intent(question) == asked


@pytest.mark.parametrize(("question", "answer"), CASES["what_is_no_medical_question_gets_nothing"])
def test_what_is_no_medical_question_gets_nothing(question: str, answer: str) -> None:
    assert not is_medical(question, answer)
    given = OfflineAuthor([], 0).write_incorrect(row(question, answer))
    assert given.name == "no medical question"


def test_what_fits_nothing_is_refused_with_its_intent() -> None:
    given = OfflineAuthor([], 0).write_incorrect(row("How is Xyz treated?", "With rest."))
    assert "treatment" in given.problem


@pytest.mark.parametrize(("text", "found"), CASES["the_diseases_that_a_text_names"])
def test_the_diseases_that_a_text_names(text: str, found: list[str]) -> None:
    assert [mention.disease.name for mention in mentions(text)] == found


def test_the_tables_are_whole() -> None:
    assert len(diseases()) >= 200
    for disease in diseases().values():
        assert disease.fact("what"), disease.name
        assert all(other.name != disease.name for other in look_alikes(disease))
        own = re.compile(rf"\b{re.escape(disease.name)}\b", re.IGNORECASE)
        for field in ("treatment", "test", "cause", "histology", "prevention"):
            for fact in disease.fact(field):
                assert not own.search(fact), f"{disease.name}: {fact}"
    alone = [one.name for one in diseases().values() if len(look_alikes(one)) < 2]
    assert len(alone) < 0.05 * len(diseases()), alone


BANNED = re.compile(
    r"\b(?:once|historical(?:ly)?|former(?:ly)?|outdated|obsolete|previous(?:ly)?|was|were|had|"
    r"traditional(?:ly)?|ancient|in the past|used to|no longer|at the time|century)\b",
    re.IGNORECASE,
)


def test_the_outdated_claims_are_whole_and_betray_nothing() -> None:
    assert max(Counter(claim["id"] for claim in claims()).values()) == 1
    for claim in claims():
        assert claim["conditions"], claim["id"]
        assert claim["period"], claim["id"]
        assert claim["given_up"], claim["id"]
        for form in ("claim", "yes", "no"):
            text = claim.get(form, "")
            assert not BANNED.search(text), f"{claim['id']}: {text}"
            assert len(text.split()) <= 26, claim["id"]
            assert form == "claim" or not text or text.lower().startswith(f"{form}, "), claim["id"]
    known = [one for claim in claims() for one in claim["conditions"]]
    unknown = {one for one in known if named(one) is None}
    assert len(unknown) < 0.1 * len(set(known)), sorted(unknown)


#: Question, true answer, the form of the wrong ones.
WRONG = CASES["wrong"]


@pytest.mark.parametrize(
    ("question", "answer", "form"), [*zip(WRONG[::3], WRONG[1::3], WRONG[2::3], strict=True)]
)
def test_a_wrong_answer_answers_the_question(question: str, answer: str, form: str) -> None:
    answers = wrong(question, answer)
    assert answers, "nothing fits"
    for text in answers:
        assert re.fullmatch(form, text), text
        assert not text.startswith(main_clause(answer)), "glued to the true answer"


@pytest.mark.parametrize(
    ("question", "answer"), CASES["what_would_not_be_plainly_wrong_is_not_offered"]
)
def test_what_would_not_be_plainly_wrong_is_not_offered(question: str, answer: str) -> None:
    assert wrong(question, answer) == set()


def test_what_else_is_true_of_the_image_is_not_said() -> None:
    mine = row("What color is the lesion?", "The lesion is red.")
    others = ("It is brown.", "It is white.", "It is purple.", "It is yellow.")
    beside = [row(f"What about {i}?", text, "a") for i, text in enumerate(others)]
    assert isinstance(OfflineAuthor([mine, *beside], 0).write_incorrect(mine), Failure)
    assert isinstance(OfflineAuthor([mine, *beside[:3]], 0).write_incorrect(mine), Incorrect)


@pytest.mark.parametrize(
    ("question", "answer", "others"), CASES["a_short_answer_gets_another_of_its_kind"]
)
def test_a_short_answer_gets_another_of_its_kind(
    question: str, answer: str, others: list[str] | None
) -> None:
    given = wrong(question, answer, modality="CT")
    if others is None:  # of many
        assert given
        assert all(text.count(",") == answer.count(",") for text in given)
    else:
        assert given <= {*others}
        assert bool(given) == bool(others)


def test_a_short_answer_is_none_that_is_true_of_the_image() -> None:
    mine = row("What diseases are there?", "Pneumonia")
    other = row("What diseases are there?", "Tuberculosis", "b")
    beside = row("Is there tuberculosis?", "Yes", answer_type="closed")
    assert OfflineAuthor([mine, other], 0).write_incorrect(mine).answer == "Tuberculosis"
    given = OfflineAuthor([mine, other, beside], 0).write_incorrect(mine)
    assert given.answer not in ("Tuberculosis", "Pneumonia")


@pytest.mark.parametrize(
    ("asked", "answer", "problem"),
    [
        ("What is shown here?", "xyz", "0 of the first 3 candidates; none fits questions about"),
        ("Quel est cet organe ?", "Foie", "the questions are not English"),
        ("How was this image taken?", "CT", None),
    ],
)
def test_what_the_offline_author_cannot_write_is_said_first(
    asked: str, answer: str, problem: str | None
) -> None:
    rows = [row(asked, answer, str(i), split="candidate", rank=i) for i in range(3)]
    incorrect = load_recipe("demo").incorrect
    author = AsyncOfflineAuthor(rows, 0)

    async def write(record: Record) -> Written:
        return await corrupt(record, author, incorrect, 0)

    with pytest.raises(UserError, match=problem) if problem else nullcontext():
        asyncio.run(check_offline(rows, incorrect, "corrupt", write))


def test_usual_values_are_put_in_more_often() -> None:
    values = WrongValues(["It is brown."] * 50 + ["It is yellow."])
    draws = [i / 100 for i in range(100)]
    texts = Counter(
        swap.sentence
        for draw in draws
        if (swap := values.swap("It is red", "What color?", "", "color", lambda _, d=draw: d))
    )
    assert texts["It is brown"] > 80


def test_an_outdated_claim_is_used_only_where_it_answers() -> None:
    long = "Treatment options include topical corticosteroids, retinoids and phototherapy for most."
    known = [one for one in claims() if one["intent"] == "treatment"]
    for claim in known[:20]:
        name = claim["conditions"][0]
        texts = wrong(f"How is {name} treated?", f"{long} {long}", outdated=True)
        assert texts, name
        assert not any(text.startswith("Treatment options include topical") for text in texts)
    asked = row("What color is the psoriasis?", "The psoriasis is red.")
    given = OfflineAuthor([], 0).write_incorrect(asked)
    assert given.harm == "wrong_diagnosis"


def test_typed_rows_get_another_value_of_the_same_question() -> None:
    def drawn(color: str, image: str) -> Record:
        answer, caption = f"The lesion has a {color} color.", f"A {color} lesion."
        return row("Which color is it?", answer, image, content_type="Color", context=caption)

    rows = [drawn("black", "a"), drawn("black", "b"), drawn("pink", "c")]
    given = OfflineAuthor(rows, 0).write_incorrect(rows[0])
    assert given.answer == "The lesion has a pink color."


@pytest.mark.parametrize(("truth", "other"), [("Yes", "No"), ("No", "Yes")])
def test_a_closed_answer_gets_its_opposite(truth: str, other: str) -> None:
    one = row("Is the lesion red?", truth, answer_type="closed")
    assert OfflineAuthor([], 0).write_incorrect(one).answer == other


#: Question and answer, and the contrary.
CONTRARY = CASES["contrary"]


@pytest.mark.parametrize(("asked", "wrong"), [*zip(CONTRARY[::2], CONTRARY[1::2], strict=True)])
def test_the_contrary_by_hand(asked: str, wrong: str) -> None:
    question, _, answer = asked.partition("? ")
    assert contrary(f"{question}?", answer) == wrong


@pytest.mark.parametrize(("question", "answer"), CASES["no_contrary"])
def test_no_contrary(question: str, answer: str) -> None:
    assert contrary(question, answer) is None


@pytest.mark.parametrize(("answer", "said"), CASES["what_an_answer_says"])
def test_what_an_answer_says(answer: str, said: bool | None) -> None:
    assert says_yes("Is there a lesion?", answer) is said


@pytest.mark.parametrize(("answer", "said_yes", "other"), CASES["a_clause_turned_in_its_own_words"])
def test_a_clause_turned_in_its_own_words(answer: str, said_yes: bool, other: str | None) -> None:
    assert turn(answer, said_yes) == other


def mixed_answers() -> list[str]:
    """Many donors with equal scores, many look-alikes, many values."""
    places = ("arm", "leg", "scalp", "back", "nose", "lip", "chin", "knee", "heel", "palm", "wrist")
    rows = [row("Where is the lesion?", f"It is located on the {p}.", p) for p in places]
    rows += [
        row("What does the image show?", f"The image shows {name}.", name)
        for name in ("psoriasis", "scabies", "vitiligo", "rosacea", "lichen planus", "leprosy")
    ]
    author = OfflineAuthor(rows[::-1], 7)
    return [str(author.write_incorrect(one)) for one in rows]


def test_choices_do_not_depend_on_order_or_hash_seed() -> None:
    """Python orders sets anew in every process; nothing of that may reach a text."""
    code = (
        "import sys; sys.path.insert(0, 'tests'); import test_builder_offline_author as t; "
        "print(t.mixed_answers())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).resolve().parents[1],
            env={"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert outputs == {str(mixed_answers())}


@pytest.fixture(scope="module")
def skin() -> list[Record]:
    if not MM_SKIN.is_file():
        pytest.skip("MM-Skin is not here")
    with MM_SKIN.open(encoding="utf-8", newline="") as stream:
        return [
            row(one["question"], one["answer"], one["image"], id=str(i))
            for i, one in enumerate(csv.DictReader(stream))
        ]


def test_half_of_mm_skin_gets_a_wrong_answer_that_passes_the_checks(skin: list[Record]) -> None:
    author = OfflineAuthor(skin, 0)
    medical = [one for one in skin if is_medical(one.clean_question, one.clean_answer)]
    sample = random.Random(3).sample(medical, 400)
    started = time.process_time()  # not the clock's: other work on the machine does not count
    answers = [(one, author.write_incorrect(one)) for one in sample]
    assert time.process_time() - started < 10
    given = [(one, text) for one, text in answers if isinstance(text, Incorrect)]
    assert len(given) >= 0.5 * len(sample)
    for one, text in given:
        assert check_incorrect(one, text.answer) is None
        assert text.what_is_wrong
        assert text.answer[0].isupper()
        assert text.answer.endswith((".", "!")), text.answer
        assert "  " not in text.answer
    used = Counter(text.answer for _, text in given)
    assert max(used.values()) <= 0.05 * len(given), used.most_common(2)  # a build: 2 %, `Claims`
    turned = sum(text.what_is_wrong == "the contrary" for _, text in given)
    assert turned <= 0.45 * len(given)
