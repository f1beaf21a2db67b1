"""The candidates as a dataset of their own, for a machine that adapts the model and answers them.

`rebuild --until calibrate` writes WORK/candidates: for each scenario a config with the candidates
as forget set, the whole retain set and the test set, and a recipe for `baselines` with the model
and the training of this one. What `baselines finetune` answers there, `rebuild --adapted` takes.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.recipe import unread
from builder.calibrate.fine_tune import adapting_settings, calibration_of, tiny_settings
from builder.core.job import Job, image_reader, shown
from builder.dataset_folder import write
from builder.dataset_folder.card.front_matter import config_entries, head
from mllmu_med.card_head import CARD
from mllmu_med.files import atomic_folder, write_atomic
from mllmu_med_dataset import MAIN_RATIO, SPLITS

if TYPE_CHECKING:
    from builder.core.stage_cache import ChainPlan


def write_candidates_dataset(job: Job, plans: Sequence[ChainPlan]) -> Path:
    """Write WORK/candidates, whole or not at all; returns it."""
    target = job.work / "candidates"
    with atomic_folder(target) as building:
        parts = [_part(job, item) for item in plans]
        files = write.write_data(building, parts)
        listed = write.config_files({part.name: part.scenario for part in parts})
        configs = {config.name: config.files for config in listed}
        for part in parts:
            write_atomic(building / f"{part.name}.yaml", _baselines_recipe(job, part.name))
        build = write.build_id({path: f["sha256"] for path, f in files.items()}, configs)
        write_atomic(building / CARD, _card(configs, build))
    return target


def _card(configs: dict[str, dict[str, list[str]]], build: str) -> str:
    front = head({"configs": config_entries(configs, build)})
    text = "Candidates to be rated, not the benchmark: the forget sets are harmful candidates."
    return f"{front}\n# Candidates of MLLMU-Med\n\n{text}\n"


def _part(job: Job, item: ChainPlan) -> write.Part:
    before = item.stages[[stage.name for stage in item.stages].index("calibrate") - 1].name
    records = [
        replace(record, split="forget") if record.split == "candidate" else record
        for record in item.chain.records(before)
    ]
    counts: dict[str, int] = {
        split: sum(record.split == split for record in records) for split in SPLITS
    }
    forget = iter(range(counts["forget"]))
    ranked = [
        replace(record, rank=next(forget)) if record.split == "forget" else record
        for record in records
    ]
    scenario = item.scenario.model_copy(
        update={**counts, "candidates": counts["forget"], "ratios": (MAIN_RATIO,)}
    )
    return write.Part(item.name, scenario, ranked, image_reader(job, item.chain, item.name))


def _baselines_recipe(job: Job, name: str) -> str:
    """A recipe of `baselines` that fine-tunes as this calibration does."""
    import yaml

    calibration = calibration_of(job)
    given = adapting_settings(job, name)
    settings = given.model_dump(mode="json", exclude=unread("finetune", given))
    recipe = {
        "name": f"calibrate-{name}",
        "config": name,
        "model": calibration.model,
        "tiny": tiny_settings(job).model_dump(),
        "answers": {
            "max_new_tokens": calibration.max_new_tokens,
            "batch_size": calibration.batch_size,
        },
        "finetune": settings,
        "unlearn": settings,
        "methods": {},
    }
    head = "# The first stage of self-calibration, for `python -m baselines finetune`.\n"
    return head + yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100)


def commands(job: Job, folder: Path) -> list[str]:
    """What to run on the other machine, and then here."""
    names, given = list(job.recipe.scenarios()), calibration_of(job).model
    finetune = [
        f"python -m baselines finetune --data {shlex.quote(shown(folder))} --config {name} "
        f"--recipe {shlex.quote(shown(folder / f'{name}.yaml'))} --model {shlex.quote(given)} "
        f"--out calibrate-{name}"
        for name in names
    ]
    adapted = " ".join(f"--adapted {name}=calibrate-{name}/answers.jsonl" for name in names)
    return [*finetune, f"and here, with the options of this command but --until: {adapted}"]
