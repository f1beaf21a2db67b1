"""Every text of a published folder, each distinct one once, with the places where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from builder.audit.folder import Folder, Row, read_objects
from builder.dataset_folder.replies import REQUESTS
from mllmu_med.files import text_lines

#: What people read; the other columns hold ids, hashes and names of our own.
_WORDS: Final = ("question", "answer", "clean_question", "clean_answer", "content_type", "modality")
_NAMES: Final = ("id", "image_id", "image_path", "source", "harm", "review", "profile_id")
#: Keys of provenance whose values are ids and hashes: runs of digits there are no numbers.
_IDS: Final = frozenset(("id", "image_id", "content", "key", "structured"))

Texts = dict[str, list[str]]


def row_texts(folder: Folder) -> Texts:
    """What people read in the rows: text -> places `ID: its COLUMN`."""
    found: Texts = {}
    for row in folder.rows():
        _add(found, row, _WORDS)
    return found


def provenance_texts(folder: Folder) -> Texts:
    """Strings in the JSON lines files, without ids: text -> places `FILE: line N`."""
    found: Texts = {}
    for path in sorted((folder.path / "provenance").glob("*.jsonl")):
        rows = read_objects(path)
        for number, row in enumerate(rows if isinstance(rows, list) else [], 1):
            for text in _strings(row):
                found.setdefault(text, []).append(f"provenance/{path.name}: line {number}")
    return found


def request_texts(folder: Folder) -> Texts:
    """What a language model was sent and what it wrote: text -> places `FILE: KEY`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder.path / REQUESTS
    found: Texts = {}
    if not path.is_file():
        return found
    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, ValueError, pa.ArrowException):  # another check says so
        return found
    for row in rows:
        for name, text in row.items():
            if isinstance(text, str) and name not in _IDS:
                where = f"{REQUESTS}: {str(row.get('key'))[:12]}, its {name}"
                found.setdefault(text, []).append(where)
    return found


def every_text(folder: Folder) -> Texts:
    """All of it: every string of every row, whole text files, Parquet's own metadata."""
    found = request_texts(folder)
    for row in folder.rows():
        _add(found, row, (*_WORDS, *_NAMES))
    for table in folder.tables.values():
        for text in table.metadata:
            found.setdefault(text, []).append(f"{table.path}: its metadata")
        for text in table.pictures:
            found.setdefault(text, []).append(f"{table.path}: a picture's path")
    for path in sorted(folder.path.rglob("*")):
        if path.suffix in (".md", ".json", ".jsonl") and path.is_file():
            name = path.relative_to(folder.path).as_posix()
            for number, line in enumerate(text_lines(_read(path)), 1):
                found.setdefault(line, []).append(f"{name}: line {number}")
    return found


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _add(found: Texts, row: Row, columns: tuple[str, ...]) -> None:
    for name in columns:
        text = getattr(row, name)
        if text:
            found.setdefault(text, []).append(f"{row.id}: its {name}")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in _IDS:
                yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
