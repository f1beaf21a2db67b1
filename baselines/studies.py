"""The paper's two studies: deletion requests that arrive in rounds, and forget sets of other sizes.

OUT/base  OUT/finetune  OUT/retrain   as in a run; the retrained model has seen no forget row at all
OUT/round-1/ga  OUT/round-2/ga ...    each on the last round's model, measured on all rows
OUT/r05  OUT/r10 ...                  of ratios: a whole run each, of the same base model

The same command goes on after a kill: every part ends with `done.json`. What is shown of them is
made in `eval.studies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.adapters import Start
from baselines.run import DONE, Part, do, identity_of, is_done
from baselines.run_parts import run_all, run_seeds
from baselines.train import check_goes_on
from eval.run_folder import read_json
from eval.studies import Point
from mllmu_med.processes import side_by_side
from mllmu_med_dataset import SPLITS, Record, UsageError, UserError

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
    finetune = out / "finetune" / "adapter"
    folders: list[list[Path]] = [[] for _ in rounds]
    chains: list[tuple[list[Part], Recipe]] = []
    for seed in seeds or (None,):
        place = out / f"seed-{seed}" if chains and seed is not None else out
        own = recipe if seed is None else recipe.seeded(seed, learning=False)
        for name in methods:
            parts: list[Part] = []
            for k, ids in enumerate(rounds):
                folder = place / f"round-{k + 1}" / name
                start = Start(parts[-1].adapter, reference) if parts else None
                parts.append(Part(name, folder, (finetune,), None, start, ids))
                folders[k].append(folder)
            chains.append((parts, own))
    # Another recipe is refused before any work.
    for parts, own in chains:
        for part in [p for p in parts if (p.folder / DONE).is_file()]:
            is_done(part, identity_of(part, own, data, stack))
    base, finetuned, retrained = run_all(recipe, data, stack, out, [], jobs=jobs)
    if jobs == 1:
        for parts, own in chains:
            in_turn(parts, own, data, stack)
    else:
        alone = replace(stack, _model=None, _on=[])
        left = [c for c in chains if not all((p.folder / DONE).is_file() for p in c[0])]
        for _ in side_by_side(in_turn, [(*chain, data, alone) for chain in left], jobs):
            pass
    return [
        Point(f"round={k}", [base, finetuned, *of_round, retrained], ids)
        for k, (of_round, ids) in enumerate(zip(folders, rounds, strict=True), 1)
    ]


def in_turn(parts: Sequence[Part], recipe: Recipe, data: Data, stack: Stack) -> None:
    """Do parts of which each needs the one before."""
    for part in parts:
        do(part, recipe, data, stack)


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
        points.append(Point(f"ratio={ratio}", folders))
    return points


def joined(datasets: Sequence[Data]) -> Data:
    """All rows of several ratios: what the base model that they share is made for."""
    rows = {s: {row.id: row for data in datasets for row in data.rows[s]} for s in SPLITS}
    return replace(datasets[0], rows={split: [*of.values()] for split, of in rows.items()})


def collapsed(points: Sequence[Point]) -> list[str]:
    """What a reader of the tables has to know of runs that were stopped, a sentence each."""
    said = []
    for folder in dict.fromkeys(folder for point in points for folder in point.folders):
        outcome = read_json(folder / DONE)["outcome"] or {}
        if outcome.get("status") == "collapsed":
            name = f"{folder.parent.name}/{folder.name}"
            said.append(f"{name}: stopped as collapsed: {outcome['reason']}.")
    return said
