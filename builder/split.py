"""Cutting the sets: the forget order with its nested ratios and rounds, retain and test."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from builder.core.recipe import Scenario
from builder.core.stage_cache import Drop
from builder.draw import cut_groups
from mllmu_med_dataset import Record, UserError

VERSION: Final = 2
ROUNDS: Final = 3  # "we divide the forget set into three parts equally and make them arrive
#                     sequentially, along with the whole retain set each time"

SPARE = "spare: more sound candidates than the recipe keeps"
NOT_RETAINED = "spare: more clean rows than the recipe retains"
GROUP_SPLIT = "its image or patient is in the next smaller forget set (see split_by)"


class Band(NamedTuple):
    """Forget ranks `start` to `end`: what a ratio adds to the next smaller one."""

    name: str  # "05-10", or "" when there is no ratio study
    start: int
    end: int


def bands(scenario: Scenario) -> list[Band]:
    """The forget order cut at each ratio; one band without a name when only the main one is cut."""
    if len(scenario.ratios) == 1:
        return [Band("", 0, scenario.forget)]
    edges = [0, *scenario.ratios]
    sizes = [0, *(scenario.forget_at(ratio) for ratio in scenario.ratios)]
    return [
        Band(f"{edges[i]:02d}-{edges[i + 1]:02d}", sizes[i], sizes[i + 1])
        for i in range(len(scenario.ratios))
    ]


def split(records: Sequence[Record], scenario: Scenario, name: str) -> Iterator[Record | Drop]:
    """Set `split`, the final `rank` and the `round`.

    Harmful candidates fill the forget order by rank up to the largest ratio (too few are a
    UserError); the rest are dropped and their clean rows go back to no set. As many retain rows as
    the recipe keeps follow in rank.
    """
    sound = sorted(
        (record for record in records if record.split == "candidate"), key=lambda row: row.rank
    )
    forget, dropped = forget_order(sound, scenario)
    if len(forget) < scenario.harmful:
        raise UserError(
            f"{name}: the recipe keeps {scenario.harmful:,} harmful rows, only {len(forget):,} of "
            f"{scenario.candidates_needed:,} candidates are sound: raise {name}.candidates, or "
            f"lower {name}.forget or {name}.ratios"
        )
    for rank, record in enumerate(forget):
        in_round = rank * ROUNDS // scenario.forget + 1 if rank < scenario.forget else 0
        yield replace(record, split="forget", rank=rank, round=in_round)
    retain = sorted(
        (record for record in records if record.split == "retain"), key=lambda row: row.rank
    )
    for rank, record in enumerate(retain[: scenario.retain_core], scenario.harmful):
        yield replace(record, rank=rank)
    yield from (Drop.of(record, NOT_RETAINED) for record in retain[scenario.retain_core :])
    yield from (record for record in records if record.split == "test")
    yield from dropped


def forget_order(sound: list[Record], scenario: Scenario) -> tuple[list[Record], list[Drop]]:
    """Of candidates in the order of their ranks, those of the forget sets, and the rest."""
    if scenario.split_by == "pair":
        spare = [Drop.of(record, SPARE) for record in sound[scenario.harmful :]]
        return sound[: scenario.harmful], spare
    # No image (or patient) on both sides of any ratio's edge: what is left of it is dropped.
    edges = {band.end for band in bands(scenario)}
    group_of = {r.id: name for name, rows in cut_groups(sound, scenario).items() for r in rows}
    forget: list[Record] = []
    dropped: list[Drop] = []
    cut = ""
    for record in sound:
        if group_of[record.id] == cut:
            dropped.append(Drop.of(record, GROUP_SPLIT))
        elif len(forget) == scenario.harmful:
            dropped.append(Drop.of(record, SPARE))
        else:
            forget.append(record)
            if len(forget) in edges:
                cut = group_of[record.id]
    return forget, dropped
