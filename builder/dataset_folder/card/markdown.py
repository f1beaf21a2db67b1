"""Small pieces of Markdown and English that the dataset's card is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """A head and its rows, every cell a text; the first column holds names, the others numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def lines(self, left: int = 1) -> list[str]:
        """The table in Markdown with an empty line behind it; `left` columns hold text."""
        rule = ["---" if index < left else "---:" for index in range(len(self.head))]
        return [_row(self.head), _row(rule), *map(_row, self.rows), ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(words: Iterable[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end


def share(part: int, whole: int) -> str:
    """`25.0 %`; `-` of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def megabytes(size: int) -> str:
    """`42.6 MB`, with a second digit where one would be 0."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e6:.2f} MB"
