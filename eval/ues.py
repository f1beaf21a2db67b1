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
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
SIGNATURE: Final = "ues|Eq. 1-3|rouge1 f1 open|think:stripped|fractions|mllmu-med 2"


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
    return Ues(*map(float, _ues(rouge, finetuned)))


def _ues(rouge: Mapping[str, Any], finetuned: Mapping[str, Any]) -> Ues:
    """The same formula for numbers and for arrays of resampled means, by split."""
    import numpy as np

    retain, test, forget = (rouge[split] for split in ("retain", "test", "forget"))
    retain_penalty = np.maximum(0, finetuned["retain"] - retain)
    test_penalty = np.maximum(0, finetuned["test"] - test)
    forget_penalty = np.maximum(0, forget - finetuned["forget"])
    score = retain + test - forget - retain_penalty - test_penalty - forget_penalty
    return Ues(score, retain, test, forget, retain_penalty, test_penalty, forget_penalty)


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
        return {s: sum(scores.values()) / len(scores) for s, scores in self.rouge.items()}


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
    ft_means, ft_draws = finetuned.means(), _resampled(finetuned, draws)
    noop, noop_draws = ues(ft_means, ft_means).ues, _ues(ft_draws, ft_draws).ues
    entries, values = [], []
    for run in runs:
        terms = ues(run.means(), ft_means)
        values.append(_ues(_resampled(run, draws), ft_draws).ues)
        entry: dict[str, Any] = {
            "name": run.name,
            "ues": terms.ues,
            "interval": _interval(values[-1]),
            **terms._asdict(),
            "noop": noop,
            "gain": terms.ues - noop,
            "gain_interval": _interval(values[-1] - noop_draws),
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
            "first": first["name"],
            "second": second["name"],
            "difference": first["ues"] - second["ues"],
            "interval": _interval(spread - other),
        }
        for (first, spread), (second, other) in combinations(zip(entries, values, strict=True), 2)
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


def over_seeds(
    runs: Sequence[Run],
    finetuned: Sequence[Run],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """One method over its seeds: means, standard deviations, and intervals of items x seeds.

    Each resample draws items, the same ones for all seeds, and seeds; the draws are those of every
    other call with as many rows and seeds, so that methods can be paired.

    Args:
        runs: a run a seed. finetuned: what each went out from, or one run for all.

    Returns:
        `seeds` (their number); `ues`, `gain` and `rouge1` by split, each with `value` (the mean),
        `sd` (None for one seed) and `interval`; `signature`.
    """
    import numpy as np

    starts = [*finetuned] * (len(runs) if len(finetuned) == 1 else 1)
    same_rows([*starts, *runs])
    draws, n = _draws(runs[0], resamples, seed), len(runs)
    weights = np.random.default_rng([seed, n]).multinomial(n, [1 / n] * n, size=resamples) / n
    seen: dict[str, list[tuple[float, Any]]] = {}
    for run, start in zip(runs, starts, strict=True):
        means, spread = run.means(), _resampled(run, draws)
        noop, noops = start.means(), _resampled(start, draws)
        own, owns = ues(means, noop).ues, _ues(spread, noops).ues
        gain = own - ues(noop, noop).ues, owns - _ues(noops, noops).ues
        terms: dict[str, tuple[float, Any]] = {"ues": (own, owns), "gain": gain}
        terms |= {split: (means[split], spread[split]) for split in SPLITS}
        for name, pair in terms.items():
            seen.setdefault(name, []).append(pair)
    figures: dict[str, Any] = {
        name: {
            "value": float(np.mean([value for value, _ in pairs])),
            "sd": float(np.std([value for value, _ in pairs], ddof=1)) if n > 1 else None,
            "interval": _interval((np.stack([s for _, s in pairs], axis=1) * weights).sum(axis=1)),
        }
        for name, pairs in seen.items()
    }
    rouge = {split: figures.pop(split) for split in SPLITS}
    bootstrap = f"bootstrap over items x seeds, {resamples} resamples, 95 %, seed {seed}"
    signature = f"{SIGNATURE}|mean of {n} seeds|{bootstrap}, numpy {np.__version__}"
    return {"name": runs[0].name, "seeds": n, **figures, "rouge1": rouge, "signature": signature}


def over_forgets(run: Run, base: Run) -> bool:
    """Whether a run answers forget worse than the model that never saw it."""
    return run.means()["forget"] < base.means()["forget"]


def distance(run: Run, other: Run) -> float:
    """Sum over the three splits of how far two runs' ROUGE-1 (fractions) are apart."""
    means, others = run.means(), other.means()
    return sum(abs(means[split] - others[split]) for split in SPLITS)


def rouge_intervals(runs: Sequence[Run]) -> list[dict[str, list[float]]]:
    """95 % interval of each run's mean ROUGE-1 by split, from the resamples of `compare`."""
    same_rows(runs)
    draws = _draws(runs[0], RESAMPLES, SEED)
    return [{s: _interval(v) for s, v in _resampled(run, draws).items()} for run in runs]


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


def _resampled(run: Run, draws: dict[str, Array]) -> dict[str, Array]:
    """The mean ROUGE-1 of every resample, by split."""
    import numpy as np

    means = {}
    for split, scores in run.rouge.items():
        column = np.array([scores[row_id] for row_id in sorted(scores)])
        means[split] = draws[split] @ column / len(column)
    return means


def _interval(values: Any) -> list[float]:
    import numpy as np

    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]
