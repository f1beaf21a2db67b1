"""Reviewers' decisions come in: each is checked against the texts as they are now.

Sound rows are taken, the others are refused by name. What was decided before is never lost: a file
that cannot be read changes nothing, and a refused row leaves the reviewer's earlier decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple, cast

from builder.jobs import Job
from builder.ledger import Chain, locked
from builder.review import store
from builder.review.edits import check_edit
from builder.review.given import (
    edited_text,
    mistake,
    our_lines,
    quoted_apart,
    reason_key,
    said,
    utc_time,
)
from builder.review.items import REASONS, Decision, Verdict
from builder.review.merge import merge_all
from builder.review.raw import RawDecision
from builder.review.reading import read_file
from builder.review.stage import Open, before, read_open
from builder.review.table import Row
from mllmu_med_dataset import UserError

#: Whose decisions they are where neither a file nor `--reviewer` says it.
NOBODY: Final = "reviewer"


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
            times = {utc_time(raw.decided_at) for raw in raws}
            if len({said(raw) for raw in raws}) > 1 and ({"", None} & times or len(times) == 1):
                places = " and ".join(raw.row for raw in raws)
                why = f"doubled: {places} decide differently: keep one of them"
                counts.refused += [Refused(file, raw.row, raw.id, why) for raw in raws]
                continue
            # Second thoughts, each with its time, as Label Studio keeps them: the last one counts.
            last = max(raws, key=lambda raw: utc_time(raw.decided_at) or "")
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
            reasons=tuple(sorted({reason_key(one) for one in raw.reasons})),
            note=raw.note.strip(),
        )

    def _seen(self, row: Row) -> str:
        """Whether the table still shows what was decided about."""
        item = self.items.get(row.raw.id)
        if item is None or item.content != row.raw.content:
            return ""  # said otherwise
        for name, text in row.shown.items():
            ours = getattr(item, name)
            if our_lines(text) != our_lines(ours):
                mine, yours = quoted_apart(our_lines(text), our_lines(ours))
                return (
                    f"its {name} reads {mine}, ours {yours}: a spreadsheet changed "
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
        problem = mistake(raw, item)
        if problem:
            return problem
        question, answer = "", ""
        if raw.verdict == "edit":
            question = edited_text(raw.question, item.question)
            answer = edited_text(raw.answer, item.answer)
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
            decided_at=utc_time(raw.decided_at) or "",
            settles=self.settles,
        )
