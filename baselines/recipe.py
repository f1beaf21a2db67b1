"""Recipes of the learning-to-unlearning loop: model, training of each part, answers.

A recipe is a YAML file (`baselines/recipes/*.yaml`, or one of yours); with `like: NAME` it says
only what differs from a shipped one. What stands under `unlearn` holds for every method that reads
it unless `methods` says otherwise for one of them. A setting that nothing reads is an error: under
a method that does not take it, or given by `--set` to a command that runs nothing it is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    model_validator,
)

from baselines.methods import EDITS_READ, METHODS, UNLEARNING, Method, who_reads
from baselines.own_methods import read_own, tried
from baselines.tiny import TINY, TinySettings
from baselines.training_settings import Count, MethodSettings, TrainSettings
from baselines.tune_space import TuneSpace
from mllmu_med.recipe_files import Choice, checked, keys_set, recipe_tree
from mllmu_med_dataset import UsageError


class Answers(BaseModel):
    """How the models are asked: greedy, at most so many new tokens, so many questions at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: Count = 128
    batch_size: Count = 32


class Recipe(BaseModel):
    """What a run does, but for where its data and its folder are.

    model: a folder, a Hub id, or `tiny`: made and trained on the spot as `tiny` says. None: it has
        to be given.
    watch: nothing; 0 as in the recipes that runs of before have kept.
    tune: what `tune` draws each method's trials from.
    own: methods that are not shipped, each name with its FILE.py:FUNCTION.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    config: str
    model: str | None = None
    tiny: TinySettings = TinySettings()
    answers: Answers = Answers()
    watch: Literal[0] = 0
    tune: TuneSpace = TuneSpace()
    finetune: TrainSettings
    unlearn: MethodSettings
    own: dict[str, str] = {}
    methods: dict[str, MethodSettings]

    @property
    def known(self) -> dict[str, Method]:
        """The shipped methods and one's own, each as its parameters say."""
        return {**METHODS, **{name: read_own(text) for name, text in self.own.items()}}

    def method(self, name: str) -> Method:
        """A method as it is trained: of one's own, what of the reference it reads is known."""
        method = self.known[name]
        return tried(method, method.values(self.settings(name))) if name in self.own else method

    @model_validator(mode="after")
    def _read(self) -> Recipe:
        known = self.known
        for name in self.methods:
            if name not in known or known[name].learns:
                raise ValueError(f"no method {name!r}: use {self._names}")
        self._check_own("unlearn", self.unlearn, known.values())
        for name, own in (("finetune", self.finetune), *self.methods.items()):
            where = name if name == "finetune" else f"methods.{name}"
            self._check_own(where, own, [known[name]])
            for key in self.unread(name, self.settings(name)) & own.model_fields_set:
                raise ValueError(f"{where}.{key}: {self.not_taken(name, key)}")
        for name in self.own:
            self.method(name)
        return self

    @property
    def _names(self) -> str:
        names = [*UNLEARNING, *self.own]
        return f"{', '.join(names)}, or one of yours: --method FILE.py:FUNCTION"

    def _check_own(self, where: str, settings: TrainSettings, methods: Iterable[Method]) -> None:
        """Raise ValueError for a key that no method has, or a value that its method cannot take.

        methods: those that may read these settings.
        """
        every = {key for method in self.known.values() for key in method.options}
        for key, value in settings.given().items():
            if key not in {*every, *TrainSettings.model_fields}:
                near = get_close_matches(key, [*every, *TrainSettings.model_fields], n=1)
                hint = f" (nearest: {near[0]})" if near else ""
                raise ValueError(f"unknown key {where}.{key}{hint}")
            for method in methods:
                if key in method.options:
                    try:
                        method.check(key, value)
                    except ValidationError as error:
                        said = error.errors()[0]["msg"]
                        raise ValueError(
                            f"{where}.{key}: {said[0].lower()}{said[1:]} (is {value!r})"
                        ) from error

    def unread(self, part: str, settings: TrainSettings) -> set[str]:
        """The settings that do not decide a part's result; `part`: of `known`."""
        known = {*who_reads(self.known)}
        if self.known[part].edits:
            known |= TrainSettings.model_fields.keys() - EDITS_READ
        return known - self.known[part].reads(settings)

    def not_taken(self, part: str, key: str) -> str:
        """Why a part does not read a setting."""
        taken = sorted(self.known[part].reads())
        if key in taken:
            return f"{part} with retain_weight 0 does not read it: leave it out"
        if self.known[part].edits and key in TrainSettings.model_fields:
            return f"{part} takes no training steps; it takes {', '.join(taken)}"
        readers = who_reads(self.known)[key]
        others = [name for name in readers if not self.known[name].learns]
        return f"{part} does not take it, {', '.join(others)} do; {part} takes {', '.join(taken)}"

    def settings(self, part: str) -> TrainSettings:
        """Of `finetune`, `retrain` (the same) or a method."""
        if part in ("finetune", "retrain"):
            return self.finetune
        own = self.methods[part].model_dump(exclude_unset=True) if part in self.methods else {}
        both = MethodSettings(**{**self.unlearn.model_dump(exclude_unset=True), **own})
        left = self.unread(part, both) - own.keys()
        return MethodSettings(**both.model_dump(exclude_unset=True, exclude=left))

    def seeded(self, seed: int, learning: bool) -> Recipe:
        """With another seed for unlearning; `learning`: for fine-tuning and retraining too."""

        def reseeded(settings: TrainSettings) -> TrainSettings:
            return settings.model_copy(update={"seed": seed})

        methods = {
            name: reseeded(own) if "seed" in own.model_fields_set else own
            for name, own in self.methods.items()
        }
        finetune = reseeded(self.finetune) if learning else self.finetune
        changed = {"unlearn": reseeded(self.unlearn), "methods": methods, "finetune": finetune}
        return self.model_copy(update=changed)

    def to_json(self) -> dict[str, Any]:
        """The recipe in full, each method with all that it reads; itself a recipe."""
        parts = {name: self.settings(name) for name in ("finetune", *self.methods)}
        full = {
            name: part.model_dump(mode="json", exclude=self.unread(name, part))
            for name, part in parts.items()
        }
        return {**self.model_dump(mode="json"), "finetune": full.pop("finetune"), "methods": full}

    def methods_in(self, methods: str, also: Sequence[str] = ()) -> list[str]:
        """The methods of a comma-separated list, by default the recipe's; else a UsageError.

        also: names of more, which the recipe knows.
        """
        names = [name.strip() for name in methods.split(",") if name.strip()]
        for name in names:
            if name not in self.known or self.known[name].learns:
                raise UsageError(f"method {name}: use {self._names}")
            if names.count(name) > 1:
                raise UsageError(f"method {name} is named twice")
        return list(dict.fromkeys([*(names or self.methods), *also]))


def unread(part: str, settings: TrainSettings) -> set[str]:
    """The settings that do not decide a shipped part's result."""
    return {*who_reads()} - METHODS[part].reads(settings)


def load_recipe(
    name_or_file: str, settings: Iterable[Choice] = (), own: Mapping[str, str] | None = None
) -> Recipe:
    """Read a recipe and apply `--set`; a UsageError names in one line what is wrong in it.

    own: methods besides, see `Recipe`.
    """
    own = own or {}
    names = [*UNLEARNING, *own]
    sections = ["tiny", "answers", "tune", "methods", *(f"methods.{name}" for name in names)]
    tree = recipe_tree("baselines", name_or_file, settings, optional=sections)
    methods: Any = tree.setdefault("methods", {})
    if isinstance(methods, dict):
        tree["methods"] = {name: {} if own is None else own for name, own in methods.items()}
    if own:
        tree["own"] = {**tree.get("own", {}), **own}
    return checked(Recipe, tree, f"recipe {name_or_file}")


def check_read(recipe: Recipe, settings: Iterable[Choice], parts: Sequence[str]) -> None:
    """Raise UsageError where a command runs no part that reads what was set."""
    methods = [part for part in parts if part in recipe.known and not recipe.known[part].learns]
    tiny = recipe.model == TINY
    for setting in keys_set(settings):
        head, *path = setting.split(".")
        key = path[0] if path else ""
        why = ""
        if head == "tiny" and not tiny:
            why = f"the model is {recipe.model}, not one made on the spot"
        elif head == "tune" and "tune" not in parts:
            why = "only the command tune draws trials"
        elif head == "finetune" and not {"finetune", "retrain"} & {*parts}:
            why = f"{', '.join(parts)} trains on top of a model that is fine-tuned already"
        elif head == "methods" and path and key not in methods:
            why = f"{key} is not run here"
        elif head == "unlearn" and not (tiny and key == "refusals"):  # its vocabulary holds them
            why = _unread_by_all(recipe, methods, key)
        if why:
            raise UsageError(f"--set {setting}: nothing reads it: {why}")


def _unread_by_all(recipe: Recipe, methods: Sequence[str], key: str) -> str:
    """Why none of the methods takes a value from under `unlearn`; empty if one does."""
    why = "no method is run here"
    for name in methods:
        own = recipe.methods[name].model_fields_set if name in recipe.methods else set()
        if key in own:
            why = f"the recipe has methods.{name}.{key}, set that"
        elif key in recipe.unread(name, recipe.settings(name)):
            why = recipe.not_taken(name, key)
        else:
            return ""
    return why
