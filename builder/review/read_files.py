"""Reviewers' files, whatever wrote them: the page, a spreadsheet or Label Studio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from builder.review.raw_decision import PAGE_FORMAT, PAGE_VERSION, RawDecision
from builder.review.spreadsheet import Row, read_table
from mllmu_med_dataset import UserError

_FIELDS: Final = ("id", "content", "decision", "note", "question", "answer", "decided_at")


class Given(NamedTuple):
    """The rows of a file, and how many more it has that decide nothing."""

    rows: list[Row]
    undecided: int = 0


def read_file(path: Path) -> Given:
    """The decisions in a file, recognised by what is in it.

    Raises:
        UserError: it cannot be read, or is nothing of the three.
    """
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

        rows = [Row(raw, {}) for raw in labelstudio.read_export(value, where)]
        return Given(rows, sum(labelstudio.left_out(value, where).values()))
    return Given(_read_page(value, where))


def _read_page(value: dict[str, Any], where: str) -> list[Row]:
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
        _page_row(one, f"decision {number}", reviewer)
        for number, one in enumerate(value["decisions"], 1)
    ]


def _page_row(one: Any, row: str, reviewer: str) -> Row:
    given: dict[str, Any] = one if isinstance(one, dict) else {}
    texts = {name: text for name in _FIELDS if isinstance(text := given.get(name), str)}
    reasons = given.get("reasons")
    if (
        len(texts) < len(_FIELDS)
        or not isinstance(reasons, list)
        or not all(isinstance(reason, str) for reason in reasons)
    ):
        empty = RawDecision(row, texts.get("id", ""), "", reviewer, "", (), "", None, None, "")
        return Row(empty, {}, "is damaged: export the file again")
    raw = RawDecision(
        row=row,
        id=texts["id"],
        content=texts["content"],
        reviewer=reviewer,
        verdict=texts["decision"],
        reasons=tuple(reasons),
        note=texts["note"],
        # An emptied text is to be found empty; a decision that is no edit has none.
        question=texts["question"],
        answer=texts["answer"],
        decided_at=texts["decided_at"],
    )
    return Row(raw, {})
