"""A disk that takes no more: one line, nothing half-written, and the same command ends the work."""

import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import faults
import pytest
from corpora import PLAIN, SMALL, builder, make_slake, tree
from faults import Only, Point, each_fault, every
from typer.testing import CliRunner

from builder.__main__ import app
from mllmu_med import files, folders
from mllmu_med_dataset import UserError

Rebuild = Callable[..., Any]
PRIVACY = ["rebuild", "--recipe", "paper", *SMALL, "--scenario", "privacy"]
HALVES = ("*.builder-new", "*.builder-old", "*.builder-lock", "*.lock", "*.tmp")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    make_slake(folder / "slake")
    return folder


@pytest.fixture
def rebuild(corpora: Path, tmp_path: Path) -> Rebuild:
    """`rebuild` of the small corpora into `out` and `work`, in this process."""
    places = ["--out", tmp_path / "out", "--work", tmp_path / "work"]
    return partial(invoke, *PRIVACY, "--slake", corpora / "slake", *places)


def invoke(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def whole(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a build that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    done = invoke(*PRIVACY, "--slake", corpora / "slake", "--out", folder / "out")
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


def few(point: Point) -> bool:
    """Every kind of point in one stage, and where each of the others is done."""
    return point.what == "rename" or "draw" in point.path


@pytest.mark.parametrize("only", [few, pytest.param(every, marks=pytest.mark.slow)])
def test_a_disk_that_fills_in_the_stages(
    only: Only, rebuild: Rebuild, tmp_path: Path, whole: Any
) -> None:
    points = []
    for point, done in each_fault(partial(rebuild, "--until", "split"), tmp_path, only=only):
        check(point, done, tmp_path)
        points.append(point)
    assert_stages(points)
    assert rebuild().exit_code == 0
    assert tree(tmp_path / "out") == whole


def assert_stages(points: list[Point]) -> None:
    """Every kind of point, in every stage up to `split`."""
    assert {point.what for point in points} == {"mkdir", "write", "fsync", "rename"}
    renamed = {point.path for point in points if point.what == "rename"}
    stages = ("ingest", "draw", "profiles", "inject", "split")
    assert {f"work/privacy/{stage}" for stage in stages} <= renamed


#: What a rebuild still writes once the new folder is in its place.
AFTER = ("work/write.json", "work/audit.json")


def some(point: Point) -> bool:
    """One point of each kind: rows, a text, the two renames at the end, the audit's verdict."""
    return (point.what, point.path) in SOME


SOME = {
    ("parquet", ".out.builder-new/privacy/retain.parquet"),
    ("write", ".out.builder-new/README.md.tmp"),
    ("rename", "out"),
    ("rename", "work/write.json"),
    ("write", "work/audit.json.tmp"),
}


@pytest.mark.slow
@pytest.mark.parametrize("only", [some, every])
def test_disk_full_while_writing(only: Only, rebuild: Rebuild, tmp_path: Path, whole: Any) -> None:
    """The build that was there before stays until the new one is whole."""
    assert rebuild("--set", "seed=5").exit_code == 0
    there = tree(tmp_path / "out")
    assert rebuild("--until", "split").exit_code == 0
    points = set()
    for point, done in each_fault(rebuild, tmp_path, only=only):
        check(point, done, tmp_path)
        assert tree(tmp_path / "out") == (whole if point.path.startswith(AFTER) else there), point
        points.add((point.what, point.path))
    assert points >= SOME
    assert tree(tmp_path / "out") == whole
    assert "audit: " not in rebuild().stderr  # it is remembered


def test_full_in_the_audit(rebuild: Rebuild, tmp_path: Path, whole: Any, monkeypatch: Any) -> None:
    """The cache of `load_dataset` lies elsewhere, in the folder for temporary folders."""
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "cache"))
    point, done = next(
        each_fault(rebuild, tmp_path, only=lambda point: point.path.endswith(".arrow"))
    )
    check(point, done, tmp_path)
    assert point.path.startswith("cache/")
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "work" / "audit.json").exists()
    assert tree(tmp_path / "out") == whole
    again = rebuild()
    assert again.exit_code == 0
    assert again.stderr.endswith("\naudit: looking at every file and row\n")


def renames(point: Point) -> bool:
    """The moments at which what stands changes."""
    return point.what == "rename"


@pytest.mark.parametrize("only", [renames, pytest.param(every, marks=pytest.mark.slow)])
def test_killed_in_the_stages(only: Only, rebuild: Rebuild, tmp_path: Path, whole: Any) -> None:
    stages = partial(rebuild, "--until", "split")
    points = [point for point, _ in each_fault(stages, tmp_path, killed=True, only=only)]
    if only is every:
        assert_stages(points)
    assert sum(map(renames, points)) >= 12
    assert rebuild().exit_code == 0
    assert tree(tmp_path / "out") == whole
    assert halves(tmp_path) == []


@pytest.mark.slow
def test_killed_while_writing(rebuild: Rebuild, tmp_path: Path, whole: dict[str, bytes]) -> None:
    assert rebuild("--set", "seed=5").exit_code == 0
    points = set()
    for point, _ in each_fault(rebuild, tmp_path, killed=True):
        names = {path.name for path in tmp_path.iterdir()}
        assert names & {"out", ".out.builder-old"}, point  # never without a dataset
        points.add((point.what, point.path))
    assert points >= SOME
    assert rebuild().exit_code == 0
    assert tree(tmp_path / "out") == whole
    assert halves(tmp_path) == []


def test_a_run_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "PATIENCE", 0.1)
    with pytest.raises(pytest.fail.Exception, match="hangs: not ended after"):
        next(each_fault(partial(time.sleep, 600), tmp_path, killed=True))


def test_a_run_that_fails_by_itself_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="met no fault ended with 1"):
        next(each_fault(partial(invoke, "audit", str(tmp_path)), tmp_path, killed=True))


def test_a_reply_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mllmu_med.llm.chat import Request
    from mllmu_med.llm.reply_cache import ReplyCache

    def small(ledger: ReplyCache) -> sqlite3.Connection:
        database = connect(ledger)
        database.execute("PRAGMA max_page_count = 20")  # then "database or disk is full"
        return database

    connect = ReplyCache._connect
    monkeypatch.setattr(ReplyCache, "_connect", small)
    raw = '{"choices": [{"message": {"content": "' + "x" * 200_000 + '"}}]}'
    with ReplyCache(tmp_path / "requests.sqlite") as ledger:
        with pytest.raises(UserError, match=r"about 400 kB asked for, .* free in") as caught:
            ledger.put(Request("m", (), None, {}, "1"), "none", raw).result()
        assert "run the same command again: the replies before it are kept" in str(caught.value)
        assert len(ledger) == 0


def test_a_checkpoint(tmp_path: Path) -> None:
    """Half of it on the disk, then that is full: the checkpoint before stays."""
    import torch

    from baselines.training_state import RunFolder

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

    points = {point.what for point, _ in each_fault(save, tmp_path)}
    assert points == {"write", "fsync", "rename"}
    assert all("checkpoint.pt: cannot be written (No space left" in one for one in failures)
    assert run.checkpoint.read_bytes() != before


def test_a_zip_of_images_is_not_called_broken(tmp_path: Path) -> None:
    """The archive was told to be downloaded again when the disk was full."""
    from corpora import zip_images

    zip_images(make_slake(tmp_path / "slake"))
    places = ["--slake", tmp_path / "slake", "--out", tmp_path / "out", "--work", tmp_path / "work"]
    ingest = partial(invoke, *PRIVACY, "--until", "ingest", *places)
    points = []
    for point, done in each_fault(ingest, tmp_path, only=lambda one: "xmlab1/source" in one.path):
        check(point, done, tmp_path)
        points.append(point)
    assert points


@pytest.mark.parametrize("what", ["new", "old"])
def test_a_stuck_leftover_is_told(what: str, tmp_path: Path, monkeypatch: Any) -> None:
    """A file that is in use on a network disk, or somebody else's."""
    left = files.hidden(tmp_path / "out", what)
    left.mkdir()
    (left / "file").touch()
    monkeypatch.setattr(files, "remove", lambda path: None)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    (tmp_path / "out").mkdir()
    told = pytest.raises(UserError, match="killed, and cannot be removed: remove it, then run the")
    with told, folders.atomic_folder(tmp_path / "out"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [left.name, "out"]


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
def test_a_disk_of_6_mb(full: str, disk: Callable[[str], Path], demo: Path, tmp_path: Path) -> None:
    small = disk("6m")
    places = {"out": tmp_path / "out", "work": tmp_path / "work"}
    places[full] = small / "out" if full == "out" else small
    words = ["rebuild", *PLAIN, "--out", places["out"], "--work", places["work"]]
    done = builder(*words, cwd=tmp_path, code=1)
    assert "Traceback" not in done.stderr
    assert "cannot be written (No space left on device; about " in done.stderr.splitlines()[-1]
    assert halves(tmp_path) == []
    assert (places["work"] / "privacy" / "ingest" / "stage.json").is_file()
    disk("80m")
    done = builder(*words, cwd=tmp_path)
    assert "privacy/ingest" not in done.stderr  # it stayed
    assert tree(places["out"]) == tree(demo / "mllmu-med")


def test_a_mount_point_as_target_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "out")
    done = invoke("rebuild", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert f"name a folder in it, e.g. --out {tmp_path / 'out' / 'data'}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def _journal(folder: Path, value: int) -> None:
    from baselines.training_state import RunFolder

    run = RunFolder(folder / "run")
    run.begin({"run": value, "identity": {}}) if not run.record.exists() else None
    files.write_json(run.record, {"run": value})


def _folder(folder: Path, value: int) -> None:
    with folders.atomic_folder(folder / "set") as new:
        for name in "ab":
            files.write_bytes(new / name, bytes([value]) * 9)


def _measured(folder: Path, value: int) -> None:
    from eval.run_folder import write_measured

    write_measured(folder, ("sum.json", "rows.jsonl"), {"of": value}, [{"n": value}] * 3)


def _decided(folder: Path, value: int) -> None:
    from builder.review.decisions_file import write
    from builder.review.records import Decision

    write(folder, "privacy", [Decision("a", "c", f"r{value}", "accept")])


def _together(folder: Path, value: int) -> None:
    files.write_together({folder / name: f"{name} {value}" for name in ("x", "d/y", "z")})


#: Every way in which something that stands is replaced; what each command writes goes by these.
WRITERS = (_measured, _together, _folder, _decided, _journal)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_nothing_old_goes_before_the_new_is_in_place(write: Any, tmp_path: Path) -> None:
    """At every point: a disk that refuses leaves all as it was, the old or, after the last rename,
    the new; a kill leaves whole files alone, none of which vouches for others."""
    for value, folder in enumerate((tmp_path / "old", tmp_path / "new")):
        write(folder, value)
    old, new = (tree(tmp_path / name) for name in ("old", "new"))
    refused = []

    def again() -> str:
        try:
            write(tmp_path / "old", 1)
        except UserError as error:
            refused.append(str(error))
        return ""

    def first_rename(point: Point) -> bool:  # those after it fail on no disk that let it through
        return point.what != "rename" or len([p for p in renamed if p != point]) == 0

    renamed: list[Point] = []
    for point, _ in each_fault(again, tmp_path, only=first_rename):
        renamed += [point] if point.what == "rename" else []
        assert tree(tmp_path / "old") == old, point
    assert refused
    assert all("cannot be written (No space left" in line for line in refused)
    assert tree(tmp_path / "old") == new
    assert halves(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_kill_leaves_whole_files(write: Any, tmp_path: Path) -> None:
    for value, folder in enumerate((tmp_path / "old", tmp_path / "new")):
        write(folder, value)
    old, new = (tree(tmp_path / name) for name in ("old", "new"))
    for point, _ in each_fault(partial(write, tmp_path / "old", 1), tmp_path, killed=True):
        for name, data in tree(tmp_path / "old").items():
            if name in old:
                assert data in (old[name], new[name]), (point, name)
        if write is _measured and (tmp_path / "old" / "sum.json").exists():
            now = tree(tmp_path / "old")
            assert (now["sum.json"], now["rows.jsonl"]) in [
                (state["sum.json"], state["rows.jsonl"]) for state in (old, new)
            ]
    assert tree(tmp_path / "old") == new
