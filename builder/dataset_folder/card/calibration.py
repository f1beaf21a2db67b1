"""What self-calibration did: ratings by group, and examples of each rating."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from builder.core.ratings import Rated
from builder.core.recipe import Calibration
from mllmu_med.files import stable_hash
from mllmu_med.markdown import code, plain

RATINGS: Final = (5, 4, 3, 2, 1)
EXAMPLES: Final = 3
_SHOWN: Final = 70  # characters of a text in an example


class Group(NamedTuple):
    """Candidates of one scenario and kind of harm, whose private text stands in one place."""

    scenario: str
    what: str  # placement for privacy, else the kind of harm
    ratings: dict[int, int]  # rating (0: none could be had) -> candidates
    kept: int
    dropped: int

    @property
    def mean(self) -> float | None:
        """The mean rating of those that have one."""
        rated = {rating: n for rating, n in self.ratings.items() if rating}
        count = sum(rated.values())
        return sum(rating * n for rating, n in rated.items()) / count if count else None


def groups(rated: Mapping[str, Sequence[Rated]]) -> list[Group]:
    """By scenario a group for each placement or kind of harm, then all of it together."""
    found = []
    for scenario, rows in rated.items():
        kinds: dict[str, list[Rated]] = {}
        for row in rows:
            kinds.setdefault(row.placement or row.harm, []).append(row)
        found += [_group(scenario, kind, some) for kind, some in sorted(kinds.items())]
        found.append(_group(scenario, "all", rows))
    return found


def _group(scenario: str, what: str, rows: Sequence[Rated]) -> Group:
    kept = sum(row.kept for row in rows)
    counts = dict(Counter(row.rating for row in rows))
    return Group(scenario, what, counts, kept, len(rows) - kept)


def table(
    rated: Mapping[str, Sequence[Rated]], totals: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Head and lines; a column for "none" only where a rating could not be had."""
    every = [group for group in groups(rated) if not totals or group.what == "all"]
    ratings = [*RATINGS, *([0] if any(group.ratings.get(0) for group in every) else [])]
    head = ["candidates rated", *(str(r) if r else "none" for r in ratings)]
    head += ["mean", "kept", "dropped"]
    lines = [
        [
            group.scenario if totals else f"{group.scenario}: {group.what.replace('_', ' ')}",
            *(f"{group.ratings.get(r, 0):,}" for r in ratings),
            "-" if group.mean is None else f"{group.mean:.2f}",
            f"{group.kept:,}",
            f"{group.dropped:,}",
        ]
        for group in every
    ]
    return head, lines


def examples(rows: Sequence[Rated]) -> list[Rated]:
    """Three of each rating, the highest first, by a hash of their ids."""
    found: list[Rated] = []
    for rating in (*RATINGS, 0):
        some = [row for row in rows if row.rating == rating]
        found += sorted(some, key=lambda row: stable_hash("example", row.id))[:EXAMPLES]
    return found


def short(text: str) -> str:
    """One line of at most 70 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 3].rstrip() + "..."


def described(how: Calibration, rater: str, given: Sequence[str]) -> str:
    """One paragraph on how it was done.

    Args:
        rater: the language models that rated, in Markdown, where any did.
        given: the scenarios whose answers were made elsewhere.
    """
    who = "the offline rater" if how.rater == "offline" else rater
    model = "a tiny LLaVA made for it" if how.model == "tiny" else code(how.model)
    adapted = f"An adapter of {model} was trained on candidates and retain set"
    if given:
        adapted += f" (on another machine for {' and '.join(given)})"
    return (
        f"{adapted}, and {who} rated its answer to each candidate from 1 to 5 by how close it is "
        f"to the candidate's own. The best were kept, none rated below {how.least}; of equals a "
        "hash decided. The others are in no set, nor are their clean rows."
    )


def card_lines(rated: Mapping[str, Sequence[Rated]], picture: str, how: str) -> list[str]:
    """The card's section, in Markdown; `picture`: the plot, as Markdown."""
    head, lines = table(rated)
    found = ["### Self-calibration", "", how, "", picture, ""]
    found += [_row(head), _row(["---", *["---:"] * (len(head) - 1)]), *map(_row, lines), ""]
    for scenario, rows in rated.items():
        found += [f"Examples of each rating, `{scenario}`:", ""]
        found += [_row(["rating", "id", "truth", "output"]), _row(["---"] * 4)]
        for row in examples(rows):
            texts = (plain(short(text)) or "(empty)" for text in (row.truth, row.output))
            found.append(_row([str(row.rating or "none"), code(row.id), *texts]))
        found.append("")
    return found


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
