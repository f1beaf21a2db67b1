"""Which words of a clean and a harmful text differ, for the marks of the review page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

#: A word or number with its accents, apostrophes and hyphens, or a single sign.
_WORD: Final = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+(?:['’.\-][^\W_]+)*|\S")
#: Under this share of common words, marking single ones only disturbs.
_REWRITTEN: Final = 0.25


class WordMarks(NamedTuple):
    """Where words stand that only one of two texts has: (start, end) in characters."""

    rewritten: bool  # hardly a word in common: both texts are marked as a whole
    removed: list[tuple[int, int]]  # in the clean text
    added: list[tuple[int, int]]  # in the harmful text


def word_marks(clean: str, harmful: str) -> WordMarks:
    sides = [list(_WORD.finditer(text)) for text in (clean, harmful)]
    before, after = ([match[0] for match in side] for side in sides)
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    common = sum(
        word[0].isalnum()
        for block in matcher.get_matching_blocks()
        for word in before[block.a : block.a + block.size]
    )
    count = sum(word[0].isalnum() for word in (*before, *after))
    rewritten = clean != harmful and 2 * common < _REWRITTEN * count
    changes = [code[1:] for code in matcher.get_opcodes() if code[0] != "equal"]
    if rewritten:
        changes = [(0, len(before), 0, len(after))]
    removed = _ranges(clean, sides[0], (change[:2] for change in changes))
    added = _ranges(harmful, sides[1], (change[2:] for change in changes))
    return WordMarks(rewritten, removed, added)


def _ranges(
    text: str, words: Sequence[re.Match[str]], changes: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Changed words as places in the text; those with only signs between them are one."""
    ranges: list[tuple[int, int]] = []
    for first, last in changes:
        if first == last:
            continue
        start, end = words[first].start(), words[last - 1].end()
        if ranges and not any(char.isalnum() for char in text[ranges[-1][1] : start]):
            start = ranges.pop()[0]
        ranges.append((start, end))
    return ranges
