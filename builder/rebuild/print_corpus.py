"""What `python -m builder corpus` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from builder.rebuild.examine_corpus import Found, Known
from mllmu_med.console import make_console, make_table
from mllmu_med_dataset import PII_KINDS


def print_known(known: Known) -> None:
    """Which column is what and why, which are not used, and what is unsure or missing."""
    console = make_console()
    by = known.named or ("as guessed" if known.guess.why else "as given")
    console.print(Text(f"{known.corpus.path}: {len(known.columns)} columns, {by}\n"))
    table = make_table("field", "column", "known by")
    used = known.used
    for field, column in used:
        own = " (a private value, for --scenario own)" if field in PII_KINDS else ""
        table.add_row(field, _plain(column), known.guess.why.get(column, "the mapping") + own)
    console.print(table)
    unused = [column for column in known.columns if column not in {name for _, name in used}]
    lines = [f"not used: {', '.join(unused)}"] if unused else []
    lines += [
        f"unsure: {field} {column}: {known.guess.why[column]}"
        for field, column in used
        if "its name" not in known.guess.why.get(column, "its name")
    ]
    if not known.corpus.mapping.patient:
        lines.append("missing: patient (--map patient=COLUMN): sets are cut by images alone")
    for line in lines:
        console.print(Text(_plain(line)))


def print_found(known: Known, found: Found) -> None:
    """What the rows would become, what is dropped, what stands in the way, and the sizes."""
    console = make_console()
    console.print(f"\n{len(found.examples)} rows as they would become:")
    for number, row in enumerate(found.examples, 1):
        about = (row.answer_type, row.split, row.image_path, row.patient_id)
        lines = (row.question, f"-> {row.answer}", ", ".join(filter(None, about)))
        for head, line in zip((f"{number:>3}", "", ""), lines, strict=True):
            console.print(Text(f"{head:4} {_plain(line)}"), no_wrap=True, overflow="ellipsis")
    if known.corpus.mapping.names == "keyed":
        console.print("(in the dataset, keyed pseudonyms stand for its images, rows and patients)")
    counts = found.counts
    dropped = sorted(counts["dropped"].items(), key=lambda item: -item[1])
    _print_counts(console, ("#rows", "would be dropped"), [(n, why) for why, n in dropped])
    console.print(Text("\n" + "\n".join(_facts(counts))))
    sizes = [(name, *sets.values()) for name, sets in counts["sizes"].items()]
    _print_counts(console, ("scenario", "#forget", "#retain", "#test"), sizes)
    if counts["refused"]:
        console.print(Text(f"\nrefused as it stands: {counts['refused']}"))


def _facts(counts: dict[str, Any]) -> Iterator[str]:
    kept = counts["kept"]
    each = [
        f"{counts[what]:,} {what}, {kept / counts[what]:.1f} rows each"
        for what in ("images", "patients")
        if counts[what]
    ]
    yield f"{counts['rows']:,} rows, {kept:,} kept: {'; '.join(each)}"
    yield f"answered by yes or no: {counts['closed']:,}"
    if counts["foreign"]:
        yield f"answered so in another language, which counts as open: {counts['foreign']:,}"
    yield from (f"{note}: {rows:,}" for note, rows in counts["notes"].items())
    if counts["splits"]:
        yield "as the table splits or marks them: " + ", ".join(
            f"{name} {n:,}" for name, n in counts["splits"].items()
        )
    yield from (f"test rows that {how}: {rows:,}" for how, rows in counts["leaks"].items() if rows)
    for kind, texts in counts["real"].items():
        yield f"texts with a {kind}, which cannot be published: {texts:,}"


def _print_counts(console: Console, head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    table = make_table(*head)
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else cell for cell in row))
    if rows:
        console.print()
        console.print(table)


def _plain(text: str) -> str:
    """Without what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
