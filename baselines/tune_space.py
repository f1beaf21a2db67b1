"""What `tune` draws its trials from, and how it chooses among them: the same for every method."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, model_validator

from baselines.training_settings import WORDS, Count, Portion, Positive

#: What a choice may cost, as fractions: retain ROUGE-1, and answers that are no language.
LOSES: Final = 0.05
BABBLES: Final = 0.01
CRITERION: Final[str] = WORDS["criterion"]
#: Steps of an additive recurrence that fills three dimensions evenly.
_STEPS: Final = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)


class TuneSpace(BaseModel):
    """Lowest and highest value of what a trial draws.

    learning_rate, weight: on a logarithmic scale; epochs: whole numbers.
    weight: of methods that have one of their own (`retain_weight` of NPO, SimNPO and DPO).
    strength, neurons, variance: of methods without steps, which have none of these three; neurons
        on a logarithmic scale.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: Count = 8
    learning_rate: tuple[Positive, Positive] = (2e-4, 2e-3)
    epochs: tuple[Count, Count] = (4, 16)
    weight: tuple[Positive, Positive] = (0.1, 2.0)
    strength: tuple[Positive, Positive] = (0.1, 1.0)
    neurons: tuple[Portion, Portion] = (0.01, 0.5)
    variance: tuple[Portion, Portion] = (0.5, 1.0)

    @model_validator(mode="after")
    def _rising(self) -> TuneSpace:
        for name in type(self).model_fields.keys() - {"trials"}:
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"tune.{name}: lowest first, then highest (is {low:g}, {high:g})")
        return self

    def draw(self, number: int, options: Collection[str], steps: bool = True) -> dict[str, Any]:
        """The settings of a trial (from 0), the same for every method that reads them.

        options: the method's own settings; steps: whether it is trained.
        """
        rate, epochs, weight = (self._share(number, step) for step in _STEPS)
        if not steps:
            low, high = self.strength
            least, most = self.variance
            drawn: dict[str, Any] = {
                "strength": round(low + rate * (high - low), 3),
                "neurons": _between(*self.neurons, rate),
                "variance": round(least + epochs * (most - least), 3),
            }
            return {name: value for name, value in drawn.items() if name in options}
        first, last = self.epochs
        drawn = {
            "learning_rate": _between(*self.learning_rate, rate),
            "epochs": first + int(epochs * (last - first + 1)),
        }
        if "retain_weight" in options:
            drawn["retain_weight"] = _between(*self.weight, weight)
        return drawn

    def _share(self, number: int, step: float) -> float:
        """Of one dimension, 0..1: each trial in a part of its own, the middle of it."""
        order = sorted(range(self.trials), key=lambda i: (i + 1) * step % 1)
        return (order.index(number) + 0.5) / self.trials


def _between(low: float, high: float, share: float) -> float:
    return float(f"{low * (high / low) ** share:.2g}")


class Bars(NamedTuple):
    """What a trial must keep: the fine-tuned model's figures, and on forget the retrained one's."""

    retain: float
    degenerate_retain: float
    degenerate_forget: float


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial and what it came to, as fractions; the lower the objective, the better."""

    method: str
    trial: int
    settings: dict[str, Any]
    retain: float
    degenerate_retain: float
    degenerate_forget: float
    objective: float
    n: int  # behind the objective
    status: str = "finished"
    seconds: float = 0.0

    def to_json(self, bars: Bars, chosen: bool) -> dict[str, Any]:
        return {**asdict(self), "admissible": admissible(self, bars), "chosen": chosen}


def admissible(trial: Trial, bars: Bars) -> bool:
    return _keeps(trial, bars) and not _babble(trial, bars)


def _keeps(trial: Trial, bars: Bars) -> bool:
    return trial.status == "finished" and trial.retain >= bars.retain - LOSES


def _babble(trial: Trial, bars: Bars) -> float:
    """Degenerate output above the bars, both sets' shares together."""
    return max(0.0, trial.degenerate_retain - bars.degenerate_retain - BABBLES) + max(
        0.0, trial.degenerate_forget - bars.degenerate_forget - BABBLES
    )


def choose(trials: Sequence[Trial], bars: Bars) -> tuple[Trial, str]:
    """The trial that the criterion chooses; else the nearest to it, and what it lacks."""
    good = [trial for trial in trials if admissible(trial, bars)]
    if good:
        return min(good, key=lambda t: (t.objective, -t.retain)), ""
    if kept := [trial for trial in trials if _keeps(trial, bars)]:
        nearest = min(kept, key=lambda t: (_babble(t, bars), t.objective))
        return nearest, "no trial keeps retain without more degenerate output: the least of it"
    return max(trials, key=lambda t: t.retain), "no trial keeps retain: the one that keeps most"
