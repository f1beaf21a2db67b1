"""A report as one page: no network, no scripts, light and dark, readable on a phone."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from typing import Any, Final

from eval.dataset_rows import split_config
from eval.paper_tables import TITLES
from eval.plots import plots, to_svg
from eval.report_tables import (
    BEST,
    DASH,
    Cell,
    Column,
    Table,
    arrow,
    details,
    has_best,
    signature_lines,
    tables,
)
from eval.results import Line, Report

ALT: Final = {
    "rouge1": "Bars of ROUGE-1 in percent for each run on forget, retain and test; the same "
    "numbers are in the first table.",
    "tradeoff": "ROUGE-1 on forget across, on retain up: a mark for each run, upper left is good.",
    "leakage": "Bars of leaked private values in percent by kind for each run; the same numbers "
    "are in the table Leakage by kind.",
}

STYLE: Final = """
:root { color-scheme: light dark; --ink: light-dark(#1b1f23, #e8e6e3);
  --soft: light-dark(#59636e, #a3abb3); --paper: light-dark(#fff, #16181b);
  --line: light-dark(#dcdfe3, #3a3f45); --band: light-dark(#f3f5f7, #1f2327);
  --best: light-dark(#0b5c8f, #7cc4f0) }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem }
p, ul { max-width: 46rem }
ul { padding-left: 1.2rem }
.scroll { overflow-x: auto; margin: .8rem 0 }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums }
caption { caption-side: top; text-align: left; color: var(--soft); padding-bottom: .5rem }
caption span { display: block; max-width: min(46rem, calc(100vw - 2rem)); position: sticky;
  left: 0 }
th, td { padding: .28rem .55rem; text-align: right; white-space: nowrap; vertical-align: top }
thead th { border-bottom: 1px solid var(--line); font-weight: 600 }
thead th.group { text-align: center }
tbody { border-bottom: 1px solid var(--line) }
tbody tr:hover > * { background: var(--band) }
tr > :first-child { text-align: left; position: sticky; left: 0; background: var(--paper) }
tbody th { font-weight: 500; max-width: 12rem; white-space: normal; overflow-wrap: anywhere;
  min-width: 5.5rem }
tbody th.section { font-weight: 600; font-style: italic; max-width: none; padding-top: .6rem }
.first { border-left: 1px solid var(--line) }
td strong { color: var(--best) }
td small { display: block; color: var(--soft); font-size: .74rem }
figure { margin: 1rem 0; overflow-x: auto }
figure img { width: 100%; min-width: 40rem; height: auto; display: block }
.narrow img { max-width: 50rem }
details { border-top: 1px solid var(--line); padding: .5rem 0 }
summary { cursor: pointer; font-weight: 600; padding: .2rem 0 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem .9rem; font-size: .86rem;
  margin: .5rem 0 1rem }
dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
.signatures { font: .78rem/1.6 ui-monospace, monospace; overflow-wrap: anywhere; max-width: none }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr } dd { margin-bottom: .3rem } }
"""


def to_html(report: Report) -> str:
    """The page; whatever a run or a model is called is text, never markup."""
    made = tables(report)
    more = details(report)
    title = f"Unlearning report: {TITLES[split_config(report.config)[0]]} ({report.config})"
    notes = [*([f"Bold: {BEST}."] if has_best(made) else []), *report.notes]
    light, dark = plots(report), plots(report, dark=True)
    pictures = {name: _picture(name, light[name], dark[name]) for name in light}
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{len(report.lines)} runs: {escape(', '.join(one.label for one in report.lines))}.</p>",
        _list(notes),
        "<h2>Scores</h2>",
        _table(made[0]),
        pictures["rouge1"],
        "<h2>Forgetting against retaining</h2>",
        pictures["tradeoff"],
    ]
    heads = {"hidden": "What UES hides", "leakage": "Leakage and likelihoods"}
    for table in made[1:]:
        parts += [f"<h2>{heads[table.label]}</h2>", _table(table)]
    if "leakage" in pictures:
        parts += ["<h2>Leakage by kind of value</h2>", pictures["leakage"]]
    parts += ["<h2>More</h2>"]
    for head, table in more:
        parts += [f"<details><summary>{escape(head)}</summary>{_table(table)}</details>"]
    shown = [*made, *(table for _, table in more)]
    parts += [
        "<h2>How each number was made</h2>",
        _list(signature_lines(report, shown), "signatures"),
        "<h2>Runs</h2>",
        *map(_identity, report.lines),
    ]
    # Nothing is loaded from anywhere, and nothing runs: a browser is told so too.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _list(items: Iterable[str], kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return f"<ul{mark}>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _table(table: Table) -> str:
    """With caption, scoped heads, and a line where a group of columns begins."""
    groups = table.groups()
    starts, at = set(), 0
    top = ""
    for group, count in groups:
        starts.add(at)
        at += count
        top += f'<th colspan="{count}" scope="colgroup" class="group first">{escape(group)}</th>'
    heads = "".join(
        f'<th scope="col"{_first(i in starts)}>{_head(column)}</th>'
        for i, column in enumerate(table.columns)
    )
    text = (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(table.label)}">'
        f"<table><caption><span>{escape(table.caption)}</span></caption><thead>"
        f'<tr><td></td>{top}</tr><tr><th scope="col">Method</th>{heads}</tr></thead>'
    )
    for section in table.sections:
        text += "<tbody>"
        if section.head:
            text += f'<tr><th class="section" scope="rowgroup" colspan="{len(table.columns) + 1}">'
            text += f"{escape(section.head)}</th></tr>"
        for line, cells in table.rows(section):
            text += f'<tr><th scope="row">{escape(line.label)}</th>'
            text += "".join(
                f"<td{_first(i in starts)}>{_cell(cell)}</td>" for i, cell in enumerate(cells)
            )
            text += "</tr>"
        text += "</tbody>"
    return text + "</table></div>"


def _first(first: bool) -> str:
    return ' class="first"' if first else ""


def _head(column: Column) -> str:
    return escape(f"{column.head} {arrow(column)}".strip())


def _cell(cell: Cell) -> str:
    text = "–" if cell.text == DASH else escape(cell.text)
    text = f"<strong>{text}</strong>" if cell.best else text
    return text + (f"<small>{escape(cell.interval)}</small>" if cell.interval else "")


def _picture(name: str, light: Any, dark: Any) -> str:
    """Both colourings; the browser shows the one that its page has."""
    sources = [
        f"data:image/svg+xml;base64,{base64.b64encode(to_svg(plot)).decode()}"
        for plot in (light, dark)
    ]
    return (
        f'<figure class="{"" if name == "rouge1" else "narrow"}"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{sources[1]}">'
        f'<img src="{sources[0]}" alt="{escape(ALT[name])}"></picture></figure>'
    )


def _identity(line: Line) -> str:
    """All that is known of a run's model; somebody else's predictions name none."""
    told = {"role": line.role, "folder": line.folder, **_flat(line.model)}
    if not line.model:
        told["model"] = "not known: its predictions came without answers.run.json"
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in told.items())
    return f"<details><summary>{escape(line.label)}</summary><dl>{rows}</dl></details>"


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested JSON as `adapters 1 path` -> text."""
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for key, one in value.items():
            found |= _flat(one, f"{name} {key}".strip())
        return found
    if isinstance(value, list):
        return (
            _flat({str(i): one for i, one in enumerate(value, 1)}, name)
            if value
            else {name: "none"}
        )
    return {name: str(value)}
