"""What a program says of a disk that refuses: which file, why, what to do; a bug is none of it."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from corpora import tree
from typer.testing import CliRunner

from mllmu_med.command_line import make_app, one_line_errors
from mllmu_med.files import write_atomic
from mllmu_med_dataset import UserError


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO]
)
def test_the_line_names_a_way_out(number: int, tmp_path: Path, monkeypatch: Any) -> None:
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


def after(error: Exception, earlier: Exception) -> Exception:
    """Raised while the earlier one was being dealt with."""
    error.__context__ = earlier
    return error


def instead_of(error: Exception, earlier: Exception) -> Exception:
    error.__context__, error.__suppress_context__ = earlier, True  # `raise ... from None`
    return error


BROKEN = OSError(errno.EIO, os.strerror(errno.EIO), "a")


def test_a_disk_that_cannot_be_read_is_not_called_one_that_cannot_be_written() -> None:
    (line,) = command(BROKEN).stderr.splitlines()
    assert line.startswith("error: a: cannot be read or written (Input/output error")
    assert command(after(RuntimeError("unexpected pos 704 vs 598"), FULL)).exit_code == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "No such file", "a"),
        RuntimeError("a bug"),
        KeyError("a"),
        instead_of(RuntimeError("a bug"), BROKEN),
    ],
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


@pytest.mark.parametrize("then", [None, ImportError("cannot import name io")], ids=["drop", "wrap"])
def test_an_interrupt_that_a_library_hides_ends_a_command_as_one(then: Exception | None) -> None:
    one = make_app("one")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it

    @one.command()
    @one_line_errors
    def hide() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            if then:
                raise then from None

    done = CliRunner().invoke(one, [])
    assert (done.exit_code, done.stderr[:9]) == (130, "stopped: ")
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_a_command_may_be_called_in_a_thread() -> None:
    """Which can set no handler of signals."""
    one, done = make_app("one"), []
    one.command()(one_line_errors(lambda: None))
    thread = Thread(target=lambda: done.append(CliRunner().invoke(one, []).exit_code))
    thread.start()
    thread.join()
    assert done == [0]
