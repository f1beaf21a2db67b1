"""The files of a table, each kind read into rows of cells: CSV, Excel, JSON and Parquet.

Texts stay as they are written: "NA" is no missing value and "007" no number. A file that is no
table is named as what it is.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
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

_Numbered = tuple[int, list[Any]]  # a row's number in its file, and its cells


def answers(mapping: Mapping) -> tuple[str, ...]:
    """The columns of the answer, the one that counts first."""
    return (mapping.answer,) if isinstance(mapping.answer, str) else mapping.answer


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
            head = stream.read(512)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): restore it") from error
    problem = _not_a_table(head)
    if problem:
        raise UserError(f"{path}: {problem}")
    return reader(path, mapping, split)


def _not_a_table(head: bytes) -> str:
    """What a file is that holds no table, and what to do; empty where it may hold one."""
    if not head.strip():
        return "is empty: restore it"
    if head.startswith(LFS_POINTER):
        return POINTER
    if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype|html)", head, re.IGNORECASE):
        return "is a web page, not data: download the file itself"
    if head.startswith(b"\x1f\x8b"):
        return "is compressed: unpack it with gunzip and give what comes out"
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return "is an old or an encrypted Excel file: save it as .xlsx without a password"
    return ""


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith(b"PK\3\4"):
        raise UserError(f"{path}: is a zip file: unpack it and give the table in it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        if not kind:
            try:
                data.decode("cp1252")
                kind = "Windows-1252"
            except UnicodeDecodeError:
                pass
        seems = f"; it may be {kind}" if kind else ""
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
        return Part(columns, _even(path, list(columns), rows, answers(mapping)[1:]))
    names = _own_names([str(cell) for cell in next(rows)[1]], path, mapping)
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
    path: Path, names: list[str], rows: Iterable[_Numbered], may_miss: tuple[str, ...] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows as cells by column name, without blank rows; a UserError for a short or long one.

    may_miss: columns at the end that a row may lack.
    """
    least = len(names)
    while least and names[least - 1] in may_miss:
        least -= 1
    for number, cells in rows:
        if not any(cell is not None and str(cell).strip() for cell in cells):
            continue
        where = f"{path}, row {number}"
        if not least <= len(cells) <= len(names):
            raise UserError(
                f"{where}: not {len(names)} values as in the header: correct it (a delimiter or "
                "quote may be missing, or the file is cut off)"
            )
        named = zip(names, cells, strict=False)
        yield where, {name: cell for name, cell in named if name}


def _read_json(path: Path, mapping: Mapping | None, split: str) -> Part:
    """An array of objects, or an object a line, whatever the suffix says."""
    del mapping, split
    text = _text(path)
    if text.lstrip().startswith("["):
        numbered = list(enumerate(_json_array(path, text), 1))
    else:
        numbered = _json_lines(path, text)
    halves = r"\ud" in text.lower()  # the only way to half a character
    columns: dict[str, None] = {}
    for number, row in numbered:
        where = f"{path}, row {number}"
        if not isinstance(row, dict):
            raise UserError(f"{where}: is not a JSON object: correct the row")
        if halves:
            _check_whole(row, where)
        columns |= dict.fromkeys(row)
    return Part(tuple(columns), ((f"{path}, row {number}", row) for number, row in numbered))


def _json_array(path: Path, text: str) -> list[Any]:
    try:
        rows: list[Any] = json.loads(text)
    except json.JSONDecodeError as error:
        cut = "" if text.rstrip().endswith("]") else "; the file is cut off"
        raise UserError(
            f"{path}, line {error.lineno}, column {error.colno}: broken JSON ({error.msg}{cut}): "
            "restore the file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}): restore the file") from error
    return rows


def _json_lines(path: Path, text: str) -> list[tuple[int, Any]]:
    lines = text_lines(text)
    try:
        rows = list(json_lines(lines, blank=True))
    except LineError as error:
        if error.number == 1 and lines[0].strip() == "{":  # an object over many lines
            rows = [(1, {"": []})]
        else:
            cut = "; the file is cut off" if error.number == len(lines) else ""
            raise UserError(f"{path}: broken JSON ({error}{cut}): restore the file") from error
    if len(rows) == 1 and isinstance(rows[0][1], dict):
        for cell in rows[0][1].values():
            if isinstance(cell, list) and all(isinstance(row, dict) for row in cell):
                raise UserError(
                    f"{path}: not a list of rows: give an array of objects, or one object a line"
                )
    return rows


def _check_whole(row: dict[str, Any], where: str) -> None:
    try:
        canonical_json(row).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: holds half a character ({error.reason}): correct it") from error


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
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
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
