"""What `python -m builder corpus` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from builder.rebuild.examine_corpus import Found, Known
from mllmu_med.console import make_console, print_table
from mllmu_med_dataset import PII_KINDS


def print_known(known: Known) -> None:
    """Which column is what and why, which are not used, and what is unsure or missing."""
    used, why = known.used, known.guess.why
    by = known.named or ("as guessed" if why else "as given")
    print(f"{known.corpus.path}: {len(known.columns)} columns, {by}")
    own = " (a private value, for --scenario own)"
    rows = [
        (field, _plain(column), why.get(column, "the mapping") + own * (field in PII_KINDS))
        for field, column in used
    ]
    print_table(make_console(), ("field", "column", "known by"), rows)
    unused = [column for column in known.columns if column not in {name for _, name in used}]
    lines = [f"not used: {', '.join(unused)}"] if unused else []
    lines += [
        f"unsure: {field} {column}: {why[column]}"
        for field, column in used
        if "its name" not in why.get(column, "its name")
    ]
    if not known.corpus.mapping.patient:
        lines.append("missing: patient (--map patient=COLUMN): sets are cut by images alone")
    for line in lines:
        print(_plain(line))


def print_found(known: Known, found: Found) -> None:
    """What the rows would become, what is dropped, what stands in the way, and the sizes."""
    console = make_console()
    print(f"\n{len(found.examples)} rows as they would become:")
    for number, row in enumerate(found.examples, 1):
        about = (row.answer_type, row.split, row.image_path, row.patient_id)
        lines = (row.question, f"-> {row.answer}", ", ".join(filter(None, about)))
        for head, line in zip((f"{number:>3}", "", ""), lines, strict=True):
            console.print(Text(f"{head:4} {_plain(line)}"), no_wrap=True, overflow="ellipsis")
    if known.corpus.mapping.names == "keyed":
        print("(in the dataset, keyed pseudonyms stand for its images, rows and patients)")
    counts = found.counts
    dropped = sorted(counts["dropped"].items(), key=lambda item: -item[1])
    print_table(console, ("#rows", "would be dropped"), [(n, why) for why, n in dropped])
    print("", *_facts(counts), sep="\n")
    sizes = [(name, *sets.values()) for name, sets in counts["sizes"].items()]
    print_table(console, ("scenario", "#forget", "#retain", "#test"), sizes)
    if counts["refused"]:
        print(f"\nrefused as it stands: {counts['refused']}")


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
        splits = (f"{name} {n:,}" for name, n in counts["splits"].items())
        yield f"as the table splits or marks them: {', '.join(splits)}"
    yield from (f"test rows that {how}: {rows:,}" for how, rows in counts["leaks"].items() if rows)
    for kind, texts in counts["real"].items():
        yield f"texts with a {kind}, which cannot be published: {texts:,}"


def _plain(text: str) -> str:
    """Without what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
