"""Recipes: every number and choice that decides which dataset comes out.

A recipe is a YAML file (`builder/recipes/demo.yaml`, `paper.yaml`, or a file of yours), read into
the frozen models below; an unknown key is an error. Where a source lies on the disk, how many
threads read it and where the result goes are no part of a recipe: they do not change the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from baselines.recipe import unread
from baselines.training_settings import TrainSettings
from mllmu_med.progress import say
from mllmu_med.recipe_files import Choice, checked, keys_set, recipe_tree
from mllmu_med_dataset import FORGET_RATIOS, MAIN_RATIO, PII_KINDS, UsageError

Count = Annotated[int, Field(ge=1, strict=True)]
Share = Annotated[float, Field(ge=0, le=1)]


#: Sections that a recipe may leave out and `--set` may begin.
_OPTIONAL = tuple(
    "llm incorrect.judge calibration calibration.train calibration.train.privacy "
    "calibration.train.incorrect".split()
)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Placements(_Model):
    """Shares of the open questions whose private text goes into the question, the answer or both.

    A closed question keeps its yes or no, so its private text always goes into the question.
    """

    question: Share
    answer: Share
    both: Share

    @model_validator(mode="after")
    def _sum(self) -> Placements:
        if not math.isclose(self.question + self.answer + self.both, 1, abs_tol=1e-9):
            raise ValueError("the three shares must add up to 1")
        return self


class Scenario(_Model):
    """Where the rows come from, the sizes of the three sets and how they are cut."""

    source: str
    forget: Count
    retain: Count
    test: Count
    candidates: Count  # rows that are made harmful, of which `forget` are kept
    ratios: tuple[int, ...] = (MAIN_RATIO,)
    split_by: Literal["pair", "image"] = "pair"
    bad_pictures: Literal["fail", "drop"] = "fail"
    review: bool = False  # people accept, edit or reject each harmful text

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        if self.candidates < self.forget:
            raise ValueError(f"candidates ({self.candidates}) must be at least forget")
        ratios = self.ratios
        if MAIN_RATIO not in ratios or not set(ratios) <= set(FORGET_RATIOS):
            raise ValueError(f"ratios must hold {MAIN_RATIO} and others of {list(FORGET_RATIOS)}")
        if list(ratios) != sorted(set(ratios)):
            raise ValueError("ratios must be in ascending order, each once")
        sizes = [self.forget_at(ratio) for ratio in ratios]
        if sizes[0] < 1 or any(a >= b for a, b in pairwise(sizes)):
            raise ValueError(f"forget and retain do not nest as ratios {list(ratios)}: {sizes}")
        return self

    def forget_at(self, ratio: int) -> int:
        """|forget| at a ratio in percent, with |forget| + |retain| fixed (the paper's Figure 4).

        r/(100+r) of the sum, halves rounded up; the main ratio is the recipe's own `forget`, as the
        paper's 351 of 3,960 (8.9 %) is what it calls "approximately 10%".
        """
        if ratio == MAIN_RATIO:
            return self.forget
        total, whole = self.forget + self.retain, 100 + ratio
        return (2 * total * ratio + whole) // (2 * whole)

    @property
    def harmful(self) -> int:
        """Harmful rows over all ratios: the forget set of the largest."""
        return self.forget_at(self.ratios[-1])

    @property
    def candidates_needed(self) -> int:
        """Candidates over all ratios, in the same proportion as at the main one."""
        return -(-self.candidates * self.harmful // self.forget)

    @property
    def gives_back(self) -> bool:
        """Whether a row with no harmful text to keep is retained, so that all may be tried."""
        return False

    @property
    def retain_core(self) -> int:
        """Rows that are retain at every ratio."""
        return self.forget + self.retain - self.harmful


class Privacy(Scenario):
    source: Literal["slake", "phantom"]
    placements: Placements
    kinds: tuple[tuple[Literal["name", "phone", "email", "address", "date", "mrn"], ...], ...]

    @model_validator(mode="after")
    def _kinds(self) -> Privacy:
        if not self.kinds or any(not kinds or len(set(kinds)) < len(kinds) for kinds in self.kinds):
            raise ValueError(f"kinds must be lists of different kinds out of {list(PII_KINDS)}")
        return self


class Judge(_Model):
    """The lowest plausibility, 1 to 5, at which a language model lets an incorrect answer pass."""

    least_plausible: Annotated[int, Field(ge=1, le=5, strict=True)] = 3


class Incorrect(Scenario):
    source: Literal["mm_skin", "phantom"]
    outdated_share: Share
    drop_conversation: bool = False
    judge: Judge | None = None  # the language model judges each answer, whoever writes it
    blend: Annotated[float, Field(ge=1)] = 1.0  # texts written for each that is kept

    @model_validator(mode="after")
    def _blends(self) -> Incorrect:
        if self.blend > 1 and not self.gives_back:
            raise ValueError("blend above 1 chooses among single rows: it needs split_by: pair")
        return self

    @property
    def gives_back(self) -> bool:
        return self.split_by == "pair"


class Llm(_Model):
    """The language model that writes the harmful text, where `author` is `llm`."""

    model: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    max_tokens: Count | None = 2048  # of a reply
    tries: Count = 3  # replies asked for, until one passes the checks
    picture: bool = False  # show the model the image, too


class Training(_Model):
    """How the throw-away adapter of each scenario is trained; the seed is the recipe's.

    The defaults are the paper's: 3 epochs at 2e-4 for privacy, 2 at 2e-5 for incorrect.
    """

    privacy: TrainSettings = TrainSettings()
    incorrect: TrainSettings = TrainSettings(epochs=2, learning_rate=2e-5)


class Calibration(_Model):
    """Two-stage self-calibration: which model is adapted, who rates its answers, what is kept."""

    model: str  # a folder, a Hub id, or tiny: made and trained on the spot
    rater: Literal["offline", "llm"] = "offline"
    least: Annotated[int, Field(ge=1, le=5, strict=True)] = 2  # the lowest rating that may be kept
    max_new_tokens: Count = 128
    batch_size: Count = 32  # questions answered at once
    train: Training = Training()


class Recipe(_Model):
    name: str
    seed: Annotated[int, Field(ge=0, strict=True)]
    author: Literal["offline", "llm"]
    llm: Llm = Llm()
    calibration: Calibration | None = None
    privacy: Privacy | None = None
    incorrect: Incorrect | None = None

    @model_validator(mode="after")
    def _model_named(self) -> Recipe:
        if self.asks_model and not self.llm.model:
            judged = "incorrect.judge" if self.judge else "rater llm"
            who = "author llm" if self.author == "llm" else judged
            raise ValueError(f"{who} needs a model: --model NAME, or llm.model in the recipe")
        return self

    @property
    def asks_model(self) -> bool:
        """Whether a language model writes or judges the harmful text, or rates answers."""
        rated = self.calibration is not None and self.calibration.rater == "llm"
        return self.author == "llm" or rated or self.judge is not None

    @property
    def judge(self) -> Judge | None:
        return self.incorrect.judge if self.incorrect else None

    def writes_with_model(self, scenario: Scenario) -> bool:
        """Whether a language model is asked where a scenario's texts are written."""
        judged = isinstance(scenario, Incorrect) and scenario.judge is not None
        return self.author == "llm" or judged

    def sifts(self, scenario: Scenario) -> bool:
        """Whether written candidates are chosen among later: rated by calibration, or reviewed."""
        return self.calibration is not None or scenario.review

    def scenarios(self) -> dict[str, Scenario]:
        both: dict[str, Scenario | None] = {"privacy": self.privacy, "incorrect": self.incorrect}
        return {name: scenario for name, scenario in both.items() if scenario is not None}


def load_recipe(
    name_or_file: str,
    choices: Iterable[Choice] = (),
    scenario: str = "all",
    limit: int | None = None,
) -> Recipe:
    """Read a recipe, apply `--set`, keep the wanted scenarios, scale it down to `limit` rows.

    A UsageError names, in one line, the keys that are unknown or wrong.
    """
    choices = list(choices)
    tree = recipe_tree("builder", name_or_file, choices, optional=_OPTIONAL)
    whole = tree
    if scenario != "all":
        if not isinstance(tree.get(scenario), dict):
            raise UsageError(f"recipe {name_or_file}: has no scenario {scenario!r}")
        tree = {k: v for k, v in tree.items() if k == scenario or k not in ("privacy", "incorrect")}
    recipe = checked(Recipe, tree, f"recipe {name_or_file}")
    if not recipe.scenarios():
        raise UsageError(f"recipe {name_or_file}: has neither privacy nor incorrect: nothing to do")
    _check_read(recipe, whole, name_or_file, keys_set(choices))
    return recipe if limit is None else _scaled(recipe, limit)


def _check_read(recipe: Recipe, tree: Mapping[str, Any], name: str, typed: list[str]) -> None:
    """Refuse what nothing ever reads and `--set` that nothing reads here; tell of the rest."""
    for key, why in _never_read():
        if _holds(tree, key):
            raise UsageError(f"recipe {name}: {key}: nothing reads it: {why}")
    for key, why in _unread(recipe):
        ignored = [setting for setting in typed if f"{setting}.".startswith(f"{key}.")]
        if ignored:
            raise UsageError(f"{ignored[0]}: nothing reads it: {why}")
        if _holds(tree, key) and _differs(recipe, key):
            say(f"recipe {name}: {key} is not read: {why}")
    for left_out in {"privacy", "incorrect"} - recipe.scenarios().keys():
        places = (f"{left_out}.", f"calibration.train.{left_out}.")
        _tell(typed, places, f"{left_out} is left out")


def tell_given(recipe: Recipe, choices: Iterable[Choice], given: Collection[str]) -> None:
    """Say what `--set` no longer decides where the answers to some scenarios are given.

    No error: it is the command that waited for the answers, typed again with them.
    """
    idle = [f"calibration.train.{name}." for name in given]
    if {*given} == recipe.scenarios().keys():
        idle += ["calibration.max_new_tokens.", "calibration.batch_size."]
    _tell(keys_set(choices), tuple(idle), "--adapted gives the answers")


def _tell(typed: Iterable[str], places: tuple[str, ...], why: str) -> None:
    ignored = [setting for setting in typed if f"{setting}.".startswith(places)]
    if ignored:
        say(f"--set {', '.join(ignored)}: not read: {why}")


def _never_read() -> Iterator[tuple[str, str]]:
    """Keys that no recipe needs, and why."""
    for name in ("privacy", "incorrect"):
        at = f"calibration.train.{name}"
        yield f"{at}.seed", "the recipe's seed holds for the training, too"
        yield f"{at}.keep", "no epoch is scored here"
        for key in sorted(unread("finetune", TrainSettings())):
            yield f"{at}.{key}", "fine-tuning does not take it"


def _unread(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Keys that nothing reads beside the recipe's other values, and why."""
    if not recipe.asks_model:
        yield (
            "llm",
            f"the author is {recipe.author}, which asks no model: add --author llm (or --set "
            "calibration.rater=llm, or incorrect.judge={})",
        )
    elif recipe.author != "llm":
        yield "llm.picture", "raters and judges are shown no images, only the author llm is"
    for name, scenario in recipe.scenarios().items():
        if scenario.source == "phantom":
            yield f"{name}.bad_pictures", "phantom images are drawn, not read"
    if recipe.incorrect is not None and recipe.incorrect.source == "phantom":
        yield "incorrect.drop_conversation", "only MM-Skin has such rows"


def _holds(tree: Any, key: str) -> bool:
    """Whether plain values hold something under a dotted key."""
    for part in key.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return True


def _differs(recipe: Recipe, key: str) -> bool:
    """Whether a key's value is another than its default."""
    *path, last = key.split(".")
    node: Any = recipe
    for part in path:
        node = getattr(node, part)
    return bool(getattr(node, last) != type(node).model_fields[last].default)


def _scaled(recipe: Recipe, limit: int) -> Recipe:
    """The same recipe with at most `limit` rows a scenario, the sets in the same proportion."""
    smaller: dict[str, Scenario] = {}
    for name, scenario in recipe.scenarios().items():
        rows = scenario.forget + scenario.retain + scenario.test
        if limit >= rows:
            continue
        counts = {
            key: getattr(scenario, key) * limit // rows
            for key in ("forget", "retain", "test", "candidates")
        }
        if counts["forget"] < 1 or counts["test"] < 1:
            least = -(-rows // min(scenario.forget, scenario.test))
            raise UsageError(f"--limit {limit}: too few for {name}: use at least {least}")
        try:
            smaller[name] = type(scenario).model_validate(scenario.model_dump() | counts)
        except ValidationError as error:
            raise UsageError(
                f"--limit {limit}: too few for {name} with ratios {list(scenario.ratios)}: use a "
                f"higher one, or also --set {name}.ratios=[10]"
            ) from error
    return recipe.model_copy(update=smaller)
