"""What `status` prints: the stages, what each kept and dropped, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from builder.core.chain_plan import ChainPlan
from builder.core.job import Job, shown
from builder.core.ratings import groups, read_ratings
from builder.core.stage_cache import Chain, StageState
from builder.dataset_folder.manifest import read_manifest
from builder.dataset_folder.text_quality import HEADS, lines
from builder.rebuild.print_rebuild import print_drops, print_ratings, state_json, waiting
from mllmu_med.console import make_console, make_table


def print_status(job: Job, plans: Sequence[ChainPlan], stale: Sequence[str]) -> None:
    """Every stage with its counts."""
    console = make_console()
    table = make_table("stage", "state", "#kept", "#dropped")
    waits = waiting(job, plans, stale)
    states: dict[str, dict[str, StageState]] = {}
    for item in plans:
        states[item.name] = {}
        for stage in item.stages:
            key = f"{item.name}/{stage.name}"
            state = item.chain.state(stage.name)
            cells = (waits.get(key, "to do"), "", "")
            if state is not None and key not in waits:
                states[item.name][stage.name] = state
                now = "to do again" if key in stale else "done"
                cells = (now, f"{state.kept:,}", f"{sum(state.dropped.values()):,}")
            table.add_row(key, *cells)
    table.add_row("write", "to do" if "write" in stale else "done", "", "")
    console.print(f"recipe {job.recipe.name}, into {escape(shown(job.out))}")
    console.print(table)
    print_drops(console, states)
    rated = [name for name, stages in states.items() if "calibrate" in stages]
    print_ratings(console, job, rated)
    _print_quality(console, job, stale)


def _print_quality(console: Console, job: Job, stale: Sequence[str]) -> None:
    """How well words alone tell the written folder's harmful text from clean text."""
    if "write" in stale:
        return
    table = make_table(HEADS[0], *(f"#{head}" for head in HEADS[1:]))
    for line in lines(read_manifest(job.out).text_quality):
        table.add_row(*line)
    if table.row_count:
        console.print()
        console.print(table)


def status_json(job: Job, plans: Sequence[ChainPlan], stale: Sequence[str]) -> dict[str, Any]:
    """`status` for programs."""
    stages: dict[str, Any] = {}
    waits = waiting(job, plans, stale)
    for item in plans:
        for stage in item.stages:
            state = item.chain.state(stage.name)
            key = f"{item.name}/{stage.name}"
            counts = state_json(state) if state else {}
            if key in waits:
                counts["waits"] = waits[key]
            stages[key] = {"current": key not in stale, **counts}
    stages["write"] = {"current": "write" not in stale}
    tree = {"out": str(job.out), "recipe": job.recipe.model_dump(mode="json"), "stages": stages}
    if "write" not in stale:
        tree["text_quality"] = read_manifest(job.out).tree().get("text_quality", {})
    names = [item.name for item in plans if item.chain.state("calibrate")]
    if job.recipe.calibration is None or not names:
        return tree
    rated = {name: read_ratings(Chain(job.work / name)) for name in names}
    return {**tree, "ratings": [group._asdict() for group in groups(rated)]}
