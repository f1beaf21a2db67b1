"""Rows of reviewers' files against the texts as they are now: sound ones are decisions, the others
are refused by name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple, cast
from unicodedata import normalize

from builder.review.decisions_file import Key
from builder.review.edits import check_edit
from builder.review.records import (
    REASONS,
    VERDICTS,
    WITHDRAW,
    Decision,
    Item,
    SubmittedRow,
    Verdict,
    in_words,
)
from builder.review.stage import Open
from mllmu_med_dataset import UserError

#: Whose decisions they are where nobody is named: neither in files nor by `--reviewer`.
NOBODY: Final = "reviewer"
_REASON_KEYS: Final = {text: key for key, text in REASONS.items()} | {key: key for key in REASONS}


class Names:
    """Reviewers' names as they are kept: nobody is two people for another case or encoding."""

    def __init__(self, known: Iterable[str]) -> None:
        self.known: dict[str, str] = {}
        for name in known:
            self.known.setdefault(_folded(name), name)

    def kept(self, given: str, file: str) -> str:
        """The name as it was met first; a UserError where none is given and others have names."""
        name = normalize("NFC", " ".join(given.split()))
        if name:
            return self.known.setdefault(_folded(name), name)
        named = sorted(known for known in self.known.values() if known != NOBODY)
        if named:
            raise UserError(
                f"{file}: names no reviewer, and this review has {', '.join(named)}: say whose it "
                "is with --reviewer NAME"
            )
        return NOBODY


def _folded(name: str) -> str:
    return normalize("NFC", name).casefold()


class Refused(NamedTuple):
    """A row that was not taken."""

    file: str
    row: str
    id: str
    why: str

    def __str__(self) -> str:
        row = self.id if self.id.isprintable() else ascii(self.id)
        return f"{self.file}, {self.row}" + (f" ({row})" if row else "") + f": {self.why}"


class Changed(NamedTuple):
    """A decision that took the place of the same reviewer's earlier one."""

    file: str
    before: Decision
    now: Decision

    def __str__(self) -> str:
        before, now = in_words(self.before), in_words(self.now)
        if before == now:
            texts = [(decision.question, decision.answer) for decision in (self.before, self.now)]
            now = "another note" if texts[0] == texts[1] else "another text"
        return f"{self.file} ({self.now.id}): {self.now.reviewer} had {before}, now {now}"


@dataclass
class Counts:
    """What a file brought, in rows.

    same: as decided before. older: an earlier decision than the one that is here, which stays.
    doubled: once more in the same file, the same or at another time.
    """

    new: int = 0
    same: int = 0
    changed: list[Changed] = field(default_factory=list)
    older: int = 0
    doubled: int = 0
    undecided: int = 0
    refused: list[Refused] = field(default_factory=list)


class RowChecker:
    """Checks rows against the texts as they are now."""

    def __init__(
        self,
        by_scenario: Mapping[str, Open],
        held: Mapping[Key, Decision],
        names: Names,
        reviewer: str,
        settles: bool,
    ) -> None:
        self.by_scenario = by_scenario
        self.held = held
        self.names = names
        self.items = {item.id: item for name in by_scenario for item in by_scenario[name].items}
        self.reviewer = reviewer
        self.settles = settles

    def decisions(
        self, file: str, submitted: Iterable[SubmittedRow], counts: Counts
    ) -> list[tuple[str, Decision]]:
        """The decisions that can be taken, with their scenarios; the rest is counted."""
        decided: dict[tuple[str, str, str], list[SubmittedRow]] = {}
        for row in map(_plain, submitted):
            why = row.broken or self._changed_text(row)
            decides = row.verdict or row.reasons or row.question or row.answer
            if not (why or decides):
                counts.undecided += 1
                continue
            if row.reviewer or not row.broken:
                row = row._replace(reviewer=self.names.kept(self.reviewer or row.reviewer, file))
            if why:
                counts.refused += self._refused(file, [row], why)
            else:
                decided.setdefault((row.id, row.content, row.reviewer), []).append(row)
        taken = []
        for rows in decided.values():
            times = {utc_time(row.decided_at) for row in rows}
            if len({said(row) for row in rows}) > 1 and ({"", None} & times or len(times) == 1):
                places = " and ".join(row.row for row in rows)
                why = f"doubled: {places} decide differently: keep one of them"
                counts.refused += self._refused(file, rows, why)
                continue
            # Second thoughts, each with its time, as Label Studio keeps them: the last one counts.
            last = max(rows, key=lambda row: utc_time(row.decided_at) or "")
            checked = self._check(last)
            if isinstance(checked, str):
                counts.refused += self._refused(file, rows, checked)
                continue
            counts.doubled += len(rows) - 1
            taken.append((self.items[last.id].scenario, checked))
        return taken

    def _refused(self, file: str, rows: Sequence[SubmittedRow], why: str) -> list[Refused]:
        """Rows that are not taken; an earlier decision that goes on counting is told."""
        last = rows[-1]
        before = self.held.get(Key(last.id, last.content, last.reviewer, self.settles))
        if before and before.verdict != WITHDRAW:
            why = (
                f"{why}; until then {before.reviewer}'s earlier decision counts: {in_words(before)}"
            )
        return [Refused(file, row.row, row.id, why) for row in rows]

    def _changed_text(self, row: SubmittedRow) -> str:
        """Which text a table no longer shows as it was decided about; empty for none."""
        item = self.items.get(row.id)
        if item is None or item.content != row.content:
            return ""  # said otherwise
        for name, text in row.shown.items():
            if our_lines(text) != our_lines(getattr(item, name)):
                return (
                    f"its {name} is not as it was exported: a spreadsheet changed it, or it was "
                    f"edited there: restore it, and write a new text into edited_{name} with the "
                    "decision edit"
                )
        return ""

    def _check(self, row: SubmittedRow) -> Decision | str:
        """The decision, or why it cannot be taken."""
        item = self.items.get(row.id)
        if item is None:
            return "foreign: this build has no such text to review: was it exported from another?"
        if row.content != item.content:
            return "stale: the text has changed since this was exported: export and decide it again"
        problem = mistake(row, item)
        if problem:
            return problem
        merged = self.by_scenario[item.scenario].merged[item.id]
        settled = row.verdict == WITHDRAW or merged.conflict or merged.settled
        if self.settles and not settled:
            return "nothing to settle: reviewers do not disagree here: import it without --settle"
        question, answer = "", ""
        if row.verdict == "edit":
            question = edited_text(row.question, item.question)
            answer = edited_text(row.answer, item.answer)
            if (question, answer) == (item.question, item.answer):
                return "edit, but no text is changed: edit it, or accept it"
            failure = check_edit(self.by_scenario[item.scenario].records[item.id], question, answer)
            if failure:
                return f"the edited text does not pass ({failure.name}): {failure.problem}"
        return Decision(
            id=row.id,
            content=row.content,
            reviewer=row.reviewer,
            verdict=cast("Verdict", row.verdict),
            reasons=tuple(key for key in REASONS if key in row.reasons),
            note=row.note,
            question=question,
            answer=answer,
            decided_at=utc_time(row.decided_at) or "",
            settles=self.settles,
        )


def _plain(row: SubmittedRow) -> SubmittedRow:
    """Without spaces around words, its reasons as keys."""
    return row._replace(
        verdict=row.verdict.strip().lower(),
        reasons=tuple(sorted({reason_key(reason) for reason in row.reasons})),
        note=row.note.strip(),
    )


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
    """A time in UTC as it is kept, comparable as text; empty stays empty, None for no time.

    given: ISO 8601, or a number, as pandas makes of it: of milliseconds, or seconds where that is
        too small, since 1970.
    """
    if not given:
        return ""
    try:
        if re.fullmatch(r"\d{9,16}(\.\d+)?", given):
            number = float(given)
            time = datetime.fromtimestamp(number / 1000 if number > 1e11 else number, UTC)
        else:
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


def _writable(text: str | None) -> bool:
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        return False
    return True
