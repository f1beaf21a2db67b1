"""The paper's two studies: deletion requests that arrive in rounds, and forget sets of other sizes.

OUT/base  OUT/finetune  OUT/retrain   as in a run; the retrained model has seen no forget row at all
OUT/round-1/ga  OUT/round-2/ga ...    each on the last round's model, measured on all rows
OUT/r05  OUT/r10 ...                  of ratios: a whole run each, of one base model

The same command goes on after a kill: every part ends with `done.json`. What is shown of them is
made in `eval.studies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.adapters import Start
from baselines.run import Part
from baselines.run_parts import do_all, run_all, run_seeds
from baselines.train import check_goes_on
from eval.studies import Point
from mllmu_med_dataset import Record, UsageError, UserError

if TYPE_CHECKING:
    from baselines.measure import Data
    from baselines.recipe import Recipe
    from baselines.run import Stack


def cut(forget: Sequence[Record], rounds: int) -> list[tuple[str, ...]]:
    """The ids of each round's forget rows: by their `round` where there are as many, else by rank.

    Raises:
        UserError: a round would have no open question, which ROUGE-1 needs.
        UsageError: fewer than two rounds.
    """
    if rounds < 2:
        raise UsageError(f"--rounds {rounds}: give 2 or more")
    ranked = sorted(forget, key=lambda row: (row.rank, row.id))
    own = {row.id: row.round for row in forget}
    if {*own.values()} != {*range(1, rounds + 1)}:
        own = {row.id: i * rounds // len(ranked) + 1 for i, row in enumerate(ranked)}
    cuts = [[row for row in ranked if own[row.id] == k + 1] for k in range(rounds)]
    for k, rows in enumerate(cuts, 1):
        if all(row.answer_type == "closed" for row in rows):
            raise UserError(
                f"round {k} of {rounds} has no open question, which ROUGE-1 needs: take fewer "
                "rounds, or build a larger dataset"
            )
    return [tuple(row.id for row in rows) for rows in cuts]


def sequential(
    recipe: Recipe,
    data: Data,
    stack: Stack,
    out: Path,
    methods: Sequence[str],
    rounds: Sequence[tuple[str, ...]],
    reference: str = "previous",
    seeds: Sequence[int] = (),
    jobs: int = 1,
) -> list[Point]:
    """Unlearn round after round, with each method and each seed; the rounds as points.

    rounds: the ids of each one's forget rows; the whole retain set goes with each.
    """
    check_goes_on({name: recipe.known[name] for name in methods})
    base, finetuned, retrained = run_all(recipe, data, stack, out, [], jobs=jobs)
    points = []
    for k, ids in enumerate(rounds, 1):
        calls = []
        for seed in seeds or (None,):
            place = out / f"seed-{seed}" if seed in seeds[1:] else out
            own = recipe if seed is None else recipe.seeded(seed, learning=False)
            for name in methods:
                below = place / f"round-{k - 1}" / name / "adapter"
                start = Start(below, reference) if k > 1 else None
                folder = place / f"round-{k}" / name
                part = Part(name, folder, (finetuned / "adapter",), None, start, ids)
                calls.append((part, own))
        for _ in do_all(calls, data, stack, jobs=jobs):
            pass
        folders = [base, finetuned, *(part.folder for part, _ in calls), retrained]
        points.append(Point("round", k, folders, ids))
    return points


def ratios(
    recipe: Recipe,
    datasets: dict[int, Data],
    stack: Stack,
    out: Path,
    methods: Sequence[str],
    seeds: Sequence[int] = (),
    jobs: int = 1,
) -> list[Point]:
    """A whole run on the dataset of each ratio, with each seed; the ratios (percent) as points."""
    points = []
    for ratio, data in datasets.items():
        own = recipe.model_copy(update={"config": data.config})
        place = out / f"r{ratio:02d}"
        folders = run_seeds(own, data, stack, place, methods, seeds, False, jobs)
        points.append(Point("ratio", ratio, folders))
    return points
