"""The decisions of a work folder: WORK/review/SCENARIO.jsonl, every reviewer's latest a line."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from builder.review.records import Decision
from mllmu_med.files import read_jsonl, write_jsonl
from mllmu_med_dataset import UserError


class Key(NamedTuple):
    """What there is one decision for: a reviewer's on one text, and one that settles beside it.

    Decisions on texts that have changed stay: a text that comes back finds its own again.
    """

    id: str
    content: str
    reviewer: str
    settles: bool


def key(decision: Decision) -> Key:
    return Key(decision.id, decision.content, decision.reviewer, decision.settles)


def path(work: Path, scenario: str) -> Path:
    return work / "review" / f"{scenario}.jsonl"


def read(work: Path, scenario: str) -> dict[Key, Decision]:
    """Every decision about a scenario, perhaps none; a UserError where the file is damaged."""
    file = path(work, scenario)
    if not file.exists():
        return {}
    try:
        rows = [row | {"reasons": tuple(row["reasons"])} for row in read_jsonl(file)]
        decisions = [Decision(**row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: holds decisions and cannot be read ({error}): restore it from a copy, or "
            "move it away and import the reviewers' files again"
        ) from error
    return {key(decision): decision for decision in decisions}


def write(work: Path, scenario: str, decisions: Iterable[Decision]) -> None:
    """Replace a scenario's decisions, all or nothing."""
    write_jsonl(path(work, scenario), (asdict(decision) for decision in sorted(decisions, key=key)))
