"""The table for spreadsheets: a row a text, to be filled in and read again.

What spreadsheets do to a file is met here: a byte order mark, so that Excel reads UTF-8; cells that
it would take for formulas; its semicolons, tabs and UTF-16 on the way back. Every cell stays the
text that it is: nothing is taken for a number, a date or a missing value.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable
from typing import Final, NamedTuple

from builder.review.raw_decision import RawDecision
from builder.review.records import Item
from mllmu_med_dataset import UserError

COLUMNS: Final = (
    "id",
    "content",
    "scenario",
    "kind",
    "rating",
    "picture",
    "clean_question",
    "clean_answer",
    "question",
    "answer",
    "decision",
    "reasons",
    "edited_question",
    "edited_answer",
    "note",
    "reviewer",
)
#: Without these a table cannot be read.
_NEEDED: Final = (
    "id",
    "content",
    "question",
    "answer",
    "decision",
    "reasons",
    "edited_question",
    "edited_answer",
)
#: Spreadsheets run a cell that begins with one of the first; the quote is how we mark such cells.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
#: What a spreadsheet leaves of a text that it took for a formula.
_ERRORS: Final = ("#NAME?", "#VALUE!", "#REF!", "#DIV/0!", "#N/A", "#NULL!", "#NUM!", "#ERROR!")
_AGAIN: Final = "export the table again, or restore its columns"


class Row(NamedTuple):
    """A row as it came back, here or in another format.

    shown: the texts that the reviewer is not to change, by column, as a table has them now.
    """

    raw: RawDecision
    shown: dict[str, str]
    broken: str = ""  # why nothing can be read from it


def defused(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: a quote before what would begin one."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def restored(cell: str) -> str:
    """The cell that `defused` was given; also of one that a person has marked in the same way."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def write_table(items: Iterable[Item], reviewer: str) -> str:
    """The table for a reviewer, whose name may be empty."""
    stream = io.StringIO()
    stream.write("\ufeff")
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for item in items:
        row = {
            "id": item.id,
            "content": item.content,
            "scenario": item.scenario,
            "kind": item.harm,
            "rating": str(item.rating or ""),
            "picture": item.image_id,
            "clean_question": item.clean_question,
            "clean_answer": item.clean_answer,
            "question": item.question,
            "answer": item.answer,
            "reviewer": reviewer,
        }
        writer.writerow({name: defused(cell) for name, cell in row.items()})
    return stream.getvalue()


def read_table(data: bytes, where: str) -> list[Row]:
    """The rows of a filled table; rows without any text are left out.

    Raises:
        UserError: it is no such table, or it was cut off.
    """
    text = _text(data, where)
    if not text.strip():
        raise UserError(f"{where}: is empty: import the table that review export wrote, filled in")
    head, *rows = _cells(text, where)
    names = [cell.strip().lower() for cell in head]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise UserError(f"{where}: has no column {', '.join(missing)}: {_AGAIN}")
    doubled = [name for name in COLUMNS if names.count(name) > 1]
    if doubled:
        raise UserError(f"{where}: has the column {doubled[0]} twice: {_AGAIN}")
    found = [
        _row(names, cells, f"row {number}")
        for number, cells in enumerate(rows, 2)
        if any(cell.strip() for cell in cells)
    ]
    # Some programs leave out empty cells, others the last line end; both is half a row.
    if found and len(rows[-1]) < len(head) and not text.endswith(("\n", "\r")):
        found[-1] = found[-1]._replace(
            broken="ends in the middle: the file is cut off: get all of it"
        )
    return found


def _text(data: bytes, where: str) -> str:
    encoding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"  # Excel's "Unicode text"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise UserError(
                f"{where}: is cut off or damaged ({error.reason}): save it again and import that"
            ) from error
        raise UserError(
            f'{where}: is not in UTF-8 (byte {error.start:,}): save it as "CSV UTF-8" and import '
            "that"
        ) from error


def _cells(text: str, where: str) -> list[list[str]]:
    """Cut into rows and cells; the delimiter is the one that finds most columns in the head."""

    def known(delimiter: str) -> int:
        head = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        return len({cell.strip().lower() for cell in head} & set(COLUMNS))

    try:
        delimiter = max(",;\t", key=known)
        stream = io.StringIO(text, newline="")
        return list(csv.reader(stream, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{where}: is cut off or damaged ({error}): save it as CSV again and import that"
        ) from error


def _row(names: list[str], cells: list[str], row: str) -> Row:
    padded = cells + [""] * (len(names) - len(cells))  # some programs leave out empty cells
    found = {name: restored(cell) for name, cell in zip(names, padded, strict=False)}
    edited = [found[f"edited_{name}"] for name in ("question", "answer")]
    raw = RawDecision(
        row=row,
        id=found["id"].strip(),
        content=found["content"].strip(),
        reviewer=found.get("reviewer", ""),
        verdict=found["decision"],
        reasons=_reasons(found["reasons"]),
        note=found.get("note", ""),
        question=edited[0] if edited[0].strip() else None,
        answer=edited[1] if edited[1].strip() else None,
        decided_at="",
    )
    shown = {name: found[name] for name in ("question", "answer")}
    broken = ""
    if any(cell.strip() for cell in cells[len(names) :]):
        broken = "has more cells than the head has columns: put texts with delimiters in quotes"
    for text in edited:
        if text.strip() in _ERRORS:
            broken = f"the edited text is {text.strip()}: begin it with ' so that it stays a text"
    return Row(raw, shown, broken)


def _reasons(cell: str) -> tuple[str, ...]:
    """Reasons with a comma, semicolon or line break between them."""
    for mark in ";\n":
        cell = cell.replace(mark, ",")
    return tuple(part.strip() for part in cell.split(",") if part.strip())
