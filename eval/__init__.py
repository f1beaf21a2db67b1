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
    from eval.collect_results import collect_all
    from eval.results import to_frame

    reports = collect_all([*map(Path, folders)])
    return to_frame(figure for report in reports for figure in report.figures)


def load_items(*folders: str | Path) -> pd.DataFrame:
    """A frame of each run's forget rows with ROUGE-1, and of private values by way of asking.

    learnt: whether the fine-tuned run of the same seed says it (`eval.learnt`); None: no such run,
    or nothing to learn.
    """
    import pandas as pd

    from eval.collect_results import runs_and_learnt
    from eval.learnt import items_of

    return pd.DataFrame(
        row for run in runs_and_learnt([*map(Path, folders)]) for row in items_of(run)
    )
