"""The 95 % interval of a share: Wilson's, for items that come in clusters (values of a patient).

Items of one cluster are alike, so they tell less than as many items of their own. Wilson's interval
is taken at the effective sample size: the n at which a plain share would vary as much as this one
does between clusters (the ratio estimator's variance), never more than n. Where fewer than `SEEN`
clusters hold the rarer outcome that variance tells little; then n is at most that of the clusters
(our choice). With one item a cluster this is the plain interval.
"""

import math
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

#: Clusters that have to hold an outcome before its variance between clusters is believed.
SEEN: Final = 5
_Z: Final = 1.959963984540054  # the normal's 97.5th percentile


def share_interval(clusters: Collection[Sequence[bool]]) -> tuple[float, float]:
    """Low and high of the share of true items; `clusters`: the items of each, at least one."""
    m, n = len(clusters), sum(map(len, clusters))
    share = sum(map(sum, clusters)) / n
    effective = float(n if m == n else m)
    if m < n and m > 1 and 0 < share < 1:
        between = sum((sum(items) - share * len(items)) ** 2 for items in clusters)
        variance = between * m / (m - 1) / n**2
        rarer = min(sum(map(any, clusters)), sum(not all(items) for items in clusters))
        most = n if rarer >= SEEN else m
        effective = min(most, share * (1 - share) / variance) if variance else most
    centre, width = share + _Z**2 / (2 * effective), 1 + _Z**2 / effective
    half = _Z * math.sqrt(share * (1 - share) / effective + _Z**2 / (4 * effective**2))
    return max(0.0, (centre - half) / width), min(1.0, (centre + half) / width)


class Share(NamedTuple):
    """A share with the ends of its interval."""

    value: float
    low: float
    high: float


def difference_interval(one: Share, other: Share) -> tuple[float, float]:
    """Low and high of a difference of two shares (Newcombe's hybrid score, unpaired).

    For shares in which no resample differs: there a paired interval would be a point.
    """
    apart = one.value - other.value
    low = apart - math.hypot(one.value - one.low, other.high - other.value)
    return low, apart + math.hypot(one.high - one.value, other.value - other.low)
