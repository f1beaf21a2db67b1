"""What the commands print: tables for people, the same numbers as JSON for programs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from builder.audit import verdict
from builder.core.job import Job, options, shown
from builder.core.plan import ChainPlan
from builder.core.ratings import read_ratings
from builder.core.stage_cache import Chain, StageState, dropped_table
from builder.dataset_folder.write import Part, data_files
from builder.patients.profiles import read_profiles
from builder.rebuild.pipeline import Result
from builder.review import stage as review
from mllmu_med.console import make_console, make_table
from mllmu_med_dataset import SPLITS, Record, UserError

if TYPE_CHECKING:
    from builder.harm.stage import Estimate


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


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
    table = make_table("config", "#forget", "#retain", "#test", "#harmful", "#pictures")
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
    others = [name for name in result.manifest.configs if name not in ("privacy", "incorrect")]
    if others:
        console.print(f"other forget ratios: {', '.join(others)}")
    _print_drops(console, result.states)
    _print_ratings(console, job, list(result.states), totals=True)
    files = result.manifest.files
    size = sum(entry.bytes for entry in files.values())
    console.print(
        f"\nbuild {result.manifest.build}: {len(files) + 1} files, {_size(size)}, in "
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


def _print_drops(console: Console, states: dict[str, dict[str, StageState]]) -> None:
    table = make_table("dropped at", "#rows", "reason")
    for name, stages in states.items():
        for stage, reason, count in dropped_table(list(stages.items())):
            table.add_row(f"{name}/{stage}", f"{count:,}", reason)
    if table.row_count:
        console.print()
        console.print(table)
    notes = [
        f"{name}: {note}: {count:,}"
        for name, stages in states.items()
        for state in stages.values()
        for note, count in state.notes.items()
    ]
    if notes:
        console.print("\n" + escape("; ".join(notes)))


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
            name: {stage: _state_json(state) for stage, state in states.items()}
            for name, states in result.states.items()
        },
    }


def _state_json(state: StageState) -> dict[str, Any]:
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
    table.add_row("publish", "", "would run" if "publish" in stale else "would be skipped")
    console.print(table)
    for name, scenario in job.recipe.scenarios().items():
        console.print(
            f"{name}: {scenario.forget:,} forget / {scenario.retain:,} retain / "
            f"{scenario.test:,} test; {scenario.candidates_needed:,} candidates for "
            f"{scenario.harmful:,} harmful rows; author {job.recipe.author}{_rated(job)}"
        )


def waiting(job: Job, plans: Sequence[ChainPlan], stale: Sequence[str]) -> dict[str, str]:
    """The reviews that wait for people, as "incorrect/review", with how far they are.

    Of one whose texts are to be written first nothing can be told.
    """
    found = {}
    for item in plans:
        key = f"{item.name}/review"
        if key not in stale or f"{item.name}/{review.before(item.name)}" in stale:
            continue
        now = review.read_open(job, item.chain, item.name)
        if now.waits(job.accept_all):
            found[key] = review.counts(now)
    return found


def _rated(job: Job) -> str:
    how = job.recipe.calibration
    return f"; calibrated with {how.model}, rater {how.rater}" if how else ""


def print_estimates(asked: Mapping[str, Estimate]) -> None:
    """What a language model would be asked, and what that costs as far as it is known."""
    if not asked:
        return
    console = make_console()
    table = make_table(
        "to ask", "#calls", "#in the ledger", "#prompt tokens", "#in replies", "#USD"
    )
    for name, one in asked.items():
        table.add_row(
            name,
            f"{one.calls:,}",
            f"{one.held:,}",
            f"about {one.prompt_tokens:,}",
            "unknown" if one.completion_tokens is None else f"about {one.completion_tokens:,}",
            "unknown" if one.cost is None else f"about {one.cost:.2f}",
        )
    console.print()
    console.print(table)
    console.print(
        "texts that a check rejects are asked for again, on top of these; four characters are "
        "taken for a token, and pictures are not counted"
    )


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
            if key in waits:
                table.add_row(key, waits[key], "", "")
                continue
            if state is None:
                table.add_row(key, "to do", "", "")
                continue
            states[item.name][stage.name] = state
            table.add_row(
                key,
                "to do again" if key in stale else "done",
                f"{state.kept:,}",
                f"{sum(state.dropped.values()):,}",
            )
    table.add_row("publish", "to do" if "publish" in stale else "done", "", "")
    console.print(f"recipe {job.recipe.name}, into {escape(shown(job.out))}")
    console.print(table)
    _print_drops(console, states)
    rated = [name for name, stages in states.items() if "calibrate" in stages]
    _print_ratings(console, job, rated)


def _print_ratings(console: Console, job: Job, names: Sequence[str], totals: bool = False) -> None:
    """What calibration did in these scenarios, where the recipe has one; or the totals alone."""
    if job.recipe.calibration is None or not names:
        return
    from builder.dataset_folder.card import calibration

    rated = {name: read_ratings(Chain(job.work / name)) for name in names}
    head, lines = calibration.table(rated, totals)
    table = make_table(head[0], *(f"#{one}" for one in head[1:]))
    for line in lines:
        table.add_row(*line)
    console.print()
    console.print(table)
    if totals:
        return
    shown = make_table("scenario", "#rating", "id", "truth", "output")
    for name, rows in rated.items():
        for row in calibration.examples(rows):
            texts = (Text(calibration.short(text)) for text in (row.truth, row.output))
            shown.add_row(name, str(row.rating or "none"), row.id, *texts)
    console.print()
    console.print(shown)


def status_json(job: Job, plans: Sequence[ChainPlan], stale: Sequence[str]) -> dict[str, Any]:
    """`status` for programs."""
    stages: dict[str, Any] = {}
    waits = waiting(job, plans, stale)
    for item in plans:
        for stage in item.stages:
            state = item.chain.state(stage.name)
            key = f"{item.name}/{stage.name}"
            counts = _state_json(state) if state else {}
            if key in waits:
                counts["waits"] = waits[key]
            stages[key] = {"current": key not in stale, **counts}
    stages["publish"] = {"current": "publish" not in stale}
    told = {"out": str(job.out), "recipe": job.recipe.model_dump(mode="json"), "stages": stages}
    rated = [item.name for item in plans if item.chain.state("calibrate")]
    if job.recipe.calibration is None or not rated:
        return told
    from builder.dataset_folder.card import calibration

    found = {name: read_ratings(Chain(job.work / name)) for name in rated}
    return {**told, "ratings": [group._asdict() for group in calibration.groups(found)]}


def print_life(plans: Sequence[ChainPlan], row_id: str, stale: Sequence[str]) -> None:
    """What each stage made of a row, up to the first stage that is to run again.

    Raises:
        UserError: no stage has seen such a row; names the nearest ids.
    """
    console = make_console()
    known: set[str] = set()
    for item in plans:
        lines = _life(item, row_id, known, stale)
        if lines:
            console.print(Text(f"{row_id} ({item.name})", style="bold"))
            for stage, text in lines:
                console.print(Text(f"{stage:<9} ") + text, soft_wrap=True)
            return
    near = difflib.get_close_matches(row_id, sorted(known), n=3, cutoff=0.5)
    hint = f"; near it: {', '.join(near)}" if near else ""
    raise UserError(f"{row_id}: no stage has seen this row{hint}")


def _life(
    item: ChainPlan, row_id: str, known: set[str], stale: Sequence[str]
) -> list[tuple[str, Text]]:
    lines: list[tuple[str, Text]] = []
    before: Record | None = None
    for stage in item.stages:
        if f"{item.name}/{stage.name}" in stale:
            break
        records = item.chain.records(stage.name)
        known.update(record.id for record in records)
        record = next((record for record in records if record.id == row_id), None)
        if record is None:
            drops = item.chain.drops(stage.name)
            known.update(drop.id for drop in drops)
            lines += [
                (stage.name, Text(f"dropped: {drop.reason}", style="red"))
                for drop in drops
                if drop.id == row_id
            ]
            if lines:
                return lines
            continue
        lines += [(stage.name, text) for text in _step(item, stage.name, before, record)]
        before = record
    if before is not None and before.split in SPLITS:
        part = Part(item.name, item.scenario, item.chain.records("split"), lambda _: b"")
        lines += [
            ("publish", Text(file.path))
            for file in data_files(part)
            if any(record.id == row_id for record in file.records)
        ]
    return lines


def _step(item: ChainPlan, stage: str, before: Record | None, record: Record) -> list[Text]:
    if before is None:
        return [
            Text(f"{record.modality} {record.image_path}, {record.answer_type}"),
            Text(f"Q: {record.question}"),
            Text(f"A: {record.answer}"),
        ]
    if stage == "profiles":
        people = {one.image_id: one for one in read_profiles(item.chain)}
        one = people.get(record.image_id) if record.split == "candidate" else None
        if one is None:
            return []
        return [Text(f"{one.id}: {one.name}, {one.phone}, {one.email}, {one.mrn}")]
    texts = []
    for field in ("question", "answer"):
        if getattr(before, field) != getattr(record, field):
            text = Text(f"{field[0].upper()}: {getattr(record, field)}")
            for span in record.pii:
                if span.field == field:
                    text.stylize("bold red", span.start + 3, span.end + 3)
            texts.append(text)
    if before.calibration != record.calibration:
        output = next(row.output for row in read_ratings(item.chain) if row.id == record.id)
        texts.append(Text(f"rated {record.calibration}; the adapted model: {output}"))
    if before.review != record.review:
        texts.append(Text(f"review: {record.review}"))
    if before.harm != record.harm:
        texts.append(Text(f"harm: {record.harm}"))
    if (before.split, before.rank) != (record.split, record.rank):
        place = f"{record.split}, rank {record.rank}" if record.rank >= 0 else record.split
        texts.append(Text(place + (f", round {record.round}" if record.round else "")))
    return texts
