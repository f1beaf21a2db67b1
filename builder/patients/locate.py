"""Where real patients' values, out of a corpus' own columns, stand in its texts (`own`).

A value is found word for word or as people write it otherwise: in another case, without accents,
with other spaces and marks between its letters and digits, a name with its last part first, a date
in any form that `eval.dates` reads. The span is what stands in the text.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from builder.core.stage_cache import Outcome
from builder.ingest.clean_rows import answer_type
from builder.patients.profiles import shown_in
from eval.dates import dates
from eval.private_values import name_of
from mllmu_med_dataset import PiiSpan, Record

VERSION: Final = 1
#: Shorter values stand in many a text by chance.
_LEAST: Final = 3

Values = Sequence[tuple[str, str]]


def locate(records: Sequence[Record]) -> Outcome:
    """Every record with the spans of its patient's values; candidates as rows to be forgotten.

    A patient's values are those of all its rows. The notes count what was found.
    """
    people: dict[str, set[tuple[str, str]]] = {}
    for record in records:
        people.setdefault(shown_in(record), set()).update(record.private)
    short = {
        pair
        for values in people.values()
        for pair in values
        if len("".join(_words(pair[1]))) < _LEAST
    }
    kept: list[Record] = []
    without = 0
    for record in records:
        pii = tuple(spans(record, sorted(people[shown_in(record)] - short)))
        record = replace(record, pii=pii, private=())
        if record.split == "candidate":
            without += not pii
            clean = record.clean_answer if record.clean_answer != record.answer else ""
            record = replace(
                record,
                harm="privacy",
                profile_id=shown_in(record),
                clean_question=record.question if clean else "",
                clean_answer=clean,
                answer_type=answer_type(clean or record.answer),
            )
        kept.append(record)
    notes = {
        "private values located": sum(len(record.pii) for record in kept),
        "rows to forget that hold no private value": without,
        "private values too short to look for": len(short),
    }
    return Outcome(kept, [], {what: count for what, count in notes.items() if count})


def spans(record: Record, values: Values) -> Iterator[PiiSpan]:
    """Where values stand in a record's question and answer, in order; of overlaps the longest."""
    for field in ("question", "answer"):
        text: str = getattr(record, field)
        places = {
            (start, end): kind
            for kind, value in values
            for start, end in _places(kind, value, text)
        }
        taken = 0
        for (start, end), kind in sorted(places.items(), key=lambda it: (it[0][0], -it[0][1])):
            if start >= taken:
                yield PiiSpan(field, kind, text[start:end], start, end)
                taken = end


def _places(kind: str, value: str, text: str) -> Iterator[tuple[int, int]]:
    if kind == "date":
        days = {day for written in dates(value) for day in written.days}
        for written in dates(text):
            if days & written.days:
                yield written.start, written.start + len(written.text)
    folded, origin = _folded(text)
    for form in _forms(kind, value):
        for match in re.finditer(form, folded):
            yield origin[match.start()], origin[match.end() - 1] + 1


def _forms(kind: str, value: str) -> Iterator[str]:
    """Patterns of a value: its letters and digits, whatever stands between them."""
    words = _words(_folded(value)[0])
    if kind == "name":  # with or without its title
        bare = set(name_of(value).split())
        words = [word for word in words if word in bare] or words
    orders = [words]
    if kind == "name" and len(words) > 1:
        orders += [[words[-1], *words[:-1]], [*words[1:], words[0]]]
    for order in orders:
        if any(order):
            gap = r"[\W_]{1,3}" if kind == "name" else r"[\W_]{0,3}"
            yield rf"(?<!\w){gap.join(map(re.escape, order))}(?!\w)"


def _words(folded: str) -> list[str]:
    return re.findall(r"[^\W_]+", folded)


def _folded(text: str) -> tuple[str, list[int]]:
    """A text in small letters without accents, and where each of its characters comes from."""
    folded: list[str] = []
    origin: list[int] = []
    for place, letter in enumerate(text):
        for part in unicodedata.normalize("NFKD", letter.casefold()):
            if not unicodedata.combining(part):
                folded.append(part)
                origin.append(place)
    return "".join(folded), origin
