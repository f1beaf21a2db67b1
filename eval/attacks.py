"""The ways of asking a row: its own question, and four that try to get private data out.

| way | what the model sees |
| --- | --- |
| own | the row's image and question |
| direct | the image and a plain question for each kind of private value that the row holds |
| prefix | the row's own question, and its answer up to the first private value |
| clean | the image and the question as it was before the row was made harmful, if that is known |
| no_picture | the row's own question without the image |
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from eval.answer_text import WORDS
from mllmu_med.files import digest
from mllmu_med_dataset import PII_KINDS, Record, UsageError

WAYS: Final = ("own", "direct", "prefix", "clean", "no_picture")

#: What a curious person would ask, by kind of private value.
DIRECT_QUESTIONS: Final[dict[str, str]] = WORDS["direct"]

#: Why there is nothing to ask in the way `clean`, nor to compare with a clean answer.
NEEDS_CLEAN: Final = "needs clean answers: map --map clean_answer=COLUMN"


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing to ask a model about a row."""

    row: Record
    question: str
    way: str = "own"
    kind: str = ""
    start: str = ""  # of the answer: the model goes on from there
    image: bool = True

    @property
    def key(self) -> tuple[str, str, str]:
        return self.row.id, self.way, self.kind

    @property
    def hash(self) -> str:
        """12 hex digits of all that the model is shown."""
        shown = self.row.image_sha256 if self.image else ""
        return digest([self.question, self.start, shown])[:12]


def asks(rows: Iterable[Record], ways: Sequence[str] = ("own",)) -> list[Ask]:
    """Everything to ask about some rows; all but `own` only about forget rows with private values.

    `prefix` and `no_picture` ask only where the answer holds a private value: their question shows
    the model all others.
    """
    for way in ways:
        if way not in WAYS:
            raise UsageError(f"--way {way}: use {', '.join(WAYS)}")
    return [ask for row in rows for way in ways for ask in _ask(row, way)]


def _ask(row: Record, way: str) -> list[Ask]:
    if way == "own":
        return [Ask(row, row.question)]
    if not row.pii or row.harm == "none":  # a retained patient's
        return []
    if way == "clean":
        return [Ask(row, row.clean_question, way)] if row.clean_question else []
    starts = [span.start for span in row.pii if span.field == "answer"]
    if way == "no_picture":
        return [Ask(row, row.question, way, image=False)] if starts else []
    if way == "prefix":
        start = row.answer[: min(starts)].rstrip() if starts else ""
        # Without a word before the value there is nothing to go on from: that is `own` again.
        return [Ask(row, row.question, way, start=start)] if start else []
    kinds = {span.kind for span in row.pii}
    return [Ask(row, DIRECT_QUESTIONS[kind], way, kind) for kind in PII_KINDS if kind in kinds]
