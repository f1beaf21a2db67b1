"""The wheel holds whatever the packages hold, and its commands work where it is installed."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from corpora import PLAIN, ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGES = ("mllmu_med/", "baselines/", "builder/", "eval/")


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """What git holds or would take."""
    listed = _run(Path("git"), ["ls-files", "-co", "--exclude-standard"], ROOT)
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy, with what an import leaves beside the code; without any network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    (source / "builder" / "__pycache__").mkdir()
    (source / "builder" / "__pycache__" / "files.cpython-311.pyc").write_bytes(b"")
    code = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])"
    _run(Path(sys.executable), ["-c", code, str(target)], source)
    return next(target.glob("*.whl"))


def test_the_wheel_holds_what_git_holds(tracked: list[str], wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        found = {name for name in packed.namelist() if ".dist-info/" not in name}
    modules = {name for name in tracked if "/" not in name and name.endswith(".py")}
    assert found == modules | {name for name in tracked if name.startswith(PACKAGES)}


def _needed(names: Iterator[str], seen: dict[str, Distribution]) -> dict[str, Distribution]:
    """The installed distributions that some ask for, and those that these ask for."""
    for name in map(canonicalize_name, names):
        if name not in seen:
            seen[name] = distribution(name)
            _needed(_asked(seen[name].requires or []), seen)
    return seen


def _asked(lines: list[str]) -> Iterator[str]:
    for one in map(Requirement, lines):
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            yield one.name


def _install(wheel: Path, place: Path) -> Path:
    """A new venv with the wheel; its Python.

    The dependencies are this venv's, linked rather than fetched again (2 GB, minutes): those that
    the wheel asks for, so that one which it forgets is missed. pip, offline, refuses the wheel
    when one of them is missing or is not what the lock says. Nothing of this project is linked.
    """
    venv.create(place / "venv")
    site = next((place / "venv" / "lib").glob("python*/site-packages"))
    links = place / "dependencies"
    links.mkdir()
    with zipfile.ZipFile(wheel) as packed:
        (place / "read").mkdir()
        packed.extractall(place / "read")
    own = Distribution.at(next((place / "read").glob("*.dist-info")))
    for one in _needed(_asked(own.requires or []), {}).values():
        for part in {file.parts[0] for file in one.files or []} - {"..", "__pycache__"}:
            link = links / part
            if not link.is_symlink():
                link.symlink_to(str(one.locate_file(part)))
    (site / "dependencies.pth").write_text(f"{links}\n")
    python = place / "venv" / "bin" / "python"
    pip = ["-m", "pip", "--python", str(python), "install", "--no-index", "--quiet"]
    lock = str(ROOT / "requirements.lock")
    _run(Path(sys.executable), [*pip, "-c", lock, str(wheel)], place)
    return python


def _run(program: Path, words: list[str], cwd: Path) -> str:
    ours = ("PYTHONPATH", "PIP_CONSTRAINT", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    line = [program, *words]
    done = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_its_commands_work_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    python = _install(wheel, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = _run(python, ["-c", "import builder; print(builder.__file__)"], elsewhere)
    assert Path(where).is_relative_to(tmp_path / "venv")
    assert "build " in _run(python, ["-m", "builder", "rebuild", *PLAIN], elsewhere)
    assert "finetune" in _run(python, ["-m", "baselines", "run", "--plan"], elsewhere)
    assert "answer" in _run(python, ["-m", "eval", "--help"], elsewhere)
