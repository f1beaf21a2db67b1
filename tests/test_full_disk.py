"""A disk that takes no more: one line, nothing half-written, and the same command ends the work."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from corpora import PLAIN, SMALL, builder, make_slake, tree
from faults import Point, each_fault
from typer.testing import CliRunner

from builder.__main__ import app
from eval.cli import make_app, one_line_errors
from eval.disk import refused
from eval.files import write_atomic
from mllmu_med_dataset import UserError

Rebuild = Callable[..., Any]
HALVES = ("*.builder-new", "*.builder-old", "*.builder-lock", "*.lock", "*.tmp", "self-check")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    make_slake(folder / "slake")
    return folder


@pytest.fixture
def rebuild(corpora: Path, tmp_path: Path) -> Rebuild:
    """`rebuild` of the small corpora into `out` and `work`, in this process."""
    sources = ["--slake", corpora / "slake", "--scenario", "privacy"]
    places = ["--out", tmp_path / "out", "--work", tmp_path / "work"]
    words = [str(word) for word in ["rebuild", "--recipe", "paper", *SMALL, *sources, *places]]
    return lambda *more: CliRunner().invoke(app, [*words, *more])


@pytest.fixture(scope="module")
def whole(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a build that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    words = ["--slake", corpora / "slake", "--scenario", "privacy", "--out", folder / "out"]
    done = CliRunner().invoke(app, ["rebuild", "--recipe", "paper", *SMALL, *map(str, words)])
    assert done.exit_code == 0, done.output
    return tree(folder / "out")


def halves(folder: Path) -> list[Path]:
    return [path for pattern in HALVES for path in folder.rglob(pattern)]


def check(point: Point, done: Any, folder: Path) -> None:
    """A run that met a full disk has said so, and left nothing half-done."""
    assert isinstance(done.exception, SystemExit), (point, done.exception)
    assert done.exit_code == 1, point
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: "), (point, line)
    assert re.search(r"cannot (be written|write .* here) \(No space left on device", line), line
    assert halves(folder) == [], point


def test_a_disk_that_fills_at_any_moment_of_the_stages(
    rebuild: Rebuild, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    points = []
    for point, done in each_fault(lambda: rebuild("--until", "split"), tmp_path):
        check(point, done, tmp_path)
        points.append(point)
    assert {point.what for point in points} == {"mkdir", "write", "fsync", "rename"}
    assert len(points) > 50
    assert rebuild().exit_code == 0
    assert tree(tmp_path / "out") == whole


def some(point: Point) -> bool:
    """One point of each kind: rows, a text, the look through `load_dataset`, the last rename."""
    name = point.path.removeprefix(".out.builder-new/")
    return (
        (point.what, name) in {("parquet", "privacy/retain.parquet"), ("write", "README.md.tmp")}
        or (point.what == "write" and name.endswith(".arrow") and point.time == 1)
        or name in ("out", "work/publish.json")
    )


def all_but_most_of_the_look(point: Point) -> bool:
    return "self-check" not in point.path or (point.what, point.time) == ("write", 1)


@pytest.mark.parametrize(
    "only", [some, pytest.param(all_but_most_of_the_look, marks=pytest.mark.slow)]
)
def test_a_disk_that_fills_while_publishing(
    only: Callable[[Point], bool], rebuild: Rebuild, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    """The build that was there before stays until the new one is whole."""
    assert rebuild("--set", "seed=5").exit_code == 0
    there = tree(tmp_path / "out")
    assert rebuild("--until", "split").exit_code == 0
    points = []
    for point, done in each_fault(rebuild, tmp_path, only=only):
        check(point, done, tmp_path)
        if "publish.json" not in point.path:  # the only thing after the folder is in place
            assert tree(tmp_path / "out") == there, point
        points.append(point)
    assert len(points) >= 5
    assert tree(tmp_path / "out") == whole


def test_killed_at_any_moment_of_the_stages(
    rebuild: Rebuild, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    points = [
        point for point, _ in each_fault(lambda: rebuild("--until", "split"), tmp_path, killed=True)
    ]
    assert len(points) > 50
    assert rebuild().exit_code == 0
    assert tree(tmp_path / "out") == whole
    assert halves(tmp_path) == []


@pytest.mark.slow
def test_killed_at_any_moment_of_publishing(
    rebuild: Rebuild, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    assert rebuild("--set", "seed=5").exit_code == 0
    for point, _ in each_fault(
        rebuild, tmp_path, killed=True, only=lambda p: "self-check" not in p.path
    ):
        names = {path.name for path in tmp_path.iterdir()}
        assert names & {"out", ".out.builder-old"}, point  # never without a dataset
    assert rebuild().exit_code == 0
    assert tree(tmp_path / "out") == whole
    assert halves(tmp_path) == []


# One write.


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO]
)
def test_the_line_names_file_size_room_and_way_out(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "file.json"
    path.write_text("before")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError) as caught:
        write_atomic(path, b"x" * 4_200_000)
    line = str(caught.value)
    assert line.startswith(f"{path}: cannot be written ({os.strerror(number)}; about 4.2 MB asked")
    assert f"free in {tmp_path}): " in line
    assert "choose " in line
    assert tree(tmp_path) == {"file.json": b"before"}


def command(raises: Exception) -> Any:
    """A command of any of the three programs that meets an error which nobody has told."""
    one = make_app("one")

    @one.command()
    @one_line_errors
    def fail() -> None:
        raise raises

    return CliRunner().invoke(one, [])


def under(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        OSError(errno.EDQUOT, "Quota exceeded", "a"),
        under(RuntimeError("unexpected pos 704 vs 598"), FULL),  # torch.save
        under(ValueError("An error occurred while generating the dataset"), FULL),  # datasets
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["plain", "quota", "torch", "datasets", "safetensors"],
)
def test_whatever_a_library_makes_of_it_is_one_line(error: Exception) -> None:
    done = command(error)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "cannot be written (" in line


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOENT, "No such file", "a"), RuntimeError("a bug"), KeyError("a")]
)
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    assert command(error).exception is error


def test_a_full_stdout(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "builder", "recipe", "demo"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "stdout: cannot be written (No space left on device)" in line


def test_a_reply_that_the_ledger_cannot_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from builder.request_ledger import Request, RequestLedger

    def small(ledger: RequestLedger) -> sqlite3.Connection:
        database = connect(ledger)
        database.execute("PRAGMA max_page_count = 20")  # then "database or disk is full"
        return database

    connect = RequestLedger._connect
    monkeypatch.setattr(RequestLedger, "_connect", small)
    raw = '{"choices": [{"message": {"content": "' + "x" * 200_000 + '"}}]}'
    with RequestLedger(tmp_path / "requests.sqlite") as ledger:
        with pytest.raises(UserError, match=r"about 400 kB asked for, .* free in") as caught:
            ledger.put(Request("m", (), None, {}, "1"), "none", raw).result()
        assert "run the same command again: the replies before it are kept" in str(caught.value)
        assert len(ledger) == 0
        found = refused(caught.value.__cause__ or RuntimeError())
        assert found is None or found.number == errno.ENOSPC


def test_a_checkpoint(tmp_path: Path) -> None:
    """Half of it on the disk, then that is full: the checkpoint before stays."""
    import torch

    from baselines.state import RunFolder

    run = RunFolder(tmp_path)
    run.save({"run": "a", "step": 1, "weights": torch.zeros(1000)})
    before = run.checkpoint.read_bytes()
    failures = []

    def save() -> str:
        try:
            run.save({"run": "a", "step": 2, "weights": torch.ones(1000)})
        except UserError as error:
            failures.append(str(error))
            assert run.checkpoint.read_bytes() == before
            assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
        return ""

    for _ in each_fault(save, tmp_path):
        pass
    assert len(failures) > 3
    assert all("checkpoint.pt: cannot be written (No space left" in one for one in failures)
    assert run.checkpoint.read_bytes() != before


def test_a_zip_of_pictures_is_not_called_broken(tmp_path: Path) -> None:
    """The archive was told to be downloaded again when the disk was full."""
    from corpora import zip_pictures

    zip_pictures(make_slake(tmp_path / "slake"))
    words = ["rebuild", "--recipe", "paper", *SMALL, "--scenario", "privacy", "--until", "ingest"]
    places = ["--slake", tmp_path / "slake", "--out", tmp_path / "out", "--work", tmp_path / "work"]
    for point, done in each_fault(
        lambda: CliRunner().invoke(app, [*words, *map(str, places)]),
        tmp_path,
        only=lambda point: point.path.endswith("xmlab1/source.jpg"),
    ):
        check(point, done, tmp_path)


# A disk that is really small.


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk of some size, or gives the one that is mounted another size."""
    place = tmp_path / "disk"

    def sized(size: str) -> Path:
        remount = ",remount" if place.is_mount() else ""
        place.mkdir(exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}{remount}", "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(words, check=False).returncode:
            pytest.skip("no disk may be mounted here")
        return place

    yield sized
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("full", ["out", "work"])
def test_the_demo_on_a_disk_of_6_mb(
    full: str, disk: Callable[[str], Path], demo: Path, tmp_path: Path
) -> None:
    small = disk("6m")
    places = {"out": tmp_path / "out", "work": tmp_path / "work"}
    places[full] = small / "out" if full == "out" else small
    words = ["rebuild", *PLAIN, "--out", places["out"], "--work", places["work"]]
    done = builder(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be written (No space left on device; about " in done.stderr.splitlines()[-1]
    assert halves(tmp_path) == []
    assert (places["work"] / "privacy" / "ingest" / "stage.json").is_file()
    disk("80m")
    done = builder(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "privacy/ingest" not in done.stderr  # it stayed
    assert tree(places["out"]) == tree(demo / "mllmu-med")


def test_a_mount_point_as_target_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "out")
    done = CliRunner().invoke(app, ["rebuild", "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert f"name a folder in it, e.g. --out {tmp_path / 'out' / 'data'}" in done.stderr
    assert list(tmp_path.iterdir()) == []
