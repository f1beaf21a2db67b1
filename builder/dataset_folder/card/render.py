"""The dataset's README.md: what the Hub shows, `load_dataset` reads and a stranger must know.

`card.md.jinja` is the card; every number in it is counted from the facts of a published folder, so
that the same card, or the one of a variant for the Hub, can be made from the folder again. A value
that the template names is escaped, whatever is in it, unless it is marked as Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import jinja2
from markupsafe import Markup

from builder.core import corpus, ratings
from builder.dataset_folder import text_quality
from builder.dataset_folder.card import numbers
from builder.dataset_folder.card.front_matter import front_matter, head
from builder.dataset_folder.card.rebuild import command
from builder.dataset_folder.card.words import counted, listed, words
from builder.dataset_folder.read import Facts
from builder.dataset_folder.shipped_requests import REQUESTS
from eval.report import to_markdown
from eval.results import Report
from mllmu_med import markdown
from mllmu_med.disk import readable
from mllmu_med.files import text_lines
from mllmu_med.templates import environment
from mllmu_med_dataset import MAIN_RATIO, UserError

#: What a line begins a heading, a row, an item, a quotation or code with; nothing for text.
_KIND: Final = re.compile(r"#|\||- |>|```|")


def render_card(
    facts: Facts,
    *,
    repo: str | None = None,
    gated: str | None = None,
    results: Mapping[str, Report] | None = None,
) -> str:
    """The card's text.

    Args:
        facts: of the folder (`builder.dataset_folder.read.read_facts`).
        repo: the Hub repository it will lie in, ORG/NAME; None for a folder on a disk.
        gated: how access is given there, `auto` or `manual`; None where anybody may read it.
        results: reports of runs by config (`eval.results.read_results`).

    Raises:
        UserError: results of a config that this dataset has not.
    """
    known = [config.name for config in facts.configs]
    for name in sorted(set(results or ()) - set(known)):
        raise UserError(f"results of {name}: this dataset has {', '.join(known)}: leave them out")
    body = _template().render(
        facts=facts,
        command=" \\\n  ".join(command(facts)),
        repo=repo,
        gated=gated,
        results=results or {},
    )
    return f"{head(front_matter(facts))}\n{tidied(body)}\n"


def render_block(name: str, facts: Facts) -> str:
    """One of the template's blocks, for what says the same elsewhere."""
    template = _template()
    return tidied("".join(template.blocks[name](template.new_context({"facts": facts}))))


def tidied(text: str) -> str:
    """Markdown with a line for each paragraph and item; an empty one where another kind begins."""
    lines, kind_before, fence, cut = [""], "", "", True
    for line in text_lines(text):
        kind = _KIND.match(line)[0]  # type: ignore[index]  # it matches anything
        if fence:
            lines.append(line)
            fence = "" if line == fence else fence
        elif not line.strip():
            cut = True
        elif kind == "" and not cut and kind_before in ("", "- "):
            lines[-1] += f" {line.strip()}"
        else:
            apart = kind != kind_before or kind == "#" or (cut and kind != "- ")
            lines += ["", line] if apart else [line]
            fence = line.rstrip("abcdefghijklmnopqrstuvwxyz") if kind == "```" else ""
            kind_before, cut = kind, False
    return "\n".join(lines).strip()


@cache
def _template() -> jinja2.Template:
    templates = environment(__package__, autoescape=True, finalize=_shown)
    templates.filters |= {
        "about": _about,
        "cells": lambda cells: Markup(" | ").join(map(_shown, cells)),
        "code": lambda text: Markup(markdown.code(str(text))),
        "counted": counted,
        "fenced": lambda text, kind: Markup("\n".join(markdown.fenced(text_lines(text), kind))),
        "listed": lambda parts: Markup(listed(map(_shown, parts))),
        "overlap": numbers.overlap,
        "readable": readable,
        "pairs": lambda rows, at=1: [Markup(f"{_shown(r[0])} {_shown(r[at])}") for r in rows],
        "report": lambda report: Markup(to_markdown(report, further=False)),
        "percent": lambda fraction: f"{100 * fraction:.0f} %",
        "short": ratings.short,
        "slashed": lambda cells: Markup(" / ").join(map(_shown, cells)),
        "table": _table,
    }
    templates.globals |= {
        "about": _about,
        "words": _marked(words()),
        "numbers": numbers,
        "quality": text_quality,
        "ratings": ratings,
        "MAIN_RATIO": MAIN_RATIO,
        "REQUESTS": REQUESTS,
    }
    return templates.get_template("card.md.jinja")


def _about(source: str) -> Any:
    return _marked(corpus.about(source).model_dump())


def _marked(tree: Any) -> Any:
    """Texts of our own, in mappings, marked as Markdown."""
    if isinstance(tree, dict):
        return {name: _marked(value) for name, value in tree.items()}
    return Markup(tree) if isinstance(tree, str) else tree


def _shown(value: object) -> Markup:
    """A value as the card shows it: text of others escaped, a number with its commas."""
    if isinstance(value, Markup):
        return value
    return Markup(f"{value:,}" if isinstance(value, int) else markdown.plain(str(value)))


def _table(rows: Iterable[Sequence[object]], head: str, left: int = 1) -> Markup:
    """A table with such a head, "name | number"; the first columns hold text."""
    rule = ["---" if at < left else "---:" for at in range(len(head.split(" | ")))]
    lines = [head, " | ".join(rule), *(" | ".join(map(_shown, row)) for row in rows)]
    return Markup("\n".join(["", *(f"| {line} |" for line in lines), ""]))
