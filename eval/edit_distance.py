"""Values that are nearly in a text: a few characters, or one digit of a number, are others."""

from __future__ import annotations

import bisect
import functools
import itertools
import re
from collections import Counter
from typing import Final

#: Share of a value's characters that may differ for it to count as nearly there: our choice.
SLACK: Final = 0.15
_WORD: Final = re.compile(r"[\w+-]+")


@functools.lru_cache(maxsize=2**10)
def one_digit_off(digits: str) -> frozenset[str]:
    """Every number of as many digits with one of them changed: a lost one makes another number."""
    return frozenset(
        f"{digits[:at]}{other}{digits[at + 1 :]}"
        for at, digit in enumerate(digits)
        for other in "0123456789"
        if other != digit
    )


def slack(value: str) -> int:
    """How many of a value's characters may differ."""
    return int(len(value) * SLACK)


def cuts(value: str, errors: int) -> list[tuple[int, int]]:
    """Where to cut a value into k + 1 pieces: with k errors one of them is whole."""
    places = [len(value) * i // (errors + 1) for i in range(errors + 2)]
    return list(itertools.pairwise(places))


def nearly(value: str, text: str, errors: int) -> bool:
    """Whether whole words of `text` are `value` but for so many edits of a character."""
    if not value or len(value) <= errors:
        return False
    pieces = [value[a:b] for a, b in cuts(value, errors)]  # and at most k characters are lost
    has = Counter(value).items()

    def may(part: str) -> bool:
        if not any(piece in part for piece in pieces):
            return False
        return sum(max(0, count - part.count(character)) for character, count in has) <= errors

    if not may(text):
        return False
    words = [match.span() for match in _WORD.finditer(text)]
    ends = [end for _, end in words]
    for start, _ in words:
        least = bisect.bisect_left(ends, start + len(value) - errors)
        most = bisect.bisect_right(ends, start + len(value) + errors)
        for end in ends[least:most]:
            part = text[start:end]
            if may(part) and _distance(value, part) <= errors:
                return True
    return False


def _distance(text: str, other: str) -> int:
    """How many characters have to be changed, lost or added (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, expected in enumerate(text, 1):
        before, row[0] = row[0], i
        for j, character in enumerate(other, 1):
            cost = min(before + (character != expected), row[j] + 1, row[j - 1] + 1)
            before, row[j] = row[j], cost
    return row[-1]
