"""What the commands of one run print: its figures, in the tables of a report or as JSON."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from rich.markup import escape

from eval import leak
from eval.derived_figures import ATTACKS
from eval.metric_names import METRICS, SCORED, WORDS
from eval.report import print_table
from eval.report_tables import WAYS, Column, Section, Table, left_out
from eval.results import Figure, Key, Line
from eval.run_folder import read_json, read_rows_file
from mllmu_med.console import make_console
from mllmu_med_dataset import SPLITS

_LEAKED = tuple(metric for metric in METRICS if metric.startswith("leaked_"))
_LIKELY = (
    ("probability", "truth_ratio", "memorised", "extraction", "choice", "cloze"),
    ("utility", "kept_truth", "gap_probability", "gap_leaked"),
    tuple(f"auc_{score}" for score in ATTACKS),
)


def print_scores(folder: Path, as_json: bool = False) -> None:
    """All metrics by split, then within each part of the rows."""
    _print(folder, [SCORED], "Percent.", "scores.json, scores.rows.jsonl", as_json)


def print_likelihood(folder: Path, as_json: bool = False) -> None:
    """What the answers' probabilities give."""
    written = "likelihood.jsonl; what compares with other runs, as PrivLeak: `eval report`"
    _print(folder, _LIKELY, "Fractions.", written, as_json)


def print_leak(folder: Path, as_json: bool = False) -> None:
    """Shares that leak by way of asking, beside chance, by kind; then who is not safe."""
    people = read_json(folder / leak.LEAK)["by_person"]
    exposed = {
        person: [f"{kind} ({level})" for kind, level in kinds.items() if level]
        for person, kinds in people.items()
        if any(kinds.values())
    }
    counted = f"{len(exposed):,} of {len(people):,} patients are exposed"
    lines = [f"{counted} (values in answers and questions)"]
    for person, kinds in sorted(exposed.items(), key=lambda item: -len(item[1]))[:10]:
        lines.append(f"  {person}: {', '.join(kinds)}")
    if not any(row["chance"] for row in read_rows_file(folder / leak.ROWS, "leak")):
        lines.append(leak.NO_CHANCE)
    if len(exposed) > 10:
        lines.append(f"  and {len(exposed) - 10:,} more: by_person in leak.json")
    _print(folder, [_LEAKED], WORDS["leak"], "leak.json, leak.rows.jsonl", as_json, [*lines, ""])


def _print(
    folder: Path,
    groups: Sequence[Sequence[str]],
    caption: str,
    written: str,
    as_json: bool,
    below: Sequence[str] = (),
) -> None:
    from eval.collect_results import figures_of_run

    metrics = [metric for group in groups for metric in group]
    figures = [figure for figure in figures_of_run(folder) if figure.metric in metrics]
    if as_json:
        print(json.dumps([figure.model_dump() for figure in figures]))
        return
    out = make_console()
    for group in groups:
        for table in _tables([f for f in figures if f.metric in group], group, caption):
            print_table(table, out)
    without = left_out({figure.key: figure for figure in figures})
    for line in (*without, *below, f"written to {folder}: {written}"):
        out.print(escape(line))


def _tables(figures: Sequence[Figure], metrics: Sequence[str], caption: str) -> Iterator[Table]:
    """A table for each kind of cut: parts of the rows down, metrics across."""
    by_cut: dict[str, dict[str, dict[Key, Figure]]] = {}
    places: dict[str, int] = {split: place for place, split in enumerate(SPLITS)}
    for figure in sorted(figures, key=lambda f: (bool(f.cut), places.get(f.split, 3), f.cut)):
        if figure.value or figure.metric not in ("thinking", "unanswered"):
            cut, _, value = figure.cut.partition("=")
            across = "forget against test" if figure.metric in _LIKELY[-1] else "retain and test"
            part = WAYS.get(figure.way, figure.way)
            if figure.metric not in _LEAKED:
                part = f"{figure.split or across} {part.replace('_', ' ')}"
            parts = by_cut.setdefault(cut, {})
            parts.setdefault(f"{part} {value}".strip(), {})[Key(figure.metric)] = figure
    for cut, parts in by_cut.items():
        title = f"{figures[0].run}, by {cut.replace('_', ' ')}" if cut else figures[0].run
        # A section has one n for each column.
        alike = groupby(parts.items(), lambda part: [(key, f.n) for key, f in part[1].items()])
        sections = [Section([Line(p, "reference", of) for p, of in same]) for _, same in alike]
        columns = [Column(Key(m)) for m in metrics if any(Key(m) in of for of in parts.values())]
        yield Table("run", title, caption, columns, sections, of="of")
