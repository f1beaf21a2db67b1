"""One command at a time: locks on files and folders that leave nothing behind.

By `flock` and not by `filelock`, whose locks are files that stay, never a folder itself, and whose
`lock_descriptor`, this same `flock` on what is open, calls a disk that denies locks (EACCES) busy.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mllmu_med.disk import remove, writing
from mllmu_med.errors import UserError
from mllmu_med.folders import folder_made
from mllmu_med.progress import say

BUSY = "another command is writing here"
ELSE = "give another --out"


def lock(stream: IO[str] | int, path: Path, busy: str = BUSY, instead: str = ELSE) -> None:
    """Hold an open file or folder until it is closed; a UserError names who holds it already."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{path}: {busy}{_holder(stream)}: wait for it, or {instead}") from None
    except OSError as error:  # some network file systems have no locks
        say(f"{path}: cannot be locked ({error.strerror}): run no other command here meanwhile")


def _holder(stream: IO[str] | int) -> str:
    status = os.fstat(stream if isinstance(stream, int) else stream.fileno())
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    with suppress(OSError):  # Linux tells: `1: FLOCK ADVISORY WRITE 4321 fe:00:123456 0 EOF`
        for line in Path("/proc/locks").read_text().split("\n"):
            match line.split():
                case [_, "FLOCK", _, _, process, place, *_] if place == f"{device}:{status.st_ino}":
                    return f" (process {process})"
    return ""


@contextmanager
def lock_file(place: Path, path: Path, busy: str = BUSY, instead: str = ELSE) -> Iterator[None]:
    """Hold `path`, which need not be there, by a file of its own that is gone afterwards."""
    while True:
        with writing(place):
            descriptor = os.open(place, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            lock(descriptor, path, busy, instead)
            if _is_open(place, descriptor):  # else who held it has removed it just now
                try:
                    yield
                finally:
                    remove(place)
                return
        finally:
            os.close(descriptor)


def _is_open(place: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(place.stat(), os.fstat(descriptor))
    return False


@contextmanager
def held(folder: Path, what: str = "a run") -> Iterator[None]:
    """Make a folder and keep other commands out of it while the block lasts; else a UserError.

    A folder that is new is gone again when the block fails before it puts anything there.
    """
    with folder_made(folder, what):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            lock(descriptor, folder)
            yield
        finally:
            os.close(descriptor)
