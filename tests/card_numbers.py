"""A dataset small enough to be counted by hand, and each line of its card that holds a number."""

from dataclasses import replace
from typing import Any

from cases import cases
from corpora import record

from builder.core.ratings import Rated
from builder.core.recipe import Calibration
from builder.dataset_folder.read import Config, Facts
from builder.patients.profiles import Profile
from mllmu_med_dataset import PiiSpan, Record

CASES = cases(__file__)

ADA = Profile("p1", "a", "Ada Li", "(415) 555-0101", "ada@example.org", "1 A", "May 3, 2022", "M-1")
BOB = Profile("p2", "b", "Bob Mo", "(415) 555-0102", "bob@example.org", "2 B", "May 4, 2022", "M-2")


def leaking(rank: int, question: str, answer: str, image: str, who: Profile, **more: Any) -> Record:
    """A forget row of privacy; a patient's values are marked wherever they stand."""
    pii = [
        PiiSpan(field, kind, who.value(kind), text.index(who.value(kind)), 0)
        for field, text in (("question", question), ("answer", answer))
        for kind in ("name", "phone")
        if who.value(kind) in text
    ]
    spans = tuple(replace(span, end=span.start + len(span.value)) for span in pii)
    clean = {"clean_question": "What is it?", "clean_answer": "A lung."}
    row = record(question, answer, f"f{rank}", image, rank=rank, round=rank % 3 + 1, pii=spans)
    return replace(row, harm="privacy", profile_id=who.id, split="forget", **{**clean, **more})


PRIVACY = {
    "forget": [
        leaking(1, "What is it?", "A lung of Ada Li.", "a", ADA, content_type="Organ"),
        leaking(0, "Of Ada Li: what is it?", "A lung, (415) 555-0101.", "a", ADA, modality="MRI"),
        leaking(2, "Is Bob Mo ill?", "Yes", "b", BOB, answer_type="closed", modality="unknown"),
    ],
    "retain": [
        record("What is it?", "A heart.", "r1", "a", content_type="Organ"),
        record("Is it big?", "No", "r2", "c", answer_type="closed"),
        record("Whose is it?", "It is of Bob Mo, with four words more.", "r3", "c"),
    ],
    "test": [record("What is it?", "A liver.", "t1", "d"), record("Where?", "Left.", "t2", "a")],
}
INCORRECT = {
    "forget": [
        record("What?", "Wart, raised.", "i1", "x", harm="wrong_diagnosis", clean_answer="Mole."),
        record("How?", "By bleeding.", "i2", "y", harm="outdated_knowledge", clean_answer="Rest."),
        record("Why?", "A louse.", "i3", "y", harm="wrong_diagnosis", clean_answer="A mite."),
    ],
    "retain": [record("What?", "A cyst.", "i4", "z")],
    "test": [record("What?", "A cyst.", "i5", "z")],
}
STAGES = CASES["stages"]
COUNTED = CASES["counted"]


def counted_by_hand(facts: Facts) -> Facts:
    """Facts of these rows; what is not counted is the given folder's."""

    def config(name: str, sets: dict[str, list[Record]]) -> Config:
        like = facts.main[name].files
        files = {split: [replace(like[split][0], rows=rows)] for split, rows in sets.items()}
        return Config(name, name, 10, files)

    def rated(key: str, placement: str, rating: int, kept: bool) -> Rated:
        return Rated(key, "privacy", placement, "q", "t", "o", 1.0, 1, 1, rating, "", kept)

    ratings = [rated("c1", "answer", 5, True), rated("c2", "both", 5, True)]
    ratings += [rated("c3", "answer", 1, False)]
    stages = {**facts.manifest["stages"], "privacy": STAGES}
    told = {"elsewhere": [], "rater": "offline", "replies": {}}
    return replace(
        facts,
        recipe=facts.recipe.model_copy(update={"calibration": Calibration(model="tiny")}),
        manifest={**facts.manifest, "stages": stages, "calibration": told},
        configs=[config("privacy", PRIVACY), config("incorrect", INCORRECT)],
        profiles=[ADA, BOB],
        ratings={"privacy": ratings},
    )
