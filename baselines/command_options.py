"""Options that several commands of baselines share, and the recipe and model that they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from eval.command_options import Data, Device, Dtype, NoShare
from mllmu_med.command_line import options_of
from mllmu_med_dataset import UsageError

if TYPE_CHECKING:
    from baselines.measure import Data as Dataset
    from baselines.recipe import Recipe
    from baselines.run import Elsewhere, Stack

told = options_of("baselines")

RecipeName = Annotated[str | None, told("shared.recipe", "--recipe")]
ModelName = Annotated[str | None, told("shared.model", "--model")]
Config = Annotated[str | None, told("shared.config")]
Set = Annotated[list[str] | None, told("shared.set", "--set")]
Out = Annotated[Path, told("shared.out")]
OwnMethods = Annotated[list[str] | None, told("shared.method", "--method")]
Jobs = Annotated[int, told("shared.jobs")]


@dataclass(frozen=True)
class Options:
    """What all commands that train are told."""

    recipe: RecipeName = None
    model: ModelName = None
    data: Data = None
    config: Config = None
    choices: Set = None
    device: Device = ""
    dtype: Dtype = ""
    no_share: NoShare = False

    def read_recipe(
        self, parts: Sequence[str], methods: str | None = None, own: Sequence[str] = ()
    ) -> tuple[Recipe, list[str]]:
        """The recipe of a command that trains some parts; every `--set` has to decide one of them.

        Args:
            methods: a list of methods that are trained too, comma-separated (empty: the recipe's).
            own: more of them, each a FILE.py:FUNCTION.

        Returns:
            The recipe, and the names of those methods.
        """
        from baselines.own_methods import name_own
        from baselines.recipe import check_read, load_recipe
        from baselines.run import is_tiny
        from mllmu_med.recipe_files import Choice
        from mllmu_med.recipe_files import choices as parse_choices

        scenario = "incorrect" if (self.config or "").startswith("incorrect") else "privacy"
        demo = "demo" if scenario == "privacy" else "demo-incorrect"
        name = self.recipe or (demo if is_tiny(self.model) else f"paper-{scenario}")
        typed = parse_choices(self.choices or [])
        named = {"model": self.model, "config": self.config}
        given = [name_own(text) for text in own]
        for one, text in given:
            if [other for other, _ in given].count(one) > 1:
                raise UsageError(f"method {text}: {one} is named twice: name one otherwise")
        choices = [*typed, *(Choice(k, v) for k, v in named.items() if v)]
        recipe = load_recipe(name, choices, dict(given))
        if not recipe.model:
            raise UsageError(
                f"recipe {name}: --model is missing: an image-text model's folder or Hub id (for "
                "LLaVA-Med: `python -m baselines convert-llava-med`), or tiny"
            )
        more = [one for one, _ in given]
        chosen = more if methods is None else recipe.methods_in(methods, more)
        check_read(recipe, typed, [*parts, *chosen])
        return recipe, chosen

    def stack(self, recipe: Recipe, dataset: Dataset, folder: Path) -> Stack:
        """The recipe's model; the tiny one is made in a run's folder unless it is there."""
        from baselines.run import Stack, tiny_model
        from baselines.tiny import TINY
        from eval.weights import check_named

        name = str(recipe.model)
        if name == TINY:
            name = str(tiny_model(recipe, dataset, folder))
        check_named(name)
        return Stack(name, self.device, self.dtype, not self.no_share)


@dataclass(frozen=True)
class FineTuned:
    """What is said of a model that was fine-tuned elsewhere."""

    adapter: Annotated[list[Path] | None, told("finetuned.adapter", "--adapter")] = None
    as_finetuned: Annotated[bool, told("finetuned.as_finetuned")] = False

    def check(self, methods: Sequence[str]) -> None:
        """Raise UsageError where a method needs the adapter that the model has not."""
        if self.as_finetuned and "negation" in methods:
            raise UsageError(
                "negation: takes the fine-tuned adapter away, which --as-finetuned has not: give "
                "--model BASE --adapter ADAPTER, or other methods"
            )

    def elsewhere(self, model: str | None, retrain: bool = False) -> Elsewhere | None:
        """The fine-tuned model, if one is given; its weights are looked for before any work."""
        from baselines.run import Elsewhere
        from baselines.tiny import TINY
        from eval.weights import adapter_hash

        if not (self.adapter or self.as_finetuned):
            return None
        flag = "--adapter" if self.adapter else "--as-finetuned"
        if self.adapter and self.as_finetuned:
            raise UsageError(
                "--adapter and --as-finetuned: the model is fine-tuned by its adapter, or by itself"
            )
        if model in (None, TINY):
            raise UsageError(f"{flag}: --model is missing: the folder or Hub id of the model")
        if retrain and self.as_finetuned:
            raise UsageError("--retrain: starts from the base model, which --as-finetuned has not")
        for adapter in self.adapter or []:
            adapter_hash(adapter)
        return Elsewhere(tuple(self.adapter or []), retrain)
