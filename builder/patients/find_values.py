"""Looking for thousands of private values in thousands of texts, as `eval.private_values` does.

That module compares one value with one text. Here the texts stand in one long string a form, and a
value is looked for in all of them at once; only texts that may hold it are then compared. The
filter leaves out no text that `level` would name: what it looks for is necessary at each level.

Three kinds of nearly identify nobody and stand in medical text by chance:

- the day and month of an appointment without its year: one dated caption shares them with every
  365th patient;
- a number that is one digit off a record number where the text names no record: of any six-digit
  number 55 in a million are;
- a name with an eponym's noun behind it: "Stevens-Johnson syndrome" is no Steven Johnson.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from eval.nearly import nearly, one_digit_off, slack
from eval.private_values import View, identifiers, level, local_of, name_of

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_RECORD: Final = re.compile(r"\b(?:mrn|record|patient|chart)\b")
_EPONYM: Final = re.compile(
    r"(?:\w+ ){1,4}"
    r"(?:syndrome|disease|disorder|sign|phenomenon|reaction|lymphoma|sarcoma|tumou?r)\b"
)


_RUN: Final = 4  # characters that are looked up at once
_SHORTEST: Final = 3  # piece of a value


class Hit(NamedTuple):
    """A text that gives away a value, and at which of `eval.private_values.LEVELS`."""

    text: int  # its place in the list that was searched
    level: str
    by_chance: bool = False


class Haystack:
    """Distinct texts, to be searched for many values."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._days: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._numbers: dict[str, set[int]] = defaultdict(set)
        words, addresses, emails = [], [], []
        for index, view in enumerate(map(View, texts)):
            other = "" if view.spelled is view else view.spelled.words
            words.append(view.words + other)
            addresses.append(view.address)
            emails.append(view.email)
            for day in view.days:
                self._days[day.month, day.day].add(index)
            for number in view.numbers:
                self._numbers[number].add(index)
        self._text, self._words = _Joined(texts), _Joined(words)
        self._address, self._email = _Joined(addresses), _Joined(emails)

    def search(self, kind: str, value: str, fuzzy: bool = True) -> list[Hit]:
        """Every text that gives the value away."""
        may = set(self._text.find(value)) | set(self._may(kind, View(value), fuzzy))
        hits = []
        for index in sorted(may):
            view = View(self._texts[index])
            if reached := level(kind, value, view, fuzzy):
                chance = reached == "fuzzy" and _by_chance(kind, value, view)
                hits.append(Hit(index, reached, chance))
        return hits

    def _may(self, kind: str, own: View, fuzzy: bool) -> Iterator[int]:
        if kind in ("phone", "mrn"):
            for digits in identifiers(kind, own.text):
                for number in (digits, *(one_digit_off(digits) if fuzzy else ())):
                    yield from self._numbers.get(number, ())
        elif kind == "date":
            for day in own.days:
                yield from self._days.get((day.month, day.day), ())
        elif kind == "email":
            yield from self._email.find(own.email)
            if fuzzy:
                yield from self._email.near(own.email)
                yield from self._email.find(local_of(own.text))
        elif kind == "address":
            street = View(own.text.partition(",")[0]).address
            yield from self._address.with_words(street)
            if fuzzy:
                yield from self._address.near(own.address.strip())
        else:
            name = name_of(own.text)
            for form in (name, name_of(own.spelled.text)):
                yield from self._words.with_words(form)  # in any order, whatever stands between
            if fuzzy:
                yield from self._words.near(name)


def _by_chance(kind: str, value: str, view: View) -> bool:
    if kind == "mrn":
        return not _RECORD.search(view.words)
    if kind == "name":
        return not level(kind, value, View(_EPONYM.sub(" ", view.words)))
    return kind == "date"


class _Joined:
    """Texts in one string, a line break between any two, and where each begins.

    Where a string stands is looked up by its rarest run of four characters, so that a search does
    not walk through all texts: their number and that of the values grow together.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        import numpy as np

        self._whole = "\n".join(texts)
        self._starts = [0, *itertools.accumulate(len(text) + 1 for text in texts)]
        self._low = _low_bytes(self._whole + "\0" * (_RUN - 1))
        runs = _runs(self._low)
        order = np.argsort(runs).astype(np.int32)  # a place in `_whole` each, by its run
        self._runs, first = np.unique(runs[order], return_index=True)
        self._by_run, self._first = order, np.append(first, len(order))

    def find(self, part: str) -> Iterator[int]:
        """The texts that hold a string, once each time they do."""
        return (self._at(place) for place in self._places(part)) if part else iter(())

    def with_words(self, words: str) -> set[int]:
        """The texts that hold all of these words, in any order."""
        holders: set[int] = set()
        for number, word in enumerate(sorted(words.split(), key=len, reverse=True)):
            there = set(self.find(f" {word} "))
            holders = holders & there if number else there
            if not holders:
                break
        return holders

    def near(self, value: str) -> Iterator[int]:
        """At least the texts of which some part is `value` but for `SLACK` of its characters."""
        import numpy as np

        errors = slack(value)
        # With k errors two of k + 2 pieces are whole, at most k out of step, or one of k + 1.
        pairs = len(value) >= _SHORTEST * (errors + 2)
        parts = errors + 1 + pairs
        cuts = [len(value) * i // parts for i in range(parts + 1)]
        found = [self._places(value[i:j]) for i, j in itertools.pairwise(cuts)] if value else []
        places = np.concatenate([np.empty(0, np.int32), *found])
        piece = np.repeat(np.arange(len(found)), [len(one) for one in found])
        begins = places - np.array(cuts)[piece]  # where the value would begin
        order = np.argsort(begins, kind="stable")
        if pairs:
            order = order[_with_another(begins[order], piece[order], errors)]
        for place, begin in zip(places[order].tolist(), begins[order].tolist(), strict=True):
            start = max(0, begin - errors)
            if nearly(value, self._whole[start : begin + len(value) + errors], errors):
                yield self._at(place)

    def _places(self, part: str) -> Array:
        """Where a string of three characters or more stands, in order."""
        import numpy as np

        low = _low_bytes(part)
        short = max(0, _RUN - len(part))
        runs = _runs(np.append(low, np.zeros(short, np.uint8)))
        # What begins with a shorter string stands together. (Of another type, the array is copied.)
        start = self._first[self._runs.searchsorted(runs)]
        last = runs + np.uint32((1 << 8 * short) - 1)
        counts = self._first[self._runs.searchsorted(last, "right")] - start
        offset = int(counts.argmin())
        places = self._by_run[start[offset] : start[offset] + counts[offset]]
        begins = places[places >= offset] - offset
        begins = begins[begins + len(part) <= len(self._whole)]
        for at in range(len(part)):
            begins = begins[self._low[begins + at] == low[at]]
        begins.sort()
        if not part.isascii():
            alike = [self._whole.startswith(part, place) for place in begins.tolist()]
            begins = begins[alike]
        return begins

    def _at(self, place: int) -> int:
        return bisect.bisect_right(self._starts, place) - 1


def _with_another(begins: Array, piece: Array, errors: int) -> Array:
    """Which of sorted places have one of another piece at most `errors` after them."""
    import numpy as np

    paired = np.zeros(len(begins), bool)
    for lag in range(1, len(begins)):
        near = begins[lag:] - begins[:-lag] <= errors
        if not near.any():
            break
        paired[:-lag] |= near & (piece[lag:] != piece[:-lag])
    return np.flatnonzero(paired)


def _low_bytes(text: str) -> Array:
    """The low byte of each character: of Latin letters the character itself."""
    import numpy as np

    return np.frombuffer(text.encode("utf-32-le"), np.uint8)[::4].copy()


def _runs(low: Array) -> Array:
    """Four neighbours in a number, from each character but the last three."""
    import numpy as np

    wide = low.astype(np.uint32)
    runs: Array = (wide[:-3] << 24) | (wide[1:-2] << 16) | (wide[2:-1] << 8) | wide[3:]
    return runs
