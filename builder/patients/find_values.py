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
from typing import Final, NamedTuple

from eval.nearly import nearly, one_digit_off, slack
from eval.private_values import View, identifiers, level, local_of, name_of

_RECORD: Final = re.compile(r"\b(?:mrn|record|patient|chart)\b")
_EPONYM: Final = re.compile(
    r"(?:\w+ ){1,4}"
    r"(?:syndrome|disease|disorder|sign|phenomenon|reaction|lymphoma|sarcoma|tumou?r)\b"
)


class Hit(NamedTuple):
    """A text that gives away a value, and at which of `eval.private_values.LEVELS`."""

    text: int  # its place in the list that was searched
    level: str
    by_chance: bool = False


class Haystack:
    """Distinct texts, to be searched for many values."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.views = [View(text) for text in texts]
        self._text = _Joined(texts)
        self._words = _Joined([view.words for view in self.views])
        self._with_word: dict[str, set[int]] = defaultdict(set)
        self._address = _Joined([view.address for view in self.views])
        self._email = _Joined([view.email for view in self.views])
        self._days: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._numbers: dict[str, set[int]] = defaultdict(set)
        for index, view in enumerate(self.views):
            for day in view.days:
                self._days[day.month, day.day].add(index)
            for word in f"{view.words}{view.address}{view.spelled.words}".split():
                self._with_word[word].add(index)
            for number in view.numbers:
                self._numbers[number].add(index)

    def search(self, kind: str, value: str, fuzzy: bool = True) -> list[Hit]:
        """Every text that gives the value away."""
        may = set(self._text.find(value)) | set(self._may(kind, View(value), fuzzy))
        hits = []
        for index in sorted(may):
            view = self.views[index]
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
            yield from self._with_words(street)
            if fuzzy:
                yield from self._address.near(own.address.strip())
        else:
            name = name_of(own.text)
            for form in (name, name_of(own.spelled.text)):
                yield from self._with_words(form)  # in any order, whatever stands between
            if fuzzy:
                yield from self._words.near(name)

    def _with_words(self, words: str) -> set[int]:
        """The texts that hold all of these words."""
        holders = [self._with_word.get(word, set()) for word in words.split()]
        return set.intersection(*holders) if holders else set()


def _by_chance(kind: str, value: str, view: View) -> bool:
    if kind == "mrn":
        return not _RECORD.search(view.words)
    if kind == "name":
        return not level(kind, value, View(_EPONYM.sub(" ", view.words)))
    return kind == "date"


class _Joined:
    """Texts in one string, a line break between any two, and where each begins."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._whole = "\n".join(texts)
        self._starts = [0, *itertools.accumulate(len(text) + 1 for text in texts)]
        self._grams = set(_grams(self._whole))

    def find(self, part: str) -> Iterator[int]:
        """The texts that hold a string, once each time they do."""
        return (self._at(place) for place in self._places(part)) if part else iter(())

    def near(self, value: str) -> Iterator[int]:
        """At least the texts of which some part is `value` but for `SLACK` of its characters."""
        errors = slack(value)
        # With k errors one of k + 1 pieces is whole, and the rest stands around it.
        cuts = [len(value) * i // (errors + 1) for i in range(errors + 2)]
        seen: set[str] = set()
        for start, end in itertools.pairwise(cuts):
            piece = value[start:end]
            if piece in seen:  # it would find the same places, but look too far to one side
                yield from (self._at(place) for place in self._places(piece))
                continue
            seen.add(piece)
            for place in self._places(piece):
                begin = max(0, place - start - errors)
                if nearly(value, self._whole[begin : place - start + len(value) + errors], errors):
                    yield self._at(place)

    def _places(self, part: str) -> Iterator[int]:
        if not self._grams.issuperset(_grams(part)):  # most searches end here, unsearched
            return
        place = self._whole.find(part) if part else -1
        while place >= 0:
            yield place
            place = self._whole.find(part, place + 1)

    def _at(self, place: int) -> int:
        return bisect.bisect_right(self._starts, place) - 1


def _grams(text: str) -> Iterator[str]:
    """Every run of four characters."""
    return map("".join, zip(text, text[1:], text[2:], text[3:], strict=False))
