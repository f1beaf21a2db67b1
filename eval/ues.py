"""The paper's Unlearning Efficiency Score (Eq. 1-3) and what it hides.

    UES = R_retain + R_test - R_forget
          - max(0, R_retain^ft - R_retain) - max(0, R_test^ft - R_test)
          - max(0, R_forget - R_forget^ft)

R is ROUGE-1 of open questions as a fraction. A method that changes nothing scores
R_retain^ft + R_test^ft - R_forget^ft (no-op), and gibberish on forget is rewarded: so the gain over
no-op and a flag for over-forgetting stand beside it.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from eval.bootstrap import RESAMPLES, SEED
from eval.read_run import Run
from mllmu_med_dataset import SPLITS, UserError

SIGNATURE: Final = (
    "ues|Eq. 1-3|rouge1 f1 open|think:stripped 2|fractions|paired bootstrap over images, "
    f"{RESAMPLES} resamples, 95 %, seed {SEED}|mllmu-med 3"
)


class Ues(NamedTuple):
    """UES and its terms, all fractions; the penalties are subtracted."""

    ues: float
    retain: float
    test: float
    forget: float
    retain_penalty: float
    test_penalty: float
    forget_penalty: float


def ues(rouge: Mapping[str, float], finetuned: Mapping[str, float]) -> Ues:
    """Eq. 1-3 from mean ROUGE-1 by split (`forget`, `retain`, `test`), as fractions.

    Raises:
        UserError: a split is missing, or a value is no fraction (a percent, most likely).
    """
    for name, values in (("the unlearned model", rouge), ("the fine-tuned model", finetuned)):
        for split in SPLITS:
            value = values.get(split)
            if value is None:
                raise UserError(f"UES: {name} has no ROUGE-1 of {split}: it needs all three")
            if not 0 <= value <= 1:
                raise UserError(
                    f"UES: ROUGE-1 of {name} on {split} is {value:g}: a fraction in 0..1 is due "
                    "(divide a percent by 100)"
                )
    return Ues(*map(float, ues_of_arrays(rouge, finetuned)))


def ues_of_arrays(rouge: Mapping[str, Any], finetuned: Mapping[str, Any]) -> Ues:
    """The same formula for numbers and for arrays of resampled means, by split."""
    import numpy as np

    retain, test, forget = (rouge[split] for split in ("retain", "test", "forget"))
    retain_penalty = np.maximum(0, finetuned["retain"] - retain)
    test_penalty = np.maximum(0, finetuned["test"] - test)
    forget_penalty = np.maximum(0, forget - finetuned["forget"])
    score = retain + test - forget - retain_penalty - test_penalty - forget_penalty
    return Ues(score, retain, test, forget, retain_penalty, test_penalty, forget_penalty)


def same_rows(runs: Sequence[Run]) -> None:
    """Refuse runs that were not scored on the same rows of the same config."""
    first = runs[0]
    for run, split in product(runs, SPLITS):
        if not any(row["split"] == split and "rouge1" in row for row in run.rows):
            raise UserError(f"{run.folder}: no open questions of {split}: UES needs all three")
    for run in runs[1:]:
        if run.config != first.config:
            raise UserError(
                f"{run.folder}: scores of config {run.config}, but {first.folder} is of "
                f"{first.config}: compare runs of one config"
            )
        if run.texts != first.texts:
            raise UserError(
                f"{run.folder}: its rows, with their questions and answers, are not those of "
                f"{first.folder}: answer and score both on the same dataset"
            )
