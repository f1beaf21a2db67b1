"""The paper's Unlearning Efficiency Score (Eq. 1-3) and what it hides.

    UES = R_retain + R_test - R_forget
          - max(0, R_retain^ft - R_retain) - max(0, R_test^ft - R_test)
          - max(0, R_forget - R_forget^ft)

R is ROUGE-1 of open questions as a fraction. A method that changes nothing scores
R_retain^ft + R_test^ft - R_forget^ft (no-op), and gibberish on forget is rewarded: so the gain over
no-op and a flag for over-forgetting stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eval.run_folder import as_written, read_json, read_rows_file
from eval.score import ROWS, SCORES
from mllmu_med.files import digest
from mllmu_med_dataset import SPLITS, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

RESAMPLES: Final = 2000
SEED: Final = 20250804
SIGNATURE: Final = "ues|Eq. 1-3|rouge1 f1 open|fractions|mllmu-med 1"


@dataclass(frozen=True, slots=True)
class Ues:
    """UES and its terms, all fractions; the penalties are subtracted."""

    value: float
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
    terms = _terms(*(rouge[s] for s in SPLITS), *(finetuned[s] for s in SPLITS))
    return Ues(*(float(term) for term in terms))


def _terms(
    forget: Any, retain: Any, test: Any, forget_ft: Any, retain_ft: Any, test_ft: Any
) -> Any:
    """The same formula for numbers and for arrays of resampled means."""
    import numpy as np

    retain_penalty = np.maximum(0, retain_ft - retain)
    test_penalty = np.maximum(0, test_ft - test)
    forget_penalty = np.maximum(0, forget - forget_ft)
    value = retain + test - forget - retain_penalty - test_penalty - forget_penalty
    return value, retain, test, forget, retain_penalty, test_penalty, forget_penalty


@dataclass(frozen=True, slots=True)
class Run:
    """A scored run: its name and the ROUGE-1 of every open question, by split and id.

    `texts`: a hash of all questions with their reference answers.
    """

    name: str
    folder: Path
    config: str
    rouge: dict[str, dict[str, float]]
    summary: dict[str, Any]
    texts: str

    def means(self) -> dict[str, float]:
        return {s: sum(some.values()) / len(some) for s, some in self.rouge.items()}


def read_run(folder: Path) -> Run:
    """A run folder that `eval score` has been through."""
    if folder.is_file():
        raise UserError(f"{folder}: a file, but a run is a folder: leave it out")
    summary = read_json(folder / SCORES, f"score {folder}/answers.jsonl")
    rouge: dict[str, dict[str, float]] = {split: {} for split in SPLITS}
    rows = read_rows_file(folder / ROWS, f"score {folder}/answers.jsonl")
    with as_written(folder / ROWS):
        for row in rows:
            if "rouge1" in row:
                rouge[row["split"]][row["id"]] = row["rouge1"]
        texts = digest(sorted([row["id"], row["question"], row["reference"]] for row in rows))
    for split in SPLITS:
        if not rouge[split]:
            raise UserError(f"{folder / ROWS}: no open questions of {split}: UES needs all three")
    with as_written(folder / SCORES):
        return Run(summary["name"], folder, summary["config"], rouge, summary, texts)


def compare(
    runs: Sequence[Run],
    finetuned: Run,
    base: Run | None = None,
    retrained: Run | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """UES of each run with its terms, gain over no-op, flags, and paired bootstrap intervals.

    The bootstrap draws items (rows) with replacement within each split, the same items for every
    run, so that a difference between two runs is a paired one.

    Returns:
        `runs`: one entry each; `differences`: each pair (first minus second) with its interval.
    """
    import numpy as np

    others = [run for run in (base, retrained) if run]
    same_rows([finetuned, *runs, *others])
    draws = _draws(finetuned, resamples, seed)
    ft_means = finetuned.means()
    ft_draws = [_resampled(finetuned, split, draws) for split in SPLITS]
    entries, values = [], []
    for run in runs:
        terms = ues(run.means(), ft_means)
        noop = ues(ft_means, ft_means).value
        drawn = [_resampled(run, split, draws) for split in SPLITS]
        spread = _terms(*drawn, *ft_draws)[0]
        noop_spread = _terms(*ft_draws, *ft_draws)[0]
        values.append(spread)
        entry: dict[str, Any] = {
            "name": run.name,
            "ues": terms.value,
            "interval": _interval(spread),
            **{name: getattr(terms, name) for name in Ues.__slots__ if name != "value"},
            "noop": noop,
            "gain": terms.value - noop,
            "gain_interval": _interval(spread - noop_spread),
        }
        with as_written(run.folder / SCORES):
            entry["degenerate"] = run.summary["splits"]["forget"]["degenerate"]["value"]
        if base:
            entry["over_forgetting"] = over_forgets(run, base)
        if retrained:
            entry["distance_to_retrain"] = distance(run, retrained)
        entries.append(entry)
    differences = [
        {
            "first": runs[i].name,
            "second": runs[j].name,
            "difference": entries[i]["ues"] - entries[j]["ues"],
            "interval": _interval(values[i] - values[j]),
        }
        for i in range(len(runs))
        for j in range(i + 1, len(runs))
    ]
    return {
        "config": finetuned.config,
        "finetuned": finetuned.name,
        "base": base.name if base else None,
        "retrained": retrained.name if retrained else None,
        "signature": f"{SIGNATURE}|paired bootstrap over items, {resamples} resamples, 95 %, "
        f"seed {seed}, numpy {np.__version__}",
        "n": {split: len(finetuned.rouge[split]) for split in SPLITS},
        "runs": entries,
        "differences": differences,
    }


def over_forgets(run: Run, base: Run) -> bool:
    """Whether a run answers forget worse than the model that never saw it."""
    return run.means()["forget"] < base.means()["forget"]


def distance(run: Run, other: Run) -> float:
    """Sum over the three splits of how far two runs' ROUGE-1 (fractions) are apart."""
    means, others = run.means(), other.means()
    return sum(abs(means[split] - others[split]) for split in SPLITS)


def rouge_intervals(
    runs: Sequence[Run], resamples: int = RESAMPLES, seed: int = SEED
) -> list[dict[str, list[float]]]:
    """95 % interval of each run's mean ROUGE-1 by split, from the resamples of `compare`."""
    same_rows(runs)
    draws = _draws(runs[0], resamples, seed)
    return [{s: _interval(_resampled(run, s, draws)) for s in SPLITS} for run in runs]


def same_rows(runs: Sequence[Run]) -> None:
    """Refuse runs that were not scored on the same rows of the same config."""
    first = runs[0]
    for run in runs[1:]:
        if run.config != first.config:
            raise UserError(
                f"{run.folder}: scores of config {run.config}, but {first.folder} is of "
                f"{first.config}: compare runs of one config"
            )
        for split in SPLITS:
            if run.rouge[split].keys() != first.rouge[split].keys():
                raise UserError(
                    f"{run.folder}: its {split} rows are not those of {first.folder}: score both "
                    "on the same dataset"
                )
        if run.texts != first.texts:
            raise UserError(
                f"{run.folder}: its rows have other questions or answers than those of "
                f"{first.folder}: the dataset was another one, answer and score both on the same"
            )


def _draws(run: Run, resamples: int, seed: int) -> dict[str, Array]:
    """How often each item is drawn in each resample: resamples x items, by split."""
    import numpy as np

    random = np.random.default_rng(seed)
    draws: dict[str, Array] = {}
    for split in SPLITS:
        n = len(run.rouge[split])
        draws[split] = random.multinomial(n, [1 / n] * n, size=resamples).astype(np.float64)
    return draws


def _resampled(run: Run, split: str, draws: dict[str, Array]) -> Array:
    """The mean ROUGE-1 of every resample."""
    import numpy as np

    scores = run.rouge[split]
    column = np.array([scores[row_id] for row_id in sorted(scores)])
    means: Array = draws[split] @ column / len(column)
    return means


def _interval(values: Array) -> list[float]:
    import numpy as np

    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]
