"""Files and folders: canonical JSON, hashes, JSON lines, and writes that are all or nothing."""

import codecs
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import IO, Any, Final

from mllmu_med.disk import remove, writing
from mllmu_med.errors import UserError

#: How files begin that hold no data but stand in its place, in small letters: what they are.
_STAND_INS: Final = {
    b"version https://git-lfs": "is a pointer of git-lfs, not the data: run `git lfs pull` there",
    b"/annex/objects/": "is a pointer of git-annex, not the data: run `git annex get` there",
    b"# xet version": "is a pointer of Xet, not the data: download the file itself",
    b"<!doctype html": "is a web page, not data: download the file itself",
    b"<html": "is a web page, not data: download the file itself",
}
#: Half a surrogate pair, which JSON may hold and UTF-8 not, is written as JSON's own escape.
HALVES: Final = "backslashreplace"


def stand_in(file: Path | bytes) -> str:
    """What a file, or how one begins, is in place of data, and what to do; empty for all others."""
    head = file if isinstance(file, bytes) else b""
    if isinstance(file, Path) and file.is_file():
        with file.open("rb") as stream:
            head = stream.read(512)
    elif isinstance(file, Path) and file.is_symlink():
        return "is a link to what is not here: run `git annex get` there, or copy it again"
    head = head[:512].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    return next((what for begins, what in _STAND_INS.items() if head.startswith(begins)), "")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for the same value, everywhere."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def parse_json(text: str | bytes, pairs: Callable[..., Any] | None = None) -> Any:
    """What JSON holds; a ValueError for what is none, or is nested too deeply.

    pairs: makes an object of its keys and values, see `once`.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def digest(value: Any) -> str:
    """sha256 (hex) of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", HALVES)).hexdigest()


def packaged_yaml(package: str, name: str) -> Any:
    """A YAML file of words or facts that comes with a package, as plain values."""
    return read_yaml(resources.files(package).joinpath(name).read_text("utf-8"))


def read_yaml(text: str) -> Any:
    """YAML of our own, as plain values."""
    import yaml

    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stable_hash(*parts: object) -> int:
    """64 bits from the parts' text: equal on every machine and run, unlike Python's `hash`."""
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", HALVES), digest_size=8).digest(), "big"
    )


def stable_share(*parts: object) -> float:
    """A number in [0, 1) from the parts' text."""
    return stable_hash(*parts) / 2**64


@contextmanager
def atomic_file(path: Path, size: int = 0) -> Iterator[IO[bytes]]:
    """A stream whose content takes a file's place, whole, when the block ends well.

    size: bytes that will be written, about, for the line that tells of a full disk.
    """
    temporary = path.with_name(path.name + ".tmp")
    with writing(path, size, half=temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file (text as UTF-8), all or nothing."""
    write_together({path: content})


def hidden(target: Path, what: str) -> Path:
    """A place beside a folder that nobody else uses: `.mllmu-med.builder-old`."""
    return target.with_name(f".{target.name}.builder-{what}")


def write_together(files: Mapping[Path, str | bytes], vouches: bool = False) -> None:
    """Write files that change together (text as UTF-8): the old stay until all new are on the disk.

    vouches: the last one describes the others: a kill amid the renames leaves none of other files.
    """
    new = {path: path.with_name(path.name + ".tmp") for path in files}
    try:
        for path, temporary in new.items():
            content = files[path]
            data = content.encode("utf-8", HALVES) if isinstance(content, str) else content
            with writing(path, len(data), half=temporary):
                path.parent.mkdir(parents=True, exist_ok=True)
                with temporary.open("wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
        first, last = next(iter(files)), list(files)[-1]
        aside = hidden(last, "old")
        stands = vouches and last.exists()
        with writing(last):
            if stands:
                last.replace(aside)
            try:
                for path, temporary in new.items():
                    temporary.replace(path)
            except OSError:
                if stands and new[first].exists():  # all is as it was
                    aside.replace(last)
                raise
        if vouches:
            remove(aside)  # or what a kill has left
    finally:
        for temporary in new.values():
            remove(temporary)


def write_bytes(path: Path, content: bytes) -> None:
    """Write one of many files of a folder that is replaced as a whole."""
    with writing(path, len(content), half=path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """JSON for people too: a line each key."""
    write_atomic(path, json_text(value))


def json_text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    write_atomic(path, jsonl_text(rows))


def jsonl_text(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(canonical_json(row) + "\n" for row in rows)


def text_lines(text: str) -> list[str]:
    """A text's lines, cut at line feeds alone, as every file of ours is written.

    `str.splitlines` also cuts at U+2028 and its like, which JSON leaves as they are in a text.
    """
    return text.removesuffix("\n").split("\n") if text else []


class RepeatedKeyError(ValueError):
    """An object of JSON with a key twice."""


class LineError(ValueError):
    """A line, counted from 1, that holds no JSON."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number} is no JSON ({reason})")
        self.number, self.reason = number, reason


def json_lines(lines: Iterable[str], blank: bool = False) -> Iterator[tuple[int, Any]]:
    """What each line holds, with its number from 1; a LineError for the first that is no JSON.

    Args:
        lines: cut at line feeds alone, as a stream or `text_lines` gives them.
        blank: lines of white space are left out; else they are no JSON.
    """
    for number, line in enumerate(lines, 1):
        if blank and not line.strip():
            continue
        try:
            value = parse_json(line, once)
        except ValueError as error:
            raise LineError(number, str(error)) from error
        yield number, value


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, which must not name a key twice: readers differ in which value they take.

    Raises:
        RepeatedKeyError: it does.
    """
    if len(found := dict(pairs)) < len(pairs):
        key = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise RepeatedKeyError(f"the key {key!r:.80} stands twice in one object: keep one")
    return found


def read_jsonl(path: Path, blank: bool = False) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read.
        ValueError: a line, named by its number, is no JSON object.
    """
    with path.open(encoding="utf-8", newline="\n") as stream:
        for number, row in json_lines(stream, blank):
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no JSON object")
            yield row


def read_text(path: Path) -> str:
    """A file's text, with or without a byte order mark; a UserError where that is not UTF-8."""
    try:
        if problem := stand_in(path):
            raise UserError(f"{path}: {problem}")
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 (byte {error.start}): save it as UTF-8 and run again"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
