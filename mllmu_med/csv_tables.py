"""Tables as CSV, read by pandas: every cell stays the text that it is.

pandas alone takes "NA" for nothing, "007" for 7, passes over short rows and renames a column that
stands twice; here nothing is guessed, and such rows are refused with their number.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mllmu_med.errors import UserError
from mllmu_med.files import read_text

if TYPE_CHECKING:
    import pandas as pd

#: Columns beside those of the first row, so that longer rows show.
_SPARE: Final = 256


def read_csv(path: Path, columns: Sequence[str], advice: str) -> dict[int, dict[str, str]]:
    """These columns of a file's rows, by row number, the header being row 1; no empty lines.

    Raises UserError: no text, no such column (then `advice` follows), a broken, short or long row.
    """
    try:
        cells = read_cells(read_text(path))
    except ValueError as error:
        raise UserError(f"{path}: broken CSV ({error}): correct the quotes there") from error
    header = column_names(cells, str(path), columns, advice)
    rows = cells.iloc[1:]
    last, spare = rows.iloc[:, len(header) - 1], rows.iloc[:, len(header) :]
    uneven = rows.index[last.isna() | spare.notna().any(axis=1)]
    if len(uneven):
        raise UserError(
            f"{path}, row {uneven[0]}: not {len(header)} values as in the header: correct it (a "
            "comma or quote may be missing)"
        )
    chosen = rows[[header.index(name) for name in columns]]
    return {
        row[0]: dict(zip(columns, row[1:], strict=True)) for row in chosen.itertuples(name=None)
    }


def column_names(cells: pd.DataFrame, where: str, needed: Sequence[str], advice: str) -> list[str]:
    """The first row in small letters; a UserError for a name that is missing or doubled."""
    names = [name.strip().lower() for name in cells.iloc[0].dropna()] if len(cells) else []
    missing = [name for name in needed if name not in names]
    if missing:
        has = ", ".join(names) or "none"
        raise UserError(f"{where}: has no column {', '.join(missing)} (it has {has}): {advice}")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice:
        raise UserError(f"{where}: row 1 has the column {twice} twice: {advice}")
    return names


def read_cells(text: str, delimiter: str = ",") -> pd.DataFrame:
    """All cells of a CSV text, indexed by row number from 1; no empty lines but the first.

    A cell that its row lacks is NaN. There are columns beside the first row's, for longer rows.

    Raises:
        ValueError: a broken row, as `row N: why`.
    """
    width = _parse(text, delimiter, nrows=1).shape[1]
    cells = _parse(text, delimiter, names=range(width + _SPARE))
    cells.index += 1
    empty = cells.isna().all(axis=1) & (cells.index > 1)
    return cells[~empty]


def _parse(text: str, delimiter: str, **options: Any) -> pd.DataFrame:
    import pandas as pd

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            # The engine that marks what a row lacks; lines that it skips are only warned of.
            cells: pd.DataFrame = pd.read_csv(
                io.StringIO(text, newline=""),
                sep=delimiter,
                engine="python",
                header=None,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                skip_blank_lines=False,
                on_bad_lines="warn",
                **options,
            )
        except pd.errors.EmptyDataError:
            return pd.DataFrame()
    for warning in caught:
        what = str(warning.message).strip().removeprefix("Skipping line ")
        row, _, why = what.partition(": ")
        raise ValueError(f"row {row}: {why}")
    return cells
