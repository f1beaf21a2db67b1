"""How a candidate was rated by self-calibration, as the stage writes it and others read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from builder.core.stage_cache import Chain
from mllmu_med.files import read_jsonl

RATINGS: Final = "ratings.jsonl"  # in the stage's folder


@dataclass(frozen=True, slots=True)
class Rated:
    """A candidate with the adapted model's output, how it was rated, and whether it is kept.

    placement: where its private values stand (`question`, `answer`, `both`); empty without any.
    output, reason: as the model wrote them, without numbers and addresses that could be somebody's;
        what is compared and rated is the whole output.
    rating: 1-5; 0 where no rating could be had.
    """

    id: str
    harm: str
    placement: str
    question: str
    truth: str
    output: str
    rouge_l: float
    values: int
    back: int
    rating: int
    reason: str
    kept: bool


def read_ratings(chain: Chain) -> list[Rated]:
    """What the stage has rated, in the order of the ids."""
    return [Rated(**row) for row in read_jsonl(chain.folder / "calibrate" / RATINGS)]
