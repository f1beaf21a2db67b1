"""What the commands of one run print: its figures, a table for each kind. Percent here.

The files hold fractions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from eval.metric_names import METRICS, OF_CUTS, SCORED, UNITS
from eval.results import Figure
from mllmu_med.console import make_console, make_table, print_whole
from mllmu_med_dataset import SPLITS

#: Ways of asking as they are headed.
WAY_HEADS = {
    "own": "its own question",
    "direct": "asked for the value",
    "prefix": "the answer's beginning given",
    "clean": "the clean question",
    "no_picture": "without the image",
    "any": "any way",
}
_LEAKED = tuple(metric for metric in METRICS if metric.startswith("leaked_"))
_LIKELY = ("probability", "truth_ratio", "auc_loss", "auc_min_k")


def print_scores(summary: dict[str, Any], folder: Path) -> None:
    """All metrics by split, then within each part of the rows."""
    rare = ("thinking", "unanswered")  # a column only where there is something to see
    figures = [
        figure
        for figure in _figures(folder, SCORED)
        if (figure.metric not in rare or figure.value)
        and (figure.metric in OF_CUTS or not figure.cut)
    ]
    _print(summary, figures, "percent")
    _written(folder, "scores.json, scores.rows.jsonl")


def print_leak(summary: dict[str, Any], folder: Path) -> None:
    """Shares that leak by way of asking, beside chance, by kind; then who is not safe."""
    out = make_console()
    _print(
        summary, _figures(folder, _LEAKED), "which of the values in its answers come out, percent"
    )
    out.print(
        "Normalised match unless a level is named. Chance: how often other patients' values of the "
        "same kind are found in these answers; only leakage above it tells."
    )
    exposed = {
        person: [f"{kind} ({level})" for kind, level in kinds.items() if level]
        for person, kinds in summary["by_person"].items()
        if any(kinds.values())
    }
    counted = f"{len(exposed):,} of {len(summary['by_person']):,}"
    out.print(f"\n{counted} patients are exposed (values in answers and questions)")
    for person, kinds in sorted(exposed.items(), key=lambda item: -len(item[1]))[:10]:
        out.print(f"  {escape(person)}: {', '.join(kinds)}")
    if len(exposed) > 10:
        out.print(f"  and {len(exposed) - 10:,} more: by_person in leak.json")
    _written(folder, "leak.json, leak.rows.jsonl")


def print_likelihood(folder: Path) -> None:
    """Each figure with its number of rows."""
    _print({"name": folder.resolve().name}, _figures(folder, _LIKELY), "fractions")
    _written(folder, "likelihood.jsonl; forget quality and PrivLeak: `eval report`")


def _figures(folder: Path, metrics: Sequence[str]) -> list[Figure]:
    from eval.collect_results import figures_of_run

    figures = [figure for figure in figures_of_run(folder) if figure.metric in metrics]
    return sorted(figures, key=lambda figure: (bool(figure.cut), metrics.index(figure.metric)))


def _print(summary: dict[str, Any], figures: list[Figure], what: str) -> None:
    """A table for each kind of cut: parts of the rows down, metrics across."""
    out = make_console()
    out.print(f"[bold]{escape(summary['name'])}[/bold]: {what}; in brackets 95 % intervals")
    for cut, of_cut in _by_cut(figures):
        metrics = list(dict.fromkeys(figure.metric for figure in of_cut))
        heads = (f"#{METRICS[metric].head}" for metric in metrics)
        table = make_table("of", *([cut] if cut else []), *heads)
        parts: dict[tuple[str, str, str], dict[str, str]] = {}
        for figure in sorted(of_cut, key=_place):
            part = figure.split, figure.way, figure.cut.partition("=")[2]
            parts.setdefault(part, {})[figure.metric] = _cell(figure)
        for (split, way, value), cells in parts.items():
            named = WAY_HEADS.get(way, way) or split or "forget against test"
            table.add_row(
                escape(named),
                *([escape(value)] if cut else []),
                *(cells.get(metric, "-") for metric in metrics),
            )
        out.print()
        print_whole(out, table)


def _place(figure: Figure) -> tuple[int, str]:
    return [*SPLITS, figure.split].index(figure.split), figure.cut


def _by_cut(figures: list[Figure]) -> Iterator[tuple[str, list[Figure]]]:
    for cut in dict.fromkeys(figure.cut.partition("=")[0] for figure in figures):
        yield cut, [f for f in figures if f.cut.partition("=")[0] == cut]


def _cell(figure: Figure) -> str:
    show = UNITS[METRICS[figure.metric].unit]
    below = f"n={figure.n:,}" if figure.n else ""
    if figure.low is not None and figure.high is not None:
        below += f" \\[{show(figure.low)}, {show(figure.high)}]"  # escaped: no style of rich
    return f"{show(figure.value)}\n[dim]{below.strip()}[/dim]"


def _written(folder: Path, names: str) -> None:
    make_console().print(f"\nwritten to {escape(str(folder))}: {names}")
