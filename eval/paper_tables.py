"""The tables that the paper prints (Xu et al., arXiv 2508.04192), beside which ours stand."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from eval.metric_names import METRICS, WORDS
from eval.results import ROLES, Figure, Key
from mllmu_med_dataset import UserError

PAPER_TABLE: Final = {"privacy": "table1", "incorrect": "table2"}


@cache
def paper_tables() -> dict[str, Any]:
    """The values that the paper prints (percent; UES a sum of fractions), tables 1 to 3."""
    path = Path(__file__).with_name("paper_tables.json")
    tables: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return tables


def paper_figures(config: str, notes: list[str]) -> list[Figure]:
    """The paper's table of a config, as fractions; a UserError where it prints no such table."""
    if config not in PAPER_TABLE:
        raise UserError(f"--paper: the paper prints no table of {config}: only privacy, incorrect")
    table = PAPER_TABLE[config]
    figures = _printed(config, paper_tables()[table], table)
    if config == "incorrect":
        notes.append(WORDS["table2"])
    return _marked(figures)


def paper_rounds() -> list[Figure]:
    """The paper's Table 3, of privacy in three rounds: a cut for each, e.g. `round=1`."""
    rounds = paper_tables()["table3"].values()
    numbered = ((f"round={k}", of) for k, of in enumerate(rounds, 1))
    return _marked([f for cut, of in numbered for f in _printed("privacy", of, "table3", cut)])


def _printed(config: str, rows: dict[str, Any], table: str, cut: str = "") -> list[Figure]:
    """What a table prints of each run, in its columns."""
    metrics = {"acc": "accuracy", "rouge": "rouge1", "bleu": "bleu"}
    figures = []
    for name, values in rows.items():
        role = name if name in ROLES else "method"
        about: dict[str, Any] = {"source": "paper", "config": config, "run": name, "role": role}
        for column, value in zip(paper_tables()["columns"][table], values, strict=True):
            split, _, short = column.rpartition("_")
            if value is not None:
                metric = metrics.get(short, short)
                fraction = value if short == "ues" else round(value / 100, 6)
                more = {"metric": metric, "split": split, "value": fraction, "cut": cut}
                figures.append(Figure(**about, **more, signature="printed"))
    return figures


def _marked(figures: list[Figure]) -> list[Figure]:
    """The best printed value of the methods is marked; the paper gives no intervals."""
    best: dict[Key, float] = {}
    for f in figures:
        better = METRICS[f.metric].direction(f.split)
        if f.role == "method" and better:
            best[f.key] = better * max(better * f.value, better * best.get(f.key, f.value))
    return [
        f.model_copy(update={"mark": "best"})
        if f.role == "method" and best.get(f.key) == f.value
        else f
        for f in figures
    ]
