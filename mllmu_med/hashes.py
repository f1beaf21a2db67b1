"""Hashes of large files, remembered from one process to the next by path, size and times.

A 7B model takes a while to read through, and every command wants to know which model it is.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from mllmu_med.files import digest, file_digest

#: Bytes below which a file is read anew by every process.
LARGE: Final = 64 * 2**20
#: Nanoseconds in which a file may change twice and keep its time, on coarse clocks.
_COARSE: Final = 2 * 10**9


def cache_folder() -> Path:
    """Where this user's cache of ours is: under XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mllmu-med"


def remembered_digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes, read only where it is not known of this very file."""
    path = path.resolve()
    return _digest(path, _as_it_is(path))


def _as_it_is(path: Path) -> tuple[int, int, int]:
    """Size, time of the last change, and time of the last change of anything about it: a file that
    is moved into another's place may bring that one's time along, not its `ctime`."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


@cache
def _digest(path: Path, was: tuple[int, int, int]) -> str:
    if was[0] < LARGE:
        return file_digest(path)
    try:  # one small file for each path: processes that write at once replace each other's, whole
        note = cache_folder() / "hashes" / f"{digest(str(path))[:32]}.json"
    except RuntimeError:  # nobody's home
        return file_digest(path)
    with suppress(OSError, ValueError, TypeError, KeyError):
        told = json.loads(note.read_text("utf-8"))
        if told["path"] == str(path) and told["file"] == list(was):
            return str(told["sha256"])
    found = file_digest(path)
    if _as_it_is(path) == was and time.time_ns() - max(was[1:]) > _COARSE:
        with suppress(OSError):  # no cache: it will be read again
            note.parent.mkdir(parents=True, exist_ok=True)
            new = note.with_name(f"{note.name}.{os.getpid()}")
            new.write_text(json.dumps({"path": str(path), "file": was, "sha256": found}))
            new.replace(note)
    return found
