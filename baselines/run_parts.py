"""A whole run: its parts side by side, repeated with seeds, and what a reader has to know of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.measure import rouge_means
from baselines.run import (
    FINETUNED,
    Elsewhere,
    Part,
    Stack,
    do,
    identity_of,
    is_done,
    is_main,
    is_tiny,
    processes,
)
from eval.attacks import WAYS
from eval.run_folder import DONE, read_json
from eval.score import scored_rows
from eval.weights import pick_device
from mllmu_med.files import write_json
from mllmu_med.processes import cores, side_by_side
from mllmu_med_dataset import UsageError

if TYPE_CHECKING:
    from baselines.measure import Data
    from baselines.recipe import Recipe


def do_all(
    calls: Sequence[tuple[Part, Recipe]],
    data: Data,
    stack: Stack,
    ways: Sequence[str] = WAYS,
    jobs: int = 1,
) -> Iterator[Part]:
    """Do parts that do not wait for each other, `jobs` at once; yields each that is done."""
    left = []
    for part, recipe in calls:
        if jobs == 1 or is_done(part, identity_of(part, recipe, data, stack)):
            do(part, recipe, data, stack, ways)
            yield part
        else:
            own = replace(stack, _model=None, _on=[])
            left.append((part, recipe, data, own, ways))
    if left:
        for number, _ in side_by_side(do, left, jobs, [part.folder for part, *_ in left]):
            yield left[number][0]


def jobs_for(jobs: int, model: str | None, device: str) -> int:
    """How many parts are done at once: 0, not said, is one, but a core each for the tiny model.

    Its operations are too small for two cores (see `eval.load_model.SMALL`).
    """
    if jobs < 0:
        raise UsageError(f"--jobs {jobs}: give 1 or more, or leave it out")
    if processes() > 1:
        return 1
    alone = not is_tiny(model) or pick_device(device) != "cpu"
    return jobs or (1 if alone else cores())


def run_all(
    recipe: Recipe,
    data: Data,
    stack: Stack,
    out: Path,
    methods: Sequence[str],
    shared: Path | None = None,
    learning: bool = True,
    jobs: int = 1,
    elsewhere: Elsewhere | None = None,
) -> list[Path]:
    """Every part; returns the run folders in the order of the table.

    Args:
        shared: the run of another seed, whose base model this one takes over; not `learning`: its
            fine-tuned and retrained models too. jobs: parts that are done at once.
        elsewhere: the fine-tuned model, if it is not trained here.
    """
    top = shared or out
    learnt = out if learning else top
    base = [Part("base", top / "base")]
    retrain, finetune = (Part(name, learnt / name) for name in ("retrain", "finetune"))
    retrained, measured = [retrain], None
    below: tuple[Path, ...] = (finetune.adapter,)
    if elsewhere:
        base = base if elsewhere.adapters else []
        retrained = retrained if elsewhere.retrain else []
        below, measured = elsewhere.adapters, finetune.folder
        finetune = Part(FINETUNED, measured, below)
    unlearned = [Part(name, out / name, below, measured) for name in methods]
    # The fine-tuned model last before the methods: its adapter stays on for them.
    first = [*base, *retrained, finetune]
    # Another recipe is refused before its first word is written, and before any work.
    for part in [*first, *unlearned]:
        if all(parent.is_dir() for parent in part.parents):
            is_done(part, identity_of(part, recipe, data, stack))
    if is_main():
        write_json(out / "recipe.json", recipe.to_json())
    for some in (first, unlearned):
        for _ in do_all([(part, recipe) for part in some], data, stack, jobs=jobs):
            pass
    return [part.folder for part in (*base, finetune, *unlearned, *retrained)]


def run_seeds(
    recipe: Recipe,
    data: Data,
    stack: Stack,
    out: Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    learning: bool,
    jobs: int = 1,
    elsewhere: Elsewhere | None = None,
) -> list[Path]:
    """All seeds in turn: the first in `out`, as without seeds, each other one in `out/seed-N`.

    learning: fine-tuning and retraining are repeated too, not unlearning alone.
    """
    folders: list[Path] = []
    if not seeds:
        return run_all(recipe, data, stack, out, methods, jobs=jobs, elsewhere=elsewhere)
    for seed in seeds:
        place, shared = (out / f"seed-{seed}", out) if folders else (out, None)
        own = recipe.seeded(seed, learning)
        folders += run_all(own, data, stack, place, methods, shared, learning, jobs, elsewhere)
    return list(dict.fromkeys(folders))


def parse_seeds(text: str) -> list[int]:
    """`0,1,2` as numbers; a UsageError for anything else, or a seed that is named twice."""
    seeds = text.split(",")
    sound = all(seed.strip().isdecimal() and len(seed) < 19 for seed in seeds)
    if not sound or len({*map(int, seeds)}) < len(seeds):
        raise UsageError(f"--seeds {text}: write different whole numbers, e.g. 0,1,2")
    return [int(seed) for seed in seeds]


def notes(folders: Sequence[Path]) -> list[str]:
    """What a reader of the table has to know, one sentence each; of all seeds of a run."""
    learnt = {folder.parent: folder for folder in folders if folder.name == "finetune"}
    first = next(iter(learnt.values()))
    done = read_json(first / DONE)
    rouge, sentences = done["swapped"], []
    if done["identity"]["method"] == FINETUNED:
        sentences.append(
            "The fine-tuned model is one from elsewhere: which rows it learnt, and with what "
            "settings, is not known here; what it never learnt cannot be unlearned."
        )
    sentences.append(
        f"With another image, ROUGE-1 of the fine-tuned model on {rouge['n']:,} open retain "
        f"questions is {rouge['swapped']:.2%} instead of {rouge['right']:.2%}: as far as it falls, "
        "the model reads the image and not the question alone."
    )
    for folder in [f for f in folders if f.name not in ("base", "finetune", "retrain")]:
        seed = folder.parent.name.removeprefix("seed-")
        name = folder.name + (f" (seed {seed})" if seed != folder.parent.name else "")
        done = read_json(folder / DONE)
        outcome = done["outcome"]
        if outcome["status"] == "collapsed":
            sentences.append(f"{name}: stopped as collapsed: {outcome['reason']}.")
        before, after = _forget(learnt.get(folder.parent, first)), _forget(folder)
        if after >= before:
            sentences.append(
                f"{name}: has not lowered ROUGE-1 on forget ({before:.2%}, now {after:.2%})."
            )
    return sentences


def _forget(folder: Path) -> float:
    return rouge_means(scored_rows(folder))["forget"]
