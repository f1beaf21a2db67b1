"""Recipes as files: YAML that a package ships or a user wrote, `--set`, and errors in one line.

What a recipe may hold is said by a pydantic model of the package that reads it
(`builder.core.recipe`, `baselines.recipe`).
"""

import difflib
import re
import reprlib
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


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, and numbers that mislead."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                twice = f"the key {name} stands twice: keep one"
                raise yaml.MarkedYAMLError(None, None, twice, key.start_mark)
            seen.add(name)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, str):
                value.encode()
            elif type(value) is int and re.match(r"[-+]?0\d|.*:", node.value):
                raise ValueError(f"{node.value} means {value} in YAML: write that, or quote it")
        except ValueError as error:
            problem = str(error).partition(";")[0]
            raise yaml.MarkedYAMLError(None, None, problem, node.start_mark) from error
        return value


def _loaded(text: str) -> Any:
    """What a YAML text holds, as plain values; a ValueError that says why and where."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError as error:
        raise ValueError(": nested too deeply") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", "not YAML")
        raise ValueError(f"{where}: {problem}") from error


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
    return [key for choice in settings for key in _within(choice.key, _loaded(choice.value))]


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
        tree = _loaded(text)
    except ValueError as error:
        raise UsageError(f"{name}{error}") from error
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
        place[last] = _loaded(choice.value)
    except ValueError as error:
        why = f"{choice.value!r:.80} is not a YAML value{error}"
        raise UsageError(f"--set {choice.key}: {why}") from error


def checked(model: type[Checked], tree: dict[str, Any], name: str) -> Checked:
    """What a tree of plain values is; a UsageError names all wrong keys of `name` in one line."""
    try:
        made = model.model_validate(tree)
    except ValidationError as error:
        raise UsageError(f"{name}: {_one_line(error, model)}") from error
    if switches := "; ".join(_numbers_of_switches(tree, made)):
        raise UsageError(f"{name}: {switches}")
    return made


def _numbers_of_switches(given: Any, made: Any, path: str = "") -> Iterator[str]:
    """What pydantic makes a 1 or 0 of: YAML's yes, no, on and off where a number is due."""
    if isinstance(given, bool) and type(made) in (int, float):
        yield f"{path}: a number is needed (is {given}, as YAML reads yes, no, on and off)"
    elif isinstance(given, list) and isinstance(made, list | tuple):
        for number, (one, now) in enumerate(zip(given, made, strict=False)):
            yield from _numbers_of_switches(one, now, f"{path}.{number}")
    elif isinstance(given, dict):
        for key, one in given.items():
            now = made.get(key) if isinstance(made, dict) else getattr(made, str(key), None)
            yield from _numbers_of_switches(one, now, f"{path}.{key}" if path else str(key))


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
            came = reprlib.repr(item["input"])[:200]
            if item["type"] in ("tuple_type", "list_type"):
                message = "a list is needed here, e.g. [{}]".format(came.strip("'"))
            shown = "" if isinstance(item["input"], dict) else f" (is {came})"
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
