"""The figures of runs: one schema, one frame, from which every table, plot and page is made.

    from eval import load_results
    frame = load_results("runs/demo-privacy")     # a run's folder, or a folder of runs
    frame[(frame.metric == "rouge1") & (frame.split == "forget")]

A row of the frame is a `Figure`. A figure of another kind, seed, forget ratio (`config`), part of
the rows (`cut`, e.g. `modality=CT`) or attack (`way`) is one more row; `METRICS` says how a metric
is headed, printed and explained. Values are fractions (0..1, UES and its gain sums of such).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, ValidationError

from eval.metric_names import METRICS
from mllmu_med.csv_tables import defused, read_csv, restored
from mllmu_med_dataset import SPLITS, UserError

if TYPE_CHECKING:
    import pandas as pd

#: In the order of a table's rows; a run is taken for a role by its name where none is given.
ROLES: Final = ("base", "finetune", "method", "retrain", "reference")
_LABELS: Final = (
    "Base Finetune GA GD KL-Min IDK LLMU NPO SimNPO DPO Relabel AltPO UnDIAL WGA SatImp CE-U IHL "
    "PDU Negation MANU CHIP Retrain"
).split()
LABELS: Final = {label.lower(): label for label in _LABELS}

#: From this share of forget outputs that are no language a method is marked as broken: our choice.
BROKEN: Final = 0.2


class Key(NamedTuple):
    """What a figure is of; `cut` narrows the rows (`modality=CT`), `way` is how they were asked."""

    metric: str
    split: str = ""
    cut: str = ""
    way: str = ""


class Figure(BaseModel):
    """One figure of one run; `versus` names the run that is subtracted in a difference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["ours", "paper"] = "ours"
    config: str
    run: str
    #: One of `ROLES`; `seed`: of a run that is one of several seeds; `figure`: it is of a figure.
    role: str
    versus: str = ""
    seed: int | None = None
    metric: str
    split: str = ""
    cut: str = ""
    way: str = ""
    value: FiniteFloat
    #: The 95 % interval.
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    #: How many items it is of; 0: it is no mean of items.
    n: NonNegativeInt = 0
    #: Over how many seeds it is a mean, and their standard deviation.
    seeds: NonNegativeInt = 1
    sd: FiniteFloat | None = None
    #: `best` of the methods, or `tied`: it cannot be told apart from the best.
    mark: Literal["", "best", "tied"] = ""
    signature: str = ""

    @property
    def key(self) -> Key:
        return Key(self.metric, self.split, self.cut, self.way)


COLUMNS: Final = tuple(Figure.model_fields)


@dataclass(frozen=True, slots=True)
class Report:
    """What a report shows of some runs of one config."""

    config: str
    figures: list[Figure]
    #: What a reader must know, a sentence each.
    notes: list[str] = field(default_factory=list)
    #: What is known of each run's model and where the run is.
    models: dict[str, dict[str, Any]] = field(default_factory=dict)

    def lines(self, source: str = "ours", *roles: str) -> list[Line]:
        """The runs as rows of a table, in its order: all, or those of some roles."""
        by_run: dict[str, Line] = {}
        for figure in self.figures:
            if figure.source == source and not figure.versus and figure.role in (roles or ROLES):
                line = by_run.setdefault(figure.run, Line(figure.run, figure.role, {}))
                line.figures[figure.key] = figure
        return sorted(by_run.values(), key=lambda line: (*ROLES, line.role).index(line.role))


class Line(NamedTuple):
    """A run as a row of a table."""

    run: str
    role: str
    figures: dict[Key, Figure]

    @property
    def label(self) -> str:
        """What tables call it: a method as the paper writes it, another name as it is."""
        label = LABELS.get(self.run.lower().replace("_", "-"), self.run)
        return label if label == LABELS.get(self.role, label) else f"{label} ({self.role})"

    @property
    def is_broken(self) -> bool:
        """Whether a method answers the forget set with what is no language (more than `BROKEN`)."""
        return self.role == "method" and (self.value(Key("degenerate", "forget")) or 0) > BROKEN

    def value(self, key: Key) -> float | None:
        return self.figures[key].value if key in self.figures else None


def to_frame(figures: Iterable[Figure]) -> pd.DataFrame:
    """Figures as a frame, a row each, in full precision."""
    import pandas as pd

    return pd.DataFrame([figure.model_dump() for figure in figures], columns=list(COLUMNS))


def to_csv(report: Report) -> str:
    """One figure a line, with the frame's columns; no name is a spreadsheet's formula."""
    cells = to_frame(report.figures).astype(object)
    cells = cells.map(lambda cell: defused(cell) if isinstance(cell, str) else cell)
    return cells.to_csv(index=False, lineterminator="\n")


def read_results(path: Path) -> dict[str, Report]:
    """Reports by config, out of what `python -m eval report ... --format csv --out FILE` wrote.

    Several such files can be put into one, any other is a UserError. The paper's own lines are left
    out.
    """
    advice = "write it with `python -m eval report RUN... --format csv --out FILE`"
    reports: dict[str, Report] = {}
    for number, row in read_csv(path, COLUMNS, advice).items():
        if row["source"] != "ours":  # the paper's, or the head of a second file
            continue
        try:
            told = {name: restored(text) for name, text in row.items() if text}
            figure = Figure.model_validate(told)
        except ValidationError as error:
            why = error.errors()[0]
            raise UserError(
                f"{path}, row {number}: {'.'.join(map(str, why['loc']))}: {why['msg']}: {advice}"
            ) from error
        if figure.metric in METRICS and figure.role in (*ROLES, "seed", "figure"):
            reports.setdefault(figure.config, Report(figure.config, [])).figures.append(figure)
    if not reports:
        raise UserError(f"{path}: holds no figures: {advice}")
    for report in reports.values():
        for line in report.lines():
            for split in SPLITS:
                if Key("rouge1", split) not in line.figures:
                    raise UserError(
                        f"{path}: no rouge1 of {line.run} on {split}: lines are missing: {advice}"
                    )
    return reports
