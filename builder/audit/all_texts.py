"""Every text of a published folder, each distinct one once, with the places where it stands."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from builder.dataset_folder.read import Folder
from builder.dataset_folder.shipped_requests import REQUESTS
from mllmu_med.files import text_lines

#: What people read; the other columns hold ids, hashes and names of our own.
_WORDS: Final = ("question", "answer", "clean_question", "clean_answer", "content_type", "modality")
_NAMES: Final = ("id", "image_id", "image_path", "source", "harm", "review", "profile_id")
#: Keys of provenance whose values are ids and hashes: runs of digits there are no numbers.
_IDS: Final = frozenset(("id", "image_id", "content", "key", "structured"))

Texts = dict[str, list[str]]  # text -> places, as `ID: its COLUMN` or `FILE: line N`
Placed = tuple[str, str]  # a text and one of its places


def gathered(*groups: Iterable[Placed]) -> Texts:
    """Each distinct text with all its places."""
    texts: Texts = {}
    for group in groups:
        for text, place in group:
            texts.setdefault(text, []).append(place)
    return texts


def row_texts(folder: Folder, columns: tuple[str, ...] = _WORDS) -> Iterator[Placed]:
    """What people read in the rows."""
    for row in folder.rows():
        for name in columns:
            if text := getattr(row, name):
                yield text, f"{row.id}: its {name}"


def provenance_texts(folder: Folder) -> Iterator[Placed]:
    """Strings in the JSON lines files, without ids."""
    for path in sorted((folder.path / "provenance").glob("*.jsonl")):
        for number, row in enumerate(folder.jsonl(path.name).rows, 1):
            for text in strings(row):
                yield text, f"provenance/{path.name}: line {number}"


def request_texts(folder: Folder) -> Iterator[Placed]:
    """What a language model was sent and what it wrote."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(folder.path / REQUESTS).to_pylist()
    except (OSError, ValueError, pa.ArrowException):  # not there, or another check says so
        return
    for row in rows:
        for name, text in row.items():
            if isinstance(text, str) and name not in _IDS:
                yield text, f"{REQUESTS}: {str(row.get('key'))[:12]}, its {name}"


def file_texts(folder: Folder) -> Iterator[Placed]:
    """Whole text files, a line each, and Parquet's own metadata."""
    for table in folder.tables.values():
        yield from ((text, f"{table.path}: its metadata") for text in table.metadata)
        yield from ((text, f"{table.path}: an image's path") for text in table.images)
    for path in sorted(folder.path.rglob("*")):
        if path.suffix in (".md", ".json", ".jsonl") and path.is_file():
            name = path.relative_to(folder.path).as_posix()
            text = path.read_bytes().decode("utf-8", "replace")
            for number, line in enumerate(text_lines(text), 1):
                yield line, f"{name}: line {number}"


def every_text(folder: Folder) -> Texts:
    """All of it: every string of every row and request, whole text files, Parquet's metadata."""
    rows = row_texts(folder, (*_WORDS, *_NAMES))
    return gathered(request_texts(folder), rows, file_texts(folder))


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, but those under a key of ids."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in _IDS:
                yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
