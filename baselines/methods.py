"""The methods: what each trains on, what of the reference model it reads, and its own settings.

A loss says both itself: its positional parameters are parts of a step, those with a default are the
method's own settings (`methods.npo.beta` in a recipe). Its equation is in `baselines.losses`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from pydantic import TypeAdapter

from baselines import edits, losses, token_losses

if TYPE_CHECKING:
    from baselines.training_settings import TrainSettings

#: Parts as which a forget row is trained: with its own answer, a refusal or its clean answer.
FORGET: Final = ("forget", "refused", "clean")
#: Settings that all methods have and not every method reads; all the others are read by all.
SOME_READ: Final = ("collapse", "reduction", "refusals", "retain_sampling")


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """How a method uses its rows.

    forget, retain: the parts as which a forget row and a retain row are trained: of `FORGET`,
        `retain`, `learn`. None of `retain`: no retain row is drawn.
    loss: from the method's parts and settings, by their names.
    reference: parts of which the reference model's logits are needed.
    options: its own settings with the values of its paper.
    after: what becomes of its settings after a step, from them and the step's mean terms.
    source: of a method of one's own, its file and function with the file's sha256.
    whole: its terms are of whole answers, so that `reduction` does not reach them.
    edits: it takes no step: `loss` is of `baselines.edits`, from the model and the rows of its
        parts to the layers that it changes.
    """

    loss: Callable[..., Any]
    forget: tuple[str, ...]
    retain: tuple[str, ...]
    options: Mapping[str, Any]
    reference: tuple[str, ...] = ()
    whole: bool = False
    after: Callable[..., dict[str, float]] | None = None
    edits: bool = False
    source: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, loss: Callable[..., Any], *reference: str, **how: Any) -> Method:
        """The method of a loss, as its parameters say."""
        own = signature(loss).parameters.values()
        parts = [p.name for p in own if p.default is Parameter.empty and p.name != "model"]
        how.setdefault("edits", "model" in signature(loss).parameters)
        options = {p.name: p.default for p in own if p.default is not Parameter.empty}
        forget = tuple(name for name in parts if name != "retain")
        return cls(loss, forget, ("retain",) * ("retain" in parts), options, reference, **how)

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.forget + self.retain))

    def values(self, settings: TrainSettings) -> dict[str, Any]:
        """Its own settings, those not given as in its paper."""
        given = settings.given()
        return {k: self.check(k, given[k]) if k in given else v for k, v in self.options.items()}

    def check(self, name: str, value: Any) -> Any:
        """A value of one of its own settings as its type has it; else pydantic's ValueError."""
        return _kinds(self.loss)[name].validate_python(value)

    def draws(self, settings: TrainSettings) -> bool:
        """Whether it trains on retain rows: not where their loss has no weight."""
        return bool(self.retain) and self.values(settings).get("retain_weight") != 0

    def reads(self, settings: TrainSettings | None = None) -> frozenset[str]:
        """The settings that decide its result, of those that not all methods read."""
        if self.edits:
            return frozenset(self.options)
        draws = bool(self.retain) if settings is None else self.draws(settings)
        applies = {
            "refusals": "refused" in self.parts,
            "retain_sampling": draws and not self.learns,
            "collapse": "forget" in self.parts,
            "reduction": draws or not self.whole,
        }
        return frozenset(self.options) | {name for name, read in applies.items() if read}

    @property
    def learns(self) -> bool:
        """Fine-tuning and retraining: the rows of both sets are learnt alike."""
        return "learn" in self.retain


def purpose(method: Method) -> str:
    """What the method of a loss is, by the first sentence of its docstring."""
    return (method.loss.__doc__ or "").strip().partition("\n")[0].rstrip(".")


@cache
def _kinds(loss: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """The types of a loss's settings: as annotated, else those of the defaults."""
    try:
        told = get_type_hints(
            loss, None, dict.fromkeys(("Tensor", "Part", "Model"), object), include_extras=True
        )
    except NameError:  # of an annotation that only type checkers read
        told = {}
    options = ((p.name, p.default) for p in signature(loss).parameters.values())
    return {
        name: TypeAdapter(told.get(name, type(default)))
        for name, default in options
        if default is not Parameter.empty
    }


METHODS: Final = {
    "finetune": Method(losses.learn, ("learn",), ("learn",), {}),
    "retrain": Method(losses.learn, (), ("learn",), {}),
    "ga": Method.of(losses.ga),
    "gd": Method.of(losses.gd),
    "kl-min": Method.of(losses.kl_min, "retain"),
    "idk": Method.of(losses.idk),
    "llmu": Method.of(losses.llmu, "retain"),
    "npo": Method.of(losses.npo, "forget", whole=True),
    "simnpo": Method.of(losses.simnpo, whole=True),
    "dpo": Method.of(losses.dpo, "forget", "refused", whole=True),
    "relabel": Method.of(losses.relabel),
    "altpo": Method.of(losses.altpo, "forget", "clean", whole=True),
    "undial": Method.of(token_losses.undial, "forget"),
    "wga": Method.of(token_losses.wga),
    "satimp": Method.of(token_losses.satimp),
    "ce-u": Method.of(token_losses.ce_u),
    "ihl": Method.of(token_losses.ihl),
    "pdu": Method.of(token_losses.pdu, after=token_losses.pdu_multiplier),
    "negation": Method.of(edits.negation),
    "manu": Method.of(edits.manu),
    "chip": Method.of(edits.chip),
}


def who_reads(methods: Mapping[str, Method] = METHODS) -> dict[str, list[str]]:
    """The methods that read each setting that not all of them read."""
    own = {option for method in methods.values() for option in method.options}
    return {
        key: [name for name, method in methods.items() if key in method.reads()]
        for key in sorted(own | {*SOME_READ})
    }


#: What a method without steps takes of the settings of training, though nothing decides its result:
#: rows at once, and the seed by which a run's repetitions are told apart.
EDITS_READ: Final = frozenset({"micro_batch", "seed"})
#: Those that need a fine-tuned model to start from.
UNLEARNING: Final = tuple(name for name, method in METHODS.items() if not method.learns)
#: Of these, those that take steps.
TRAINED: Final = tuple(name for name in UNLEARNING if not METHODS[name].edits)
