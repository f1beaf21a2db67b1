"""Folders: made, replaced whole, or new and whole; what a killed command has left of one goes."""

import fcntl
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mllmu_med.disk import free, refused, remove, writing
from mllmu_med.errors import UsageError, UserError
from mllmu_med.files import hidden


def make_folder(path: Path, what: str) -> None:
    """Make a folder that can be written to, or say why not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        space = f"; {free(path)}" if refused(error) else ""
        raise UserError(
            f"{path}: cannot write {what} here ({reason}{space}): choose another"
        ) from error


@contextmanager
def folder_made(path: Path, what: str) -> Iterator[None]:
    """Make a folder that can be written to; gone again if the block fails and leaves it empty."""
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    make_folder(path, what)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the first that is not empty ends it
            for folder in new:
                folder.rmdir()
        raise


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """An empty folder that takes a target's place, whole, when the block ends well; else it goes.

    The old one is gone only when the new one stands: a kill between the two renames leaves it under
    its hidden name, for `restore_folder`.

    Raises:
        UserError: the disk refuses, or what a killed run has left cannot be removed.
    """
    restore_folder(target)
    new, old = hidden(target, "new"), hidden(target, "old")
    for left in (new, old):
        remove(left)
        if os.path.lexists(left):
            raise UserError(
                f"{left}: left by a run that was killed, and cannot be removed: remove it, then "
                "run the same command again"
            )
    try:
        with writing(new):
            new.mkdir(parents=True)
        yield new
        with writing(target):
            try:
                if target.exists():
                    target.rename(old)
                new.rename(target)
            except OSError:
                restore_folder(target)
                raise
    finally:
        remove(new)
    remove(old)


def restore_folder(target: Path) -> None:
    """Undo an `atomic_folder` that was killed half-way."""
    old = hidden(target, "old")
    if old.is_dir() and not target.exists():
        old.rename(target)


@contextmanager
def new_folder(path: Path, what: str) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, else it is removed.

    What a killed command has left of one goes when the next makes the same folder.

    Of two commands that make the same folder at once, the one that ends first has made it: the
    other gets a UserError, as where `path` exists or its parent cannot be written to.
    """
    exists = UserError(f"{path}: exists already: name a new folder for {what}, or remove this one")
    if path.exists():
        raise exists
    place = path.absolute().parent
    make_folder(place, what)
    for left in place.glob(f".{glob.escape(path.name)}.????????.new"):  # as mkdtemp
        with _locked(left) as ours:  # else another command is at work there, or begins to
            if ours and any(left.iterdir()):
                remove(left)
    private = Path(tempfile.mkdtemp(".new", f".{path.name}.", place))
    try:
        with _locked(private):
            made = private / path.name  # which others may read, once it is moved
            made.mkdir()
            yield made
            try:
                made.rename(path)
            except OSError as error:
                if not path.exists():
                    raise
                raise exists from error
    finally:
        remove(private)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock; False where another process holds it, or no lock can be had."""
    got, descriptor = False, -1
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        got = True
    try:
        yield got
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def check_out(path: Path, what: str) -> None:
    """Whether a path can be that of a file, said before any work is done."""
    if path.is_dir():
        raise UsageError(f"{path}: this is a folder: give a file's name")
    make_folder(path.parent, what)
