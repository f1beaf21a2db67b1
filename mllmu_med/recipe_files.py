"""Recipes as files: YAML that a package ships or a user wrote, `--set`, and errors in one line.

What a recipe may hold is said by a pydantic model of the package that reads it
(`builder.core.recipe`, `baselines.recipe`).
"""

import difflib
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from mllmu_med.errors import UsageError
from mllmu_med.files import read_text

Checked = TypeVar("Checked", bound=BaseModel)


class Choice(NamedTuple):
    """One `--set KEY=VALUE`; the key is a dotted path."""

    key: str
    value: str


def choices(settings: Iterable[str]) -> list[Choice]:
    """`--set` as it is typed; a UsageError where one is without a `=`."""
    typed = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals):
            raise UsageError(f"--set {setting}: write KEY=VALUE, e.g. --set seed=7")
        typed.append(Choice(key.strip(), value))
    return typed


def keys_set(settings: Iterable[Choice]) -> list[str]:
    """The dotted keys that get a value, those in a mapping (`--set llm={tries: 3}`) too."""
    return [key for choice in settings for key in _within(choice.key, yaml.safe_load(choice.value))]


def _within(key: str, value: Any) -> Iterator[str]:
    if not (isinstance(value, dict) and value):
        yield key
        return
    for name, inner in value.items():
        yield from _within(f"{key}.{name}", inner)


def shipped(package: str) -> list[str]:
    """Names of the recipes that come with a package."""
    folder = resources.files(package) / "recipes"
    return sorted(entry.name[: -len(".yaml")] for entry in folder.iterdir())


def recipe_text(package: str, name_or_file: str) -> str:
    """The YAML of a shipped recipe or of a file."""
    names = shipped(package)
    if name_or_file in names:
        return (resources.files(package) / "recipes" / f"{name_or_file}.yaml").read_text("utf-8")
    path = Path(name_or_file)
    if not path.is_file():
        raise UsageError(f"recipe {name_or_file!r}: neither a file nor one of {', '.join(names)}")
    return read_text(path)


def recipe_tree(
    package: str, name_or_file: str, settings: Iterable[Choice] = (), optional: Iterable[str] = ()
) -> dict[str, Any]:
    """A recipe as plain values with `--set` applied; `optional`: sections it may leave out.

    What it leaves out is that of the shipped recipe which it names under `like`, if any.

    Raises UsageError where it is no YAML mapping, or a choice's section is not there.
    """
    names = shipped(package)
    advice = f"see `{package} recipe {names[0]}`"
    tree = yaml_tree(recipe_text(package, name_or_file), f"recipe {name_or_file}", advice)
    if like := tree.pop("like", None):
        if like not in names:
            raise UsageError(f"recipe {name_or_file}: like {like!r}: use {', '.join(names)}")
        tree = _over(recipe_tree(package, like), tree)
    for choice in settings:
        _apply(tree, choice, optional)
    return tree


def _over(below: Any, above: Any) -> Any:
    """A mapping with the values of another over its own, at every depth; else the other."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _over(below.get(key), value) for key, value in above.items()}


def yaml_tree(text: str, name: str, advice: str) -> dict[str, Any]:
    """A YAML mapping as plain values; a UsageError, with the place, where it is none."""
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise UsageError(f"{name}{where}: {problem}") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{name}: not a mapping of keys ({advice})")
    return tree


def _apply(tree: dict[str, Any], choice: Choice, optional: Iterable[str]) -> None:
    *path, last = choice.key.split(".")
    if path and ".".join(path) in optional:
        node = tree
        for key in path:
            node[key] = node.get(key) or {}
            node = node[key]
    place: Any = tree
    for key in path:
        place = place.get(key) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise UsageError(f"--set {choice.key}: the recipe has no {'.'.join(path)!r}")
    try:
        place[last] = yaml.safe_load(choice.value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"--set {choice.key}: {choice.value!r} is not a YAML value") from error


def checked(model: type[Checked], tree: dict[str, Any], name: str) -> Checked:
    """What a tree of plain values is; a UsageError names all wrong keys of `name` in one line."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise UsageError(f"{name}: {_one_line(error, model)}") from error


def _one_line(error: ValidationError, model: type[BaseModel]) -> str:
    problems = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _keys(model, item["loc"][:-1])
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            problems.append(f"unknown key {key}" + (f" (nearest: {near[0]})" if near else ""))
        else:
            message = item["msg"].removeprefix("Value error, ")
            shown = "" if isinstance(item["input"], dict) else f" (is {item['input']!r})"
            where = f"{key}: " if key else ""
            problems.append(f"{where}{message[0].lower()}{message[1:]}{shown}")
    return "; ".join(problems)


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that a recipe may have at some place."""
    kind: Any = model
    for part in path:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif part in getattr(kind, "model_fields", {}):
            kind = kind.model_fields[part].annotation
        if get_origin(kind) is UnionType:  # a section that may be left out
            kind = get_args(kind)[0]
    return list(getattr(kind, "model_fields", {}))
