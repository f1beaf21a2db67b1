"""The runs of one name, one for each seed, and the figures that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from eval.bootstrap import Items, interval
from eval.derived_figures import ATTACKS, SIGNATURES
from eval.intervals import share_interval
from eval.metric_names import METRICS
from eval.read_run import Run
from eval.results import Figure, Key

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What lies in 0..1 besides what is printed as percent.
PROBABILITIES: Final = (
    *("probability", "memorised", "extraction", "cloze", "kept_truth", "utility"),
    *(f"auc_{score}" for score in ATTACKS),
)
#: Distances of absolute values: no resample comes near 0, so percentiles would mislead.
FOLDED: Final = ("distance_to_retrain", "ks_distance")


@dataclass
class SeedRuns:
    """A row of the tables on its way: its runs, one for each seed, and their resampled figures."""

    name: str
    role: str
    runs: list[Run]
    by_run: list[dict[Key, NDArray[Any]]] = field(default_factory=list)
    arrays: dict[Key, NDArray[Any]] = field(default_factory=dict)

    def of_seed(self, seed: int | None) -> int:
        """Which of its runs belongs to a seed; the first where none is of that seed."""
        return next((i for i, run in enumerate(self.runs) if run.seed == seed), 0)


def make_figure(
    line: SeedRuns, key: Key, array: NDArray[Any], items: Sequence[Items], **more: Any
) -> Figure:
    """A resampled figure's value and interval; `items`: of each seed, none of what is no mean.

    Of a share Wilson's, and over seeds at least as wide, since resamples of 0 % are all 0 %.
    """
    run = line.runs[0]
    # One image tells nothing of how much others differ.
    alone = any(len({*of_seed.clusters}) == 1 for of_seed in items)
    share = bool(items) and METRICS[key.metric].share
    low: float | None = None
    high: float | None = None
    if len(array) > 1 and not alone and key.metric not in FOLDED and (len(items) != 1 or not share):
        low, high = interval(array)
        fraction = METRICS[key.metric].unit == "percent" or key.metric in PROBABILITIES
        if fraction and not more.get("versus"):
            low, high = max(low, 0.0), min(high, 1.0)  # seeds move a mean past what it can be
    if share:
        clusters: dict[str, list[bool]] = {}
        for of_seed in items:
            for cluster, value in zip(of_seed.clusters, of_seed.values.tolist(), strict=True):
                clusters.setdefault(cluster, []).append(bool(value))
        least, most = share_interval(clusters.values())
        low = least if low is None else min(least, low)
        high = most if high is None else max(most, high)
    n = len(items[0].ids) if items else run.counts.get(key, 0)
    signature = run.signatures.get(key.metric, SIGNATURES.get(key.metric, ""))
    about = {"config": run.config, "run": line.name, "role": line.role, "signature": signature}
    limits = {"value": float(array[0]), "low": low, "high": high}
    return Figure(**{**about, **limits, **key._asdict(), "n": n, **more})


def sign_of(line: SeedRuns, key: Key, array: NDArray[Any]) -> Figure:
    """-1, 0 or 1: whether a difference's interval lies below 0, holds it, or lies above."""
    low, high = interval(array)
    about = {"config": line.runs[0].config, "run": line.name, "role": line.role, **key._asdict()}
    return Figure.model_validate({**about, "value": int(low > 0) - int(high < 0)})
