"""A report as one page: no network, no scripts, light and dark, readable on a phone."""

import base64
from typing import Any

from eval.dataset_rows import split_config
from eval.metric_names import WORDS
from eval.plots import plots, to_svg
from eval.report_templates import render
from eval.results import ROLES, Line, Report


def to_html(report: Report, intervals: bool = True) -> str:
    """The page; whatever a run or a model is called is text, never markup."""
    named = WORDS["titles"][split_config(report.config)[0]]
    return render(
        "report.html",
        report,
        intervals,
        title=f"Unlearning report: {named} ({report.config})",
        plots={name: (url(plot), WORDS["alt"][name]) for name, plot in plots(report).items()},
        lines=report.lines("ours", *ROLES[:-1]),
        identity=lambda line: identity(report, line),
    )


def url(plot: Any) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(to_svg(plot)).decode()}"


def identity(report: Report, line: Line) -> dict[str, str]:
    """All that is known of a run's model; somebody else's predictions name none."""
    known = _flat(report.models.get(line.run, {}))
    if not known.keys() - {"role", "folder"}:
        known["model"] = "not known: its predictions came without answers.run.json"
    return known


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested JSON as `adapters 1 path` -> text."""
    if isinstance(value, list):
        value = {str(i): item for i, item in enumerate(value, 1)} or "none"
    if not isinstance(value, dict):
        return {name: str(value)}
    flat: dict[str, str] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{name} {key}".strip())
    return flat
