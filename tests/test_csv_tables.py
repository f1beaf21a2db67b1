"""Tables as CSV: texts stay texts, and what pandas would pass over is refused with its row."""

from __future__ import annotations

from pathlib import Path

import pytest

from mllmu_med.csv_tables import read_csv
from mllmu_med_dataset import UserError


def test_texts_stay_texts_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    cells = [
        ["NA", "None", "1e5"],
        ["007", "", "nan"],
        ["TRUE", "2020-01-01", "\x00 "],
        ['"', ",", ""],
    ]
    lines = [",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in cells]
    path = tmp_path / "t.csv"
    path.write_bytes(
        "\r\n\r\n".join(["\ufeffa,b,c,mine", *(f"{line},x" for line in lines)]).encode()
    )
    rows = read_csv(path, ("a", "b", "c"), "")
    assert list(rows) == [3, 5, 7, 9]
    assert [list(row.values()) for row in rows.values()] == cells


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1,2,3\n4,5\n", ", row 3: not 3 values as in the header"),
        ("1,2,3\n\n4,5,6,\n", ", row 4: not 3 values as in the header"),
        (f"1,2,3\n4{',5' * 99}\n", ": broken CSV (row 3: Expected 19 fields"),
        ('1,2,3\n4,"5"x,6\n', ": broken CSV (row 3: ',' expected after '\"')"),
        ('1,2,3\n4,5,"6\n', ": broken CSV (row 3: unexpected end of data)"),
    ],
)
def test_broken_rows_are_refused(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"a,b,c\n{text}", "utf-8")
    with pytest.raises(UserError) as error:
        read_csv(path, ("a", "b"), "")
    assert str(error.value).startswith(f"{path}{line}")
    path.write_text("a,b,b\n1,2,3\n", "utf-8")
    with pytest.raises(UserError, match="row 1 has the column b twice"):
        read_csv(path, ("a", "b"), "")
