"""Measure unlearning: answers, scores, UES, leakage, likelihoods, reports.

from eval import load_results
frame = load_results("runs/demo-privacy")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def load_results(*folders: str | Path) -> pd.DataFrame:
    """A frame with the figures of one run or of folders of runs (`eval.results`)."""
    from eval.collect_results import load_results as load

    return load(*folders)
