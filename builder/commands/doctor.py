"""`python -m builder doctor`: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import typer

from builder.commands.options import AsJson
from mllmu_med.command_line import one_line_errors
from mllmu_med.disk import free, readable
from mllmu_med.schema import DEFAULT_FOLDER

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_INSTALL: Final = "pip install -c requirements.lock -e ."
#: Building, auditing, publishing and scoring work without these.
_MODELS: Final = ("accelerate", "peft", "torch", "transformers")
_SHOWN: Final = ("datasets", "huggingface-hub", *_MODELS)
_DEMO, _LARGE = 500e6, 50e9  # bytes: demo, runs and caches; LLaVA-Med twice, its adapters
_BROWSERS: Final = (
    "chromium chromium-browser google-chrome firefox microsoft-edge open start".split()
)


class Line(NamedTuple):
    """What was looked at, what was found, and what to do next where it is not `ok`."""

    state: Literal["ok", "note", "problem"]
    what: str
    found: str
    next: str = ""


@one_line_errors
def doctor(as_json: AsJson = False) -> None:
    """Look at this machine: versions, corpora, keys, GPU, disk; and what to do next.

    Nothing is installed, fetched or sent. Exit code 1 where a problem is found.
    """
    lines = [*_python(), *_data(), *_keys(), _gpu(), *_places(), _browser()]
    ok = all(line.state != "problem" for line in lines)
    if as_json:
        print(json.dumps({"ok": ok, "lines": [line._asdict() for line in lines]}))
    else:
        for line in lines:
            print(
                f"{line.state:<8} {line.what}: {line.found}" + f" -> {line.next}" * bool(line.next)
            )
    if not ok:
        raise typer.Exit(1)


def _python() -> Iterator[Line]:
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    yield Line("ok", "Python", f"{platform.python_version()}, {platform.platform(terse=True)}")
    try:
        asked = [Requirement(line) for line in requires("mllmu-med") or []]
    except PackageNotFoundError:
        yield Line("problem", "mllmu-med", "not installed in this Python", _INSTALL)
        return
    yield from packages(
        one for one in asked if not one.marker or one.marker.evaluate({"extra": ""})
    )


def packages(asked: Iterable[Requirement]) -> Iterator[Line]:
    """A line for each package that is missing or of another version; one for all others."""
    from importlib.metadata import PackageNotFoundError, version

    fit: dict[str, str] = {}
    missing: list[str] = []
    for one in asked:
        try:
            found = version(one.name)
        except PackageNotFoundError:
            if one.name in _MODELS:
                missing.append(one.name)
            else:
                yield Line("problem", one.name, "not installed", _INSTALL)
            continue
        if one.specifier.contains(found, prereleases=True):
            fit[one.name] = found
        else:
            yield Line("problem", one.name, f"{found}, needed is {one.specifier}", _INSTALL)
    if missing:
        able = "no calibration (--set calibration=null), training or answering without them"
        yield Line("note", ", ".join(missing), "not installed", f"{able}: {_INSTALL}")
    shown = ", ".join(f"{name} {fit[name]}" for name in _SHOWN if name in fit)
    yield Line("ok", "packages", f"{len(fit)} within their ranges: {shown}")


def _data() -> Iterator[Line]:
    from builder.ingest.slake import download

    built = Path(DEFAULT_FOLDER)
    try:
        build = json.loads((built / "provenance" / "manifest.json").read_text("utf-8"))["build"]
        yield Line("ok", "dataset", f"build {build} in ./{built}")
    except (OSError, ValueError, KeyError, TypeError):
        yield Line("note", "dataset", f"none in ./{built}", "python -m builder rebuild")
    mirror = download(fetch=False)
    for name, folder, here, other in (
        (
            "SLAKE",
            "Slake1.0",
            "--slake Slake1.0",
            "--slake hub fetches it (210 MB), or --slake DIR",
        ),
        ("MM-Skin", "MM-Skin", "--mm-skin MM-Skin", "--mm-skin DIR; or any table: --corpus FILE"),
    ):
        if Path(folder).is_dir():
            yield Line("ok", name, f"./{folder}: {here}")
        elif name == "SLAKE" and mirror.is_dir():
            yield Line("ok", name, f"the Hub's mirror is fetched: --slake hub ({mirror})")
        else:
            yield Line("note", name, f"not in ./{folder}; the demo needs none", other)


def _keys() -> Iterator[Line]:
    kept = os.access(os.environ.get("HF_TOKEN_PATH", _hub_cache() / "token"), os.R_OK)
    for name, is_set, need in (
        ("OPENAI_API_KEY", _is_set("OPENAI_API_KEY"), "--author llm"),
        ("Hub token", kept or _is_set("HF_TOKEN"), "publish and gated models: hf auth login"),
    ):
        yield (
            Line("ok", name, "set") if is_set else Line("note", name, "not set", f"only for {need}")
        )


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name, "").strip())


def _hub_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("HF_HOME", f"{home}/huggingface")).expanduser()


def _gpu() -> Line:
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return Line("note", "GPU", "none seen by nvidia-smi", "the demo and tiny models need none")
    return Line("ok", "GPU", "; ".join(done.stdout.split("\n")).strip("; "))


def _places() -> Iterator[Line]:
    size = shutil.disk_usage(Path.cwd()).free
    state: Literal["ok", "note", "problem"]
    state = "problem" if size < _DEMO else "note" if size < _LARGE else "ok"
    advice = f"the demo takes {readable(_DEMO)}, LLaVA-Med and its runs {readable(_LARGE)}"
    yield Line(state, "disk", free(Path.cwd()), "" if state == "ok" else advice)
    for what, place, advice in (
        ("this folder", Path.cwd(), "go to one of your own"),
        ("cache", _hub_cache(), "set HF_HOME to a folder of your own"),
    ):
        try:
            there = next(p for p in (place, *place.parents) if p.exists())
            with tempfile.TemporaryFile(dir=there):
                yield Line("ok", what, f"{place} can be written to")
        except OSError as error:
            yield Line("problem", what, f"{place}: {error.strerror}", advice)


def _browser() -> Line:
    found = next((name for name in _BROWSERS if shutil.which(name)), "")
    if found:
        return Line("ok", "browser", f"{found}, for the review page and report.html")
    advice = "copy report.html and the review page to a machine with one"
    return Line("note", "browser", "none found", advice)
