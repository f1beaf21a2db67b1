"""One command at a time in a folder: who holds it is named, and only a real lock says so."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from corpora import SMALL, make_slake, tree
from typer.testing import CliRunner

from builder.__main__ import app as builder
from builder.core.stage_cache import locked
from eval.__main__ import app as evaluation
from mllmu_med.locks import held, lock_file
from mllmu_med_dataset import UserError

SCENARIO = ["rebuild", "--recipe", "paper", *SMALL, "--scenario", "privacy", "--slake"]


def rebuild(*words: str | Path) -> Any:
    return CliRunner().invoke(builder, [*SCENARIO, *map(str, words)])


@pytest.fixture
def slake(tmp_path: Path) -> Path:
    return make_slake(tmp_path / "slake")


def test_two_rebuilds_into_one_folder(slake: Path, tmp_path: Path) -> None:
    """The second, from another work folder, is told who holds it; the first ends as ever."""
    out, other = tmp_path / "out", tmp_path / "other"
    seen = []

    def meanwhile(*_: Any) -> Any:
        before = sorted(tmp_path.rglob("*"))
        seen.append(rebuild(slake, "--out", out, "--work", other))
        assert sorted(tmp_path.rglob("*")) == before
        return described(*_)

    import builder.rebuild.pipeline as pipeline

    described = pipeline.write_card
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "write_card", meanwhile)
        first = rebuild(slake, "--out", out, "--work", tmp_path / "work")
    assert first.exit_code == 0, first.output
    (second,) = seen
    assert second.exit_code == 1
    assert second.stderr.splitlines()[-1:] == [
        f"error: {out}: another rebuild is at work here (process {os.getpid()}): wait for it, or "
        "use another --out"
    ]
    before = tree(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "slake", "work"]
    assert not (tmp_path / "work" / ".lock").exists()
    third = rebuild(slake, "--out", out, "--work", other)
    assert third.exit_code == 0, third.output
    assert tree(out) == before


def test_a_lock_that_a_killed_run_left_is_no_lock(slake: Path, tmp_path: Path) -> None:
    (tmp_path / ".out.builder-lock").touch()
    (tmp_path / "work").mkdir()
    for name in (".lock", "job.json.tmp"):
        (tmp_path / "work" / name).write_text("1")
    done = rebuild(slake, "--until", "draw", "--out", tmp_path / "out", "--work", tmp_path / "work")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slake", "work"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_locked_is_not_called_busy(
    number: int, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    run, out, work = (tmp_path / name for name in ("run", "out", "work"))
    with held(run), lock_file(tmp_path / ".lock", out), locked(work):
        pass
    lines = capsys.readouterr().err.splitlines()
    said = f"cannot be locked ({os.strerror(number)}): run no other command here meanwhile"
    assert lines == [f"{path}: {said}" for path in (run, out, work)]


def test_the_process_that_holds_it_is_named(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from mllmu_med.locks import held\n"
        "with held(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    busy = rf"another command is writing here \(process {holder.pid}\): wait for it"
    with pytest.raises(UserError, match=busy), held(tmp_path):
        pass
    holder.communicate()
    with held(tmp_path):
        pass


def test_who_removes_a_lock_file_lets_the_next_make_its_own(tmp_path: Path) -> None:
    """Opened just before its holder removed it: a lock on a file without a name keeps none out."""
    place, flock = tmp_path / ".lock", fcntl.flock
    calls = []

    def removed_first(stream: Any, how: int) -> None:
        if not calls:
            place.unlink()
        calls.append(how)
        flock(stream, how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", removed_first)
        with lock_file(place, tmp_path):
            assert place.exists()
            with pytest.raises(UserError, match="writing here"), lock_file(place, tmp_path):
                pass
    assert len(calls) == 3
    assert not place.exists()


@pytest.mark.parametrize(
    "words",
    [["score", "answers.jsonl"], ["leak", "answers.jsonl"], ["likelihood", "--out", "."]],
    ids=lambda words: words[0],
)
def test_eval_writes_no_held_run(words: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "answers.jsonl").write_text(json.dumps({"id": "a", "answer": "b"}) + "\n")
    before = tree(tmp_path)
    with held(tmp_path):
        done = CliRunner().invoke(evaluation, words)
    assert done.exit_code == 1
    assert "another command is writing here" in done.stderr
    assert tree(tmp_path) == before
