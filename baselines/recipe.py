"""Recipes of the learning-to-unlearning loop: model, training of each part, answers.

A recipe is a YAML file (`baselines/recipes/*.yaml`, or one of yours); with `like: NAME` it says
only what differs from a shipped one. What stands under `unlearn` holds for every method that reads
it unless `methods` says otherwise for one of them. A setting that nothing reads is an error: under
a method that does not take it, or given by `--set` to a command that runs nothing it is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from baselines.methods import EDITS_READ, METHODS, UNLEARNING, Method, who_reads
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
    watch: open questions of each split that are answered at the end of every epoch, for UES by
        epoch and to stop a collapse; 0: none. They choose nothing.
    tune: what `tune` draws each method's trials from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    config: str
    model: str | None = None
    tiny: TinySettings = TinySettings()
    answers: Answers = Answers()
    watch: Annotated[int, Field(ge=0)] = 0
    tune: TuneSpace = TuneSpace()
    finetune: TrainSettings
    unlearn: MethodSettings
    methods: dict[str, MethodSettings]

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: dict[str, MethodSettings]) -> dict[str, MethodSettings]:
        for name in methods:
            if name not in UNLEARNING:
                raise ValueError(f"no method {name!r}: use {', '.join(UNLEARNING)}")
        return methods

    @model_validator(mode="after")
    def _read(self) -> Recipe:
        _check_own("unlearn", self.unlearn, {})
        for name, own in (("finetune", self.finetune), *self.methods.items()):
            where = name if name == "finetune" else f"methods.{name}"
            _check_own(where, own, {name: METHODS[name]})
            for key in unread(name, self.settings(name)) & own.model_fields_set:
                raise ValueError(f"{where}.{key}: {_not_taken(name, key)}")
        return self

    def settings(self, part: str) -> TrainSettings:
        """Of `finetune`, `retrain` (the same) or a method."""
        if part in ("finetune", "retrain"):
            return self.finetune
        own = self.methods[part].model_dump(exclude_unset=True) if part in self.methods else {}
        both = MethodSettings(**{**self.unlearn.model_dump(exclude_unset=True), **own})
        left = unread(part, both) - own.keys()
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
            name: part.model_dump(mode="json", exclude=unread(name, part))
            for name, part in parts.items()
        }
        return {**self.model_dump(mode="json"), "finetune": full.pop("finetune"), "methods": full}

    def methods_in(self, methods: str) -> list[str]:
        """The methods of a comma-separated list, by default the recipe's; else a UsageError."""
        names = [name.strip() for name in methods.split(",") if name.strip()]
        for name in names:
            if name not in UNLEARNING:
                raise UsageError(f"method {name}: use {', '.join(UNLEARNING)}")
            if names.count(name) > 1:
                raise UsageError(f"method {name} is named twice")
        return names or list(self.methods)


def unread(part: str, settings: TrainSettings) -> set[str]:
    """The settings that do not decide a part's result; `part`: of `METHODS`."""
    known = {*who_reads()}
    if METHODS[part].edits:
        known |= TrainSettings.model_fields.keys() - EDITS_READ
    return known - METHODS[part].reads(settings)


def _check_own(where: str, settings: TrainSettings, of: Mapping[str, Method]) -> None:
    """Raise ValueError for a key that no method has, or a value of another type than its method's.

    of: the method whose settings these are; none: all may read them.
    """
    known = {key: None for method in METHODS.values() for key in method.options}
    for key, value in settings.given().items():
        if key not in {*known, *TrainSettings.model_fields}:
            near = get_close_matches(key, [*known, *TrainSettings.model_fields], n=1)
            hint = f" (nearest: {near[0]})" if near else ""
            raise ValueError(f"unknown key {where}.{key}{hint}")
        for method in (of or METHODS).values():
            if key in method.options:
                try:
                    method.check(key, value)
                except ValidationError as error:
                    said = error.errors()[0]["msg"]
                    raise ValueError(
                        f"{where}.{key}: {said[0].lower()}{said[1:]} (is {value!r})"
                    ) from error


def _not_taken(part: str, key: str) -> str:
    taken = sorted(METHODS[part].reads())
    if key in taken:
        return f"{part} with retain_weight 0 does not read it: leave it out"
    if METHODS[part].edits and key in TrainSettings.model_fields:
        return f"{part} takes no training steps; it takes {', '.join(taken)}"
    others = [name for name in who_reads()[key] if name in UNLEARNING]
    return f"{part} does not take it, {', '.join(others)} do; {part} takes {', '.join(taken)}"


def load_recipe(name_or_file: str, settings: Iterable[Choice] = ()) -> Recipe:
    """Read a recipe and apply `--set`; a UsageError names in one line what is wrong in it."""
    sections = ["tiny", "answers", "tune", "methods", *(f"methods.{name}" for name in UNLEARNING)]
    tree = recipe_tree("baselines", name_or_file, settings, optional=sections)
    methods: Any = tree.setdefault("methods", {})
    if isinstance(methods, dict):
        tree["methods"] = {name: {} if own is None else own for name, own in methods.items()}
    return checked(Recipe, tree, f"recipe {name_or_file}")


def check_read(recipe: Recipe, settings: Iterable[Choice], parts: Sequence[str]) -> None:
    """Raise UsageError where a command runs no part that reads what was set."""
    methods = [part for part in parts if part in UNLEARNING]
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
        elif key in unread(name, recipe.settings(name)):
            why = _not_taken(name, key)
        else:
            return ""
    return why
