"""Values that are nearly in a text: a few characters, or one digit of a number, are others."""

import functools
import re
from bisect import bisect_left, bisect_right
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
        if digit.isdecimal() and other != digit
    )


def slack(value: str) -> int:
    """How many of a value's characters may differ."""
    return int(len(value) * SLACK)


def nearly(value: str, text: str, errors: int) -> bool:
    """Whether whole words of `text` are `value` but for so many edits of a character."""
    from rapidfuzz import process
    from rapidfuzz.distance import Levenshtein

    if not value or len(value) <= errors:
        return False
    words = [match.span() for match in _WORD.finditer(text)]
    ends = [end for _, end in words]
    shortest, longest = len(value) - errors, len(value) + errors
    parts = (
        text[start:end]
        for start, _ in words
        for end in ends[bisect_left(ends, start + shortest) : bisect_right(ends, start + longest)]
    )
    near = process.extractOne(value, parts, scorer=Levenshtein.distance, score_cutoff=errors)
    return near is not None
