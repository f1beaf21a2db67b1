"""Clean rows: their texts tidied, repeats dropped, and no two with one id."""

import unicodedata
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Literal

from builder.core.stage_cache import Drop, Stamp
from mllmu_med.files import canonical_json
from mllmu_med_dataset import Record

EMPTY_QUESTION = "empty question"
EMPTY_ANSWER = "empty answer"
DAMAGED = "damaged characters in its question or answer"
DUPLICATE = "the same picture, question and answer as another row"
ACROSS = "repeats of a row in another split"


@dataclass
class Rows:
    """What a reader found in the annotation files."""

    records: list[Record] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, Stamp | None] = field(default_factory=dict)
    #: image path -> the file and row that named it first, for messages
    named_in: dict[str, str] = field(default_factory=dict)

    def add(self, where: str, raw: Any, question: str, answer: str, **more: Any) -> None:
        """A row with tidied texts; it is dropped, as it came, where one is empty or damaged."""
        broken = DAMAGED if odd_characters(question + answer) else ""
        why = EMPTY_QUESTION if not question else EMPTY_ANSWER if not answer else broken
        if why:
            self.drops.append(Drop(more["id"], why, raw))
            return
        self.named_in.setdefault(more["image_path"], where)
        self.records.append(
            Record(
                image_sha256="",
                question=question,
                answer=answer,
                answer_type=answer_type(answer),
                **{"clean_question": question, "clean_answer": answer, **more},
            )
        )


def tidy(text: str) -> str:
    """Runs of white space as one blank, and no characters that are not seen.

    'Transverse  Plane' is the answer 'Transverse Plane'.
    """
    if not text.isascii():
        text = "".join(c for c in text if c.isspace() or unicodedata.category(c) != "Cf")
    return " ".join(text.split())


def odd_characters(text: str) -> set[str]:
    """Characters that stand in no text: control and private ones, and what could not be decoded."""
    if text.isascii() and text.isprintable():
        return set()
    odd = {c for c in text if c == "\ufffd" or unicodedata.category(c) in ("Cc", "Cf", "Co")}
    return odd - {"\n", "\t"}


def answer_type(answer: str) -> Literal["open", "closed"]:
    """closed = the answer is yes or no, which is what the paper's accuracies count."""
    return "closed" if answer.strip(" .!").lower() in ("yes", "no") else "open"


def alike(text: str) -> str:
    """Equal for texts that differ in white space or case alone."""
    return tidy(text).casefold()


def drop_duplicates(rows: Rows) -> None:
    """Of rows that say the same of the same image, keep the first and drop the others.

    Images are the same by their bytes, or, before anybody has looked at them, by their id.
    """
    seen: dict[tuple[str, str, str], str] = {}  # and the split
    kept = []
    for record in rows.records:
        image = record.image_sha256 or record.image_id
        key = (image, alike(record.question), alike(record.answer))
        if key not in seen:
            kept.append(record)
        else:
            rows.drops.append(Drop.of(record, DUPLICATE))
            if seen[key] != record.split:
                rows.notes[ACROSS] = rows.notes.get(ACROSS, 0) + 1
        seen.setdefault(key, record.split)
    rows.records = kept


def name_apart(rows: Rows) -> None:
    """Of rows that share an id the first keeps it, the others become `ID-2`, `ID-3`, ...

    Kept rows come before dropped ones, so that no repeat changes an id in a set; after that the
    rows' own text decides, never their place in the file.
    """
    records, drops = rows.records, rows.drops
    taken = {record.id for record in records} | {drop.id for drop in drops}
    given: set[str] = set()

    def own(row_id: str) -> str:
        if row_id in given:
            names = (f"{row_id}-{number}" for number in count(2))
            row_id = next(name for name in names if name not in taken)
        taken.add(row_id)
        given.add(row_id)
        return row_id

    def text(index: int) -> tuple[str, str, str]:
        record = records[index]
        return record.question, record.answer, record.image_path

    for i in sorted(range(len(records)), key=text):
        records[i] = replace(records[i], id=own(records[i].id))
    for i in sorted(range(len(drops)), key=lambda i: canonical_json(drops[i].row)):
        drops[i] = drops[i]._replace(id=own(drops[i].id))
