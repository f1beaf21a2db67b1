"""The files of a table, each kind read into rows of cells: CSV, Excel, JSON and Parquet.

Texts stay as they are written: "NA" is no missing value and "007" no number. A file that is no
table is named as what it is.
"""

import codecs
import csv
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from builder.core.corpus import Mapping, named_columns
from mllmu_med.errors import first_line
from mllmu_med.files import LFS_POINTER, LineError, canonical_json, json_lines, text_lines
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

_DELIMITERS: Final = ",;\t|"
BATCH: Final = 64  # rows of Parquet in memory, with their images
POINTER: Final = "is a pointer of git-lfs, not the data: run `git lfs pull` in its folder"

#: How files begin that hold no table, in small letters, and what they are.
_NO_TABLE: Final = {
    LFS_POINTER: POINTER,
    b"<!doctype html": "is a web page, not data: download the file itself",
    b"<html": "is a web page, not data: download the file itself",
    b"pk": "is a zip file: unpack it and give the table in it",
    b"\x1f\x8b": "is compressed: unpack it and give what comes out",
    b"\xd0\xcf\x11": "is an old or an encrypted Excel file: save it as .xlsx without a password",
}

_Numbered = tuple[int, list[Any]]  # a row's number in its file, and its cells


class Part(NamedTuple):
    """A file, or a split of a folder that `datasets` saved: its columns and its rows."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[str, dict[str, Any]]]  # where, cells


def read_file(path: Path, mapping: Mapping | None, split: str = "") -> Part:
    """One file, by its suffix; `split` is the key of its columns, where it has no header."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        kinds = ", ".join(sorted(READERS))
        raise UserError(f"{path}: a table is one of {kinds}: save it as one of these")
    try:
        with path.open("rb") as stream:
            head = stream.read(512).removeprefix(codecs.BOM_UTF8).strip()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): restore it") from error
    for begins, problem in _NO_TABLE.items():
        if head.lower().startswith(begins) and not (reader is _read_xlsx and begins == b"pk"):
            raise UserError(f"{path}: {problem}")
    if not head:
        raise UserError(f"{path}: is empty: restore it")
    return reader(path, mapping, split)


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        seems = "utf-16" if wide else "cp1252"
        with suppress(UnicodeDecodeError):
            seems = f"; it may be {seems}" if data.decode(seems) else ""
        raise UserError(
            f"{path}: not UTF-8 (byte {error.start}{seems}): save it as UTF-8 and run again"
        ) from error


def _own_names(header: list[str], path: Path, mapping: Mapping | None) -> list[str]:
    """A header's names without blanks, in the mapping's spelling; none twice."""
    spelt = {name.lower(): name for _, name in named_columns(mapping)} if mapping else {}
    names = [spelt.get(name.strip().lower(), name.strip()) for name in header]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        raise UserError(f"{path}: row 1 has the column {twice} twice: name one of them otherwise")
    return names


def _read_csv(path: Path, mapping: Mapping | None, split: str) -> Part:
    """Separated by commas, or by whatever makes columns of the first row."""
    text = _text(path)
    first, _, rest = text.partition("\n")
    marked = re.fullmatch(r"sep=(.)", first.strip(), re.IGNORECASE)  # Excel's own first line
    delimiter = (
        marked[1] if marked else (mapping and mapping.delimiter) or _delimiter(first, mapping)
    )
    lines = csv.reader(
        io.StringIO(rest if marked else text, newline=""),
        delimiter=delimiter,
        strict=True,
        quoting=csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL,
    )
    rows = _csv_rows(path, lines, 2 if marked else 1)
    columns = mapping.columns if mapping else ()
    columns = columns.get(split, ()) if isinstance(columns, dict) else columns
    if mapping and columns:
        more = [] if isinstance(mapping.answer, str) else mapping.answer[1:]
        return Part(columns, _even(path, list(columns), rows, more))
    header = next(rows, None)
    if header is None:
        raise UserError(f"{path}: holds no rows: restore it")
    names = _own_names(header[1], path, mapping)
    return Part(tuple(names), _even(path, names, rows))


def _delimiter(head: str, mapping: Mapping | None) -> str:
    """The one that finds the mapping's columns in the first line, else the most columns."""
    needed = {name.lower() for _, name in named_columns(mapping)} if mapping else set()

    def columns(mark: str) -> tuple[int, int]:
        names = [name.strip(' "\r\ufeff').lower() for name in head.split(mark)]
        return len(needed.intersection(names)), len(names)

    return max(_DELIMITERS, key=columns)


def _csv_rows(path: Path, lines: Iterable[list[str]], first: int) -> Iterator[_Numbered]:
    csv.field_size_limit(2**31 - 1)
    number = first - 1
    try:
        for number, cells in enumerate(lines, first):
            yield number, cells
    except csv.Error as error:
        raise UserError(
            f"{path}, row {number + 1}: broken CSV ({error}): correct the quotes there, or restore "
            "the file where it is cut off"
        ) from error


def _even(
    path: Path, names: list[str], rows: Iterable[_Numbered], may_miss: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows as cells by column name, without blank rows; a UserError for a short or long one."""
    least = len(names) - sum(name in may_miss for name in names)
    for number, cells in rows:
        if not any(cell is not None and str(cell).strip() for cell in cells):
            continue
        if not least <= len(cells) <= len(names):
            raise UserError(
                f"{path}, row {number}: not {len(names)} values as in the header: correct it (a "
                "delimiter or quote may be missing, or the file is cut off)"
            )
        named = zip(names, cells, strict=False)
        yield f"{path}, row {number}", {name: cell for name, cell in named if name}


def _read_json(path: Path, mapping: Mapping | None, split: str) -> Part:
    """An array of objects, or an object a line, whatever the suffix says."""
    del mapping, split
    text = _text(path)
    is_array = text.lstrip().startswith("[")
    try:
        numbered = list(enumerate(json.loads(text), 1) if is_array else _json_lines(text))
    except (ValueError, RecursionError) as error:
        cut = "" if text.rstrip().endswith(("]", "}")) else "; the file is cut off"
        raise UserError(f"{path}: broken JSON ({error}{cut}): restore the file") from error
    if numbered == [(1, None)]:
        raise UserError(f"{path}: not a list of rows: give an array or lines of objects")
    columns: dict[str, None] = {}
    for number, row in numbered:
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number}: is not a JSON object: correct the row")
        columns |= dict.fromkeys(row)
    if r"\ud" in text.lower():  # the only way to half a character
        for number, row in numbered:
            try:
                canonical_json(row).encode()
            except UnicodeEncodeError as error:
                raise UserError(
                    f"{path}, row {number}: holds half a character: correct it"
                ) from error
    return Part(tuple(columns), ((f"{path}, row {number}", row) for number, row in numbered))


def _json_lines(text: str) -> list[tuple[int, Any]]:
    """Rows with their lines; (1, None) for an object that is no row but holds them."""
    try:
        rows = list(json_lines(text_lines(text), blank=True))
    except LineError:
        if text.startswith("{\n"):
            return [(1, None)]
        raise
    only = rows[0][1] if len(rows) == 1 else None
    for cell in only.values() if isinstance(only, dict) else ():
        if isinstance(cell, list) and all(isinstance(row, dict) for row in cell):
            return [(1, None)]
    return rows


def _read_xlsx(path: Path, mapping: Mapping | None, split: str) -> Part:
    """The first sheet. Of merged cells the first alone has a value: the others are empty."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise UserError(
            f"{path}: reading Excel files needs openpyxl: pip install openpyxl, or save it as CSV"
        ) from error
    try:
        book = load_workbook(path, data_only=True)
    except (
        OSError, ValueError, KeyError, SyntaxError, RuntimeError, zipfile.BadZipFile, zlib.error
    ) as error:  # fmt: skip
        raise UserError(
            f"{path}: a broken Excel file ({error}): save it again, or as CSV"
        ) from error
    sheet = book.worksheets[0]
    if len(book.worksheets) > 1:
        say(f"{path}: the first of {len(book.worksheets)} sheets is read, {sheet.title}")
    if sheet.merged_cells.ranges:
        areas = ", ".join(sorted(str(area) for area in sheet.merged_cells.ranges)[:5])
        say(f"{path}: of merged cells ({areas}) only the first has a value; the others are empty")
    rows: Iterator[_Numbered] = enumerate(map(list, sheet.iter_rows(values_only=True)), 1)
    header = ["" if cell is None else str(cell) for cell in next(rows, (1, []))[1]]
    names = _own_names(header, path, mapping)
    return Part(tuple(names), _even(path, names, rows))


def _read_parquet(path: Path, mapping: Mapping | None, split: str) -> Part:
    del mapping, split
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path, pre_buffer=False)
        schema = file.schema_arrow
    except (ArrowException, OSError) as error:
        raise UserError(
            f"{path}: no whole Parquet file ({first_line(error)}): it may be cut off: restore it"
        ) from error
    return arrow_part(str(path), schema, file.iter_batches(batch_size=BATCH))


def arrow_part(where: str, schema: Any, batches: Iterable[Any]) -> Part:
    """Rows of Arrow batches; what `datasets` keeps as numbers of labels are the labels' names."""
    from datasets import ClassLabel, Features
    from pyarrow import ArrowException

    features = Features.from_arrow_schema(schema)
    labels = {name: kind for name, kind in features.items() if isinstance(kind, ClassLabel)}

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        number = 0
        try:
            for batch in batches:
                for row in batch.to_pylist():
                    number += 1
                    for name, kind in labels.items():
                        value = row[name]
                        row[name] = kind.int2str(value) if value not in (None, -1) else None
                    yield f"{where}, row {number}", row
        except (ArrowException, OSError) as error:
            raise UserError(
                f"{where}, after row {number}: cannot be read ({first_line(error)}): restore it"
            ) from error

    return Part(tuple(schema.names), rows())


_Reader = Callable[[Path, Mapping | None, str], Part]
READERS: Final[dict[str, _Reader]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_json,
    ".xlsx": _read_xlsx,
    ".parquet": _read_parquet,
}
