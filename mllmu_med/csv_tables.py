"""Tables as CSV: every cell stays the text that it is.

Short and long rows, and a column that stands twice, are refused with their place: nothing is
guessed.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mllmu_med.errors import UserError
from mllmu_med.files import read_text

#: Spreadsheets run a cell that begins with one of the first; the quote is how we mark such cells.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'")

NOT_COMPUTED: Final = "#NOT COMPUTED"  # ours, of a formula in a file that no spreadsheet has saved
#: What a spreadsheet leaves of a formula, or of a text that it took for one.
SHEET_ERRORS: Final = frozenset(
    ("#NAME?", "#VALUE!", "#REF!", "#DIV/0!", "#N/A", "#NULL!", "#NUM!", "#ERROR!", NOT_COMPUTED)
)


def defused(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: a quote before what would begin one."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def restored(cell: str) -> str:
    """The cell that `defused` was given; also of one that a person has marked in the same way."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


class Row(NamedTuple):
    """A row's number, the header being row 1, and its cells."""

    number: int
    cells: list[str]


def read_csv(
    path: Path, columns: Sequence[str], advice: str, optional: Sequence[str] = ()
) -> dict[int, dict[str, str]]:
    """These columns of a file's rows, by row number, the header being row 1; no empty lines.

    optional: columns of which those are given that there are.

    Raises UserError: no text, no such column (then `advice` follows), a broken, short or long row.
    """
    try:
        rows = read_rows(read_text(path))
    except ValueError as error:
        raise UserError(f"{path}: broken CSV ({error}): correct the quotes there") from error
    header = column_names(rows, str(path), columns, advice)
    for number, cells in rows:
        if len(cells) != len(header):
            raise UserError(
                f"{path}, row {number}: not {len(header)} values as in the header: correct it (a "
                "comma or quote may be missing)"
            )
    wanted = [*columns, *(name for name in optional if name in header)]
    places = [(name, header.index(name)) for name in wanted]
    return {number: {name: cells[at] for name, at in places} for number, cells in rows[1:]}


def column_names(rows: Sequence[Row], where: str, needed: Sequence[str], advice: str) -> list[str]:
    """The first row in small letters; a UserError for a name that is missing or doubled."""
    names = [name.strip().lower() for name in rows[0].cells] if rows else []
    missing = [name for name in needed if name not in names]
    if missing:
        has = ", ".join(names) or "none"
        raise UserError(f"{where}: has no column {', '.join(missing)} (it has {has}): {advice}")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        raise UserError(f"{where}: row 1 has the column {twice} twice: {advice}")
    return names


def read_rows(text: str, delimiter: str = ",") -> list[Row]:
    """All rows of a CSV text; no empty lines but the first.

    Raises:
        ValueError: a broken row, as `row N: why`.
    """
    rows: list[Row] = []
    number = 0
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        for number, cells in enumerate(reader, 1):
            if cells or number == 1:
                rows.append(Row(number, cells))
    except csv.Error as error:
        raise ValueError(f"row {number + 1}: {error}") from error
    return rows
