"""A decision as any file gives it: how it is read, and what can be wrong with it by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from builder.review.raw_decision import RawDecision
from builder.review.records import REASONS, VERDICTS, WITHDRAW, Item

_REASON_KEYS: Final = {text: key for key, text in REASONS.items()} | {key: key for key in REASONS}


def mistake(raw: RawDecision, item: Item) -> str:
    """What is wrong with a decision itself; empty when nothing is."""
    edited = any(
        text and edited_text(text, ours) != ours
        for text, ours in ((raw.question, item.question), (raw.answer, item.answer))
    )
    unknown = [one for one in raw.reasons if one not in REASONS]
    if not raw.verdict:
        what = "an edited text" if edited else "reasons"
        return f"has {what} but no decision: write {'edit' if edited else 'reject'} as its decision"
    if raw.verdict not in (*VERDICTS, WITHDRAW):
        return f"the decision {quoted(raw.verdict)} is none of {', '.join(VERDICTS)}"
    if unknown:
        return f"the reason {quoted(unknown[0])} is none of {', '.join(REASONS.values())}"
    if raw.verdict == "reject" and not raw.reasons:
        return f"reject without a reason: give one or more of {', '.join(REASONS.values())}"
    if raw.verdict == "accept" and raw.reasons:
        return "accept with a reason against it: decide reject, or leave the reason out"
    if raw.verdict != "edit" and edited:
        return f"{raw.verdict}, but there is an edited text: decide edit, or leave the text out"
    if "not-wrong" in raw.reasons and item.scenario != "incorrect":
        return f"the reason {REASONS['not-wrong']!r} is for incorrect answers only"
    if utc_time(raw.decided_at) is None:
        return f"its time {quoted(raw.decided_at)} is none: export the file again"
    if not raw.reviewer.isprintable():
        return f"the reviewer's name {quoted(raw.reviewer)} cannot be shown: give --reviewer NAME"
    if not all(_writable(text) for text in (raw.note, raw.question, raw.answer)):
        return "holds half a character, which no file can keep: write that text again"
    return ""


def said(raw: RawDecision) -> tuple[object, ...]:
    return (raw.verdict, raw.reasons, raw.note, raw.question, raw.answer)


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
