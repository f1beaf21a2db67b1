"""Reports of runs: the paper's Table 1 and 2, what UES hides, leakage; in five formats.

    from eval.report import collect, to_markdown
    print(to_markdown(collect([Path("runs/base"), Path("runs/finetune"), Path("runs/ga")])))

Percent with two decimals as the paper prints it; the figures themselves are fractions.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from eval.collect_results import collect
from eval.report_tables import BEST, DASH, Cell, arrow, has_best, signature_lines, tables
from eval.results import Report
from mllmu_med.files import check_out, text_lines, write_atomic
from mllmu_med.locks import lock_file
from mllmu_med.markdown import code, plain

__all__ = ["collect", "to_csv", "to_latex", "to_markdown", "to_terminal"]


def print_terminal(report: Report, out: Any) -> None:
    """On a rich console; the best also have a star, for a pipe has no bold."""
    from rich.markup import escape
    from rich.measure import Measurement

    from mllmu_med.console import make_table

    made = tables(report)
    for table in made:
        out.print(escape(table.caption))
        heads = [
            f"#{column.group}\n{column.head} {arrow(column)}".rstrip() for column in table.columns
        ]
        shown = make_table("\nrun", *heads)
        for section in table.sections:
            if section.head:
                shown.add_row(f"[italic]{section.head}[/italic]")
            for line, cells in table.rows(section):
                shown.add_row(escape(line.label), *map(_terminal_cell, cells))
        # A narrow terminal wraps these lines by itself; a number is never cut short.
        room = Measurement.get(out, out.options.update(max_width=1000), shown).maximum
        kept, out.width = out.width, max(room, out.width)
        out.print(shown)
        out.width = kept
        out.print()
    for note in [*(["* " + BEST] if has_best(made) else []), *report.notes]:
        out.print(escape(note))
    for signature in signature_lines(report, made):
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
    made = tables(report)
    text = ""
    for table in made:
        heads = [
            f"{column.group} {column.head} {arrow(column)}".strip() for column in table.columns
        ]
        text += f"{plain(table.caption)}\n\n| Method | {' | '.join(map(plain, heads))} |\n"
        text += f"| --- |{' ---: |' * len(heads)}\n"
        for section in table.sections:
            if section.head:
                text += f"| *{plain(section.head)}* |{'  |' * len(heads)}\n"
            for line, cells in table.rows(section):
                shown = [
                    (f"**{cell.text}**" if cell.best else cell.text)
                    + (f"<br>{cell.interval}" if cell.interval else "")
                    for cell in cells
                ]
                text += f"| {plain(line.label)} | {' | '.join(shown)} |\n"
        text += "\n"
    for note in [*([f"Bold: {BEST}."] if has_best(made) else []), *report.notes]:
        text += f"- {plain(note)}\n"
    return text + "\n" + "".join(f"- {code(one)}\n" for one in signature_lines(report, made))


_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def to_latex(report: Report) -> str:
    r"""Floats for a two-column paper; needs `\usepackage{booktabs}` and nothing else."""
    made = tables(report)
    text = "% needs \\usepackage{booktabs}\n"
    text += "".join(f"% {one}\n" for one in signature_lines(report, made))
    notes = [*([f"Bold: {BEST}."] if has_best(made) else []), *report.notes]
    for table in made:
        caption = " ".join([table.caption, *(notes if table is made[0] else [])])
        width = len(table.columns) + 1
        text += "\n\\begin{table*}\n\\centering\\small\\setlength{\\tabcolsep}{4pt}\n"
        text += f"\\caption{{{_latex(caption)}}}\\label{{tab:{table.label}}}\n"
        text += f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}\n\\toprule\n"
        heads, rules, first = [], [], 2
        for group, count in table.groups():
            heads.append(f"\\multicolumn{{{count}}}{{c}}{{{_latex(group)}}}")
            if group:
                rules.append(f"\\cmidrule(lr){{{first}-{first + count - 1}}}")
            first += count
        text += f" & {' & '.join(heads)} \\\\\n{''.join(rules)}\n"
        shown = [_latex(f"{column.head} {arrow(column)}".strip()) for column in table.columns]
        text += f"Method & {' & '.join(shown)} \\\\\n"
        for section in table.sections:
            text += "\\midrule\n"
            if section.head:
                text += (
                    f"\\multicolumn{{{width}}}{{l}}{{\\textit{{{_latex(section.head)}}}}} \\\\\n"
                )
            for line, cells in table.rows(section):
                values = [_latex_cell(cell) for cell in cells]
                # In braces: a name that begins with a bracket would be an option of the line before
                text += f"{{{_latex(line.label)}}} & {' & '.join(values)} \\\\\n"
                if any(cell.interval for cell in cells):
                    spread = [f"{{\\tiny ${c.interval}$}}" if c.interval else "" for c in cells]
                    text += f" & {' & '.join(spread)} \\\\\n"
        text += "\\bottomrule\n\\end{tabular}\n\\end{table*}\n"
    return text


def _latex_cell(cell: Cell) -> str:
    text = "--" if cell.text == DASH else re.sub(r"^([-+])", r"$\1$", cell.text)
    return f"\\textbf{{{text}}}" if cell.best else text


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
            for key, one in line.figures.items():
                signature = report.signatures.get(key.metric, "") if source == "ours" else "printed"
                figure = (one.value, one.low, one.high, one.n or None)
                rows.append((source, report.config, line.name, line.role, *key, *figure, signature))
    table = pd.DataFrame(rows, columns=CSV_COLUMNS, dtype=object)
    return table.to_csv(index=False, lineterminator="\n")


def _to_html(report: Report) -> str:
    from eval.report_html import to_html  # it reads this module

    return to_html(report)


FORMATS: Final[dict[str, Callable[[Report], str]]] = {
    "terminal": to_terminal,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "html": _to_html,
}


def write(report: Report, form: str, path: Path) -> None:
    """A report as a file, all or nothing."""
    check_out(path, "the report")
    with lock_file(path.with_name(f".{path.name}.lock"), path):
        write_atomic(path, FORMATS[form](report))
