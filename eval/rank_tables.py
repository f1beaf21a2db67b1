"""Tables that set the methods against each other: their differences, and their ranks."""

from __future__ import annotations

from itertools import combinations
from typing import Final

from eval.collect_results import COMPARED
from eval.report_tables import WAYS, Column, Section, Table, widest_way
from eval.results import Figure, Key, Line, Report

_GROUPS: Final = {"forget": "Forget", "retain": "Retain", "test": "Test"}


def differences(report: Report) -> list[Table]:
    """Every pair of methods, a row each, with the interval of the paired difference."""
    labels = {line.run: line.label for line in report.lines("ours", "method")}
    pairs: dict[str, Line] = {}
    for figure in report.figures:
        if figure.versus:
            name = f"{labels[figure.run]} - {labels[figure.versus]}"
            pairs.setdefault(name, Line(name, "reference", {})).figures[figure.key] = figure
    columns = [
        Column(
            key,
            WAYS.get(key.way, f"{key.way.capitalize()}") if key.way else _GROUPS.get(key.split, ""),
        )
        for key in COMPARED
        if any(key in line.figures for line in pairs.values())
    ]
    caption = (
        "The first method minus the second, on the same rows; marked: the 95 % interval leaves out "
        "0. With many pairs, one in twenty does so by chance."
    )
    return [
        Table(
            "differences",
            "Differences between methods",
            caption,
            columns,
            [Section([*pairs.values()])],
        )
    ]


def ranks(report: Report) -> list[Table]:
    """The order of the methods by UES, leakage and probability, and how far these agree."""
    methods = report.lines("ours", "method")
    leaked = Key("leaked_values", "forget", "", widest_way(methods))
    ranked: dict[str, dict[str, float]] = {}
    for metric, key, better in (
        ("rank_ues", Key("ues"), 1),
        ("rank_leaked", leaked, -1),
        ("rank_probability", Key("probability", "forget"), -1),
    ):
        values = {
            line.run: better * line.figures[key].value for line in methods if key in line.figures
        }
        if len(values) == len(methods) > 2:
            ranked[metric] = _ranks(values)
    if len(ranked) < 2:
        return []
    lines = [
        Line(
            line.run,
            line.role,
            {Key(m): _rank(report, line, m, of[line.run]) for m, of in ranked.items()},
        )
        for line in methods
    ]
    agree = "; ".join(
        f"{a[5:]} and {b[5:]} {_correlation(ranked[a], ranked[b])}"
        for a, b in combinations(ranked, 2)
    )
    caption = (
        f"1 is best; equal figures share a rank. Rank correlation (Spearman, over {len(methods)} "
        f"methods): {agree}. Where these do not agree, no single order of the methods is right."
    )
    return [Table("ranks", "Ranks", caption, [Column(Key(m)) for m in ranked], [Section(lines)])]


def _ranks(values: dict[str, float]) -> dict[str, float]:
    from scipy.stats import rankdata

    order = rankdata([-round(value, 9) for value in values.values()])
    return dict(zip(values, map(float, order), strict=True))


def _rank(report: Report, line: Line, metric: str, rank: float) -> Figure:
    return Figure(config=report.config, run=line.run, role=line.role, metric=metric, value=rank)


def _correlation(first: dict[str, float], second: dict[str, float]) -> str:
    from scipy.stats import spearmanr

    if len({*first.values()}) == 1 or len({*second.values()}) == 1:
        return "none: all are equal"
    return f"{float(spearmanr([*first.values()], [*second.values()]).statistic):.2f}"
