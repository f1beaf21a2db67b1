"""Writes that the disk refuses (full, over quota, read-only, failing): told in one line.

with writing(path, len(data), half=temporary):
    temporary.write_bytes(data)
    temporary.replace(path)
"""

import contextlib
import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from mllmu_med.errors import UserError, causes

#: What a disk says of a write, whatever is written, and what to do about it.
_ADVICE: Final = {
    errno.ENOSPC: "make room there or choose another place",
    errno.EDQUOT: "make room within your quota there or choose another place",
    errno.EFBIG: "raise the limit on a file's size (ulimit -f) or choose another file system",
    errno.EROFS: "choose a place that can be written to",
    errno.EIO: "check that disk or choose another place",
}
#: What reading meets as well.
_READ_TOO: Final = (errno.EIO, errno.EROFS)
STDOUT: Final = "stdout"
_SQLITE: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
}


@contextlib.contextmanager
def writing(path: Path, size: int = 0, half: Path | None = None) -> Iterator[list[int]]:
    """Write something to `path`; what is half-written of it goes when the block fails.

    Args:
        size: bytes that will be written, about; what becomes known later is appended to the list
            that the block gets.
        half: the file or folder that is not to stay, e.g. the temporary name that is written to.

    Raises:
        UserError: the disk refuses: which file, how much was asked for and what was free.
    """
    asked = [size]
    try:
        yield asked
    except BaseException as error:
        if half is not None:
            remove(half)
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        refusal = refused(error)
        number = refusal.number if refusal else getattr(error, "errno", None)
        if number is None:
            raise
        raise UserError(disk_message(path, number, sum(asked), writes=True)) from error


class Refusal(NamedTuple):
    """Of a write, by the disk."""

    number: int  # of the error, as in `errno`
    name: str  # of the file; empty when nothing tells it


def refused(error: BaseException) -> Refusal | None:
    """Whether a disk's refusal lies under an error, whatever a library has made of it."""
    for seen in causes(error):
        number = _number(seen)
        if number in _ADVICE:
            name = getattr(seen, "filename2", None) or getattr(seen, "filename", None)
            return Refusal(number, str(name or ""))
    return None


def _number(error: BaseException) -> int:
    if isinstance(error, OSError):
        return error.errno or 0
    if isinstance(error, sqlite3.Error):
        return _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, 0)
    # What safetensors and tokenizers, written in Rust, leave of an OSError.
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else 0


def disk_message(path: str | Path, number: int, size: int = 0, writes: bool = False) -> str:
    """A refused write in one line, with what is free where it was to go; "" is any file.

    writes: it was a write for certain; else what reading meets as well is not called one.
    """
    what = "read or written" if number in _READ_TOO and not writes else "written"
    asked = f"; about {readable(size)} asked for" if size else ""
    space = f", {free(Path(path))}" if path and str(path) != STDOUT else ""
    advice = _ADVICE.get(number, "mend that or choose another place")
    return (
        f"{path or 'a file or stdout'}: cannot be {what} ({os.strerror(number)}{asked}{space}): "
        f"{advice}, then run the same command again: what is finished is kept"
    )


def free(path: Path) -> str:
    """What is free on the disk of a file or folder, which need not be there yet."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    place = place if place.is_dir() else place.parent
    with contextlib.suppress(OSError):
        usage = shutil.disk_usage(place)
        return f"{readable(usage.free)} of {readable(usage.total)} free in {place}"
    return f"nobody knows what is free in {place}"


def readable(size: float) -> str:
    """12,345,678 bytes as 12.3 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def remove(path: Path) -> None:
    """Take away a file or folder of ours, as far as that can be done on a disk that fails."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
