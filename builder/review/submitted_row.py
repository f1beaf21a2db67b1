"""A row of a reviewer's file, whatever wrote it: how it is read, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from builder.review.records import REASONS, VERDICTS, WITHDRAW, Item

_REASON_KEYS: Final = {text: key for key, text in REASONS.items()} | {key: key for key in REASONS}


class SubmittedRow(NamedTuple):
    """What every format is parsed into; `check_rows` holds it against the texts as they are now.

    row: its place in the file, for messages. question, answer: the edited texts, None where the
    format gives none. shown: the texts that the reviewer is not to change, by field, as a table has
    them now. broken: why nothing can be read from the row; empty where something can.
    """

    row: str
    id: str
    content: str = ""
    reviewer: str = ""
    verdict: str = ""
    reasons: tuple[str, ...] = ()
    note: str = ""
    question: str | None = None
    answer: str | None = None
    decided_at: str = ""
    shown: Mapping[str, str] = MappingProxyType({})
    broken: str = ""


class Given(NamedTuple):
    """The rows of a file, and how many more it has that decide nothing."""

    rows: list[SubmittedRow]
    undecided: int = 0


def mistake(row: SubmittedRow, item: Item) -> str:
    """What is wrong with a decision itself; empty when nothing is."""
    edited = any(
        text and edited_text(text, ours) != ours
        for text, ours in ((row.question, item.question), (row.answer, item.answer))
    )
    unknown = [reason for reason in row.reasons if reason not in REASONS]
    if not row.verdict:
        what = "an edited text" if edited else "reasons"
        return f"has {what} but no decision: write {'edit' if edited else 'reject'} as its decision"
    if row.verdict not in (*VERDICTS, WITHDRAW):
        return f"the decision {quoted(row.verdict)} is none of {', '.join(VERDICTS)}"
    if unknown:
        return f"the reason {quoted(unknown[0])} is none of {', '.join(REASONS.values())}"
    if row.verdict == "reject" and not row.reasons:
        return f"reject without a reason: give one or more of {', '.join(REASONS.values())}"
    if row.verdict == "accept" and row.reasons:
        return "accept with a reason against it: decide reject, or leave the reason out"
    if row.verdict != "edit" and edited:
        return f"{row.verdict}, but there is an edited text: decide edit, or leave the text out"
    if "not-wrong" in row.reasons and item.scenario != "incorrect":
        return f"the reason {REASONS['not-wrong']!r} is for incorrect answers only"
    if utc_time(row.decided_at) is None:
        return f"its time {quoted(row.decided_at)} is none: export the file again"
    if not row.reviewer.isprintable():
        return f"the reviewer's name {quoted(row.reviewer)} cannot be shown: give --reviewer NAME"
    if not all(_writable(text) for text in (row.note, row.question, row.answer)):
        return "holds half a character, which no file can keep: write that text again"
    return ""


def said(row: SubmittedRow) -> tuple[object, ...]:
    return (row.verdict, row.reasons, row.note, row.question, row.answer)


def reason_key(given: str) -> str:
    """The key of a reason that is given as key or in words."""
    plain = " ".join(given.split()).lower()
    return _REASON_KEYS.get(plain, given)


def edited_text(given: str | None, ours: str) -> str:
    """The text of an edit: ours where it was left alone, or but for spaces around it."""
    if given is None or given.strip() == ours.strip():
        return ours
    return our_lines(given).strip()


def utc_time(given: str) -> str | None:
    """A time in UTC as it is kept, comparable as text; empty stays empty, None for no time."""
    if not given:
        return ""
    try:
        time = datetime.fromisoformat(given)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def our_lines(text: str) -> str:
    """Line ends as we write them: spreadsheets change them."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def quoted(text: str) -> str:
    """A text in quotes, fit for a line."""
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return f"“{shown}”" if shown.isprintable() else ascii(shown)


def quoted_apart(text: str, other: str) -> tuple[str, str]:
    """Two texts in quotes, each from a little before the place where they part."""
    apart = (index for index, (a, b) in enumerate(zip(text, other, strict=False)) if a != b)
    same = next(apart, min(len(text), len(other)))
    begin = max(0, same - 20) if max(len(text), len(other)) > 60 else 0
    lead = "..." if begin else ""
    return quoted(lead + text[begin:]), quoted(lead + other[begin:])


def _writable(text: str | None) -> bool:
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        return False
    return True
