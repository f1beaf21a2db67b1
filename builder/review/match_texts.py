"""Rows of reviewers' files against the texts as they are now: sound ones are decisions, the others
are refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast
from unicodedata import normalize

from builder.review.decisions_file import Key
from builder.review.edits import check_edit
from builder.review.raw_decision import RawDecision
from builder.review.read_decision import (
    edited_text,
    mistake,
    our_lines,
    quoted_apart,
    reason_key,
    said,
    utc_time,
)
from builder.review.records import REASONS, WITHDRAW, Decision, Verdict, in_words
from builder.review.spreadsheet import Row
from builder.review.stage import Open
from mllmu_med_dataset import UserError

#: Whose decisions they are where nobody is named: neither in files nor by `--reviewer`.
NOBODY: Final = "reviewer"


class Names:
    """Reviewers' names as they are kept: nobody is two people for another case or encoding."""

    def __init__(self, known: Iterable[str]) -> None:
        self.known: dict[str, str] = {}
        for name in known:
            self.known.setdefault(_folded(name), name)

    def kept(self, given: str, file: str) -> str:
        """The name as it was met first.

        Raises:
            UserError: none is given where others have names: it would pass for one more person.
        """
        name = normalize("NFC", " ".join(given.split()))
        if name:
            return self.known.setdefault(_folded(name), name)
        named = sorted(one for one in self.known.values() if one != NOBODY)
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
            texts = [(one.question, one.answer) for one in (self.before, self.now)]
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
    nameless: bool = False  # counted as `NOBODY`'s


class Desk:
    """Checks rows against the texts as they are now."""

    def __init__(
        self,
        found: Mapping[str, Open],
        held: Mapping[Key, Decision],
        names: Names,
        reviewer: str,
        settles: bool,
    ) -> None:
        self.found = found
        self.held = held
        self.names = names
        self.items = {item.id: item for one in found.values() for item in one.items}
        self.reviewer = reviewer
        self.settles = settles

    def sound(self, file: str, rows: Iterable[Row], counts: Counts) -> list[tuple[str, Decision]]:
        """The decisions that can be taken, with their scenarios; the rest is counted."""
        decided: dict[tuple[str, str, str], list[RawDecision]] = {}
        for row in rows:
            raw = _plain(row.raw)
            why = row.broken or self._seen(row)
            decides = raw.verdict or raw.reasons or raw.question or raw.answer
            if why or decides:
                raw = raw._replace(reviewer=self._reviewer(raw, file, counts))
            if why:
                counts.refused += self._refused(file, [raw], why)
            elif decides:
                decided.setdefault((raw.id, raw.content, raw.reviewer), []).append(raw)
            else:
                counts.undecided += 1
        taken = []
        for raws in decided.values():
            times = {utc_time(raw.decided_at) for raw in raws}
            if len({said(raw) for raw in raws}) > 1 and ({"", None} & times or len(times) == 1):
                places = " and ".join(raw.row for raw in raws)
                why = f"doubled: {places} decide differently: keep one of them"
                counts.refused += self._refused(file, raws, why)
                continue
            # Second thoughts, each with its time, as Label Studio keeps them: the last one counts.
            last = max(raws, key=lambda raw: utc_time(raw.decided_at) or "")
            checked = self._check(last)
            if isinstance(checked, str):
                counts.refused += self._refused(file, raws, checked)
                continue
            counts.doubled += len(raws) - 1
            taken.append((self.items[last.id].scenario, checked))
        return taken

    def _reviewer(self, raw: RawDecision, file: str, counts: Counts) -> str:
        name = self.names.kept(self.reviewer or raw.reviewer, file)
        if not (self.reviewer or raw.reviewer.strip()):
            counts.nameless = True
        return name

    def _refused(self, file: str, raws: Sequence[RawDecision], why: str) -> list[Refused]:
        """Rows that are not taken; an earlier decision that goes on counting is told."""
        last = raws[-1]
        before = self.held.get(Key(last.id, last.content, last.reviewer, self.settles))
        if before and before.verdict != WITHDRAW:
            why = (
                f"{why}; until then {before.reviewer}'s earlier decision counts: {in_words(before)}"
            )
        return [Refused(file, raw.row, raw.id, why) for raw in raws]

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
        merged = self.found[item.scenario].merged[item.id]
        settled = raw.verdict == WITHDRAW or merged.conflict or merged.settled
        if self.settles and not settled:
            return "nothing to settle: reviewers do not disagree here: import it without --settle"
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


def _plain(raw: RawDecision) -> RawDecision:
    """Without spaces around words, its reasons as keys."""
    return raw._replace(
        verdict=raw.verdict.strip().lower(),
        reasons=tuple(sorted({reason_key(one) for one in raw.reasons})),
        note=raw.note.strip(),
    )
