"""Looking for thousands of private values in thousands of texts, as `eval.private_values` does.

That module compares one value with one text. Here an index of each form of the texts says which may
hold a value, and only these are then compared. It leaves out no text that `level` would name: what
it looks for is necessary at each level.

Three kinds of nearly identify nobody and stand in medical text by chance:

- the day and month of an appointment without its year: one dated caption shares them with every
  365th patient;
- a number that is one digit off a record number where the text names no record: of any six-digit
  number 55 in a million are;
- a name with an eponym's noun behind it: "Stevens-Johnson syndrome" is no Steven Johnson.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from eval.nearly import nearly, one_digit_off, slack
from eval.private_values import View, identifiers, level, local_of, name_of

_RECORD: Final = re.compile(r"\b(?:mrn|record|patient|chart)\b")
_EPONYM: Final = re.compile(
    r"\b(?:\w+ ){1,4}"
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
        self._text, self._words = _Index(texts), _Index(words)
        self._address, self._email = _Index(addresses), _Index(emails)

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


class _Index:
    """Which texts hold a string: looked up by its runs of three characters."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._holding: dict[str, list[int]] = defaultdict(list)
        for index, text in enumerate(texts):
            for run in _runs(text):
                self._holding[run].append(index)

    def find(self, part: str) -> set[int]:
        """The texts that hold a string."""
        runs = _runs(part)
        if not runs:
            return {i for i, text in enumerate(self._texts) if part and part in text}
        rarest = min((self._holding.get(run, []) for run in runs), key=len)
        return {index for index in rarest if part in self._texts[index]}

    def with_words(self, words: str) -> set[int]:
        """The texts that hold all of these words, in any order."""
        holders = [self.find(f" {word} ") for word in words.split()]
        return set.intersection(*holders) if holders else set()

    def near(self, value: str) -> set[int]:
        """The texts of which some part is `value` but for `SLACK` of its characters."""
        errors = slack(value)
        # Of one piece more than errors, one is whole.
        cuts = [len(value) * i // (errors + 1) for i in range(errors + 2)]
        may = set[int]().union(*(self.find(value[i:j]) for i, j in itertools.pairwise(cuts)))
        return {index for index in may if nearly(value, self._texts[index], errors)}


def _runs(text: str) -> set[str]:
    return {text[at : at + 3] for at in range(len(text) - 2)}
