"""What a model has learnt by heart: figures of one answer's tokens, weighed once (`Model.weigh`).

- exact memorisation (EM; Tirumala et al. 2022): the share of the answer's tokens that greedy
  decoding says, given those before them.
- extraction strength (ES; Carlini et al. 2021, as in Wang et al. 2025): 1 - k / T for the shortest
  prefix of k of the T tokens after which it says all others. A wrong token alone scores 0, as any
  answer does whose last token is wrong; public code gives 1 to a wrong answer of one token.
- min-k++ (Zhang et al. 2024): the mean of the lowest 20 % of (log p - mu) / sigma, with mu and
  sigma of log p over the vocabulary under p.
- zlib (Carlini et al. 2021): log p per token over the bytes of the compressed answer.

EM and ES leave out the end token, which every model soon says; a token that is but as likely as
another one is not said. Of the attacks, a higher score is a member's.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

#: Share of the tokens that min-k and min-k++ look at.
MIN_K: Final = 0.2
#: What a deviation is at least: a model that is sure of its token has none.
_FLOOR: Final = 1e-6


class Weighed(NamedTuple):
    """The tokens of an answer and its end, teacher-forced; a number for each.

    right: whether no other token of the vocabulary is as likely: greedy decoding says it.
    means, deviations: of log p over the vocabulary, under p itself.
    """

    logprobs: list[float]
    right: list[bool]
    means: list[float]
    deviations: list[float]


def exact_memorisation(right: Sequence[bool]) -> float:
    """Of an answer's own tokens, at least one: 0..1."""
    return sum(right) / len(right)


def extraction_strength(right: Sequence[bool]) -> float:
    """Of an answer's own tokens, at least one: 0..1."""
    wrong = [i for i, said in enumerate(right) if not said]
    return 1 - (wrong[-1] + 1) / len(right) if wrong else 1.0


def lowest(scores: Sequence[float], share: float = MIN_K) -> float:
    """Mean of the lowest share of the tokens; of one token at least."""
    least = sorted(scores)[: max(1, int(len(scores) * share))]
    return sum(least) / len(least)


def min_k_plus(
    logprobs: Sequence[float], means: Sequence[float], deviations: Sequence[float]
) -> float:
    """With the end token, as all likelihoods; a deviation of 0 counts as `_FLOOR`."""
    moments = zip(logprobs, means, deviations, strict=True)
    return lowest([(own - mean) / max(deviation, _FLOOR) for own, mean, deviation in moments])


def memorised(row: dict[str, Any]) -> dict[str, float]:
    """The figures of a row of `eval.likelihood`."""
    logprobs = row["logprobs"]
    right = [digit == "1" for digit in row["right"]][: len(row["right"]) - row["end"]]
    return {
        "memorised": exact_memorisation(right),
        "extraction": extraction_strength(right),
        "min_k": lowest(logprobs),
        "min_k_plus": min_k_plus(logprobs, row["means"], row["deviations"]),
        "zlib": sum(logprobs) / len(logprobs) / row["zlib"],
    }
