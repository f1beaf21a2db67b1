"""Every loss against the same arithmetic in plain Python floats (64 bits), value and gradient."""

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
import torch

from baselines.batches import Batch
from baselines.losses import Answers, Part, mean_kl, token_nll
from baselines.methods import METHODS, TRAINED, Method
from baselines.schedule import Sample, Step, _step
from baselines.step import parts_of
from baselines.token_losses import pdu_multiplier
from baselines.training_settings import MethodSettings, TrainSettings

#: part, answer tokens: unequal lengths, so that every kind of mean gives another number.
TOY = (
    ("forget", (3, 1)),
    ("refused", (0, 2, 4)),
    ("clean", (1, 0, 0)),
    ("retain", (2,)),
    ("retain", (1, 1, 0, 4)),
)
PAIR = (("forget", (4,)), ("refused", (2, 2)), ("clean", (3,)))
VOCABULARY = 5

Rows = list[list[float]]
Samples = tuple[tuple[str, tuple[int, ...]], ...]


def numbers(rows: int, seed: int) -> Rows:
    made = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(rows, VOCABULARY, generator=made, dtype=torch.float64)).tolist()


def log_p(logits: list[float]) -> list[float]:
    total = math.log(sum(math.exp(x) for x in logits))
    return [x - total for x in logits]


class Hand:
    """The equations, sample by sample, as one would with a pocket calculator.

    still: the hand of which what an equation holds still is taken, where this one's logits moved.
    """

    def __init__(
        self, samples: Samples, logits: Rows, reference: Rows, still: "Hand | None" = None
    ) -> None:
        self.still = still or self
        self.forget: list[list[tuple[int, list[float], list[float]]]] = []  # y, z, z_ft
        self.nll: dict[str, list[list[float]]] = {}
        self.base: dict[str, list[list[float]]] = {}
        self.kl: dict[str, list[list[float]]] = {}
        at = 0
        for part, answer in samples:
            p = [log_p(row) for row in logits[at : at + len(answer)]]
            q = [log_p(row) for row in reference[at : at + len(answer)]]
            if part == "forget":
                rows = logits[at : at + len(answer)], reference[at : at + len(answer)]
                self.forget.append(list(zip(answer, *rows, strict=True)))
            at += len(answer)
            self.nll.setdefault(part, []).append([-p[i][t] for i, t in enumerate(answer)])
            self.base.setdefault(part, []).append([-q[i][t] for i, t in enumerate(answer)])
            divergence = [
                sum(math.exp(b) * (b - a) for a, b in zip(ours, theirs, strict=True))
                for ours, theirs in zip(p, q, strict=True)
            ]
            self.kl.setdefault(part, []).append(divergence)

    def l(self, *parts: str) -> float:  # noqa: E743
        return fmean(fmean(one) for part in parts for one in self.nll[part])

    def by_token(self, *parts: str) -> float:
        return fmean(token for part in parts for one in self.nll[part] for token in one)

    def mean_kl(self) -> float:
        return fmean(fmean(one) for one in self.kl["retain"])

    def kl_by_token(self) -> float:
        return fmean(token for one in self.kl["retain"] for token in one)

    def log_ratio(self, part: str) -> list[float]:
        """log P_un(y|x) / P_ft(y|x) of each sample."""
        pairs = zip(self.nll[part], self.base[part], strict=True)
        return [sum(base) - sum(own) for own, base in pairs]

    def npo(self) -> float:
        some = [2 / 0.1 * math.log(1 + math.exp(r) ** 0.1) for r in self.log_ratio("forget")]
        return fmean(some) + self.l("retain")

    def simnpo(self) -> float:
        some = []
        for one in self.nll["forget"]:
            inner = -2.5 / len(one) * -sum(one) - 0.3
            some.append(-2 / 2.5 * math.log(1 / (1 + math.exp(-inner))))
        return fmean(some) + self.l("retain")

    def dpo(self) -> float:
        some = [
            -3 * math.log(1 / (1 + math.exp(-(0.1 * won - 0.1 * lost))))
            for won, lost in zip(self.log_ratio("refused"), self.log_ratio("forget"), strict=True)
        ]
        return fmean(some) + self.l("retain")

    def altpo(self) -> float:
        some = [
            -2 / 0.1 * math.log(1 / (1 + math.exp(-(0.1 * won - 0.1 * lost))))
            for won, lost in zip(self.log_ratio("clean"), self.log_ratio("forget"), strict=True)
        ]
        return fmean(some) + self.l("retain")

    def tokens(self, value: Callable[[int, list[float], list[float]], float]) -> float:
        """The mean over forget samples of the mean over their tokens."""
        return fmean(fmean(value(*token) for token in one) for one in self.forget)

    def weighed(self, weight: Callable[[float], float]) -> float:
        """-E[weight(p) l], the weights held still."""
        some = []
        for one, fixed in zip(self.forget, self.still.forget, strict=True):
            weights = [weight(math.exp(log_p(z)[y])) for y, z, _ in fixed]
            some.append(fmean(w * log_p(z)[y] for w, (y, z, _) in zip(weights, one, strict=True)))
        return fmean(some) + self.l("retain")

    def undial(self) -> float:
        def value(y: int, z: list[float], other: list[float]) -> float:
            target = [math.exp(x - 10 * (v == y)) for v, x in enumerate(other)]
            return -sum(a / sum(target) * b for a, b in zip(target, log_p(z), strict=True))

        return self.tokens(value) + self.l("retain")

    def ce_u(self) -> float:
        some = []
        for one, fixed in zip(self.forget, self.still.forget, strict=True):
            inner = []
            for (y, z, _), (_, still, _) in zip(one, fixed, strict=True):
                others = {v: math.exp(x) for v, x in enumerate(still) if v != y}
                total = sum(others.values())
                inner.append(-sum(e / total * log_p(z)[v] for v, e in others.items()))
            some.append(fmean(inner))
        return fmean(some) + self.l("retain")

    def ihl(self) -> float:
        def value(y: int, z: list[float], _: list[float]) -> float:
            p = [math.exp(x) for x in log_p(z)]
            return 1 + p[y] - max(p[:y] + p[y + 1 :])

        return self.tokens(value) + self.l("retain")

    def pdu(self) -> float:
        return self.tokens(lambda y, z, _: (max(z) - fmean(z)) ** 2) + 2 * self.l("retain")


EQUATIONS: dict[str, Callable[[Hand], float]] = {
    "ga": lambda h: -h.l("forget"),
    "gd": lambda h: h.l("retain") - h.l("forget"),
    "kl-min": lambda h: h.mean_kl() - h.l("forget"),
    "idk": lambda h: h.l("refused", "retain"),
    "llmu": lambda h: h.mean_kl() - h.l("forget") + h.l("refused", "retain"),
    "npo": Hand.npo,
    "simnpo": Hand.simnpo,
    "dpo": Hand.dpo,
    "relabel": lambda h: h.l("clean") + h.l("retain"),
    "altpo": Hand.altpo,
    "undial": Hand.undial,
    "wga": lambda h: h.weighed(lambda p: p),
    "satimp": lambda h: h.weighed(lambda p: p**5 * (1 - p)),
    "ce-u": Hand.ce_u,
    "ihl": Hand.ihl,
    "pdu": Hand.pdu,
}
BY_TOKEN: dict[str, Callable[[Hand], float]] = {
    "idk": lambda h: h.by_token("refused", "retain"),
    "kl-min": lambda h: h.kl_by_token() - h.by_token("forget"),
}
SETTINGS = MethodSettings(gamma=0.3, scale=3, multiplier=2)


def step_of(samples: Samples) -> Step:
    units = [(Sample(str(i), "", "", "x" * len(a), part),) for i, (part, a) in enumerate(samples)]
    return _step(units, len)


def batch_of(samples: Samples) -> Batch:
    of = [i for i, (_, answer) in enumerate(samples) for _ in answer]
    empty = torch.zeros(0)
    return Batch(
        inputs={},
        rows=empty,
        columns=empty,
        targets=torch.tensor([token for _, answer in samples for token in answer]),
        of=torch.tensor(of),
        counts=torch.tensor([len(answer) for _, answer in samples]),
        parts=tuple(part for part, _ in samples),
    )


def loss_of(
    method: Method, samples: Samples, logits: Any, reference: Any, how: TrainSettings, step: Step
) -> Any:
    compared = [p in method.reference for p, answer in samples for _ in answer]
    parts = parts_of(
        logits, batch_of(samples), step, method, how, reference[torch.tensor(compared)]
    )
    return method.loss(**parts, **method.values(how))


def own(method: str, samples: Samples) -> Samples:
    return tuple(one for one in samples if one[0] in METHODS[method].parts)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", EQUATIONS)
def test_value_and_gradient(name: str, kind: torch.dtype) -> None:
    samples = own(name, TOY + PAIR)
    tokens = sum(len(answer) for _, answer in samples)
    logits, reference = numbers(tokens, 1), numbers(tokens, 2)
    tensor = torch.tensor(logits, dtype=kind, requires_grad=True)
    loss = loss_of(
        METHODS[name],
        samples,
        tensor,
        torch.tensor(reference, dtype=kind),
        SETTINGS,
        step_of(samples),
    )
    loss.backward()
    equation = EQUATIONS[name]
    still = Hand(samples, logits, reference)
    assert loss.item() == pytest.approx(equation(still), rel=1e-6, abs=1e-6)
    for i in range(tokens):
        for j in range(VOCABULARY):
            ends = []
            for moved in (1e-5, -1e-5):
                changed = [list(row) for row in logits]
                changed[i][j] += moved
                ends.append(equation(Hand(samples, changed, reference, still)))
            slope = (ends[0] - ends[1]) / 2e-5
            assert float(tensor.grad[i, j]) == pytest.approx(slope, abs=1e-6)  # type: ignore[index]


def test_importance_is_raised_to_a_power() -> None:
    samples = own("satimp", TOY)
    logits = numbers(sum(len(answer) for _, answer in samples), 1)
    same = (torch.tensor(logits),) * 2
    found = loss_of(METHODS["satimp"], samples, *same, MethodSettings(beta2=2), step_of(samples))
    wanted = Hand(samples, logits, logits).weighed(lambda p: p**5 * (1 - p) ** 2)
    assert float(found) == pytest.approx(wanted, abs=1e-6)


def test_the_hand_s_numbers_by_hand() -> None:
    """Two samples of one and two tokens over two words, written out."""
    even, sure = [0.0, 0.0], [math.log(3), 0.0]  # 1/2 : 1/2 and 3/4 : 1/4
    samples = (("forget", (0,)), ("retain", (0, 1)))
    hand = Hand(samples, [even, sure, sure], [even, even, sure])
    assert hand.l("forget") == pytest.approx(math.log(2))
    assert hand.l("retain") == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    assert (
        hand.kl_by_token()
        == hand.mean_kl()
        == pytest.approx((0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2)
    )


@pytest.mark.parametrize("name", BY_TOKEN)
def test_means_over_samples_and_over_tokens_differ(name: str) -> None:
    samples = own(name, TOY)
    tokens = sum(len(answer) for _, answer in samples)
    logits, reference = numbers(tokens, 1), numbers(tokens, 2)
    hand = Hand(samples, logits, reference)
    tensor, other = (torch.tensor(rows, dtype=torch.float64) for rows in (logits, reference))
    wanted = {"sample": EQUATIONS[name](hand), "token": BY_TOKEN[name](hand)}
    assert abs(wanted["sample"] - wanted["token"]) > 0.01
    for reduction, value in wanted.items():
        how = TrainSettings(reduction=reduction)
        found = loss_of(METHODS[name], samples, tensor, other, how, step_of(samples))
        assert float(found) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("reduction", ["sample", "token"])
@pytest.mark.parametrize("name", EQUATIONS)
def test_a_split_batch_adds_up(name: str, reduction: str) -> None:
    """Passes of one sample (of two where a row's answer and refusal belong together)."""
    samples = own(name, PAIR + TOY)
    tokens = sum(len(answer) for _, answer in samples)
    logits = torch.tensor(numbers(tokens, 3), dtype=torch.float64)
    reference = torch.tensor(numbers(tokens, 4), dtype=torch.float64)
    how = TrainSettings(reduction=reduction)
    step = step_of(samples)
    whole = loss_of(METHODS[name], samples, logits, reference, how, step)
    size = 2 if name in ("dpo", "altpo") else 1
    shares, at = [], 0
    for i in range(0, len(samples), size):
        some = samples[i : i + size]
        end = at + sum(len(answer) for _, answer in some)
        shares.append(loss_of(METHODS[name], some, logits[at:end], reference[at:end], how, step))
        at = end
    assert float(sum(shares)) == pytest.approx(float(whole), abs=1e-12)


def test_methods_and_equations_are_the_same_ones_and_say_what_they_compare() -> None:
    """Of each, the parts are declared of which it looks at the reference, and no other."""
    assert {*EQUATIONS} == {*TRAINED}
    for name in TRAINED:
        method, samples = METHODS[name], own(name, TOY)
        tokens = sum(len(answer) for _, answer in samples)
        logits, reference = (torch.tensor(numbers(tokens, seed)) for seed in (1, 2))
        whole = replace(method, reference=method.parts)
        parts = parts_of(logits, batch_of(samples), step_of(samples), whole, SETTINGS, reference)
        method.loss(**parts, **method.values(SETTINGS))
        assert next(iter(parts.values())).answers.asked == {*method.reference}, name


def test_the_multiplier_follows_the_retain_loss() -> None:
    values = {"multiplier": 1.0, "dual_rate": 2.0, "epsilon": 0.25}
    assert pdu_multiplier(values, {"retain": 0.75}) == {"multiplier": 2.0}
    assert pdu_multiplier(values, {"retain": -0.5}) == {"multiplier": 0.0}
    assert pdu_multiplier(values, {"forget": 0.75}) == {"multiplier": 1.0}


def test_bfloat16_logits_are_widened() -> None:
    """A certain answer's loss is no multiple of bfloat16's steps."""
    logits = torch.tensor(numbers(4, 9)).bfloat16()
    targets = torch.tensor([0, 1, 2, 3])
    wide = torch.nn.functional.cross_entropy(logits.double(), targets, reduction="none")
    found = token_nll(logits, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wide, atol=1e-6, rtol=0)


def test_a_loss_without_its_reference_says_so() -> None:
    one = torch.zeros(1, dtype=torch.long)
    part = Part(Answers(torch.ones(1, 2), one, one, one + 1), one, 1, 1)
    with pytest.raises(ValueError, match="reference"):
        mean_kl(part)
