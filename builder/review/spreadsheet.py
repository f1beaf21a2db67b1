"""The table for spreadsheets: a row a text, to be filled in and read again.

What spreadsheets do to a file is met here: a byte order mark, so that Excel reads UTF-8; cells that
it would take for formulas; its semicolons, tabs and UTF-16 on the way back. Every cell stays the
text that it is: nothing is taken for a number, a date or a missing value.
"""

import codecs
import re
from collections.abc import Iterable
from typing import Final

from builder.review.records import Item, SubmittedRow
from mllmu_med.csv_tables import SHEET_ERRORS, column_names, defused, read_rows, restored
from mllmu_med_dataset import UserError

COLUMNS: Final = (
    "id", "content", "scenario", "kind", "rating", "picture", "clean_question", "clean_answer",
    "question", "answer", "decision", "reasons", "edited_question", "edited_answer", "note",
    "reviewer",
)  # fmt: skip
#: Without these a table cannot be read.
_NEEDED: Final = (
    "id", "content", "question", "answer", "decision", "reasons", "edited_question",
    "edited_answer",
)  # fmt: skip
_AGAIN: Final = "export the table again, or restore its columns"


def write_table(items: Iterable[Item], reviewer: str) -> str:
    """The table for a reviewer, whose name may be empty."""
    import pandas as pd

    cells = pd.DataFrame(list(items), columns=Item._fields, dtype=object)
    cells = cells.rename(columns={"harm": "kind", "image_id": "picture"})
    cells = cells.assign(rating=cells["rating"].map(lambda r: str(r or "")), reviewer=reviewer)
    cells = cells.reindex(columns=COLUMNS, fill_value="").map(defused)
    return "\ufeff" + cells.to_csv(index=False, lineterminator="\r\n")


def read_table(data: bytes, where: str) -> list[SubmittedRow]:
    """The rows of a filled table that hold any text; a UserError where it is none, or cut off."""
    text = decoded(data, where)
    if not text.strip():
        raise UserError(f"{where}: is empty: import the table that review export wrote, filled in")
    hint = re.match(r'"?sep=(.)"?\r?\n', text, re.I)  # of Excel, which does not show this line
    text = text[hint.end() :] if hint else text
    head = text.splitlines()[0].lower() if text.strip() else ""
    if "annotation_id" in head:
        raise UserError(f"{where}: is Label Studio's CSV: export the project as JSON, import that")
    delimiter = max(
        ",;\t", key=lambda mark: sum(cell.strip(' "') in COLUMNS for cell in head.split(mark))
    )
    try:
        table = read_rows(text, delimiter)
    except ValueError as error:
        raise UserError(
            f"{where}: is cut off or damaged ({error}): save it as CSV again and import that"
        ) from error
    names = column_names(table, where, _NEEDED, _AGAIN)
    # Some programs leave out empty cells, others the last line end; both is half a row.
    cut_off = len(table[-1].cells) < len(names) and not text.endswith(("\n", "\r"))
    rows = [
        _row(names, cells, f"row {number}")
        for number, cells in table[1:]
        if any(cell.strip() for cell in cells)
    ]
    if rows and cut_off:
        why = "ends in the middle: the file is cut off: get all of it"
        rows[-1] = rows[-1]._replace(broken=why)
    return rows


def decoded(data: bytes, where: str) -> str:
    """A file as text, whatever a spreadsheet has made of it; a UserError where it is none."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # Excel's "Unicode text"
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
        if "\0" not in text:
            return text
        why = 'holds zero bytes, as no text does: save it as "CSV UTF-8"'
        raise UserError(f"{where}: {why} and import that")
    except UnicodeDecodeError as error:
        why = f'is not in UTF-8 (byte {error.start:,}): save it as "CSV UTF-8"'
        if wide:
            why = f"is cut off or damaged ({error.reason}): save it again"
        raise UserError(f"{where}: {why} and import that") from error


def _row(names: list[str], cells: list[str], row: str) -> SubmittedRow:
    by_name = dict.fromkeys(names, "")
    by_name |= {name: restored(cell) for name, cell in zip(names, cells, strict=False)}
    question, answer = (by_name[f"edited_{name}"] for name in ("question", "answer"))
    broken = ""
    if any(cell.strip() for cell in cells[len(names) :]):
        broken = "has more cells than the head has columns: put texts with delimiters in quotes"
    for text in (question.strip(), answer.strip()):
        if text in SHEET_ERRORS:
            broken = f"the edited text is {text}: begin it with ' so that it stays a text"
    return SubmittedRow(
        row,
        by_name["id"].strip(),
        by_name["content"].strip(),
        by_name.get("reviewer", ""),
        by_name["decision"],
        tuple(part.strip() for part in re.split("[,;\n]", by_name["reasons"]) if part.strip()),
        by_name.get("note", ""),
        question if question.strip() else None,
        answer if answer.strip() else None,
        shown={name: by_name[name] for name in ("question", "answer")},
        broken=broken,
    )
