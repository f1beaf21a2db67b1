"""`python -m builder doctor`: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import typer

from builder.commands.options import AsJson
from mllmu_med.command_line import one_line_errors
from mllmu_med.disk import free, readable
from mllmu_med.files import text_lines
from mllmu_med.schema import DEFAULT_FOLDER
from mllmu_med.terminal import LOCALE

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_INSTALL: Final = "pip install -c requirements.lock -e ."
#: Building, auditing, publishing and scoring work without these.
_MODELS: Final = ("accelerate", "peft", "torch", "transformers")
_DEMO, _LARGE = 500e6, 50e9  # bytes: demo, runs and caches; LLaVA-Med twice, its adapters
_BROWSERS: Final = "chromium chromium-browser google-chrome firefox microsoft-edge safari".split()


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
    lines = [*_python(), *_data(), *_keys_and_tools(), *_places()]
    ok = all(line.state != "problem" for line in lines)
    if as_json:
        print(json.dumps({"ok": ok, "lines": [line._asdict() for line in lines]}))
    else:
        for state, what, found, then in lines:
            print(f"{state:<8} {what}: {found}" + f" -> {then}" * bool(then))
    if not ok:
        raise typer.Exit(1)


def _python() -> Iterator[Line]:
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    yield Line("ok", "Python", f"{platform.python_version()}, {platform.platform(terse=True)}")
    try:
        asked = map(Requirement, requires("mllmu-med") or [])
    except PackageNotFoundError:
        yield Line("problem", "mllmu-med", "not installed in this Python", _INSTALL)
        return
    yield from packages(r for r in asked if not r.marker or r.marker.evaluate({"extra": ""}))


def packages(asked: Iterable[Requirement]) -> Iterator[Line]:
    """A line for each package that is missing or of another version; one for all others."""
    from importlib.metadata import PackageNotFoundError, version

    fit: dict[str, str] = {}
    missing: list[str] = []
    for one in asked:
        try:
            found = version(one.name)
        except PackageNotFoundError:
            found = "not installed"
        if found == "not installed" and one.name in _MODELS:
            missing.append(one.name)
        elif found == "not installed" or not one.specifier.contains(found, prereleases=True):
            yield Line("problem", one.name, f"{found}, needed is {one.specifier}", _INSTALL)
        else:
            fit[one.name] = found
    if missing:
        able = "no calibration (--set calibration=null), training or answering without them"
        yield Line("note", ", ".join(missing), "not installed", f"{able}: {_INSTALL}")
    names = ("datasets", "huggingface-hub", *_MODELS)
    shown = ", ".join(f"{name} {fit[name]}" for name in names if name in fit)
    yield Line("ok", "packages", f"{len(fit)} within their ranges: {shown}")


def _found(what: str, found: str, otherwise: str, then: str) -> Line:
    """A note where nothing was found."""
    return Line("ok", what, found) if found else Line("note", what, otherwise, then)


def _data() -> Iterator[Line]:
    from builder.ingest.slake import download

    built = Path(DEFAULT_FOLDER)
    build = ""
    with suppress(OSError, ValueError, KeyError, TypeError):
        build = json.loads((built / "provenance" / "manifest.json").read_text("utf-8"))["build"]
    yield _found(
        "dataset",
        build and f"build {build} in ./{built}",
        f"none in ./{built}",
        "python -m builder rebuild",
    )
    mirror = "--slake hub (fetched)" if download(fetch=False).is_dir() else ""
    for name, folder, flag, fetched, then in (
        ("SLAKE", "Slake1.0", "--slake", mirror, "--slake hub fetches it (210 MB)"),
        ("MM-Skin", "MM-Skin", "--mm-skin", "", "--mm-skin DIR; or any table: --corpus FILE"),
    ):
        here = f"{flag} {folder}" if Path(folder).is_dir() else fetched
        yield _found(name, here, f"not in ./{folder}; the demo needs none", then)


def _keys_and_tools() -> Iterator[Line]:
    key = os.environ.get("OPENAI_API_KEY", "").strip() and "set"
    yield _found("OPENAI_API_KEY", key, "not set", "only for --author llm")
    kept = os.access(os.environ.get("HF_TOKEN_PATH", _hub_cache() / "token"), os.R_OK)
    token = "set" if kept or os.environ.get("HF_TOKEN", "").strip() else ""
    yield _found("Hub token", token, "not set", "only to publish, for gated models: hf auth login")
    gpu = ""
    with suppress(OSError, subprocess.SubprocessError):
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
        gpu = "; ".join(text_lines(done.stdout.strip()))
    yield _found("GPU", gpu, "none seen by nvidia-smi", "the demo and tiny models need none")
    browser = next((name for name in _BROWSERS if shutil.which(name)), "")
    then = "copy report.html and the review page to a machine with one"
    yield _found("browser", browser, "none found", then)


def _hub_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("HF_HOME", f"{home}/huggingface")).expanduser()


def _places() -> Iterator[Line]:
    size, room = shutil.disk_usage(Path.cwd()).free, free(Path.cwd())
    then = f"the demo takes {readable(_DEMO)}, LLaVA-Med and its runs {readable(_LARGE)}"
    enough = _found("disk", room if size >= _LARGE else "", room, then)
    yield enough if size >= _DEMO else enough._replace(state="problem")
    for what, place, then in (
        ("this folder", Path.cwd(), "go to one of your own"),
        ("cache", _hub_cache(), "set HF_HOME to a folder of your own"),
    ):
        try:
            os.fspath(place).encode()
            there = next(p for p in (place, *place.parents) if p.exists())
            with tempfile.TemporaryFile(dir=there):
                yield Line("ok", what, f"{place} can be written to")
        except OSError as error:
            yield Line("problem", what, f"{place}: {error.strerror}", then)
        except UnicodeEncodeError:
            yield Line("problem", what, str(place), f"it has {LOCALE}")
