"""Every regular expression of the product, and the texts on which one would take for ever."""

import ast
import importlib
import re
import time
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("mllmu_med", "eval", "baselines", "builder")
#: What a class of characters may stand for.
_SAMPLES = "a1 -.,\n'(:/@A_é"
_ANYWHERE = {"search", "sub", "subn", "split", "findall", "finditer"}


class Regex(NamedTuple):
    where: str
    form: re.Pattern[str]
    anywhere: bool  # it is looked for, not only matched where a text begins

    def seconds(self, text: str) -> float:
        start = time.thread_time()
        (self.form.findall if self.anywhere else self.form.fullmatch)(text)
        return time.thread_time() - start


class _Local(dict[str, Any]):
    """What a form is made of besides a module's own names: any text."""

    def __missing__(self, name: str) -> Any:
        if hasattr(__builtins__, name) or name in __builtins__:  # type: ignore[operator]
            raise KeyError(name)
        return "abc"


def regexes() -> list[Regex]:
    """Those written in a call of `re`, and those that modules hold."""
    found: dict[tuple[str, int], Regex] = {}
    sources = {path: path.read_text("utf-8") for p in PACKAGES for path in (ROOT / p).rglob("*.py")}
    every = "\n".join(sources.values())
    for path, source in sources.items():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name.endswith("__main__"):
            continue
        module = importlib.import_module(name)
        of = [*_written(module, source), *_held(module, source, every)]
        for place, form, anywhere in of:
            regex = Regex(f"{name}:{place}", form, anywhere)
            key = (form.pattern, form.flags)
            found[key] = regex._replace(anywhere=anywhere or (key in found and found[key].anywhere))
    return [*found.values()]


def _written(module: ModuleType, source: str) -> Iterator[tuple[str, re.Pattern[str], bool]]:
    for node in ast.walk(ast.parse(source)):
        called = node.func if isinstance(node, ast.Call) else None
        if not (isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name)):
            continue
        if called.value.id != "re" or called.attr in ("escape", "compile"):
            continue
        flags = [a for a in node.args[1:] if "re." in ast.unparse(a) or ast.unparse(a) == "_I"]
        flags += [k.value for k in node.keywords if k.arg == "flags"]
        try:
            form, flag = (
                eval(ast.unparse(part), _Local(vars(module)))
                for part in (node.args[0], flags[0] if flags else ast.Constant(0))
            )
            compiled = re.compile(form, flag)
        except Exception:  # noqa: BLE001  # of a row or a table: those are held below
            continue
        yield str(node.lineno), compiled, called.attr in _ANYWHERE


def _held(
    module: ModuleType, source: str, every: str
) -> Iterator[tuple[str, re.Pattern[str], bool]]:
    for name, value in list(vars(module).items()):
        for form in _patterns(value, 4):
            uses = source if name.startswith("_") else every
            ways = set(re.findall(rf"\b{name}\.(\w+)\(", uses))
            yield name, form, not ways or bool(ways & _ANYWHERE)


def _patterns(value: Any, depth: int) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            yield value
    elif depth and isinstance(value, dict) and len(value) < 500:
        for inner in value.values():
            yield from _patterns(inner, depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset) and len(value) < 500:
        for inner in value:
            yield from _patterns(inner, depth - 1)
    elif depth and is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            yield from _patterns(getattr(value, part.name), depth - 1)


def pumps(form: re.Pattern[str]) -> set[tuple[str, str]]:
    """What comes first and what is then repeated, for each repetition in a form."""
    found: set[tuple[str, str]] = set()
    sample, _ = _walk(_parser.parse(form.pattern, form.flags & ~re.DEBUG), "", found)
    found |= {("", unit) for _, unit in [*found]} | {("", sample or "a"), ("", f"{sample[:-1]} ")}
    return {(before, unit) for before, unit in found if unit}


def _walk(parts: Any, before: str, found: set[tuple[str, str]]) -> tuple[str, set[str]]:
    """The shortest text that a form takes, and the characters in it."""
    text, signs = "", set[str]()
    for kind, about in parts:
        least, inner = "", set[str]()
        if kind in (sre.LITERAL, sre.NOT_LITERAL):
            least = chr(about) if kind is sre.LITERAL else "a" if about != ord("a") else "b"
            inner = {least}
        elif kind is sre.ANY:
            least, inner = "a", {*"a "}
        elif kind is sre.IN:
            inner = {s for s in [*_SAMPLES, *_literals(about)] if _takes(about, s)} or {"a"}
            least = next(s for s in [*_SAMPLES, *sorted(inner)] if s in inner)
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            low, high, body = about
            unit, inner = _walk(body, before + text, found)
            if high is sre.MAXREPEAT or high > 9:
                units = {unit, *sorted(inner)[:6]}
                found |= {(before + text, each) for each in units}
            least = unit * int(low)
        elif kind is sre.BRANCH:
            sides = [_walk(side, before + text, found) for side in about[1]]
            least, inner = sides[0][0], set[str]().union(*(s for _, s in sides))
        elif kind is sre.SUBPATTERN:
            least, inner = _walk(about[3], before + text, found)
        elif kind is sre.ATOMIC_GROUP:
            least, inner = _walk(about, before + text, found)
        elif kind in (sre.ASSERT, sre.ASSERT_NOT):
            _walk(about[1], before + text, found)
        text += least
        signs |= inner
    return text, signs


def _literals(about: Any) -> Iterator[str]:
    for kind, value in about:
        if kind is sre.LITERAL:
            yield chr(value)
        elif kind is sre.RANGE:
            yield chr(value[0])


def _takes(about: Any, sign: str) -> bool:
    hit = False
    for kind, value in about:
        if kind is sre.LITERAL:
            hit |= ord(sign) == value
        elif kind is sre.RANGE:
            hit |= value[0] <= ord(sign) <= value[1]
        elif kind is sre.CATEGORY:
            name = str(value).removeprefix("CATEGORY_").lower()
            is_one = {"digit": str.isdigit, "space": str.isspace}.get(
                name.removeprefix("not_"), lambda s: s.isalnum() or s == "_"
            )
            hit |= bool(is_one(sign)) != name.startswith("not_")
    negated = bool(about) and about[0][0] is sre.NEGATE
    return hit != negated


def slowest(regex: Regex, length: int, patience: float) -> tuple[float, str]:
    """The longest that it takes for a text of so many characters, and how that text begins.

    It is tried with short texts first, so that what grows without bounds ends soon.
    """
    worst = (0.0, "")
    for before, unit in sorted(pumps(regex.form)):
        for size in (20, 40, 200, length):
            text = before + unit * (size // len(unit)) + "\0"
            taken = regex.seconds(text)
            if patience < taken < 10 * patience:  # another process had the core?
                taken = min(taken, regex.seconds(text), regex.seconds(text))
            worst = max(worst, (taken, f"{before} + {unit} * n"))
            if taken > patience:
                return worst
    return worst
