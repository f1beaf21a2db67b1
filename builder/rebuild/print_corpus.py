"""What `python -m builder corpus` prints."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from builder.rebuild.examine_corpus import Found, Known
from mllmu_med.console import make_console, make_table
from mllmu_med_dataset import PII_KINDS, Record

_ROWS: Final = 10  # shown as they would become
_FIELDS: Final = ("question", "answer", "answer_type", "image_path", "patient_id", "split")


def print_known(known: Known) -> None:
    """Which column is what and why, which are not used, and what is unsure or missing."""
    console = make_console()
    named = known.named or ("as guessed" if known.guess.why else "as given")
    console.print(Text(f"{known.corpus.path}: {len(known.columns)} columns, {named}\n"))
    table = make_table("field", "column", "known by")
    for field, column in known.used:
        why = known.guess.why.get(column, "the mapping")
        own = " (private value, for --scenario own)" if field in PII_KINDS else ""
        table.add_row(field, _plain(column), f"{why}{own}")
    console.print(table)
    used = {column for _, column in known.used}
    if unused := [column for column in known.columns if column not in used]:
        console.print(Text(f"not used: {_plain(', '.join(unused))}"))
    for column, why in known.guess.why.items():
        if column in used and "its name" not in why:
            console.print(Text(f"unsure: {_plain(column)}: told by its cells or its place alone"))
    if not known.corpus.mapping.patient:
        console.print("missing: patient (--map patient=COLUMN): sets are cut by images alone")


def print_found(found: Found) -> None:
    """What the rows would become, what is dropped, what stands in the way, and the sizes."""
    console = make_console()
    counts = found.counts
    console.print(f"\nthe first {min(_ROWS, counts['kept'])} rows as they would become:")
    for number, record in enumerate(found.records[:_ROWS], 1):
        _print_row(console, number, record)
    dropped = make_table("#rows", "would be dropped: why")
    for reason, rows in sorted(counts["dropped"].items(), key=lambda item: -item[1]):
        dropped.add_row(f"{rows:,}", reason)
    _print_table(console, dropped)
    console.print(Text("\n" + "\n".join(_facts(counts))))
    sizes = make_table("scenario", "#forget", "#retain", "#test")
    for name, sets in counts["sizes"].items():
        sizes.add_row(name, *(f"{rows:,}" for rows in sets.values()))
    _print_table(console, sizes)
    for reason in counts["refused"].values():
        console.print(Text(f"\nrefused as it stands: {reason}"))


def _facts(counts: dict[str, Any]) -> list[str]:
    kept = counts["kept"]
    each = [
        f"{counts[what]:,} {what} ({kept / counts[what]:.1f} rows each)"
        for what in ("images", "patients")
        if counts[what]
    ]
    lines = [
        f"{counts['rows']:,} rows, {kept:,} of them kept: {', '.join(each)}; {counts['closed']:,} "
        "are answered by yes or no"
    ]
    lines += [f"{note}: {rows:,}" for note, rows in counts["notes"].items()]
    if counts["splits"]:
        shares = ", ".join(f"{split} {rows:,}" for split, rows in counts["splits"].items())
        lines.append(f"its own sets: {shares}")
    lines += [
        f"of its test rows {rows:,} share {what} with a row outside"
        for what, rows in counts["leaks"].items()
    ]
    lines += [
        f"texts with what looks like a {kind}: {texts:,} (such a dataset cannot be published)"
        for kind, texts in counts["real"].items()
    ]
    return lines


def _print_row(console: Console, number: int, record: Record) -> None:
    about = (record.answer_type, record.split, record.image_path, record.patient_id)
    lines = (
        f"{number:>3}  {record.question}",
        f"     -> {record.answer}",
        "     " + ", ".join(filter(None, about)),
    )
    for line in lines:
        console.print(Text(_plain(line)), no_wrap=True, overflow="ellipsis")


def _print_table(console: Console, table: Table) -> None:
    if table.row_count:
        console.print()
        console.print(table)


def _plain(text: str) -> str:
    """Without what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def tree(known: Known, found: Found) -> dict[str, Any]:
    """All of it for programs."""
    mapping = known.corpus.mapping.model_dump(mode="json", exclude_unset=True, exclude={"about"})
    rows = [{name: getattr(row, name) for name in _FIELDS} for row in found.records[:_ROWS]]
    named = {"columns": known.columns, "mapping": mapping, "named": known.named or None}
    return {**named, "known_by": known.guess.why, **found.counts, "first": rows}
