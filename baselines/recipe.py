"""Recipes of the learning-to-unlearning loop: model, training of each part, answers.

A recipe is a YAML file (`baselines/recipes/*.yaml`, or one of yours). What stands under `unlearn`
holds for every method unless `methods` says otherwise for one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from baselines.losses import UNLEARNING
from baselines.settings import TrainSettings
from baselines.tiny import TinySettings
from eval.recipes import Choice, checked, recipe_tree
from mllmu_med_dataset import UsageError

Count = Annotated[int, Field(ge=1)]


class Answers(BaseModel):
    """How the models are asked: greedy, at most so many new tokens, so many questions at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: Count = 128
    batch_size: Count = 32


class Recipe(BaseModel):
    """What a run does, but for where its data and its folder are.

    model: a folder, a Hub id, or `tiny`: made and trained on the spot as `tiny` says. None: it has
        to be given.
    watch: open questions of each split that are answered at the end of every epoch (UES by epoch,
        and `keep: best`); 0: none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    config: str
    model: str | None = None
    tiny: TinySettings = TinySettings()
    answers: Answers = Answers()
    watch: Annotated[int, Field(ge=0)] = 0
    finetune: TrainSettings
    unlearn: TrainSettings
    methods: dict[str, TrainSettings]

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: dict[str, TrainSettings]) -> dict[str, TrainSettings]:
        for name in methods:
            if name not in UNLEARNING:
                raise ValueError(f"no method {name!r}: use {', '.join(UNLEARNING)}")
        return methods

    @model_validator(mode="after")
    def _scored(self) -> Recipe:
        for name in ("finetune", *self.methods, "unlearn"):
            if self.settings(name).keep == "best" and not self.watch:
                raise ValueError(f"{name}.keep: best needs scores by epoch: set watch, e.g. to 20")
        return self

    def settings(self, part: str) -> TrainSettings:
        """Of `finetune`, `retrain` (the same) or a method."""
        if part in ("finetune", "retrain"):
            return self.finetune
        return self.methods.get(part, self.unlearn)

    def wanted(self, methods: str) -> list[str]:
        """The methods of a comma-separated list; default: the recipe's own, in its order.

        Raises:
            UsageError: an unknown one, or one twice.
        """
        names = [name.strip() for name in methods.split(",") if name.strip()]
        for name in names:
            if name not in UNLEARNING:
                raise UsageError(f"method {name}: use {', '.join(UNLEARNING)}")
            if names.count(name) > 1:
                raise UsageError(f"method {name} is named twice")
        return names or list(self.methods)


def load_recipe(name_or_file: str, settings: Iterable[Choice] = ()) -> Recipe:
    """Read a recipe and apply `--set`.

    Raises:
        UsageError: unknown or wrong keys, in the file or in a choice: one line that names them.
    """
    sections = ["tiny", "answers", "methods", *(f"methods.{name}" for name in UNLEARNING)]
    tree = recipe_tree("baselines", name_or_file, settings, optional=sections)
    common = tree.get("unlearn")
    methods: Any = tree.setdefault("methods", {})
    if isinstance(common, dict) and isinstance(methods, dict):
        tree["methods"] = {
            name: {**common, **(own or {})} if isinstance(own or {}, dict) else own
            for name, own in methods.items()
        }
    return checked(Recipe, tree, name_or_file)
