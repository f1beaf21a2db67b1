"""Figures of runs in one plain structure, from which every report and plot is made.

A figure is found by its key: metric, split, and which part of the rows it is of, e.g.
`Key("rouge1", "forget")`, `Key("bleu", "test", "modality=CT")`, `Key("ues")`,
`Key("leaked_values", "forget", "way=any,kind=phone")`. Values are fractions (0..1, UES and its gain
sums of such), never percent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

#: In the order of a table's rows; a run is taken for a role by its name where none is given.
ROLES: Final = ("base", "finetune", "method", "retrain")
_LABELS: Final = "Base Finetune GA GD KL-Min IDK LLMU NPO SimNPO DPO Retrain".split()
LABELS: Final = {label.lower(): label for label in _LABELS}


class Key(NamedTuple):
    """What a figure is of; `part` narrows the rows (`modality=CT`) or the asking (`way=own`)."""

    metric: str
    split: str = ""
    part: str = ""


class Figure(NamedTuple):
    """A value, over how many items (0: not a mean of items), and its 95 % interval if asked for."""

    value: float
    n: int = 0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a report's tables: one run of ours, or one method as the paper prints it."""

    name: str
    label: str
    role: str
    figures: dict[Key, Figure] = field(default_factory=dict)
    folder: str = ""
    #: What `eval answer` has written about the model; empty for somebody else's predictions.
    model: dict[str, Any] = field(default_factory=dict)

    def value(self, key: Key) -> float | None:
        return self.figures[key].value if key in self.figures else None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report shows of some runs."""

    config: str
    lines: list[Line]
    #: The same table as the paper prints it; empty unless asked for.
    paper: list[Line]
    #: What each metric is: variant, library, version.
    signatures: dict[str, str]
    #: What a reader must know, a sentence each.
    notes: list[str]


def label_of(name: str, role: str) -> str:
    """What tables call a run: a method as the paper writes it, another name as it is."""
    label = LABELS.get(name.lower().replace("_", "-"), name)
    return label if role == "method" or label == LABELS[role] else f"{label} ({role})"
