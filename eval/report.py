"""Reports of runs: the paper's Table 1 and 2, what UES hides, leakage; in five formats.

    from eval.report import collect, to_markdown
    print(to_markdown(collect([Path("runs/base"), Path("runs/finetune"), Path("runs/ga")])))

Percent with two decimals as the paper prints it; the figures themselves are fractions.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from eval.collect_results import collect
from eval.report_html import to_html
from eval.report_tables import Cell, notes, signature_lines, tables
from eval.report_templates import render
from eval.results import Report
from mllmu_med.files import check_out, text_lines, write_atomic
from mllmu_med.locks import lock_file

__all__ = ["collect", "to_csv", "to_latex", "to_markdown", "to_terminal"]


def print_terminal(report: Report, out: Any) -> None:
    """On a rich console; the best also have a star, for a pipe has no bold."""
    from rich.markup import escape
    from rich.measure import Measurement

    from mllmu_med.console import make_table

    all_tables = tables(report)
    for table in all_tables:
        out.print(escape(table.caption))
        heads = [f"#{column.group}\n{column.title}".rstrip() for column in table.columns]
        grid = make_table("\nrun", *heads)
        for section in table.sections:
            if section.head:
                grid.add_row(f"[italic]{section.head}[/italic]")
            for line, cells in table.rows(section):
                grid.add_row(escape(line.label), *map(_terminal_cell, cells))
        # A narrow terminal wraps these lines by itself; a number is never cut short.
        room = Measurement.get(out, out.options.update(max_width=1000), grid).maximum
        kept, out.width = out.width, max(room, out.width)
        out.print(grid)
        out.width = kept
        out.print()
    for note in notes(report, all_tables, "* {}"):
        out.print(escape(note))
    for signature in signature_lines(report, all_tables):
        out.print(f"[dim]{escape(signature)}[/dim]")


def _terminal_cell(cell: Cell) -> str:
    from rich.markup import escape

    text = f"[bold]*{cell.text}[/bold]" if cell.best else cell.text
    return text + (f"\n[dim]{escape(cell.interval)}[/dim]" if cell.interval else "")


def to_terminal(report: Report) -> str:
    """The terminal's tables as plain text of up to 160 columns."""
    from rich.console import Console

    stream = io.StringIO()
    print_terminal(report, Console(file=stream, width=160, highlight=False, color_system=None))
    return "".join(f"{line.rstrip()}\n" for line in text_lines(stream.getvalue()))


def to_markdown(report: Report) -> str:
    """GitHub's tables; groups are part of each head."""
    return render("report.md", report)


def to_latex(report: Report) -> str:
    r"""Floats for a two-column paper; needs `\usepackage{booktabs}` and nothing else."""
    return render("report.tex", report)


CSV_COLUMNS: Final = (
    "source", "config", "run", "role", "metric", "split", "part", "value", "low", "high", "n",
    "signature",
)  # fmt: skip


def to_csv(report: Report) -> str:
    """One figure a line, fractions in full precision; `source` is ours or the paper's table."""
    import pandas as pd

    rows = []
    for source, lines in (("ours", report.lines), ("paper", report.paper)):
        for line in lines:
            run = [source, report.config, line.name, line.role]
            for key, (value, n, low, high) in line.figures.items():
                signature = report.signatures.get(key.metric, "") if source == "ours" else "printed"
                figure = (value, low, high, n or None)
                rows.append((*run, *key, *figure, signature))
    table = pd.DataFrame(rows, columns=CSV_COLUMNS, dtype=object)
    return table.to_csv(index=False, lineterminator="\n")


FORMATS: Final[dict[str, Callable[[Report], str]]] = {
    "terminal": to_terminal,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "html": to_html,
}


def write(report: Report, form: str, path: Path) -> None:
    """A report as a file, all or nothing."""
    check_out(path, "the report")
    with lock_file(path.with_name(f".{path.name}.lock"), path):
        write_atomic(path, FORMATS[form](report))
