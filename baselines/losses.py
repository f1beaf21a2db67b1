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

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from baselines.training_settings import Positive, Weight

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["sample", "token"]


def token_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of each target: logits [T, vocabulary], targets [T] -> [T]."""
    wide = float32(logits)
    chosen = wide.gather(1, targets[:, None])[:, 0]
    return wide.logsumexp(-1) - chosen


def token_kl(reference: Tensor, logits: Tensor) -> Tensor:
    """KL(P_reference || P) at each place: two of [T, vocabulary] -> [T]."""
    log_p = float32(reference).log_softmax(-1)
    log_q = float32(logits).log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def per_sample(values: Tensor, of: Tensor, samples: int) -> Tensor:
    """Sum the tokens' values [T] of each sample; `of` [T] says whose they are -> [samples]."""
    return values.new_zeros(samples).index_add(0, of, values)


def float32(logits: Tensor) -> Tensor:
    """At least float32: bf16 logits lose the small probabilities; float64 stays (for tests)."""
    import torch

    return logits.to(torch.promote_types(logits.dtype, torch.float32))


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one forward pass, token by token; its parts look at them.

    logits: where the answer tokens are predicted, in the model's precision, [T, vocabulary].
    targets, of: the answer tokens, sample after sample, and the sample of each, [T].
    counts: answer tokens (with the end token) of each sample, [samples].
    reference: the reference model's logits at the tokens of the samples `compared` (their numbers,
        rising) alone.
    asked: names of the parts whose reference a loss has looked at.
    """

    logits: Tensor
    targets: Tensor
    of: Tensor
    counts: Tensor
    reference: Tensor | None = None
    compared: Tensor | None = None
    asked: set[str] = field(default_factory=set)

    @cached_property
    def token_nll(self) -> Tensor:
        return token_nll(self.logits, self.targets)

    @cached_property
    def nll(self) -> Tensor:
        return per_sample(self.token_nll, self.of, len(self.counts))

    @cached_property
    def given_reference(self) -> Tensor:
        if self.reference is not None:
            return self.reference
        if self.compared is None or len(self.compared):
            raise ValueError("this loss needs the reference model's values")
        return self.logits.detach()[:0]  # none of its samples is in this pass

    @cached_property
    def reference_nll(self) -> Tensor:
        at = self.within(self.compared) if self.compared is not None else slice(0)
        nll = token_nll(self.given_reference, self.targets[at])
        return per_sample(nll, self.of[at], len(self.counts))

    def within(self, some: Tensor, of: Tensor | None = None) -> Any:
        """Where some samples' tokens are among those of others, by default all: no copy of all."""
        import torch

        if len(some) == len(self.counts if of is None else of):
            return slice(None)
        own = torch.zeros(len(self.counts), dtype=torch.bool, device=some.device)
        tokens = self.of if of is None else self.of[own.index_fill(0, of, True)[self.of]]
        return own.index_fill(0, some, True)[tokens]


@dataclass(frozen=True, eq=False)
class Part:
    """One set's samples in one forward pass, and the set's size in the whole step.

    A loss reads (T: this part's answer tokens, n: its samples; either may be 0)
        logits [T, vocabulary], targets [T], of [T]: as in `Answers`, of these samples from 0 on;
        token_nll [T], nll [n]: negative log-likelihood of each token, and summed of each answer;
        tokens [n]: answer tokens of each sample;
        reference_logits [T, vocabulary], reference [n]: `logits` and `nll` of the reference model;
        kl [n]: summed KL(reference || model) of each answer's tokens;
    and takes its means by `mean_of_tokens` or `mean_of_samples`: over the step, not the pass.

    in_step, tokens_in_step: samples and answer tokens of this set that the mean is taken over.
    """

    answers: Answers
    samples: Tensor  # their numbers in `answers`, rising, [n]
    in_step: float
    tokens_in_step: float
    reduction: Reduction = "sample"
    name: str = ""

    @cached_property
    def _at(self) -> Any:
        """Where its tokens are."""
        return self.answers.within(self.samples)

    @cached_property
    def logits(self) -> Tensor:
        return self.answers.logits[self._at]

    @property
    def targets(self) -> Tensor:
        return self.answers.targets[self._at]

    @property
    def of(self) -> Tensor:
        import torch

        order = self.answers.counts.new_zeros(len(self.answers.counts))
        order[self.samples] = torch.arange(len(self.samples), device=order.device)
        return order[self.answers.of[self._at]]

    @property
    def tokens(self) -> Tensor:
        return self.answers.counts[self.samples]

    @property
    def token_nll(self) -> Tensor:
        return self.answers.token_nll[self._at]

    @cached_property
    def nll(self) -> Tensor:
        return self.answers.nll[self.samples]

    @property
    def reference_logits(self) -> Tensor:
        reference = self._compared().given_reference
        return reference[self.answers.within(self.samples, self.answers.compared)]

    @property
    def reference(self) -> Tensor:
        return self._compared().reference_nll[self.samples]

    def _compared(self) -> Answers:
        self.answers.asked.add(self.name)
        return self.answers

    @cached_property
    def kl(self) -> Tensor:
        return per_sample(token_kl(self.reference_logits, self.logits), self.of, len(self.samples))

    def mean_of_tokens(self, values: Tensor) -> Tensor:
        """The mean of a value for each token, [T], over samples or tokens as `reduction` says."""
        return _mean([self], [per_sample(values, self.of, len(self.samples))])

    def mean_of_samples(self, values: Tensor) -> Tensor:
        """The mean of a value for each sample, [n]."""
        return values.sum() / self.in_step


def _mean(parts: Sequence[Part], sums: Sequence[Tensor]) -> Tensor:
    """The mean over the union of some sets, of values summed over each sample's tokens."""
    if parts[0].reduction == "token":
        return _add(s.sum() for s in sums) / sum(p.tokens_in_step for p in parts)
    shares = ((s / p.tokens).sum() for p, s in zip(parts, sums, strict=True))
    return _add(shares) / sum(p.in_step for p in parts)


def mean_nll(*parts: Part) -> Tensor:
    """The mean loss l over the union of some sets. Fine-tuning and retraining minimise this."""
    return _mean(parts, [part.nll for part in parts])


def mean_kl(part: Part) -> Tensor:
    """E[KL(P_ft || P_un)], the first term of Eq. 6."""
    return _mean([part], [part.kl])


def learn(learn: Part) -> Tensor:
    """Fine-tuning and retraining: the mean loss over all rows that are learnt."""
    return mean_nll(learn)


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


def relabel(clean: Part, retain: Part, *, retain_weight: Weight = 1.0) -> Tensor:
    """Clean relabelling: l(clean answers), with the retain loss beside it.

    Relabelling (Golatkar et al. 2020, arXiv:1911.04933, with labels at random) where the right
    answers are known: what correcting incorrect facts amounts to.
    """
    return with_retain(mean_nll(clean), retain, retain_weight)


def npo(forget: Part, retain: Part, *, beta: Positive = 0.1, retain_weight: Weight = 1.0) -> Tensor:
    """Negative Preference Optimization (Zhang et al. 2024, arXiv:2404.05868, Eq. 3).

    2/beta E[log(1 + (P_un(y|x) / P_ft(y|x))^beta)], whole answers' probabilities; with the retain
    loss beside it (their NPO+RT) unless its weight is 0.
    """
    from torch.nn.functional import softplus

    loss = 2 / beta * softplus(beta * (forget.reference - forget.nll)).sum() / forget.in_step
    return with_retain(loss, retain, retain_weight)


def simnpo(
    forget: Part,
    retain: Part,
    *,
    beta: Positive = 2.5,
    gamma: float = 0.0,
    retain_weight: Weight = 1.0,
) -> Tensor:
    """SimNPO (Fan et al. 2024, arXiv:2410.07163): NPO by length, without a reference.

    -2/beta E[log sigmoid(-beta/|y| log P_un(y|x) - gamma)]; with the retain loss beside it.
    """
    from torch.nn.functional import softplus

    mean = forget.nll / forget.tokens
    loss = 2 / beta * softplus(gamma - beta * mean).sum() / forget.in_step
    return with_retain(loss, retain, retain_weight)


def dpo(
    forget: Part,
    refused: Part,
    retain: Part,
    *,
    beta: Positive = 0.1,
    scale: Positive = 1.0,
    retain_weight: Weight = 1.0,
) -> Tensor:
    """DPO (Rafailov et al. 2023, Eq. 7), the refusal preferred to the forget answer.

    -scale E[log sigmoid(beta log P_un(w)/P_ft(w) - beta log P_un(l)/P_ft(l))], w the refusal and l
    the forget answer of the same row; with the retain loss beside it. `scale`: 1 in that paper;
    NPO's, whose loss is the part with l alone, is 2/beta, 20 times as much against the retain loss.
    """
    return with_retain(_preference(refused, forget, beta, scale), retain, retain_weight)


def altpo(
    forget: Part,
    clean: Part,
    retain: Part,
    *,
    beta: Positive = 0.1,
    retain_weight: Weight = 1.0,
) -> Tensor:
    """AltPO (Mekala et al. 2024, arXiv:2409.13474): another answer preferred to the forget answer.

    DPO times NPO's 2/beta. The paper has its alternatives from the model; ours are the clean
    answers, one a row.
    """
    return with_retain(_preference(clean, forget, beta, 2 / beta), retain, retain_weight)


def _preference(preferred: Part, rejected: Part, beta: float, scale: float) -> Tensor:
    """Of two answers to the same rows; both in one pass (see `schedule.Step`)."""
    from torch.nn.functional import softplus

    more = preferred.reference - preferred.nll
    less = rejected.reference - rejected.nll
    return scale * softplus(beta * (less - more)).sum() / rejected.in_step


def with_retain(loss: Tensor, retain: Part, weight: float) -> Tensor:
    """A loss with the retain loss beside it; with weight 0 no retain row is drawn."""
    return loss + weight * mean_nll(retain) if weight else loss


def _add(values: Any) -> Tensor:
    first, *others = values
    total: Tensor = sum(others, first)
    return total
