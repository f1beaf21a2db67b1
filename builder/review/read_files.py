"""Reviewers' files, whatever wrote them: the page, a spreadsheet or Label Studio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from builder.review.records import PAGE_FORMAT, PAGE_VERSION
from builder.review.spreadsheet import read_table
from builder.review.submitted_row import Given, SubmittedRow
from mllmu_med_dataset import UserError

_FIELDS: Final = ("id", "content", "decision", "note", "question", "answer", "decided_at")


def read_file(path: Path) -> Given:
    """The decisions in a file, recognised by what is in it; a UserError for any other."""
    where = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}): name the files that reviewers sent back"
        ) from error
    if data.startswith(b"PK\x03\x04"):
        raise UserError(f'{where}: is a workbook: save it as "CSV UTF-8" and import that')
    begin = data[:100].lstrip(b"\xef\xbb\xbf \t\r\n")
    if begin[:9].lower() in (b"<!doctype", b"<!doctyp") or begin.startswith(b"<html"):
        raise UserError(
            f"{where}: is a page: open it in a browser, export there, and import what it saves"
        )
    if not begin.startswith((b"{", b"[")):
        return Given(read_table(data, where))
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{where}: is cut off or damaged ({error}): export it again and import that"
        ) from error
    if isinstance(value, list):
        from builder.review import labelstudio

        return labelstudio.read_export(value, where)
    return Given(_read_page(value, where))


def _read_page(value: dict[str, Any], where: str) -> list[SubmittedRow]:
    if value.get("format") != PAGE_FORMAT or not isinstance(value.get("decisions"), list):
        raise UserError(
            f"{where}: is neither what the review page saves nor a Label Studio export: import a "
            "file of theirs, or a filled review.csv"
        )
    if value.get("version") != PAGE_VERSION:
        raise UserError(
            f"{where}: has version {value.get('version')!r}, this program reads "
            f"{PAGE_VERSION}: use the program that wrote the page"
        )
    reviewer = value.get("reviewer", "")
    if not isinstance(reviewer, str):
        raise UserError(f"{where}: its reviewer is no text: export it again and import that")
    return [
        _page_row(decision, f"decision {number}", reviewer)
        for number, decision in enumerate(value["decisions"], 1)
    ]


def _page_row(decision: Any, row: str, reviewer: str) -> SubmittedRow:
    values: dict[str, Any] = decision if isinstance(decision, dict) else {}
    texts: list[Any] = [values.get(name) for name in _FIELDS]
    id, content, verdict, note, *edit_and_time = texts
    reasons = values.get("reasons")
    if not isinstance(reasons, list) or not all(isinstance(t, str) for t in (*texts, *reasons)):
        id = id if isinstance(id, str) else ""
        broken = "is damaged: export the file again"
        return SubmittedRow(row, id, reviewer=reviewer, broken=broken)
    # An emptied text is to be found empty; a decision that is no edit has none.
    return SubmittedRow(row, id, content, reviewer, verdict, tuple(reasons), note, *edit_and_time)
