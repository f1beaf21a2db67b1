"""A dataset small enough to be counted by hand, and each line of its card that holds a number."""

from dataclasses import replace
from typing import Any

from corpora import record

from builder.core.ratings import Rated
from builder.core.recipe import Calibration
from builder.dataset_folder.read import Config, Facts
from builder.patients.profiles import Profile
from mllmu_med_dataset import PiiSpan, Record

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
STAGES = {
    "ingest": {"kept": 1200, "dropped": {}, "notes": {}},
    "draw": {"kept": 1190, "dropped": {"not drawn": 10}, "notes": {}},
    "inject": {
        "kept": 1183,
        "dropped": {"one": 2, "other": 5},
        "notes": {"texts rejected by check length": 4},
    },
}
COUNTED = """
| `privacy` | Phantom images | 3 | 3 | 2 | 4 |
| `incorrect` | Phantom images | 3 | 1 | 1 | 3 |
| `privacy` | 10 % | 3 | 3 | 2 |
that of `privacy` into 1, 1 and 1 rows and that of `incorrect` into 0, 0 and 0 rows.
| question | What is it? | Of **Ada Li**: what is it? |
| answer | A lung. | A lung, **(415) 555-0101**. |
`f0`: MRI, harm `privacy`.
| `ingest` | read from the source | 1,200 | 0 |
| `draw` | not drawn | 1,190 | 10 |
| `inject` | other | 1,183 | 5 |
| `inject` | one |  | 2 |
| `privacy` | length | 4 |
rating 5: 2 kept, 0 dropped, rating 1: 0 kept, 1 dropped.](card/calibration.png)
| privacy: answer | 1 | 0 | 0 | 0 | 1 | 3.00 | 1 | 1 |
| privacy: all | 2 | 0 | 0 | 0 | 1 | 3.67 | 2 | 1 |
| 5 | `c1` | t | o |
the 3 forget rows of privacy. Place of the private values: question 1, answer 1, both 1.
Rows with each kind of value: name 3 and telephone number 1.]
| question | 1 | 33.3 % |
| answer | 1 | 33.3 % |
| both | 1 | 33.3 % |
| name | 3 | 2 | 1 |
| telephone number | 1 | 0 | 1 |
The forget set of `privacy`: 3 rows of 2 fictional patients, at most 2 rows of one.
the 3 forget rows of incorrect: wrong diagnosis 2 and outdated knowledge 1.]
| wrong diagnosis | 2 | 66.7 % |
| outdated knowledge | 1 | 33.3 % |
privacy: CT 75.0 %, MRI 12.5 % and unknown 12.5 %; incorrect: CT 100.0 %.]
| CT | 1 | 3 | 2 | 75.0 % |
| MRI | 1 | 0 | 0 | 12.5 % |
| unknown | 1 | 0 | 0 | 12.5 % |
| forget | 3 | 2 | 1 | 2 |
| retain | 3 | 2 | 1 | 2 |
| test | 2 | 2 | 0 | 2 |
| none | 2 | 2 | 2 | 75.0 % |
| Organ | 1 | 1 | 0 | 25.0 % |
privacy: forget 4, forget, before 2, retain 2 and test 1.5; incorrect:
| forget | 3.3 | 4 | 5 | 4.3 | 4 | 6 |
| forget, before | 2.0 | 2 | 2 | 3.0 | 3 | 3 |
| retain | 4.0 | 2 | 9 | 3.0 | 3 | 3 |
| test | 1.5 | 1.5 | 2 | 2.0 | 2 | 3 |
| forget | 3 | 2 | 0 | 3 |
| retain | 1 | 1 | 0 | 1 |
| forget | 2.0 | 2 | 2 | 1.0 | 1 | 1 |
| forget, before | 1.3 | 1 | 2 | 1.0 | 1 | 1 |
| `privacy` | 3 | 2 | 1 | 1 |
| `incorrect` | 3 | 0 | 0 | 1 |
1 test row repeats an (image, question) pair of another set.
Of the 12 values of the 2 fictional patients, 1 occurs in a retain or test row.
All 2 fictional patients, including those of dropped candidates,
`privacy` has 3 / 3 / 2 rows, the paper 351 / 3,960 / 1,500.
the source does not state the modality of 1 row.
`privacy`: 2 forget rows are about an image that is also in `retain`,
"""


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
