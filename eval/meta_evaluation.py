"""Which figure can be trusted here? Every figure of the forget set, measured itself.

After Dorna et al. 2025 (arXiv:2506.12618), who ask it of text models; formulas and bars are ours:

- faithfulness: AUROC with which the figure tells models that were trained on the forget set
  (fine-tuned, several seeds) from models that were not (retrained); .5 is chance, 1 all.
- stability under relearning and under quantisation: 1 - mean over the methods of how much of the
  knowledge the figure sees more (or less) after the attack than before. Knowledge is 0 at the
  retrained model's figure and 1 at the fine-tuned one's, each under the same attack. What a figure
  calls forgotten and a few steps bring back was not gone: that figure has said too much.
- agreement: Spearman's rank correlation, over the methods, with the most that any attack brings
  out (taking the last adapter off is none: that gives the fine-tuned model back).
- the controls: where a perfect correction and gibberish land between the retrained (0) and the
  fine-tuned model (1). A figure that holds gibberish for the better forgetting rewards destruction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from eval.results import Key

#: Figures that tell of the forget set, and whether more of them is more knowledge (1) or less (-1).
CANDIDATES: Final[dict[Key, int]] = {
    Key("ues"): -1,
    Key("rouge1", "forget"): 1,
    Key("bleu", "forget"): 1,
    Key("clean_rouge1", "forget"): -1,
    Key("leaked_values", "forget", "", "own"): 1,
    Key("leaked_values", "forget", "", "prefix"): 1,
    Key("probability", "forget"): 1,
    Key("truth_ratio", "forget"): -1,
    Key("exact_memorisation", "forget"): 1,
    Key("extraction_strength", "forget"): 1,
    Key("cloze", "forget"): 1,
    Key("multiple_choice", "forget"): 1,
    Key("auc_loss"): 1,
    Key("auc_min_k"): 1,
}
#: What a figure needs to be trusted: our choice.
BARS: Final = {"faithfulness": 0.9, "stable_relearn": 0.8, "stable_quantise": 0.8, "agreement": 0.7}
#: So many models of each kind, or faithfulness says nothing: our choice.
LEAST_SEEDS: Final = 5
#: Where fine-tuned and retrained model differ by less, a figure says nothing here.
_LEAST_RANGE: Final = 0.02


class Correlation(NamedTuple):
    """Spearman's rho with its 95 % interval by Fisher's z (Bonett and Wright 2000)."""

    rho: float
    low: float
    high: float


def faithfulness(knowing: Sequence[float], ignorant: Sequence[float]) -> float:
    """How often a model of the first kind has the higher value, ties half: 0..1."""
    wins = [(k > i) + 0.5 * (k == i) for k in knowing for i in ignorant]
    return sum(wins) / len(wins)


def knowledge(value: float, retrain: float, finetune: float) -> float | None:
    """0 at the retrained model's value, 1 at the fine-tuned one's, cut to that; None: no range."""
    if abs(finetune - retrain) < _LEAST_RANGE:
        return None
    return min(1.0, max(0.0, (value - retrain) / (finetune - retrain)))


def stability(before: Mapping[str, float], after: Mapping[str, float]) -> float | None:
    """1 - mean change of knowledge over the methods that both hold; 0..1."""
    changes = [abs(after[name] - before[name]) for name in before if name in after]
    return 1 - sum(changes) / len(changes) if changes else None


def agreement(values: Sequence[float], told: Sequence[float]) -> Correlation | None:
    """Of a figure with what comes out; None of fewer than four methods, or where one never moves."""
    from scipy.stats import spearmanr

    if len(values) < 4 or len({*values}) == 1 or len({*told}) == 1:
        return None
    rho = float(spearmanr(values, told).statistic)
    z = math.atanh(max(-0.999999, min(0.999999, rho)))
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (len(values) - 3))
    return Correlation(rho, math.tanh(z - half), math.tanh(z + half))
