"""Further tables: differences and ranks of methods, leakage by way and kind, cuts of the rows."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final

from eval.attack_tables import details as attack_details
from eval.compare_methods import COMPARED
from eval.metric_names import WORDS
from eval.report_tables import (
    WAYS,
    Column,
    Section,
    Table,
    by_split,
    score_columns,
    table_of,
    widest_way,
)
from eval.results import ROLES, Figure, Key, Line, Report
from mllmu_med_dataset import PII_KINDS

if TYPE_CHECKING:
    import pandas as pd

_VALUES: Final = "Percent of the private values {} that come out (normalised match)."


def details(report: Report) -> list[Table]:
    """Tables for who wants to know more: differences, ranks, ways, kinds, cuts of the rows."""
    models = report.lines("ours", *ROLES[:-1])
    ours, widest = [Section(models)], widest_way(models)
    cut_by = {"modality": "Scores by modality", "content_type": "Scores by kind of question"}
    ways = dict.fromkeys(k.way for line in models for k in line.figures if k.way)
    others = by_split("rouge_l", "corpus_bleu")
    by_way = [Column(Key("leaked_values", "forget", "", way), head=way) for way in ways]
    by_kind = [
        Column(Key("leaked_values", "forget", f"kind={kind}", way), WAYS.get(way, way), kind)
        for way in ("own", widest)
        for kind in PII_KINDS
    ]
    made = [
        *differences(report),
        *ranks(report),
        table_of("others", "ROUGE-L and corpus BLEU", "Percent, of open questions.", others, ours),
        table_of(
            "ways", "Leaked values by way of asking", _VALUES.format("in answers"), by_way, ours
        ),
        table_of("kinds", "Leaked values by kind", _VALUES.format("of each kind"), by_kind, ours),
    ]
    for column, title in cut_by.items():
        cuts = sorted({k.cut for k in models[0].figures if k.cut.startswith(f"{column}=")})
        sections = [Section(models, cut.partition("=")[2], cut) for cut in cuts]
        made.append(Table(column, title, "Percent.", score_columns(sections), sections))
    made += attack_details(report)
    return [each for each in made if each.columns]


def differences(report: Report) -> list[Table]:
    """Every pair of methods, a row each, with the interval of the paired difference."""
    labels = {line.run: line.label for line in report.lines("ours", "method")}
    pairs: dict[str, Line] = {}
    for figure in report.figures:
        if figure.versus:
            name = f"{labels[figure.run]} - {labels[figure.versus]}"
            pairs.setdefault(name, Line(name, "reference", {})).figures[figure.key] = figure
    columns = [
        Column(key, WAYS.get(key.way, (key.way or key.split).capitalize()))
        for key in COMPARED
        if any(key in line.figures for line in pairs.values())
    ]
    sections, title = [Section([*pairs.values()])], "Differences between methods"
    return [Table("differences", title, WORDS["differences"], columns, sections)]


def ranks(report: Report) -> list[Table]:
    """The order of the methods by UES, leakage and probability, and how far these agree."""
    import pandas as pd

    methods = [line for line in report.lines("ours", "method") if not line.is_broken]
    leaked = Key("leaked_values", "forget", "", widest_way(methods))
    likely = Key("probability", "forget")
    aims = [line.value(likely) for line in report.lines("ours", "retrain")]
    aim = (aims[0] or 0.0) if aims else 0.0

    def values(key: Key) -> pd.Series[float]:
        return pd.Series({line.run: line.value(key) for line in methods}, dtype=float)

    better = {
        "rank_ues": values(Key("ues")),
        "rank_leaked": -values(leaked),
        "rank_probability": -(values(likely) - aim).abs(),
    }
    ranked = pd.DataFrame(better).dropna(axis="columns").round(9).rank(ascending=False)
    metrics = [*ranked.columns]
    if len(methods) < 3 or len(metrics) < 2:
        return []
    lines = [
        Line(line.run, line.role, {Key(m): _rank(report, line, m, ranked) for m in metrics})
        for line in methods
    ]
    agreed = ranked.corr("spearman").map("{:.2f}".format).replace("nan", "none: all are equal")
    agree = "; ".join(f"{a[5:]} and {b[5:]} {agreed[a][b]}" for a, b in combinations(metrics, 2))
    caption = WORDS["ranks"].format(n=len(methods), agree=agree)
    return [Table("ranks", "Ranks", caption, [Column(Key(m)) for m in metrics], [Section(lines)])]


def _rank(report: Report, line: Line, metric: str, ranked: pd.DataFrame) -> Figure:
    value = ranked[metric][line.run]
    return Figure(config=report.config, run=line.run, role=line.role, metric=metric, value=value)
