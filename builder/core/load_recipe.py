"""Reading recipes: shipped or a file, with `--set`, and what nothing in them would read."""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Any

from pydantic import ValidationError

from baselines.recipe import unread
from baselines.training_settings import TrainSettings
from builder.core.corpus import PHANTOM
from builder.core.recipe import Recipe, Scenario
from mllmu_med.progress import say
from mllmu_med.recipe_files import Choice, checked, keys_set, recipe_tree
from mllmu_med_dataset import CONFIGS, UsageError

#: Sections that a recipe may leave out and `--set` may begin.
_OPTIONAL = tuple(
    "llm privacy.placements incorrect.judge calibration calibration.train "
    "calibration.train.privacy calibration.train.incorrect".split()
)


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
        tree = {k: v for k, v in tree.items() if k == scenario or k not in CONFIGS}
    recipe = checked(Recipe, tree, f"recipe {name_or_file}")
    if not recipe.scenarios():
        raise UsageError(f"recipe {name_or_file}: has none of {', '.join(CONFIGS)}: nothing to do")
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
    for left_out in set(CONFIGS) - recipe.scenarios().keys():
        places = (f"{left_out}.", f"calibration.train.{left_out}.")
        ignored = [setting for setting in typed if f"{setting}.".startswith(places)]
        if ignored:
            say(f"--set {', '.join(ignored)}: not read: {left_out} is left out")


def _never_read() -> Iterator[tuple[str, str]]:
    for name in ("privacy", "incorrect"):
        at = f"calibration.train.{name}"
        yield f"{at}.seed", "the recipe's seed holds for the training, too"
        for key in sorted(unread("finetune", TrainSettings())):
            yield f"{at}.{key}", "fine-tuning does not take it"


def _unread(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if not recipe.asks_model:
        yield (
            "llm",
            f"the author is {recipe.author}, which asks no model: add --author llm (or --set "
            "calibration.rater=llm, or incorrect.judge={})",
        )
    elif recipe.author != "llm":
        yield "llm.picture", "raters and judges are shown no images, only the author llm is"
    for name, scenario in recipe.scenarios().items():
        if scenario.source == PHANTOM:
            yield f"{name}.bad_pictures", "phantom images are drawn, not read"
            yield f"{name}.drop_conversation", "no phantom row is about the conversation"


def _holds(tree: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return True


def _differs(recipe: Recipe, key: str) -> bool:
    *path, last = key.split(".")
    node: Any = reduce(getattr, path, recipe)
    return bool(getattr(node, last) != type(node).model_fields[last].default)


def _scaled(recipe: Recipe, limit: int) -> Recipe:
    """The same recipe with at most `limit` rows a scenario, the sets in the same proportion."""
    smaller: dict[str, Scenario] = {}
    for name, scenario in recipe.scenarios().items():
        rows = scenario.forget + scenario.retain + scenario.test
        if not scenario.sized:
            raise UsageError(
                f"--limit: the sizes of {name} come from the corpus: give it a smaller table, or "
                f"sizes with --set {name}.forget=N, and retain, test and candidates likewise"
            )
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
