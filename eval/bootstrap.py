"""The bootstrap of all figures: images (or patients) are drawn, the same ones for every run.

Questions about one image are alike, so whole images are drawn with replacement, apart for those of
each set of splits, that no split is ever empty; values that leak are drawn by patient. A figure is
an array: first its value, then that of each resample. So a difference of two runs is a paired one,
and whatever is computed of figures (UES, its gain) has its interval by the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

RESAMPLES: Final = 2000
SLOW_RESAMPLES: Final = 200
SEED: Final = 20250804


class Items(NamedTuple):
    """What a figure is of: each item's id, cluster (image or patient) and value."""

    ids: list[Any]
    clusters: list[str]
    values: Array

    @classmethod
    def of(cls, items: Mapping[Any, tuple[str, float]]) -> Items:
        import numpy as np

        clusters = [cluster for cluster, _ in items.values()]
        values = np.array([value for _, value in items.values()], dtype=float)
        return cls([*items], clusters, values)

    def only(self, keep: Callable[[Any], object]) -> Items:
        """Those whose id is to be kept."""
        kept = [i for i, item in enumerate(self.ids) if keep(item)]
        ids, clusters = ([column[i] for i in kept] for column in (self.ids, self.clusters))
        return Items(ids, clusters, self.values[kept])


class Draws:
    """How often each cluster is drawn: its value's row of ones, then a row for each resample."""

    def __init__(
        self, strata: Mapping[str, str], resamples: int = RESAMPLES, seed: int = SEED
    ) -> None:
        """strata: of each cluster; within one, as many clusters are drawn as it has."""
        import numpy as np

        self.seed = seed
        self.place = {cluster: i for i, cluster in enumerate(sorted(strata))}
        self.weights = np.ones((1 + resamples, len(strata)))
        for stratum in {*strata.values()}:
            columns = [self.place[cluster] for cluster in strata if strata[cluster] == stratum]
            m = len(columns)
            # Of its own seed: what else a run has been measured in changes no draw.
            random = np.random.default_rng([seed, *stratum.encode()])
            self.weights[1:, sorted(columns)] = random.multinomial(m, [1 / m] * m, size=resamples)

    def mean(self, items: Items) -> Array:
        import numpy as np

        sums = np.zeros((len(self.place), 2))
        places = self._places(items)
        np.add.at(sums[:, 0], places, items.values)
        np.add.at(sums[:, 1], places, 1)
        totals: Array = self.weights @ sums
        with np.errstate(invalid="ignore"):  # a small cut is empty in some resamples
            return np.asarray(totals[:, 0] / totals[:, 1])

    def of_items(self, items: Items) -> Array:
        """The weight of each item: resamples x items."""
        weights: Array = self.weights[:, self._places(items)]
        return weights

    def _places(self, items: Items) -> list[int]:
        return [self.place[cluster] for cluster in items.clusters]

    def auc(self, members: Items, others: Items) -> Array:
        """How often a member scores higher than another, ties half."""
        import numpy as np

        high, low = members.values[:, None], others.values
        wins = (high > low) + 0.5 * (high == low)
        drawn, against = self.of_items(members), self.of_items(others)
        total = drawn.sum(1) * against.sum(1)
        with np.errstate(invalid="ignore"):
            auc: Array = ((drawn @ wins) * against).sum(1) / total
        return auc

    def ks(self, ours: Items, theirs: Items) -> Array:
        """The Kolmogorov-Smirnov distance of two models' values of the same items."""
        import numpy as np

        own, other = ours.values, theirs.values
        points = np.union1d(own, other)
        steps = (own[:, None] <= points).astype(float) - (other[:, None] <= points)
        weights = self.of_items(ours)
        with np.errstate(invalid="ignore"):
            distance: Array = np.abs(weights @ steps).max(1) / weights.sum(1)
        return distance

    def total(self, items: Items, vectors: Sequence[Any], sum_up: Callable[[Any], float]) -> Array:
        """A slow figure that is no mean, from the sum of its items' vectors; of fewer resamples."""
        import numpy as np

        sums = self.of_items(items)[: 1 + SLOW_RESAMPLES] @ np.array(vectors, dtype=float)
        return np.array([sum_up(row) for row in sums])

    def over_seeds(self, arrays: Sequence[Array]) -> Array:
        """The mean over runs of several seeds, in the order of their seeds, with their spread.

        Three seeds drawn with replacement never reach past the least and the greatest: so a
        resample moves the mean by a normal number times its standard error, stretched to the
        quantile of Student's t. The numbers depend on how many seeds there are alone: a
        difference of two methods is a paired one.
        """
        import numpy as np
        from scipy.stats import norm, t

        m = len(arrays)
        if m == 1:
            return arrays[0]
        seeds = np.stack(arrays, axis=1)
        mean: Array = seeds.mean(1)
        moved = np.random.default_rng([self.seed, m]).standard_normal(seeds.shape)
        moved[0] = 0
        stretch = t.ppf(0.975, m - 1) / norm.ppf(0.975) / np.sqrt(m * (m - 1))
        return np.asarray(mean + stretch * (moved * (seeds - mean[:, None])).sum(1))


def interval(array: Array) -> tuple[float, float]:
    """The 95 % interval of a figure; resamples without an item of it are left out."""
    import numpy as np

    drawn = array[1:][np.isfinite(array[1:])]
    if not len(drawn):
        return float(array[0]), float(array[0])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def apart(first: Array, second: Array) -> bool:
    """Whether the interval of the paired difference leaves out 0."""
    low, high = interval(first - second)
    return low > 0 or high < 0
