"""Reports of runs: the paper's Table 1 and 2, what UES hides, leakage; in five formats.

    from eval.report import collect, to_markdown
    print(to_markdown(collect([Path("runs/base"), Path("runs/finetune"), Path("runs/ga")])))

All are made of the figures of `eval.results`. Percent with two decimals as the paper prints it; the
figures themselves are fractions.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from eval.attack_tables import tables as attack_tables
from eval.collect_results import collect
from eval.detail_tables import details
from eval.report_html import to_html
from eval.report_tables import Cell, Table, notes, signature_lines, tables
from eval.report_templates import render
from eval.results import Report, to_csv
from mllmu_med.files import text_lines, write_atomic
from mllmu_med.folders import check_out
from mllmu_med.locks import lock_file

__all__ = ["collect", "to_csv", "to_latex", "to_markdown", "to_terminal"]


def print_terminal(report: Report, out: Any, intervals: bool = True, verbose: bool = False) -> None:
    """On a rich console; what is marked also has a star, for a pipe has no bold.

    verbose: also the further tables, and how each number was made.
    """
    from rich.markup import escape

    shown = [*tables(report), *attack_tables(report), *(details(report) if verbose else ())]
    for table in shown:
        print_table(table, out, intervals)
    for note in notes(report, shown, "* {}.", intervals):
        out.print(escape(note))
    if verbose:
        for signature in signature_lines(report, shown):
            out.print(f"[dim]{escape(signature)}[/dim]")
    else:
        out.print("[dim]-v: differences, ranks, kinds, modalities; how each number is made[/dim]")


def print_table(table: Table, out: Any, intervals: bool = True) -> None:
    """A table between its caption and what its columns are."""
    from rich.markup import escape

    from mllmu_med.console import make_table, print_whole

    out.print(f"[bold]{escape(table.title)}.[/bold] {escape(table.caption)}")
    heads = [escape(f"#{column.group}\n{column.title}".rstrip()) for column in table.columns]
    grid = make_table(f"\n{table.of}", *heads)
    for section in table.sections:
        if section.head:
            grid.add_row(f"[italic]{escape(section.head)}[/italic]")
        for row in table.rows(section, intervals):
            grid.add_row(escape(row.label), *map(_terminal_cell, row.cells))
    print_whole(out, grid)
    words = "; ".join(f"{head}: {says}" for head, says in table.glossary())
    out.print(f"[dim]{escape(words)}.[/dim]\n")


def _terminal_cell(cell: Cell) -> str:
    from rich.markup import escape

    text = f"[bold]*{cell.text}[/bold]" if cell.best else cell.text
    return text + (f"\n[dim]{escape(cell.interval)}[/dim]" if cell.interval else "")


def to_terminal(report: Report, intervals: bool = True, verbose: bool = True) -> str:
    """The terminal's tables as plain text of up to 160 columns."""
    from mllmu_med.console import SafeConsole

    stream = io.StringIO()
    console = SafeConsole(file=stream, width=160, highlight=False, color_system=None)
    print_terminal(report, console, intervals, verbose)
    return "".join(f"{line.rstrip()}\n" for line in text_lines(stream.getvalue()))


def to_markdown(report: Report, intervals: bool = True, further: bool = True) -> str:
    """GitHub's tables; groups are part of each head. further: also those of `-v`."""
    return render("report.md", report, intervals, further)


def to_latex(report: Report, intervals: bool = True) -> str:
    r"""Floats for a two-column paper; needs `\usepackage{booktabs}` and nothing else."""
    return render("report.tex", report, intervals)


FORMATS: Final[dict[str, Callable[[Report, bool], str]]] = {
    "terminal": to_terminal,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": lambda report, _: to_csv(report),
    "html": to_html,
}


def text_of(reports: Sequence[Report], form: str, intervals: bool = True) -> str:
    """Reports, of one config each, one after another."""
    return "\n".join(FORMATS[form](report, intervals) for report in reports)


def write(reports: Sequence[Report], form: str, path: Path, intervals: bool = True) -> None:
    """Reports as a file, all or nothing."""
    check_out(path, "the report")
    with lock_file(path.with_name(f".{path.name}.lock"), path):
        write_atomic(path, text_of(reports, form, intervals))
