"""Unlearning losses that look at each answer token's whole distribution; see `baselines.losses`.

z are a token's logits, y the token, p = softmax(z). Where nothing else is said, means are taken as
`l`'s are and the retain loss stands beside a method's own, whether its paper has one or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baselines.losses import Part, float32, mean_nll, with_retain
from baselines.training_settings import Positive, Weight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def wga(forget: Part, retain: Part, *, beta: Weight = 1.0, retain_weight: Weight = 1.0) -> Tensor:
    """Weighted Gradient Ascent (Wang et al. 2025, arXiv:2502.19301): -E[p_y^beta l].

    The weight takes no gradient: it stops the ascent on what is forgotten. beta: 1, their code's.
    """
    nll = forget.token_nll
    weight = (-beta * nll.detach()).exp()
    return with_retain(-forget.mean_of_tokens(weight * nll), retain, retain_weight)


def satimp(
    forget: Part,
    retain: Part,
    *,
    beta1: Weight = 5.0,
    beta2: Weight = 1.0,
    retain_weight: Weight = 1.0,
) -> Tensor:
    """SatImp (Yang et al. 2025, arXiv:2505.11953): -E[p_y^beta1 (1 - p_y)^beta2 l].

    Saturation times importance, both without gradient; betas of their code.
    """
    nll = forget.token_nll
    p = (-nll.detach()).exp()
    weight = p**beta1 * (1 - p) ** beta2
    return with_retain(-forget.mean_of_tokens(weight * nll), retain, retain_weight)


def undial(
    forget: Part, retain: Part, *, beta: Weight = 10.0, retain_weight: Weight = 1.0
) -> Tensor:
    """UnDIAL (Dong et al. 2024, arXiv:2402.10052): CE(softmax(z_ft - beta 1_y), p).

    Towards the fine-tuned model's own answer with the token made less likely. beta: of open-
    unlearning's settings.
    """
    target = _lowered(forget.reference_logits, forget.targets, beta)
    return with_retain(_cross_entropy(forget, target), retain, retain_weight)


def ce_u(forget: Part, retain: Part, *, retain_weight: Weight = 1.0) -> Tensor:
    """CE-U (Yang 2025, arXiv:2503.01224): CE(softmax(z with z_y = -inf), p), the target fixed.

    Of every answer token: their code leaves the first one out, here often the whole answer.
    """
    target = _lowered(forget.logits.detach(), forget.targets, float("inf"))
    return with_retain(_cross_entropy(forget, target), retain, retain_weight)


def ihl(forget: Part, retain: Part, *, retain_weight: Weight = 1.0) -> Tensor:
    """LoKU's Inverted Hinge Loss (Cha et al. 2024, arXiv:2408.06621): 1 + p_y - max p_v, v not y.

    The loss alone: without their start from Fisher-weighted low-rank parts of the weights.
    """
    p = float32(forget.logits).softmax(-1)
    own = p.gather(1, forget.targets[:, None])[:, 0]
    next_best = p.scatter(1, forget.targets[:, None], 0.0).amax(-1)
    return with_retain(forget.mean_of_tokens(1 + own - next_best), retain, retain_weight)


def pdu(
    forget: Part,
    retain: Part,
    *,
    epsilon: Weight = 0.1,
    dual_rate: Positive = 1.0,
    multiplier: Weight = 1.0,
) -> Tensor:
    """PDU (Entesari et al. 2025, arXiv:2506.05314): E[(max z - mean z)^2] + lambda (R - epsilon).

    Flat logits on the forget set as long as the retain loss R is at most epsilon. `multiplier` is
    lambda in the first step, `pdu_multiplier` what it becomes. The paper takes (1 + alpha) times
    the fine-tuned model's R for epsilon; a number and its default are ours.
    """
    z = float32(forget.logits)
    flat = forget.mean_of_tokens((z.amax(-1) - z.mean(-1)) ** 2)
    # Epsilon is no share of a pass: it has no gradient, and the loss of a step adds passes up.
    return flat + multiplier * mean_nll(retain)


def pdu_multiplier(values: Mapping[str, Any], means: Mapping[str, float]) -> dict[str, float]:
    """lambda <- max(0, lambda + rate (R - epsilon)), after each step."""
    moved = values["dual_rate"] * (means.get("retain", values["epsilon"]) - values["epsilon"])
    return {"multiplier": max(0.0, values["multiplier"] + moved)}


def _lowered(logits: Tensor, targets: Tensor, by: float) -> Tensor:
    """softmax of logits of which each token's own is lowered, [T, vocabulary]."""
    import torch

    wide = float32(logits)
    own = torch.zeros_like(wide).scatter(1, targets[:, None], by)
    return (wide - own).softmax(-1)


def _cross_entropy(part: Part, target: Tensor) -> Tensor:
    """Mean over the answer tokens of -sum target log p."""
    return part.mean_of_tokens(-(target * float32(part.logits).log_softmax(-1)).sum(-1))
