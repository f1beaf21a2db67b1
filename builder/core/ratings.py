"""How a candidate was rated by self-calibration, as the stage writes it and others read it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from builder.core.stage_cache import Chain
from mllmu_med.files import read_jsonl, stable_hash

RATINGS: Final = "ratings.jsonl"  # in the stage's folder
_BEST_FIRST: Final = (5, 4, 3, 2, 1)
_EXAMPLES: Final = 3  # of each rating
_SHOWN: Final = 70  # characters of a text in an example


@dataclass(frozen=True, slots=True)
class Rated:
    """A candidate with the adapted model's output, how it was rated, and whether it is kept.

    placement: where its private values stand (`question`, `answer`, `both`); empty without any.
    output, reason: as the model wrote them, without numbers and addresses that could be somebody's;
        what is compared and rated is the whole output.
    rating: 1-5; 0 where no rating could be had.
    """

    id: str
    harm: str
    placement: str
    question: str
    truth: str
    output: str
    rouge_l: float
    values: int
    back: int
    rating: int
    reason: str
    kept: bool


def read_ratings(chain: Chain) -> list[Rated]:
    """What the stage has rated, in the order of the ids."""
    return [Rated(**row) for row in read_jsonl(chain.folder / "calibrate" / RATINGS)]


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
    every = []
    for scenario, rows in rated.items():
        kinds: dict[str, list[Rated]] = {}
        for row in rows:
            kinds.setdefault(row.placement or row.harm, []).append(row)
        every += [_group(scenario, kind, alike) for kind, alike in sorted(kinds.items())]
        every.append(_group(scenario, "all", rows))
    return every


def _group(scenario: str, what: str, rows: Sequence[Rated]) -> Group:
    kept = sum(row.kept for row in rows)
    counts = dict(Counter(row.rating for row in rows))
    return Group(scenario, what, counts, kept, len(rows) - kept)


def table(
    rated: Mapping[str, Sequence[Rated]], totals: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Head and lines; a column for "none" only where a rating could not be had."""
    every = [group for group in groups(rated) if not totals or group.what == "all"]
    ratings = [*_BEST_FIRST, *([0] if any(group.ratings.get(0) for group in every) else [])]
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
    chosen: list[Rated] = []
    for rating in (*_BEST_FIRST, 0):
        rated = [row for row in rows if row.rating == rating]
        chosen += sorted(rated, key=lambda row: stable_hash("example", row.id))[:_EXAMPLES]
    return chosen


def short(text: str) -> str:
    """One line of at most 70 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 3].rstrip() + "..."
