"""A report through a template of `eval/templates`: Markdown, LaTeX, or the page."""

import re
from typing import Any, Final

from eval.attack_tables import tables as attack_tables
from eval.detail_tables import details
from eval.metric_names import WORDS
from eval.report_tables import DASH, notes, signature_lines, tables
from eval.results import Report
from mllmu_med.markdown import code, plain

#: What a figure shows and what it does not.
CLAIMS: Final = "docs/claims.md"
_LATEX: Final = {**WORDS["latex"], **{sign: f"\\{sign}" for sign in "&%$#_{}"}}
#: LaTeX has braces of its own.
_TEX_MARKS: Final[dict[str, Any]] = {
    **{"variable_start_string": "<<", "variable_end_string": ">>"},
    **{"block_start_string": "<%", "block_end_string": "%>"},
    **{"comment_start_string": "<#", "comment_end_string": "#>"},
}


def render(
    template: str, report: Report, intervals: bool = True, further: bool = True, **values: Any
) -> str:
    """A report through `report.md`, `.tex` or `.html`; of the last, all texts are escaped.

    further: also the tables for who wants to know more. values: what else the template reads, and
    `tables` in place of a report's own.
    """
    shown = values.pop("tables", None) or [*tables(report), *attack_tables(report)]
    more = details(report) if further else []
    return fill(
        template,
        report=report,
        tables=shown,
        details=more,
        intervals=intervals,
        notes=notes(report, [*shown, *more], "Bold: {}.", intervals),
        signatures=signature_lines(report, [*shown, *more]),
        **values,
    )


def fill(template: str, **values: Any) -> str:
    """A template of ours with these values; of HTML, all texts are escaped."""
    from mllmu_med.templates import environment

    made = environment(
        *("eval", "templates"),
        autoescape=template.endswith(".html"),
        keep_trailing_newline=True,
        **(_TEX_MARKS if template.endswith(".tex") else {}),
    )
    made.filters |= {"plain": plain, "code": code, "latex": _latex, "number": _number}
    made.filters["commands"] = _commands
    return made.get_template(template).render(claims=CLAIMS, dash=DASH, **values)


def _commands(text: str) -> str:
    """Text as HTML, our own commands in it as code: a run may be called anything."""
    from markupsafe import Markup, escape

    return Markup(
        re.sub(
            r"`((?:python -m )?(?:baselines|eval) [^`]+)`", r"<code>\1</code>", str(escape(text))
        )
    )


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def _number(text: str) -> str:
    """A cell in LaTeX: its minus is no hyphen."""
    return "--" if text == DASH else re.sub(r"^([-+])", r"$\1$", text)
