"""What `rebuild` and `status` print: what is made or would run, what is dropped, what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from builder.audit import verdict
from builder.core import ratings
from builder.core.chain_plan import ChainPlan
from builder.core.job import Job, options, shown
from builder.core.ratings import groups, read_ratings
from builder.core.stage_cache import Chain, StageState, dropped_table
from builder.dataset_folder.manifest import read_manifest
from builder.dataset_folder.text_quality import HEADS, lines
from builder.harm.candidates import NO_TEXT, TRIED
from builder.rebuild.pipeline import Result
from builder.review import stage as review
from mllmu_med.console import make_console, make_table
from mllmu_med.disk import readable
from mllmu_med_dataset import CONFIGS

_BY_ASKED = (TRIED, NO_TEXT)

if TYPE_CHECKING:
    from builder.harm.stage import Estimate


def print_result(job: Job, result: Result) -> None:
    """What was made, what was dropped and why, and what to try next."""
    console = make_console()
    if result.commands:
        console.print("the candidates wait in the work folder; to answer them elsewhere:")
        for line in result.commands:
            console.print(Text(f"  {line}"), soft_wrap=True)
        return
    if result.manifest is None:
        last = {name: list(states)[-1] for name, states in result.states.items()}
        done = ", ".join(f"{name} up to {stage}" for name, stage in last.items())
        console.print(
            f"stopped as asked: {done}; see `python -m builder status{escape(options(job))}`"
        )
        return
    if not result.ran:
        console.print(
            f"nothing to do: {escape(shown(job.out))} is build {result.manifest.build} already"
        )
        console.print(Text(verdict.line(job.out, result.checks)), soft_wrap=True)
        return
    table = make_table("config", "#forget", "#retain", "#test", "#harmful", "#images")
    for name, scenario in job.recipe.scenarios().items():
        table.add_row(
            name,
            f"{scenario.forget:,}",
            f"{scenario.retain:,}",
            f"{scenario.test:,}",
            f"{scenario.harmful:,}",
            f"{result.manifest.pictures[name]:,}",
        )
    console.print(table)
    others = [name for name in result.manifest.configs if name not in CONFIGS]
    if others:
        console.print(f"other forget ratios: {', '.join(others)}")
    print_drops(console, result.states)
    print_ratings(console, job, list(result.states), totals=True)
    files = result.manifest.files
    size = sum(entry.bytes for entry in files.values())
    console.print(
        f"\nbuild {result.manifest.build}: {len(files) + 1} files, {readable(size)}, in "
        f"{escape(shown(job.out))}"
    )
    console.print(Text(verdict.line(job.out, result.checks)), soft_wrap=True)
    first = next(iter(job.recipe.scenarios()))
    console.print("\nnext:")
    console.print(
        escape(
            f"  python -c 'from datasets import load_dataset; "
            f'print(load_dataset("{shown(job.out)}", "{first}"))\''
        )
    )
    console.print(escape(f"  python -m builder show ID{options(job)}      # the life of one row"))


def print_drops(console: Console, states: dict[str, dict[str, StageState]]) -> None:
    table = make_table("dropped at", "#rows", "reason")
    for name, stages in states.items():
        for stage, reason, count in dropped_table(list(stages.items())):
            table.add_row(f"{name}/{stage}", f"{count:,}", reason)
    if table.row_count:
        console.print()
        console.print(table)
    notes = [
        (name, note, count)
        for name, stages in states.items()
        for state in stages.values()
        for note, count in state.notes.items()
    ]
    others = [f"{name}: {note}: {n:,}" for name, note, n in notes if not note.startswith(_BY_ASKED)]
    if others:
        console.print("\n" + escape("\n".join(others)))
    _print_tried(console, {note: count for _, note, count in notes if note.startswith(_BY_ASKED)})


def _print_tried(console: Console, counts: Mapping[str, int]) -> None:
    """By what is asked: of how many rows an incorrect answer was sought, and of how many found."""
    table = make_table("asked about", "#rows tried", "#written", "#share")
    tried = {note.removeprefix(TRIED): n for note, n in counts.items() if note.startswith(TRIED)}
    whole = [about for about in tried if not counts.get(NO_TEXT + about)]
    if len(whole) > 1:  # what always worked is one row
        tried["all others"] = sum(tried.pop(about) for about in whole)
    for about, rows in sorted(tried.items(), key=lambda item: -item[1]):
        written = rows - counts.get(NO_TEXT + about, 0)
        table.add_row(about, f"{rows:,}", f"{written:,}", f"{100 * written / rows:.0f} %")
    if tried:
        console.print()
        console.print(table)


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
            name: {stage: state_json(state) for stage, state in states.items()}
            for name, states in result.states.items()
        },
    }


def state_json(state: StageState) -> dict[str, Any]:
    return {"kept": state.kept, "dropped": state.dropped, "notes": state.notes}


def print_plan(job: Job, plans: Sequence[ChainPlan], stale: Sequence[str]) -> None:
    """What a rebuild would do."""
    console = make_console()
    table = make_table("stage", "now", "rebuild")
    waits = waiting(job, plans, stale)
    for item in plans:
        for stage in item.stages:
            key = f"{item.name}/{stage.name}"
            there = "done" if item.chain.state(stage.name) else "-"
            does = "would run" if key in stale else "would be skipped"
            table.add_row(key, there, f"would wait: {waits[key]}" if key in waits else does)
    table.add_row("write", "", "would run" if "write" in stale else "would be skipped")
    console.print(table)
    how = job.recipe.calibration
    rated = f"; calibrated with {how.model}, rater {how.rater}" if how else ""
    for name, scenario in job.recipe.scenarios().items():
        console.print(
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


def print_estimates(asked: Mapping[str, Estimate]) -> None:
    """What a language model would be asked, and what that costs as far as it is known."""
    if not asked:
        return
    console = make_console()
    table = make_table(
        "to ask", "#calls", "#in the ledger", "#prompt tokens", "#in replies", "#USD"
    )
    for name, bill in asked.items():
        table.add_row(
            name,
            f"{bill.calls:,}",
            f"{bill.held:,}",
            f"about {bill.prompt_tokens:,}",
            "unknown" if bill.completion_tokens is None else f"about {bill.completion_tokens:,}",
            "unknown" if bill.cost is None else f"about {bill.cost:.2f}",
        )
    console.print()
    console.print(table)
    console.print(
        "texts that a check rejects are asked for again, on top of these; four characters are "
        "taken for a token, and images are not counted"
    )


def print_ratings(console: Console, job: Job, names: Sequence[str], totals: bool = False) -> None:
    """What calibration did in these scenarios, where the recipe has one; or the totals alone."""
    if job.recipe.calibration is None or not names:
        return
    rated = {name: ratings.read_ratings(Chain(job.work / name)) for name in names}
    head, lines = ratings.table(rated, totals)
    table = make_table(head[0], *(f"#{rating}" for rating in head[1:]))
    for line in lines:
        table.add_row(*line)
    console.print()
    console.print(table)
    if totals:
        return
    shown = make_table("scenario", "#rating", "id", "truth", "output")
    for name, rows in rated.items():
        for row in ratings.examples(rows):
            texts = (Text(ratings.short(text)) for text in (row.truth, row.output))
            shown.add_row(name, str(row.rating or "none"), row.id, *texts)
    console.print()
    console.print(shown)


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
