"""The losses of fine-tuning and unlearning, each as its equation reads.

Only an answer's tokens and its end token count: image, prompt and padding carry no loss. The
samples of a step may be spread over several forward passes and processes. A `Part` therefore holds
the samples of one set in one pass *and* the size of that set in the whole step, and every loss here
is this pass's share: the shares of a step add up to the loss of all its samples at once, exactly.

`l(f, x)` of the paper, the loss of one sample, is read as the mean negative log-likelihood of its
answer tokens; Eq. 4, 5 and 7 average it over samples. `reduction="token"` weighs every answer token
alike instead, so that long answers count for more.

KL-Min is KL(P_ft || P_un) at the retain answers' tokens: over the whole vocabulary, in float32,
forward as Eq. 6 writes it. Its mean is taken as `l`'s is: by default over samples of each one's
mean over tokens, with `reduction="token"` over all tokens alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["sample", "token"]


def token_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of each target: logits [T, vocabulary], targets [T] -> [T]."""
    wide = _float32(logits)
    chosen = wide.gather(1, targets[:, None])[:, 0]
    return wide.logsumexp(-1) - chosen


def token_kl(reference: Tensor, logits: Tensor) -> Tensor:
    """KL(P_reference || P) at each place: two of [T, vocabulary] -> [T]."""
    log_p = _float32(reference).log_softmax(-1)
    log_q = _float32(logits).log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def per_sample(values: Tensor, of: Tensor, samples: int) -> Tensor:
    """Sum the tokens' values [T] of each sample; `of` [T] says whose they are -> [samples]."""
    return values.new_zeros(samples).index_add(0, of, values)


def _float32(logits: Tensor) -> Tensor:
    """At least float32: bf16 logits lose the small probabilities; float64 stays (for tests)."""
    import torch

    return logits.to(torch.promote_types(logits.dtype, torch.float32))


@dataclass(frozen=True, slots=True)
class Part:
    """One set's samples in one forward pass, and the set's size in the whole step.

    nll: summed negative log-likelihood of each sample's answer, [samples].
    tokens: answer tokens (with the end token) of each sample, [samples].
    in_step, tokens_in_step: samples and answer tokens of this set that the mean is taken over.
    reference: `nll` under the reference model, where a method needs it.
    kl: summed KL(reference || model) of each sample's tokens, where a method needs it.
    """

    nll: Tensor
    tokens: Tensor
    in_step: float
    tokens_in_step: float
    reference: Tensor | None = None
    kl: Tensor | None = None
    reduction: Reduction = "sample"


def mean_nll(*parts: Part) -> Tensor:
    """The mean loss l over the union of some sets. Fine-tuning and retraining minimise this."""
    if parts[0].reduction == "token":
        return _add(p.nll.sum() for p in parts) / sum(p.tokens_in_step for p in parts)
    return _add((p.nll / p.tokens).sum() for p in parts) / sum(p.in_step for p in parts)


def mean_kl(part: Part) -> Tensor:
    """E[KL(P_ft || P_un)], the first term of Eq. 6."""
    return mean_nll(replace(part, nll=_given(part.kl)))


def ga(forget: Part) -> Tensor:
    """Gradient Ascent, Eq. 4: -1/|D_F| sum l(x_f) (Thudi et al. 2022)."""
    return -mean_nll(forget)


def gd(forget: Part, retain: Part) -> Tensor:
    """Gradient Difference, Eq. 5: 1/|D_R| sum l(x_r) + L_GA (Liu, Liu and Stone 2022)."""
    return mean_nll(retain) + ga(forget)


def kl_min(forget: Part, retain: Part) -> Tensor:
    """KL Minimization, Eq. 6: E[KL(P_ft || P_un)] on D_R + L_GA (Nguyen, Low and Jaillet 2020)."""
    return mean_kl(retain) + ga(forget)


def idk(refused: Part, retain: Part) -> Tensor:
    """'I don't know' tuning, Eq. 7: one mean of l over D_F^IDK u D_R (Maini et al. 2024)."""
    return mean_nll(refused, retain)


def llmu(forget: Part, refused: Part, retain: Part) -> Tensor:
    """LLMU as the paper has it, Eq. 8: L_KL + L_IDK (after Yao, Xu and Liu 2024)."""
    return kl_min(forget, retain) + idk(refused, retain)


def npo(forget: Part, retain: Part, beta: float = 0.1, retain_weight: float = 1.0) -> Tensor:
    """Negative Preference Optimization (Zhang et al. 2024, arXiv:2404.05868, Eq. 3).

    2/beta E[log(1 + (P_un(y|x) / P_ft(y|x))^beta)], whole answers' probabilities; with the retain
    loss beside it (their NPO+RT) unless its weight is 0.
    """
    from torch.nn.functional import softplus

    log_ratio = _given(forget.reference) - forget.nll
    loss = 2 / beta * softplus(beta * log_ratio).sum() / forget.in_step
    return _with_retain(loss, retain, retain_weight)


def simnpo(
    forget: Part, retain: Part, beta: float = 2.5, gamma: float = 0.0, retain_weight: float = 1.0
) -> Tensor:
    """SimNPO (Fan et al. 2024, arXiv:2410.07163): NPO by length, without a reference.

    -2/beta E[log sigmoid(-beta/|y| log P_un(y|x) - gamma)]; with the retain loss beside it.
    """
    from torch.nn.functional import softplus

    mean = forget.nll / forget.tokens
    loss = 2 / beta * softplus(gamma - beta * mean).sum() / forget.in_step
    return _with_retain(loss, retain, retain_weight)


def dpo(
    forget: Part,
    refused: Part,
    retain: Part,
    beta: float = 0.1,
    scale: float = 1.0,
    retain_weight: float = 1.0,
) -> Tensor:
    """DPO (Rafailov et al. 2023, Eq. 7), the refusal preferred to the forget answer.

    -scale E[log sigmoid(beta log P_un(w)/P_ft(w) - beta log P_un(l)/P_ft(l))], w the refusal and l
    the forget answer of the same row; with the retain loss beside it. `scale`: 1 in that paper;
    NPO's, whose loss is the part with l alone, is 2/beta, 20 times as much against the retain loss.
    """
    from torch.nn.functional import softplus

    preferred = _given(refused.reference) - refused.nll
    rejected = _given(forget.reference) - forget.nll
    loss = scale * softplus(beta * (rejected - preferred)).sum() / forget.in_step
    return _with_retain(loss, retain, retain_weight)


def _with_retain(loss: Tensor, retain: Part, weight: float) -> Tensor:
    return loss + weight * mean_nll(retain) if weight else loss


def _add(values: Any) -> Tensor:
    first, *others = values
    total: Tensor = sum(others, first)
    return total


def _given(values: Tensor | None) -> Tensor:
    if values is None:
        raise ValueError("this loss needs the reference model's values")
    return values


#: Settings that not every method reads; all the others are read by all.
SOME_READ: Final = tuple(
    "beta collapse gamma reduction refusals retain_sampling retain_weight scale".split()
)


@dataclass(frozen=True, slots=True)
class Method:
    """How a method uses its rows.

    forget, retain: the parts as which a forget row and a retain row are trained: `forget` (with
        its own answer), `refused` (with a refusal for an answer), `retain`, `learn`. None of
        `retain`: no retain row is drawn.
    loss: from the method's parts, in the order of `parts`.
    reference: parts of which the reference model's values are needed.
    options: settings that the loss takes.
    """

    loss: Callable[..., Tensor]
    forget: tuple[str, ...]
    retain: tuple[str, ...] = ("retain",)
    reference: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.forget + self.retain))

    def draws(self, retain_weight: float) -> bool:
        """Whether it trains on retain rows: not where their loss has no weight."""
        return bool(self.retain) and (retain_weight > 0 or "retain_weight" not in self.options)

    def reads(self, retain_weight: float = 1.0) -> frozenset[str]:
        """Of `SOME_READ`, the settings that decide this method's result."""
        draws = self.draws(retain_weight)
        applies = {
            "refusals": "refused" in self.parts,
            "retain_sampling": draws and not self.learns,
            "collapse": "forget" in self.parts,
            "reduction": draws or not self.options,  # the losses with options have means of theirs
        }
        return frozenset(self.options) | {name for name, read in applies.items() if read}

    @property
    def learns(self) -> bool:
        """Fine-tuning and retraining: the rows of both sets are learnt alike."""
        return "learn" in self.retain


_FORGET: Final = ("forget",)
_BOTH: Final = ("forget", "refused")
METHODS: Final = {
    "finetune": Method(mean_nll, ("learn",), ("learn",)),
    "retrain": Method(mean_nll, (), ("learn",)),
    "ga": Method(ga, _FORGET, ()),
    "gd": Method(gd, _FORGET),
    "kl-min": Method(kl_min, _FORGET, reference=("retain",)),
    "idk": Method(idk, ("refused",)),
    "llmu": Method(llmu, _BOTH, reference=("retain",)),
    "npo": Method(npo, _FORGET, reference=_FORGET, options=("beta", "retain_weight")),
    "simnpo": Method(simnpo, _FORGET, options=("beta", "gamma", "retain_weight")),
    "dpo": Method(dpo, _BOTH, reference=_BOTH, options=("beta", "scale", "retain_weight")),
}


def who_reads() -> dict[str, list[str]]:
    """The methods that read each of `SOME_READ`."""
    return {
        key: [name for name, method in METHODS.items() if key in method.reads()]
        for key in SOME_READ
    }


#: Those that need a fine-tuned model to start from.
UNLEARNING: Final = tuple(name for name, method in METHODS.items() if not method.learns)
