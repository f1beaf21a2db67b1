"""Sizes of the sets out of the corpus, where a recipe gives none."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from builder import draw
from builder.core.job import Job
from builder.core.stage_cache import Chain
from builder.rebuild.stages import ingest, own_share, run_stage
from mllmu_med.progress import say


def sized(job: Job, ran: list[str]) -> Job:
    """The job with the sizes that its corpora allow, where its recipe gives none.

    For that the corpora are read: the stage `ingest`, which is current afterwards.
    """
    scenarios = {}
    for name, scenario in job.recipe.scenarios().items():
        if not scenario.sized:
            chain, stage = Chain(job.work / name), ingest(job, name, scenario)
            if chain.current(stage, "") is None:
                run_stage(name, chain, stage, "", ran)
            records, _ = own_share(job, name, chain.records("ingest"))
            margin = draw.margin(scenario, job.recipe.author == "offline")
            scenarios[name] = draw.sized(records, scenario, name, job.recipe.seed, margin)
    return replace(job, recipe=job.recipe.model_copy(update=scenarios)) if scenarios else job


def sized_aside(job: Job) -> Job:
    """`sized`, with the corpora read in a folder that is thrown away: it changes nothing."""
    if all(scenario.sized for scenario in job.recipe.scenarios().values()):
        return job
    say("dry run: reading the corpus for the sizes of the sets")
    with tempfile.TemporaryDirectory() as folder:
        return replace(sized(replace(job, work=Path(folder)), []), work=job.work)
