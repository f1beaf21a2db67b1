"""What `rebuild` and `status` print: what is made or would run, what is dropped."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from builder.audit import verdict
from builder.core import ratings
from builder.core.job import Job, options, shown
from builder.core.stage_cache import Chain, ChainPlan, StageState
from builder.dataset_folder.card.words import words
from builder.dataset_folder.manifest import read_manifest
from builder.dataset_folder.text_quality import lines
from builder.harm.candidates import NO_TEXT, TRIED
from builder.rebuild.pipeline import Result
from builder.review import stage as review
from mllmu_med.console import make_console, print_table
from mllmu_med.disk import readable
from mllmu_med_dataset import CONFIGS

_BY_ASKED = (TRIED, NO_TEXT)


def print_result(job: Job, result: Result) -> None:
    """What was made, what was dropped and why, and what to try next."""
    out = shown(job.out)
    if result.manifest is None:
        last = {name: list(states)[-1] for name, states in result.states.items()}
        done = ", ".join(f"{name} up to {stage}" for name, stage in last.items())
        print(f"stopped as asked: {done}; see `python -m builder status{options(job)}`")
        return
    if not result.ran:
        print(f"nothing to do: {out} is build {result.manifest.build} already")
        print(verdict.line(job.out, result.checks))
        return
    console = make_console()
    columns = ("config", "#forget", "#retain", "#test", "#harmful", "#images")
    pictures, files = result.manifest.pictures, result.manifest.files
    sizes = [
        (name, s.forget, s.retain, s.test, s.harmful, pictures[name])
        for name, s in job.recipe.scenarios().items()
    ]
    print_table(console, columns, sizes, gap=False)
    others = [name for name in result.manifest.configs if name not in CONFIGS]
    if others:
        print(f"other forget ratios: {', '.join(others)}")
    _print_drops(console, result.states)
    _print_ratings(console, job, list(result.states), totals=True)
    size = readable(sum(entry.bytes for entry in files.values()))
    print(f"\nbuild {result.manifest.build}: {len(files) + 1} files, {size}, in {out}")
    print(verdict.line(job.out, result.checks))
    load = f'from datasets import load_dataset; print(load_dataset("{out}", "{sizes[0][0]}"))'
    print("\nnext:" if job.recipe.own else f"\nnext:\n  python -c '{load}'")
    print(f"  python -m builder show ID{options(job)}      # the life of one row")


def _print_drops(console: Console, states: dict[str, dict[str, StageState]]) -> None:
    ran = [(name, stage, state) for name, ran in states.items() for stage, state in ran.items()]
    dropped = [
        (f"{name}/{stage}", count, reason)
        for name, stage, state in ran
        for reason, count in sorted(state.dropped.items(), key=lambda item: (-item[1], item[0]))
    ]
    print_table(console, ("dropped at", "#rows", "reason"), dropped)
    notes = [(name, note, count) for name, _, state in ran for note, count in state.notes.items()]
    others = [f"{name}: {note}: {n:,}" for name, note, n in notes if not note.startswith(_BY_ASKED)]
    if others:
        print("", *others, sep="\n")
    _print_tried(console, {note: count for _, note, count in notes if note.startswith(_BY_ASKED)})


def _print_tried(console: Console, counts: Mapping[str, int]) -> None:
    """By what is asked: of how many rows an incorrect answer was sought, and of how many found."""
    tried = {note.removeprefix(TRIED): n for note, n in counts.items() if note.startswith(TRIED)}
    whole = [about for about in tried if not counts.get(NO_TEXT + about)]
    if len(whole) > 1:  # what always worked is one row
        tried["all others"] = sum(tried.pop(about) for about in whole)
    written = {about: rows - counts.get(NO_TEXT + about, 0) for about, rows in tried.items()}
    lines = [
        (about, rows, written[about], f"{100 * written[about] / rows:.0f} %")
        for about, rows in sorted(tried.items(), key=lambda item: -item[1])
    ]
    print_table(console, ("asked about", "#rows tried", "#written", "#share"), lines)


def as_json(job: Job, result: Result) -> dict[str, Any]:
    """The result of a rebuild for programs."""
    manifest = result.manifest
    return {
        "out": str(job.out),
        "ran": result.ran,
        "build": manifest.build if manifest else None,
        "configs": list(manifest.configs) if manifest else [],
        "sets": {
            name: {"forget": s.forget, "retain": s.retain, "test": s.test}
            for name, s in job.recipe.scenarios().items()
        },
        "audit": verdict.as_json(result.checks),
        "bytes": sum(entry.bytes for entry in manifest.files.values()) if manifest else 0,
        "stages": {
            name: {stage: state.counts() for stage, state in states.items()}
            for name, states in result.states.items()
        },
    }


def print_plan(job: Job, plans: Sequence[ChainPlan], stale: Sequence[str]) -> None:
    """What a rebuild would do: what is not done, and the sets that come of it."""
    _print_stages(job, plans, stale)
    how = job.recipe.calibration
    rated = f"; calibrated with {how.model}, rater {how.rater}" if how else ""
    for name, scenario in job.recipe.scenarios().items():
        print(
            f"{name}: {scenario.forget:,} forget / {scenario.retain:,} retain / "
            f"{scenario.test:,} test; {scenario.candidates_needed:,} candidates for "
            f"{scenario.harmful:,} harmful rows; author {job.recipe.author}{rated}"
        )


def waiting(job: Job, plans: Sequence[ChainPlan], stale: Sequence[str]) -> dict[str, str]:
    """The reviews that wait for people, as "incorrect/review", with how far they are.

    Of one whose texts are to be written first nothing can be told.
    """
    waits = {}
    for item in plans:
        key = f"{item.name}/review"
        if key not in stale or f"{item.name}/{review.before(item.name)}" in stale:
            continue
        now = review.read_open(job, item.chain, item.name)
        if now.waits(job.accept_all):
            waits[key] = review.counts(now)
    return waits


def _print_ratings(console: Console, job: Job, names: Sequence[str], totals: bool = False) -> None:
    """What calibration did in these scenarios, where the recipe has one; or the totals alone."""
    if job.recipe.calibration is None or not names:
        return
    rated = {name: ratings.read_ratings(Chain(job.work / name)) for name in names}
    head, rows = ratings.table(rated, totals)
    print_table(console, [head[0], *(f"#{rating}" for rating in head[1:])], rows)
    examples = [
        (name, str(row.rating or "none"), row.id, *map(ratings.short, (row.truth, row.output)))
        for name, rows in rated.items()
        for row in ([] if totals else ratings.examples(rows))
    ]
    print_table(console, ("scenario", "#rating", "id", "truth", "output"), examples)


def print_status(job: Job, plans: Sequence[ChainPlan], stale: Sequence[str]) -> None:
    """Every stage with its counts, and how well words alone tell harmful text from clean text."""
    console = make_console()
    states = _print_stages(job, plans, stale)
    _print_drops(console, states)
    _print_ratings(console, job, [name for name, ran in states.items() if "calibrate" in ran])
    if "write" not in stale:
        quality = lines(read_manifest(job.out).text_quality)
        first, *others = words()["quality"]
        print_table(console, [first, *(f"#{head}" for head in others)], quality)


def _print_stages(
    job: Job, plans: Sequence[ChainPlan], stale: Sequence[str]
) -> dict[str, dict[str, StageState]]:
    """Every stage, whether it is done, and its counts; returns those that have run."""
    waits = waiting(job, plans, stale)
    states = {item.name: item.states() for item in plans}
    rows: list[tuple[object, ...]] = []
    for item in plans:
        for stage in item.stages:
            key = f"{item.name}/{stage.name}"
            if key in waits:
                states[item.name].pop(stage.name, None)
            state = states[item.name].get(stage.name)
            now = waits.get(key, "to do again" if state and key in stale else "done")
            counts = (state.kept, sum(state.dropped.values())) if state else ("", "")
            rows.append((key, now if state or key in waits else "to do", *counts))
    rows.append(("write", "to do" if "write" in stale else "done", "", ""))
    print(f"recipe {job.recipe.name}, into {shown(job.out)}")
    print_table(make_console(), ("stage", "state", "#kept", "#dropped"), rows, gap=False)
    return states


def status_json(job: Job, plans: Sequence[ChainPlan], stale: Sequence[str]) -> dict[str, Any]:
    """`status` for programs."""
    stages: dict[str, Any] = {}
    waits = waiting(job, plans, stale)
    for item in plans:
        states = item.states()
        for stage in item.stages:
            key = f"{item.name}/{stage.name}"
            counts = states[stage.name].counts() if stage.name in states else {}
            waits_for = {"waits": waits[key]} if key in waits else {}
            stages[key] = {"current": key not in stale, **counts, **waits_for}
    stages["write"] = {"current": "write" not in stale}
    recipe = job.recipe.model_dump(mode="json")
    tree: dict[str, Any] = {"out": str(job.out), "recipe": recipe, "stages": stages}
    if "write" not in stale:
        tree["text_quality"] = read_manifest(job.out).tree().get("text_quality", {})
    names = [item.name for item in plans if item.chain.state("calibrate")]
    if job.recipe.calibration is not None and names:
        rated = {name: ratings.read_ratings(Chain(job.work / name)) for name in names}
        tree["ratings"] = [group._asdict() for group in ratings.groups(rated)]
    return tree
