"""A method of one's own: a loss in a file, `run --method my_loss.py:loss`.

Its positional parameters are the parts that it trains on, its keyword-only ones its settings. It is
called on small made parts before anything is trained: what is wrong with it is said then, in one
line, and of which parts it needs the reference model is seen. A process of `--jobs` or `accelerate`
reads the file itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from hashlib import sha256
from importlib import resources
from importlib.util import module_from_spec, spec_from_file_location
from inspect import Parameter, getfile, signature
from itertools import pairwise
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final, NamedTuple

from baselines.losses import Answers, Part
from baselines.methods import FORGET, METHODS, Method
from baselines.training_settings import TrainSettings
from mllmu_med_dataset import UsageError

#: Folders of a run that are no method's.
_TAKEN: Final = ("base", "finetuned")
_PARTS: Final = (*FORGET, "retain")

#: What `python -m baselines method` prints: a file to start from.
TEMPLATE: Final = resources.files("baselines").joinpath("own_method.txt").read_text("utf-8")


def is_file(text: str) -> bool:
    """Whether a method is named as a file's function, not by its name."""
    return bool(re.search(r"\.py(:|$)", text))


class Spot(NamedTuple):
    """Where a loss is."""

    path: Path
    function: str

    @classmethod
    def of(cls, text: str) -> Spot:
        """`my_loss.py:loss`; else a UsageError."""
        file, _, function = text.rpartition(":")
        if not (file.endswith(".py") and function.isidentifier()):
            raise UsageError(f"method {text}: write FILE.py:FUNCTION, e.g. my_loss.py:loss")
        return cls(Path(file).expanduser().resolve(), function)

    @property
    def name(self) -> str:
        """In recipes, tables and as its run's folder."""
        return self.path.stem if self.function == "loss" else self.function

    def __str__(self) -> str:
        return f"{self.path.name}:{self.function}"


def name_own(text: str) -> tuple[str, str]:
    """The name of a method in a file, and where it is; a UsageError where the name is no use."""
    spot = Spot.of(text)
    known = {key.replace("-", "_") for key in (*METHODS, *_TAKEN)}
    if not re.fullmatch(r"[A-Za-z][\w-]*", spot.name):
        raise UsageError(f"method {text}: {spot.name!r} is no name for a folder: name it otherwise")
    if spot.name.lower().replace("-", "_") in known:
        raise UsageError(f"method {text}: {spot.name} is shipped already: name yours otherwise")
    return spot.name, f"{spot.path}:{spot.function}"


@cache
def read_own(text: str) -> Method:
    """The method of a file's function, as its parameters say; a UsageError where it is none."""
    spot = Spot.of(text)
    if not spot.path.is_file():
        raise UsageError(
            f"method {spot}: no file {spot.path}: `python -m baselines method > my_loss.py` writes "
            "one to start from"
        )
    spec = spec_from_file_location(f"own_method_{spot.path.stem}", spot.path)
    if spec is None or spec.loader is None:
        raise UsageError(f"method {spot}: {spot.path} is no Python file")
    module, hashed = module_from_spec(spec), sha256(spot.path.read_bytes()).hexdigest()
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _told(spot, error) from error
    loss = getattr(module, spot.function, None)
    if not callable(loss):
        raise UsageError(f"method {spot}: {spot.path} has no function {spot.function}")
    for parameter in signature(loss).parameters.values():
        if why := _misfit(parameter):
            raise UsageError(f"method {spot}: parameter {parameter.name}: {why}")
    method = replace(Method.of(loss), source={str(spot): hashed})
    if not method.forget:
        raise UsageError(
            f"method {spot}: takes nothing of the forget set: take some of {', '.join(FORGET)}"
        )
    return method


def _misfit(parameter: Parameter) -> str:
    """Why a parameter is neither a part nor a setting; empty if it is one."""
    if parameter.kind is Parameter.KEYWORD_ONLY:
        if parameter.default is Parameter.empty:
            return "a setting needs a default"
        if not isinstance(parameter.default, float | int):
            return f"a setting is a float, an int or a bool (is {parameter.default!r})"
        ours = TrainSettings.model_fields.keys() - {"retain_weight", "beta", "gamma", "scale"}
        return "is a setting of every run: name it otherwise" if parameter.name in ours else ""
    if parameter.kind is not Parameter.POSITIONAL_OR_KEYWORD or parameter.name not in _PARTS:
        return f"no such part: {', '.join(_PARTS)}; a setting stands after `*`"
    return "" if parameter.default is Parameter.empty else "a part has no default"


def tried(method: Method, values: Mapping[str, Any]) -> Method:
    """A method of one's own with what it was seen to read of the reference.

    Called on two forget and two retain rows with answers of one to three tokens, at once and row by
    row. A UsageError says in one line what is wrong with it.
    """
    (where,) = method.source
    # A method of a file is told apart from another by what it is made of.
    return replace(method, reference=_looked_at(method, where, tuple(values.items())))


@cache
def _looked_at(method: Method, where: str, values: tuple[tuple[str, Any], ...]) -> tuple[str, ...]:
    import torch

    def call(*units: int) -> Any:
        parts, whole = _made(method, units)
        try:
            loss = method.loss(**parts, **dict(values))
        except Exception as error:
            raise _told(where, error, getfile(method.loss)) from error
        asked.update(whole.asked)
        kind = f"a tensor of shape {[*loss.shape]}" if torch.is_tensor(loss) else repr(loss)
        if not torch.is_tensor(loss) or loss.numel() != 1 or loss.dim():
            raise UsageError(f"method {where}: gives {kind}, where one number (a scalar) is due")
        if not loss.isfinite():
            empty = " where a part is empty (a pass may hold no row of a set)" * (len(units) == 1)
            raise UsageError(f"method {where}: is {loss.item()} on small made parts{empty}")
        return loss, whole.logits

    asked: set[str] = set()
    units = range(4 if method.retain else 2)
    loss, logits = call(*units)
    if not loss.requires_grad:
        raise UsageError(
            f"method {where}: has no gradient: it looks at no logits, or detaches them"
        )
    (slope,) = torch.autograd.grad(loss, logits)
    if not slope.isfinite().all() or not slope.any():
        kind = "all 0" if not slope.any() else "not finite"
        raise UsageError(f"method {where}: its gradient is {kind} on small made parts")
    alone = sum(call(unit)[0] for unit in units)
    if not torch.isclose(alone, loss, rtol=1e-3, atol=1e-4):
        raise UsageError(
            f"method {where}: of its rows together it is {loss.item():.4g}, of each alone "
            f"{alone.item():.4g} in all, and what a step's passes give is added up: take means by "
            "mean_of_tokens or mean_of_samples of the part, and let parts be empty"
        )
    return tuple(name for name in method.parts if name in asked)


def _made(method: Method, units: tuple[int, ...]) -> tuple[dict[str, Part], Answers]:
    """Parts of rows 0 and 1 of the forget set and 2 and 3 of the retain set, the same each time."""
    import torch

    lengths = {"forget": (1, 3), "refused": (2, 2), "clean": (3, 1), "retain": (1, 2)}
    own = {unit: method.forget if unit < 2 else method.retain for unit in units}
    samples = [(name, lengths[name][unit % 2], unit) for unit in units for name in own[unit]]
    rows = [
        torch.randn(
            2, tokens, 7, generator=torch.Generator().manual_seed(10 * _PARTS.index(name) + unit)
        )
        for name, tokens, unit in samples
    ]
    counts = torch.tensor([tokens for _, tokens, _ in samples])
    logits, reference = torch.cat(rows, 1)
    of = torch.arange(len(samples)).repeat_interleave(counts)
    every = torch.arange(len(samples))
    starts = [*pairwise([0, *counts.cumsum(0).tolist()])]
    targets = torch.cat([torch.arange(b - a) for a, b in starts])
    whole = Answers(logits.requires_grad_(), targets, of, counts, reference, every)
    parts = {
        name: Part(
            whole,
            every[[part == name for part, _, _ in samples]],
            2.0,
            float(sum(lengths[name])),
            name=name,
        )
        for name in method.parts
    }
    return parts, whole


def _told(where: Spot | str, error: Exception, file: str = "") -> UsageError:
    """What a file's own code raises, with the line in it, as a UsageError."""
    file = file or str(where.path if isinstance(where, Spot) else where)
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    said = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return UsageError(
        f"method {where}: {Path(file).name}{f', line {line}' if line else ''}: "
        f"{type(error).__name__}: {said}"
    )
