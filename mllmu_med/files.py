"""Small file helpers: canonical JSON, hashes, JSON lines, and writes that are all or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mllmu_med.disk import free, refused, writing
from mllmu_med.errors import UsageError, UserError


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for the same value, everywhere."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(value: Any) -> str:
    """sha256 (hex) of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stable_hash(*parts: object) -> int:
    """64 bits from the parts' text: equal on every machine and run, unlike Python's `hash`."""
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def stable_share(*parts: object) -> float:
    """A number in [0, 1) from the parts' text."""
    return stable_hash(*parts) / 2**64


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file (text as UTF-8) under a temporary name, flush it to disk, move it into place."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(path.name + ".tmp")
    with writing(path, len(data), half=temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write one of many files of a folder that is replaced as a whole."""
    with writing(path, len(content), half=path):
        path.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """JSON for people too: a line each key."""
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    write_atomic(path, "".join(canonical_json(row) + "\n" for row in rows))


def text_lines(text: str) -> list[str]:
    """A text's lines, cut at line feeds alone, as every file of ours is written.

    `str.splitlines` also cuts at U+2028 and its like, which JSON leaves as they are in a text.
    """
    return text.removesuffix("\n").split("\n") if text else []


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def read_text(path: Path) -> str:
    """A file's text, with or without a byte order mark.

    Raises:
        UserError: it cannot be read, or is not in UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 (byte {error.start}): save it as UTF-8 and run again"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


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
    new = [one for one in (path, *path.parents) if not one.exists()]
    make_folder(path, what)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the first that is not empty ends it
            for one in new:
                one.rmdir()
        raise


def check_out(path: Path, what: str) -> None:
    """Whether `--out` can be a file, said before any work is done."""
    if path.is_dir():
        raise UsageError(f"--out {path}: this is a folder: give a file's name")
    make_folder(path.parent, what)
