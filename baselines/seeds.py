"""A run over several seeds: what they share is made once, and how they differ is told.

The first seed's run is OUT, as it is without seeds; each other has a folder `OUT/seed-N`.
OUT/seeds.json      every method's mean, standard deviation and interval over items x seeds
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines.run import is_main, run_all
from eval.ues import over_seeds, read_run
from mllmu_med.files import write_json
from mllmu_med_dataset import UsageError

if TYPE_CHECKING:
    from baselines.measure import Data
    from baselines.recipe import Recipe
    from baselines.run import Stack

SEEDS: Final = "seeds.json"


def parse_seeds(text: str) -> list[int]:
    """`0,1,2` as numbers; a UsageError for anything else, or a seed that is named twice."""
    seeds = text.split(",")
    if not all(seed.strip().isdecimal() for seed in seeds) or len({*map(int, seeds)}) < len(seeds):
        raise UsageError(f"--seeds {text}: write different whole numbers, e.g. 0,1,2")
    return [int(seed) for seed in seeds]


def run_seeds(
    recipe: Recipe,
    data: Data,
    stack: Stack,
    out: Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    learning: bool,
) -> list[Path]:
    """All seeds in turn, then their summary; returns the first seed's run folders.

    learning: fine-tuning and retraining are repeated too, not unlearning alone.
    """
    by_seed: list[list[Path]] = []
    for seed in seeds:
        folder = out / f"seed-{seed}" if by_seed else out
        shared = (out, learning) if by_seed else ()
        by_seed.append(
            run_all(recipe.seeded(seed, learning), data, stack, folder, methods, *shared)
        )
    if is_main():
        write_json(out / SEEDS, {"seeds": [*seeds], "methods": summarise(by_seed, learning)})
    return by_seed[0]


def summarise(by_seed: Sequence[Sequence[Path]], learning: bool) -> list[dict[str, Any]]:
    """A method's figures over seeds each; `by_seed`: the folders of `run_all`."""
    tuned = [read_run(folders[1]) for folders in (by_seed if learning else by_seed[:1])]
    last = None if learning else -1  # the retrained model is one for all
    columns = zip(*(folders[2:last] for folders in by_seed), strict=True)
    return [over_seeds([read_run(folder) for folder in column], tuned) for column in columns]


def print_seeds(methods: Sequence[dict[str, Any]]) -> None:
    """Mean and standard deviation of UES and ROUGE-1, the interval of UES."""
    from mllmu_med.console import make_console, make_table

    out = make_console()
    heads = ("#UES", "#95 %", "#gain", "#forget ROUGE", "#retain ROUGE", "#test ROUGE")
    table = make_table("method", *heads)
    for method in methods:
        low, high = method["ues"]["interval"]
        rouge = (_spread(method["rouge1"][split], 100) for split in ("forget", "retain", "test"))
        cells = (_spread(method["ues"]), f"{low:.2f}..{high:.2f}", _spread(method["gain"]), *rouge)
        table.add_row(method["name"], *cells)
    seeds = methods[0]["seeds"] if methods else 0
    out.print(f"\nMean ± standard deviation over {seeds} seeds; intervals over items x seeds.")
    out.print(table)


def _spread(figure: dict[str, Any], times: int = 1) -> str:
    sd = "" if figure["sd"] is None else f" ± {figure['sd'] * times:.2f}"
    return f"{figure['value'] * times:.2f}{sd}"
