"""Reviewers' decisions come in: each is checked against the texts as they are now.

Sound rows are taken, the others are refused by name. What was decided before is never lost: a file
that cannot be read changes nothing, and a refused row leaves the reviewer's earlier decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, cast

from builder.jobs import Job
from builder.ledger import Chain, locked
from builder.review import store
from builder.review.edits import check_edit
from builder.review.items import REASONS, VERDICTS, Decision, Item, Verdict
from builder.review.merge import merge_all
from builder.review.raw import RawDecision
from builder.review.reading import read_file
from builder.review.stage import Open, before, read_open
from builder.review.table import Row
from mllmu_med_dataset import UserError

#: Whose decisions they are where neither a file nor `--reviewer` says it.
NOBODY: Final = "reviewer"
_REASON_KEYS: Final = {text: key for key, text in REASONS.items()} | {key: key for key in REASONS}


class Refused(NamedTuple):
    """A row that was not taken."""

    file: str
    row: str
    id: str
    why: str

    def __str__(self) -> str:
        row = self.id if self.id.isprintable() else ascii(self.id)
        return f"{self.file}, {self.row}" + (f" ({row})" if row else "") + f": {self.why}"


@dataclass
class Counts:
    """What a file brought, in rows.

    same: as decided before. changed: another decision than the reviewer's earlier one. older: an
    earlier decision than the one that is here, which stays. doubled: once more in the same file,
    the same or at another time.
    """

    new: int = 0
    same: int = 0
    changed: int = 0
    older: int = 0
    doubled: int = 0
    undecided: int = 0
    refused: list[Refused] = field(default_factory=list)
    nameless: bool = False  # counted as `NOBODY`'s


@dataclass
class Imported:
    """An import: what each file brought, and how the scenarios stand now."""

    files: dict[str, Counts]
    now: dict[str, Open]

    @property
    def refused(self) -> list[Refused]:
        return [one for counts in self.files.values() for one in counts.refused]


def reviewed(job: Job) -> list[str]:
    """The scenarios that want a review and whose texts are written.

    Raises:
        UserError: there is none.
    """
    wanted = [name for name, scenario in job.recipe.scenarios().items() if scenario.review]
    if not wanted:
        first = next(iter(job.recipe.scenarios()))
        raise UserError(
            f"recipe {job.recipe.name} wants no review: rebuild it with --set {first}.review=true"
        )
    ready = [name for name in wanted if Chain(job.work / name).state(before(name))]
    if not ready:
        raise UserError(f"{job.work}: no texts to review yet: run `python -m builder rebuild`")
    return ready


def import_files(
    job: Job, files: Sequence[Path], reviewer: str = "", settles: bool = False
) -> Imported:
    """Take the decisions in reviewers' files.

    Args:
        reviewer: whose decisions they are, whatever the files say; empty: the files say it.
        settles: they settle conflicts: each counts alone.

    Raises:
        UserError: a file cannot be read: nothing of any file is taken.
    """
    read = [(str(path), read_file(path)) for path in files]
    with locked(job.work):
        found = {name: read_open(job, Chain(job.work / name), name) for name in reviewed(job)}
        desk = _Desk(found, " ".join(reviewer.split()), settles)
        held = {name: store.read(job.work, name) for name in found}
        counts: dict[str, Counts] = {}
        changed = set()
        for file, given in read:
            told = counts.setdefault(file, Counts())
            told.undecided += given.undecided
            for name, decision in desk.sound(file, given.rows, told):
                if _take(held[name], decision, told):
                    changed.add(name)
        for name in sorted(changed):
            store.write(job.work, name, held[name].values())
        now = {
            name: one._replace(merged=merge_all(one.items, held[name].values()))
            for name, one in found.items()
        }
        return Imported(counts, now)


def _take(held: dict[store.Key, Decision], new: Decision, counts: Counts) -> bool:
    """Keep the later of two decisions of a reviewer; whether that changes anything."""
    key = store.key(new)
    old = held.get(key)
    if old is None:
        counts.new += 1
    elif replace(old, decided_at="") == replace(new, decided_at=""):
        counts.same += 1
        new = replace(new, decided_at=max(old.decided_at, new.decided_at))
        if new == old:
            return False
    elif old.decided_at and new.decided_at and new.decided_at < old.decided_at:
        counts.older += 1
        return False
    else:
        counts.changed += 1
    held[key] = new
    return True


class _Desk:
    """Checks rows against the texts as they are now."""

    def __init__(self, found: dict[str, Open], reviewer: str, settles: bool) -> None:
        self.found = found
        self.items = {item.id: item for one in found.values() for item in one.items}
        self.reviewer = reviewer
        self.settles = settles

    def sound(self, file: str, rows: Iterable[Row], counts: Counts) -> list[tuple[str, Decision]]:
        """The decisions that can be taken, with their scenarios; the rest is counted."""
        decided: dict[tuple[str, str, str], list[RawDecision]] = {}
        for row in rows:
            raw = self._named(row.raw, counts)
            why = row.broken or self._seen(row)
            if why:
                counts.refused.append(Refused(file, raw.row, raw.id, why))
            elif raw.verdict or raw.reasons or raw.question or raw.answer:
                decided.setdefault((raw.id, raw.content, raw.reviewer), []).append(raw)
            else:
                counts.undecided += 1
        taken = []
        for raws in decided.values():
            times = {_time(raw.decided_at) for raw in raws}
            if len({_said(raw) for raw in raws}) > 1 and ({"", None} & times or len(times) == 1):
                places = " and ".join(raw.row for raw in raws)
                why = f"doubled: {places} decide differently: keep one of them"
                counts.refused += [Refused(file, raw.row, raw.id, why) for raw in raws]
                continue
            # Second thoughts, each with its time, as Label Studio keeps them: the last one counts.
            last = max(raws, key=lambda raw: _time(raw.decided_at) or "")
            checked = self._check(last)
            if isinstance(checked, str):
                counts.refused += [Refused(file, raw.row, raw.id, checked) for raw in raws]
                continue
            counts.doubled += len(raws) - 1
            taken.append((self.items[last.id].scenario, checked))
        return taken

    def _named(self, raw: RawDecision, counts: Counts) -> RawDecision:
        """With the reviewer's name as it is kept, and without spaces around words."""
        name = self.reviewer or " ".join(raw.reviewer.split())
        if not name:
            counts.nameless = True
        return raw._replace(
            reviewer=name or NOBODY,
            verdict=raw.verdict.strip().lower(),
            reasons=tuple(sorted({_reason(one) for one in raw.reasons})),
            note=raw.note.strip(),
        )

    def _seen(self, row: Row) -> str:
        """Whether the table still shows what was decided about."""
        item = self.items.get(row.raw.id)
        if item is None or item.content != row.raw.content:
            return ""  # said otherwise
        for name, text in row.shown.items():
            ours = getattr(item, name)
            if _lines(text) != _lines(ours):
                return (
                    f"its {name} reads {_short(text)}, ours {_short(ours)}: a spreadsheet changed "
                    f"it, or it was edited there: restore it, and write a new text into "
                    f"edited_{name} with the decision edit"
                )
        return ""

    def _check(self, raw: RawDecision) -> Decision | str:
        """The decision, or why it cannot be taken."""
        item = self.items.get(raw.id)
        if item is None:
            return "foreign: this build has no such text to review: was it exported from another?"
        if raw.content != item.content:
            return "stale: the text has changed since this was exported: export and decide it again"
        problem = _mistake(raw, item)
        if problem:
            return problem
        question, answer = "", ""
        if raw.verdict == "edit":
            question = _edited(raw.question, item.question)
            answer = _edited(raw.answer, item.answer)
            if (question, answer) == (item.question, item.answer):
                return "edit, but no text is changed: edit it, or accept it"
            failure = check_edit(self.found[item.scenario].records[item.id], question, answer)
            if failure:
                return f"the edited text does not pass ({failure.name}): {failure.problem}"
        return Decision(
            id=raw.id,
            content=raw.content,
            reviewer=raw.reviewer,
            verdict=cast("Verdict", raw.verdict),
            reasons=tuple(key for key in REASONS if key in raw.reasons),
            note=raw.note,
            question=question,
            answer=answer,
            decided_at=_time(raw.decided_at) or "",
            settles=self.settles,
        )


def _mistake(raw: RawDecision, item: Item) -> str:
    """What is wrong with a decision itself; empty when nothing is."""
    edited = any(
        text and _edited(text, ours) != ours
        for text, ours in ((raw.question, item.question), (raw.answer, item.answer))
    )
    unknown = [one for one in raw.reasons if one not in REASONS]
    if not raw.verdict:
        what = "an edited text" if edited else "reasons"
        return f"has {what} but no decision: write {'edit' if edited else 'reject'} as its decision"
    if raw.verdict not in VERDICTS:
        return f"the decision {_short(raw.verdict)} is none of {', '.join(VERDICTS)}"
    if unknown:
        return f"the reason {_short(unknown[0])} is none of {', '.join(REASONS.values())}"
    if raw.verdict == "reject" and not raw.reasons:
        return f"reject without a reason: give one or more of {', '.join(REASONS.values())}"
    if raw.verdict == "accept" and raw.reasons:
        return "accept with a reason against it: decide reject, or leave the reason out"
    if raw.verdict != "edit" and edited:
        return f"{raw.verdict}, but there is an edited text: decide edit, or leave the text out"
    if "not-wrong" in raw.reasons and item.scenario != "incorrect":
        return f"the reason {REASONS['not-wrong']!r} is for incorrect answers only"
    if _time(raw.decided_at) is None:
        return f"its time {_short(raw.decided_at)} is none: export the file again"
    if not raw.reviewer.isprintable():
        return f"the reviewer's name {_short(raw.reviewer)} cannot be shown: give --reviewer NAME"
    if not all(_writable(text) for text in (raw.note, raw.question, raw.answer)):
        return "holds half a character, which no file can keep: write that text again"
    return ""


def _said(raw: RawDecision) -> tuple[object, ...]:
    return (raw.verdict, raw.reasons, raw.note, raw.question, raw.answer)


def _reason(given: str) -> str:
    """The key of a reason that is given as key or in words."""
    plain = " ".join(given.split()).lower()
    return _REASON_KEYS.get(plain, given)


def _edited(given: str | None, ours: str) -> str:
    """The text of an edit: ours where it was left alone, or but for spaces around it."""
    if given is None or given.strip() == ours.strip():
        return ours
    return _lines(given).strip()


def _time(given: str) -> str | None:
    """A time in UTC as it is kept, comparable as text; empty stays empty, None for no time."""
    if not given:
        return ""
    try:
        time = datetime.fromisoformat(given)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _lines(text: str) -> str:
    """Line ends as we write them: spreadsheets change them."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _short(text: str) -> str:
    """A text in quotes, fit for a line."""
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return f"“{shown}”" if shown.isprintable() else ascii(shown)


def _writable(text: str | None) -> bool:
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        return False
    return True
