"""What `show` prints: the life of one row."""

import difflib
from collections.abc import Sequence

from rich.text import Text

from builder.core.ratings import read_ratings
from builder.core.stage_cache import REFUSED, ChainPlan
from builder.dataset_folder.write import Part, data_files
from builder.patients.profiles import read_profiles, shown_in
from mllmu_med.console import make_console, print_table
from mllmu_med.files import read_jsonl
from mllmu_med_dataset import SPLITS, Record, UserError


def print_life(plans: Sequence[ChainPlan], row_id: str, stale: Sequence[str]) -> None:
    """What each stage made of a row, up to the first stale one; a UserError if none knows it.

    Of a stage (`privacy/calibrate`) the rows that it dropped.
    """
    console = make_console()
    known: set[str] = set()
    for item in plans:
        for name in item.states():
            known.add(f"{item.name}/{name}")
            if row_id == f"{item.name}/{name}":
                drops = [(drop.id, drop.reason) for drop in item.chain.drops(name)]
                print_table(console, ("dropped", "reason"), drops or [("none", "")], gap=False)
                return
        lines = _life(item, row_id, known, stale)
        if lines:
            console.print(Text(f"{row_id} ({item.name})", style="bold"))
            for stage, text in lines:
                console.print(Text(f"{stage:<9} ") + text, soft_wrap=True)
            return
    near = difflib.get_close_matches(row_id, sorted(known), n=3, cutoff=0.5)
    hint = f"; near it: {', '.join(near)}" if near else ""
    raise UserError(f"{row_id}: neither a stage nor a row that one has seen{hint}")


def _life(
    item: ChainPlan, row_id: str, known: set[str], stale: Sequence[str]
) -> list[tuple[str, Text]]:
    lines: list[tuple[str, Text]] = []
    before: Record | None = None
    for stage in item.stages:
        if f"{item.name}/{stage.name}" in stale:
            break
        records = item.chain.records(stage.name)
        if (item.chain.folder / stage.name / REFUSED).is_file():
            lines += [
                (stage.name, Text(f"rejected, {row['check']}: {row['text']}"))
                for row in read_jsonl(item.chain.folder / stage.name / REFUSED)
                if row["id"] == row_id
            ]
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
        for file in data_files(part):
            row = next((record for record in file.records if record.id == row_id), None)
            if row is not None:
                clean = row.harm != before.harm
                note = " (its clean version, retained at smaller forget ratios)" if clean else ""
                lines.append(("write", Text(file.path + note)))
    return lines


def _step(item: ChainPlan, stage: str, before: Record | None, record: Record) -> list[Text]:
    if before is None:
        return [
            Text(f"{record.modality} {record.image_path}, {record.answer_type}"),
            Text(f"Q: {record.question}"),
            Text(f"A: {record.answer}"),
        ]
    if stage == "profiles":
        people = {person.image_id: person for person in read_profiles(item.chain)}
        who = people.get(shown_in(record)) if record.split == "candidate" else None
        if who is None:
            return []
        return [Text(f"{who.id}: {who.name}, {who.phone}, {who.email}, {who.mrn}")]
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
    for field in ("review", "harm", "what_is_wrong"):
        now = getattr(record, field)
        if now and now != getattr(before, field):
            texts.append(Text(f"{field.replace('_', ' ')}: {now}"))
    if (before.split, before.rank) != (record.split, record.rank):
        place = f"{record.split}, rank {record.rank}" if record.rank >= 0 else record.split
        texts.append(Text(place + (f", round {record.round}" if record.round else "")))
    return texts
