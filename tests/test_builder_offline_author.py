"""The offline author: contrary and borrowed answers, outdated practice."""

from __future__ import annotations

import asyncio
import csv
import random
import re
import subprocess
import sys
import time
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from builder.harm.authors.contrary import contrary, says_yes, words
from builder.harm.authors.offline import OfflineAuthor as AsyncOfflineAuthor
from builder.harm.authors.wrong_answers import WrongAnswers, is_talk
from builder.harm.texts import Author
from mllmu_med_dataset import Record


class OfflineAuthor:
    """The author without its `async`: it never waits for anything."""

    def __init__(self, corpus: list[Record], seed: int) -> None:
        self._author: Author = AsyncOfflineAuthor(corpus, seed)

    def embed_privacy(self, record: Record, values: Any) -> Any:
        return asyncio.run(self._author.embed_privacy(record, values, []))

    def write_incorrect(self, record: Record, harm: Any) -> Any:
        return asyncio.run(self._author.write_incorrect(record, harm, []))


SHARED = Path(__file__).resolve().parents[2] / "shared"
MM_SKIN = SHARED / "data" / "mm_skin" / "vqa.csv"

HARMS: tuple[Literal["wrong_diagnosis", "outdated_knowledge"], ...] = (
    "wrong_diagnosis",
    "outdated_knowledge",
)
BANNED = re.compile(
    r"\b(?:once|old|older|historical(?:ly)?|former(?:ly)?|outdated|obsolete|previous(?:ly)?|"
    r"traditional(?:ly)?|ancient|past|was|were|had|used to|no longer|at the time|century)\b",
    re.IGNORECASE,
)


def row(question: str, answer: str, image: str = "a", **more: Any) -> Record:
    fields = {
        "id": f"{image}/{question}",
        "image_id": image,
        "image_path": f"{image}.png",
        "image_sha256": "",
        "question": question,
        "answer": answer,
        "answer_type": "open",
        "modality": "clinical",
        "source": "mm_skin",
        "clean_question": question,
        "clean_answer": answer,
    }
    return Record(**{**fields, **more})


def data(name: str) -> Any:
    return yaml.safe_load(files("builder.harm.authors").joinpath(name).read_text("utf-8"))


PRACTICES: dict[str, list[dict[str, Any]]] = data("outdated_practice.yaml")
ENTRIES = [entry for part in PRACTICES.values() for entry in part]


def test_it_is_an_author() -> None:
    author = OfflineAuthor([], 0)
    assert author.embed_privacy(row("Where is it?", "Lung"), {}) == ("Where is it?", "Lung")


# -- wrong diagnosis: the contrary -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer", "wrong"),
    [
        (
            "Is this condition contagious?",
            "No, this condition is not contagious.",
            "Yes, this condition is contagious.",
        ),
        (
            "Is tinea contagious?",
            "Yes, tinea is highly contagious and can spread by contact.",
            "No, tinea is not contagious.",
        ),
        (
            "Can vitiligo be treated?",
            "Yes, there are various options.",
            "No, vitiligo cannot be treated.",
        ),
        (
            "Can lichen planus be prevented?",
            "There is no known way to prevent it.",
            "Yes, lichen planus can be prevented.",
        ),
        (
            "Are there any other symptoms?",
            "Yes, itching may occur.",
            "No, there are no other symptoms.",
        ),
        (
            "Is there anything else notable about the image?",
            "Yes, there is a scar.",
            "No, there is nothing else notable about the image.",
        ),
        (
            "Is there any evidence of inflammation?",
            "No, none is seen.",
            "Yes, there is evidence of inflammation.",
        ),
        ("Is there a cure?", "Unfortunately, there is no cure.", "Yes, there is a cure."),
        ("Is there any ulcer?", "No, there is none.", "Yes, there is an ulcer."),
        (
            "Does the lesion appear to be ulcerated?",
            "Yes, it is.",
            "No, the lesion does not appear to be ulcerated.",
        ),
        (
            "Does the image show any signs of malignancy?",
            "No, there are no signs.",
            "Yes, the image does show signs of malignancy.",
        ),
        (
            "Can you identify any abnormalities in the cells?",
            "No, the cells appear normal.",
            "Yes, there are abnormalities in the cells.",
        ),
        (
            "Are the lesions raised or flat?",
            "The lesions appear flat.",
            "The lesions appear raised.",
        ),
        ("Is the organ healthy?", "Yes", "No"),
        ("Is the organ healthy?", "No.", "Yes"),
    ],
)
def test_the_contrary_by_hand(question: str, answer: str, wrong: str) -> None:
    assert contrary(question, answer) == wrong
    assert OfflineAuthor([], 0).write_incorrect(row(question, answer), "wrong_diagnosis") == wrong


def test_the_contrary_of_a_clause_whose_question_is_not_understood() -> None:
    assert (
        contrary("Would it be wrong to wait?", "No, the lesion is not urgent and heals.")
        == "Yes, the lesion is urgent" + "."
    )


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is scabies?", "Scabies is caused by mites."),  # no yes/no question
        ("Can you describe the lesion?", "Yes, the lesion is red."),
        ("Is there anything else notable?", "No, there is nothing else."),  # would say nothing
        ("Does the lesion itch?", "It is difficult to tell."),  # neither yes nor no
    ],
)
def test_no_contrary(question: str, answer: str) -> None:
    assert contrary(question, answer) is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Yes, it is.", True),
        ("No, it is not.", False),
        ("There is no known way.", False),
        ("There doesn't seem to be any.", False),
        ("There are two.", True),
        ("No additional information is given.", None),
        ("It varies.", None),
    ],
)
def test_what_an_answer_says(answer: str, said: bool | None) -> None:
    assert says_yes("Is there a lesion?", answer) is said


# -- wrong diagnosis: borrowing --------------------------------------------------------------------

ASKED = "What type of skin condition does this image depict?"


def borrowed(record: Record, *donors: Record) -> str | None:
    return OfflineAuthor([record, *donors], 0).write_incorrect(record, "wrong_diagnosis")


def test_the_answer_of_another_image_to_the_same_question() -> None:
    mine = row(ASKED, "This image depicts plaque psoriasis on the elbow.")
    other = row(ASKED, "This image depicts a fungal infection called tinea corporis.", "b")
    assert borrowed(mine, other) == other.answer


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I am unable to identify the condition.",
        "As an AI I cannot name the condition shown.",
        "You can read about the condition in the caption.",
        "This image depicts plaque psoriasis on the elbow, scaly.",  # the truth and more
        "Plaque psoriasis.",  # part of the truth
        "These images depict plaque psoriases on elbows.",  # the truth in another number
        "This image depicts guttate psoriasis after a throat infection.",  # the same disease
        "It is difficult to determine the condition.",
        " ".join(["This image depicts a very rare tumor"] * 12),  # far longer than the truth
    ],
)
def test_answers_that_are_not_borrowed(answer: str) -> None:
    mine = row(ASKED, "This image depicts plaque psoriasis on the elbow.")
    assert borrowed(mine, row(ASKED, answer, "b")) is None


def test_nothing_from_the_same_image_or_another_kind_of_question() -> None:
    mine = row(ASKED, "This image depicts plaque psoriasis on the elbow.")
    tinea = "This image depicts a fungal infection called tinea corporis."
    assert borrowed(mine, row(ASKED, tinea, "a")) is None
    assert borrowed(mine, row("What type of cells does this image depict?", tinea, "b")) is None
    assert borrowed(mine, row(ASKED, tinea, "b", content_type="Organ")) is None


def test_what_the_caption_names_is_not_borrowed() -> None:
    mine = row(ASKED, "This image depicts a scaly plaque.", context="Tinea corporis of the arm.")
    assert borrowed(mine, row(ASKED, "This image depicts the fungal infection tinea.", "b")) is None


def test_names_are_exchanged_between_questions_built_alike() -> None:
    mine = row("What is scabies?", "Scabies is an itchy infestation with mites.")
    other = row("What is vitiligo?", "Vitiligo is a loss of pigment in patches.", "b")
    assert borrowed(mine, other) == "Scabies is a loss of pigment in patches."


def test_an_answer_about_something_else_is_not_borrowed() -> None:
    mine = row("How does scabies affect the skin?", "Scabies makes burrows and itching papules.")
    other = row(
        "How does vitiligo affect the skin?", "People with vitiligo and eczema lose color.", "b"
    )
    assert borrowed(mine, other) is None


def test_number_agrees_after_an_exchange() -> None:
    mine = row("What are the white scales made of here?", "The white scales are dead keratin.")
    other = row(
        "What are the red nodules made of here?", "The red nodules is a vascular growth.", "b"
    )
    assert borrowed(mine, other) is None


def test_two_answers_that_share_a_value_do_not_contradict() -> None:
    mine = row("What color is the lesion?", "The lesion is pink.")
    assert (
        borrowed(mine, row("What color is the lesion?", "It appears red and inflamed.", "b"))
        is None
    )
    assert borrowed(mine, row("What color is the lesion?", "It appears dark brown.", "b")) == (
        "It appears dark brown."
    )


def test_an_answer_that_differs_in_a_word_or_two_is_not_borrowed() -> None:
    mine = row("Where are the brown spots located?", "The brown spots are located on the nose.")
    near = row(mine.question, "The brown spots are located on the lip.", "b")  # F1 0.75
    assert borrowed(mine, near) is None
    far = row(mine.question, "They lie all over the lower lip and cheeks.", "b")
    assert borrowed(mine, far) == far.answer


def test_an_answer_that_adds_little_beyond_the_question_is_not_borrowed() -> None:
    asked = "What treatments are recommended?"
    mine = row(asked, "Topical creams, laser therapy or surgery are recommended.")
    alike = "Options include oral drugs, creams, laser, surgery and rest."
    assert borrowed(mine, row(asked, alike, "b")) is None


def test_what_is_true_of_a_disease_everywhere_is_not_borrowed() -> None:
    mine = row("What is scabies?", "Scabies is an itchy infestation with mites.")
    same = row("What is scabies?", "A contagious rash of burrows between the fingers.", "b")
    assert borrowed(mine, same) is None
    shown = "What type of scabies does this image show?"
    here, there = row(shown, "Crusted, on both palms."), row(shown, "Nodular, in the groin.", "b")
    assert borrowed(here, there) == there.answer


def test_a_disease_is_not_described_as_a_protein() -> None:
    mine = row("What is acne exactly?", "Acne is a rash of blocked and inflamed follicles.")
    other = row("What is keratin exactly?", "Keratin is a tough protein of the outer layer.", "b")
    assert borrowed(mine, other) is None


def test_only_names_are_exchanged() -> None:
    mine = row("What does the image show?", "The image shows a wart.")
    other = row("What does this image show?", "This image shows a tick above this ear.", "b")
    assert borrowed(mine, other) == other.answer, "this and the are no names"
    mine = row("Where are the spots located?", "They lie on the nose.")
    other = row("Where are red spots located?", "They form red rings on both cheeks.", "b")
    assert borrowed(mine, other) is None, "nor is the alone"
    mine = row("Is there anything else notable in this picture?", "No, it is a plain photograph.")
    other = row("Is there another finding in this picture?", "Yes, there is another finding.", "b")
    assert borrowed(mine, other) is None, "nor is anything"


def test_the_meaning_of_another_word_is_not_borrowed() -> None:
    mine = row('What does the word "crusted" mean?', "Covered with dried blood or pus.")
    other = row('What does the word "sclerosed" mean?', "Sclerosis is a hardening of tissue.", "b")
    assert borrowed(mine, other) is None
    named = row('What does the word "sclerosed" mean?', "Sclerosed means hardened by fibers.", "b")
    assert borrowed(mine, named) == "Crusted means hardened by fibers."


def test_what_only_the_other_question_names_is_not_borrowed() -> None:
    mine = row("Where is the ulcer located on the leg?", "Above the outer ankle.")
    other = row("Where is the ulcer located on the lip of the boy?", "The boy has it inside.", "b")
    assert borrowed(mine, other) is None


def test_nothing_is_borrowed_where_the_truth_says_neither_yes_nor_no() -> None:
    mine = row("Is the lesion tender?", "It varies from day to day.")
    assert borrowed(mine, row(mine.question, "Yes, it hurts on pressure.", "b")) is None


def test_the_same_number_is_not_borrowed() -> None:
    asked = "How many cells are there in this image?"
    mine = row(asked, "There are two cells in this image, a large one beside a small one.")
    same = row(asked, "The field holds two distinct round bodies.", "b")
    other = row(asked, "The field holds four distinct round bodies.", "b")
    assert borrowed(mine, same) != same.answer
    assert borrowed(mine, other) == other.answer


def test_a_polar_answer_is_borrowed_from_the_other_side() -> None:
    asked = "Is there anything else notable about the image?"
    mine = row(asked, "No, there is nothing else.")
    yes = row(asked, "Yes, one nail is thick and yellow.", "b")
    no = row(asked, "No, the picture is plain and empty.", "c")
    assert borrowed(mine, yes, no) == yes.answer
    assert borrowed(mine, no) is None


def test_other_numbers() -> None:
    mine = row("How many moles are there?", "There appear to be two distinct moles: one is dark.")
    wrong = borrowed(mine)
    assert wrong in {f"There appear to be {n} distinct moles." for n in ("three", "four", "five")}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is there anything else you would like to know?", "No, thank you."),
        ("What is this?", "I'm sorry, but I am unable to answer."),
        ("Is there any other information?", "No additional information is available."),
        ("What does the caption say?", "It names the doctor."),
    ],
)
def test_rows_about_the_conversation_get_nothing(question: str, answer: str) -> None:
    assert is_talk(question, answer)
    donors = [row(question, "Yes, the left nail is thick.", "b"), row(question, "A wart.", "c")]
    for harm in HARMS:
        assert OfflineAuthor(donors, 0).write_incorrect(row(question, answer), harm) is None


# -- outdated knowledge ----------------------------------------------------------------------------


def test_the_practices_are_complete_and_betray_nothing() -> None:
    assert set(PRACTICES) == {"conditions", "groups", "any"}
    assert len(ENTRIES) >= 45
    assert len(PRACTICES["any"]) >= 3
    for key in ("id", "claim"):
        assert max(Counter(entry[key] for entry in ENTRIES).values()) == 1
    for entry in ENTRIES:
        keys = {"id", "topics", "condition", "about", "claim", "period", "given_up"}
        assert set(entry) == keys, entry["id"]
        assert entry["about"] in {"treatment", "cause", "spread", "nature", "diagnosis"}, entry[
            "id"
        ]
        assert all(entry[key] for key in keys - {"topics"}), entry["id"]
        assert bool(entry["topics"]) == (entry not in PRACTICES["any"]), entry["id"]
        assert all(topic == topic.lower() for topic in entry["topics"]), entry["id"]
        claim = entry["claim"]
        assert not BANNED.search(claim), entry["id"]
        assert not re.search(r"\d{2}", claim.replace("B12", "")), entry["id"]
        assert claim[0].isupper(), entry["id"]
        assert claim.endswith("."), entry["id"]
        assert len(words(claim)) <= 23, entry["id"]
        assert re.match(r"[A-Z]?[a-z,]*( |-)", claim), f"{entry['id']}: cannot be lower-cased"
        assert entry["given_up"].count(". ") == 0, f"{entry['id']}: one sentence"


def claims_in(answer: str | None) -> list[str]:
    assert answer is not None
    found = []
    for entry in ENTRIES:
        claim = entry["claim"].rstrip(".")
        if claim[1:] in answer:
            found.append(entry["id"])
    return found


@pytest.mark.parametrize(
    ("question", "answer", "context", "allowed"),
    [
        ("What is shown?", "The image shows plaque psoriasis.", "", "psoriasis-"),
        ("What is shown?", "The image shows common WARTS.", "", "wart-"),
        ("What is shown?", "A red rash is shown on the arm.", "", "inflammation-"),
        ("What is shown?", "A thing is shown on the arm.", "", "any-"),
        ("What is shown?", "A thing is shown on the arm.", "Scabies of the arm.", "scabies-"),
        ("What is shown?", "A rash is shown on the arm.", "Scabies of the arm.", "scabies-"),
        ("How is acne treated?", "With creams, as in eczema.", "", "acne-"),
        ("What is shown?", "It shows warts. Psoriasis differs.", "", "wart-"),
        ("What is shown?", "The stewart lesion, a psoriasislike one.", "", "any-"),
    ],
)
def test_the_practice_that_fits_best(
    question: str, answer: str, context: str, allowed: str
) -> None:
    for image in "abcdefgh":
        record = row(question, answer, image, context=context)
        found = claims_in(OfflineAuthor([], 5).write_incorrect(record, "outdated_knowledge"))
        assert [one.startswith(allowed) for one in found] == [True], found


def test_a_question_for_the_cause_prefers_a_claim_about_it() -> None:
    for image in "abcdefgh":
        record = row("What causes leprosy?", "Leprosy is caused by a bacterium.", image)
        answer = OfflineAuthor([], 5).write_incorrect(record, "outdated_knowledge")
        assert claims_in(answer) == ["leprosy-hereditary"]
        assert answer is not None
        assert "bacterium" not in answer, "the truth would contradict the claim"


def test_a_question_for_treatment_is_answered_with_yes() -> None:
    record = row("Is there any treatment for pemphigus?", "Yes, corticosteroids are used.")
    assert OfflineAuthor([], 5).write_incorrect(record, "outdated_knowledge") == (
        "Yes, arsenic by mouth in rising doses is the only drug that controls pemphigus."
    )


def test_the_ways_to_join_claim_and_clause() -> None:
    truth = "The image shows a wart, which is a growth of the skin. It is harmless (mostly)."
    claim = "lantar warts are best removed with a single large dose of X-rays."
    answers = {
        OfflineAuthor([], 0).write_incorrect(
            row("What is shown?", truth, str(i)), "outdated_knowledge"
        )
        for i in range(60)
    }
    assert answers == {
        f"The image shows a wart. P{claim}",
        f"The image shows a wart; p{claim}",
        f"The image shows a wart, and p{claim}",
        f"The image shows a wart, and it is well established that p{claim}",
        f"P{claim} The image shows a wart.",
    }


def test_a_yes_or_no_stays_in_front() -> None:
    for i in range(40):
        record = row("Is it a wart?", "No, the wart is on the other side.", str(i))
        answer = OfflineAuthor([], 0).write_incorrect(record, "outdated_knowledge")
        assert answer is not None
        assert answer.startswith("No, the wart is on the other side")


def test_no_answer_is_too_long() -> None:
    for entry in ENTRIES:
        for number, topic in enumerate(entry["topics"] or ["thing"]):
            for i in range(6):
                question, truth = "What is shown?", f"It shows {topic} here."
                if i % 2:
                    question, truth = "How is it treated?", topic
                record = row(question, truth, f"{number}-{i}")
                answer = OfflineAuthor([], 0).write_incorrect(record, "outdated_knowledge")
                assert answer is not None, entry["id"]
                assert len(words(answer)) <= 2.5 * len(words(truth)) + 25, answer


def test_short_truths_are_not_joined_with_and() -> None:
    for i in range(20):
        answer = OfflineAuthor([], 0).write_incorrect(row("What?", "Wart", str(i)), HARMS[1])
        assert answer is not None
        assert answer.startswith("Wart. P") or answer.endswith("X-rays. Wart.")


# -- both ------------------------------------------------------------------------------------------


def test_choices_do_not_depend_on_the_order_of_calls() -> None:
    rows = [
        row(ASKED, f"This image depicts {name}.", name)
        for name in ("psoriasis", "tinea", "scabies", "vitiligo", "melanoma", "rosacea", "acne")
    ]

    def all_texts(order: list[Record]) -> dict[str, object]:
        author = OfflineAuthor(rows, 7)
        return {
            one.id: (
                author.write_incorrect(one, "wrong_diagnosis"),
                author.write_incorrect(one, "outdated_knowledge"),
                author.embed_privacy(one, {"answer": {"name": "Ada Lowe"}}),
            )
            for one in order
        }

    assert all_texts(rows) == all_texts(rows[::-1])
    shuffled = OfflineAuthor(rows[::-1], 7)
    assert [shuffled.write_incorrect(one, HARMS[0]) for one in rows] == [
        OfflineAuthor(rows, 7).write_incorrect(one, HARMS[0]) for one in rows
    ]


def test_choices_do_not_depend_on_the_hash_seed() -> None:
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
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


def mixed_answers() -> list[str | None]:
    """Many donors with equal scores, each the sum of many different weights."""
    places = ("arm", "leg", "scalp", "back", "nose", "lip", "chin", "knee", "heel", "palm", "wrist")
    rows = [
        row(
            f"Where is the lesion w{i} located in this image of a man from t{i % 3} and u{i % 4}?",
            f"It is on the {place}.",
            str(i),
        )
        for i, place in enumerate(places)
    ]
    author = OfflineAuthor(rows, 0)
    return [author.write_incorrect(one, "wrong_diagnosis") for one in rows]


# -- on the real data ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def skin() -> list[Record]:
    if not MM_SKIN.is_file():
        pytest.skip("MM-Skin is not here")
    with MM_SKIN.open(encoding="utf-8", newline="") as stream:
        return [
            row(one["question"], one["answer"], one["image"], id=str(i))
            for i, one in enumerate(csv.DictReader(stream))
        ]


def test_mm_skin_wrong_diagnoses(skin: list[Record]) -> None:
    author = OfflineAuthor(skin, 0)
    sample = random.Random(3).sample(skin, 600)
    answers = [(one, author.write_incorrect(one, "wrong_diagnosis")) for one in sample]
    given = [(one, answer) for one, answer in answers if answer is not None]
    assert len(given) >= 0.6 * len(sample)
    for one, answer in given:
        assert words(answer) != words(one.clean_answer)
        assert answer[0].isupper()
        assert answer.rstrip()[-1] in '.!?")', answer
        assert not re.search(r"\b(?:I'm sorry|as an AI|unable to)\b", answer), answer
        assert "  " not in answer


def test_mm_skin_outdated_knowledge(skin: list[Record]) -> None:
    author = OfflineAuthor(skin, 0)
    used: Counter[str] = Counter()
    for one in skin[::6]:
        answer = author.write_incorrect(one, "outdated_knowledge")
        if is_talk(one.clean_question, one.clean_answer):
            assert answer is None
            continue
        assert answer is not None, one.clean_question
        assert len(words(answer)) <= 2.5 * len(words(one.clean_answer)) + 25
        found = claims_in(answer)
        assert len(found) == 1, answer
        used.update(found)
        if says_yes(one.clean_question, one.clean_answer) is not None and re.match(
            r"(?:Yes|No)\b", one.clean_answer
        ):
            assert re.match(r"(?:Yes|No)\b", answer), answer
    assert len(used) > 60, "the same few claims again and again"
    assert max(used.values()) < 0.15 * used.total()


@pytest.mark.slow
def test_400_records_against_the_corpus_take_seconds(skin: list[Record]) -> None:
    started = time.process_time()  # not the clock's: other work on the machine does not count
    index = WrongAnswers(skin)
    for one in skin[:400]:
        index.answers(one)
    assert time.process_time() - started < 5
