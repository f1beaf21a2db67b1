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

from mllmu_med.csv_tables import NOT_COMPUTED
from mllmu_med.errors import UserError, first_line
from mllmu_med.files import LineError, RepeatedKeyError, canonical_json, json_lines, once, stand_in
from mllmu_med.progress import say

_DELIMITERS: Final = ",;\t|"
BATCH: Final = 64  # rows of Parquet in memory, with their images

#: How files begin that hold no table, in small letters, and what they are.
_NO_TABLE: Final = {
    b"pk\x03\x04": "is a zip file: unpack it and give the table in it",
    b"\x1f\x8b": "is compressed: unpack it and give what comes out",
    b"\xd0\xcf\x11": "is an old or an encrypted Excel file: save it as .xlsx without a password",
}

_Numbered = tuple[int, list[Any]]  # a row's number in its file, and its cells


class Part(NamedTuple):
    """A file, or a split of a folder that `datasets` saved: its columns and its rows."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[str, dict[str, Any]]]  # where, cells


class Layout(NamedTuple):
    """What is known of a file before it is read."""

    names: tuple[str, ...] = ()  # of columns that it may have, in their spelling
    delimiter: str | None = None
    columns: tuple[str, ...] = ()  # of a file without a header
    may_miss: tuple[str, ...] = ()  # of these, the last that a row may be without


_UNKNOWN: Final = Layout()


def read_file(path: Path, layout: Layout = _UNKNOWN) -> Part:
    """One file, by its suffix."""
    suffix = path.suffix.lower()
    reader = READERS.get(suffix)
    try:
        with path.open("rb") as stream:
            head = stream.read(512).removeprefix(codecs.BOM_UTF8).strip()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): restore it") from error
    if problem := stand_in(head):
        raise UserError(f"{path}: {problem}")
    for begins, problem in _NO_TABLE.items():
        known = reader not in (None, _read_xlsx) if begins[:2] == b"pk" else bool(reader)
        if head.lower().startswith(begins) and (known or suffix in (".zip", ".gz", ".xls")):
            raise UserError(f"{path}: {problem}")
    if reader is None:
        kinds = ", ".join(sorted(READERS))
        raise UserError(f"{path}: a table is one of {kinds}: save it as one of these")
    if not head:
        raise UserError(f"{path}: is empty: restore it")
    return reader(path, layout)


def utf8(data: bytes, path: Path) -> str:
    """The text that a file holds, UTF-16 if it says so; else a UserError with a guess."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        seems = "; it is cut off in UTF-16" if wide else ""
        with suppress(UnicodeDecodeError):
            seems = seems or f"; it may be {'cp1252' if data.decode('cp1252') else ''}"
        raise UserError(
            f"{path}: not UTF-8 (byte {error.start}{seems}): save it as UTF-8 and run again"
        ) from error


def _own_names(header: list[str], path: Path, layout: Layout) -> list[str]:
    """A header's names without blanks, in the layout's spelling; none twice."""
    spelt = {name.lower(): name for name in layout.names}
    names = [spelt.get(name.strip().lower(), name.strip()) for name in header]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        raise UserError(f"{path}: row 1 has the column {twice} twice: name one of them otherwise")
    return names


def _read_csv(path: Path, layout: Layout) -> Part:
    """Separated by commas, or by whatever makes columns of the first row."""
    text = utf8(path.read_bytes(), path)
    first, _, rest = text.partition("\n")
    marked = re.fullmatch(r"sep=(.)", first.strip(), re.IGNORECASE)  # Excel's own first line
    delimiter = marked[1] if marked else layout.delimiter
    delimiter = delimiter or _delimiter(text.lstrip("\r\n").partition("\n")[0], layout)
    lines = csv.reader(
        io.StringIO(rest if marked else text, newline=""),
        delimiter=delimiter,
        strict=True,
        quoting=csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL,
    )
    rows = _csv_rows(path, lines, 2 if marked else 1)
    if layout.columns:
        return Part(layout.columns, _even(path, list(layout.columns), rows, layout.may_miss))
    header = next((row for row in rows if any(map(str.strip, row[1]))), None)
    if header is None:
        raise UserError(f"{path}: holds no rows: restore it")
    names = _own_names(header[1], path, layout)
    return Part(tuple(names), _even(path, names, rows))


def _delimiter(head: str, layout: Layout) -> str:
    """The one that finds the layout's columns in the first line, else the most columns."""
    needed = {name.lower() for name in layout.names}

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


def json_values(text: str, path: Path) -> list[tuple[str, Any]]:
    """JSON with each value's place: a value a line, an array's, or values over many lines."""
    try:
        numbered = list(json_lines(text.split("\n"), blank=True))
    except LineError as error:
        if isinstance(error.__cause__, RepeatedKeyError):
            raise UserError(f"{path}, line {error.number}: {error.__cause__}") from error
        numbered = list(enumerate(_over_lines(text, path), 1))
    if len(numbered) == 1 and isinstance(numbered[0][1], list):
        numbered = list(enumerate(numbered[0][1], 1))
    return [(f"{path}, row {number}", value) for number, value in numbered]


def _over_lines(text: str, path: Path) -> Iterator[Any]:
    decoder, space, at = json.JSONDecoder(object_pairs_hook=once), re.compile(r"\s*"), 0
    try:
        while (begin := space.match(text, at)) and begin.end() < len(text):
            value, at = decoder.raw_decode(text, begin.end())
            yield value
    except RepeatedKeyError as error:
        raise UserError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        cut = "" if text.rstrip().endswith(("]", "}")) else "; the file is cut off"
        why = f"broken JSON ({error}{cut}): restore it, or run again what writes it"
        raise UserError(f"{path}: {why}") from error


def _read_json(path: Path, layout: Layout) -> Part:
    """An array of objects, or an object a line, whatever the suffix says."""
    del layout
    text = utf8(path.read_bytes(), path)
    rows = json_values(text, path)
    only = rows[0][1] if len(rows) == 1 and text.lstrip().startswith("{") else None
    cells = [*only.values()] if isinstance(only, dict) else []
    inner = [cell for cell in cells if isinstance(cell, list | dict)]  # one row may have options
    if inner and (
        inner == cells or any(dict in map(type, c) for c in inner if isinstance(c, list))
    ):
        raise UserError(f"{path}: not a list of rows but one object: give an array, or lines")
    columns: dict[str, None] = {}
    halves = r"\ud" in text.lower()  # the only way to half a character
    for where, row in rows:
        if not isinstance(row, dict):
            raise UserError(f"{where}: is not a JSON object: correct the row")
        columns |= dict.fromkeys(row)
        if halves:
            try:
                canonical_json(row).encode()
            except UnicodeEncodeError as error:
                raise UserError(f"{where}: holds half a character: correct it") from error
    return Part(tuple(columns), iter(rows))


def _read_xlsx(path: Path, layout: Layout) -> Part:
    """The first sheet that is shown. Of merged cells the first has a value: others are empty."""
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, data_only=True)
    except (
        OSError, ValueError, KeyError, SyntaxError, RuntimeError, zipfile.BadZipFile, zlib.error
    ) as error:  # fmt: skip
        raise UserError(
            f"{path}: a broken Excel file ({error}): save it again, or as CSV"
        ) from error
    shown = (sheet for sheet in book.worksheets if sheet.sheet_state == "visible")
    sheet = next(shown, book.worksheets[0])
    if len(book.worksheets) > 1:
        say(f"{path}: of {len(book.worksheets)} sheets {sheet.title} is read")
    if sheet.merged_cells.ranges:
        areas = ", ".join(sorted(str(area) for area in sheet.merged_cells.ranges)[:5])
        say(f"{path}: of merged cells ({areas}) only the first has a value; the others are empty")
    rows: Iterator[_Numbered] = enumerate(map(list, sheet.iter_rows(values_only=True)), 1)
    with zipfile.ZipFile(path) as packed:  # a program that writes formulas may compute none
        sheets = [name for name in packed.namelist() if "worksheets/sheet" in name]
        if any(b"</f>" in packed.read(name) for name in sheets):
            rows = _computed(rows, load_workbook(path)[sheet.title])
    header = ["" if cell is None else str(cell) for cell in next(rows, (1, []))[1]]
    names = _own_names(header, path, layout)
    return Part(tuple(names), _even(path, names, rows))


def _computed(rows: Iterable[_Numbered], formulas: Any) -> Iterator[_Numbered]:
    """Rows in which a formula that has no value is told from an empty cell."""
    for (number, values), cells in zip(rows, formulas.iter_rows(), strict=True):
        pairs = zip(values, cells, strict=True)
        yield number, [NOT_COMPUTED if v is None and c.data_type == "f" else v for v, c in pairs]


def _read_parquet(path: Path, layout: Layout) -> Part:
    del layout
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


_Reader = Callable[[Path, Layout], Part]
READERS: Final[dict[str, _Reader]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_json,
    ".xlsx": _read_xlsx,
    ".parquet": _read_parquet,
}
