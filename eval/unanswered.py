"""Rows that a server gave no answer to: counted by reason, told at the end, asked again later."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from eval.attacks import Ask
from mllmu_med.llm.chat import Completion
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

#: Rows refused alike before any is answered: it is not the rows. (SLAKE asks 11 of an image.)
FIRST_REFUSED: Final = 16
GIVEN_UP: Final = 3  # rows one after another that failed as often as they may: the server is down
SHOWN: Final = 10  # reasons: a model's own refusals differ from row to row


@dataclass
class _Reason:
    first: str  # id of the row
    words: str  # the server's own, to that row
    rows: int = 0


@dataclass
class Unanswered:
    """`answered`: whether this model has answered any row, in this run or before."""

    answered: bool
    rows: int = 0
    _reasons: dict[str, _Reason] = field(default_factory=dict)
    _given_up: int = 0

    def note_answer(self) -> None:
        self.answered, self._given_up = True, 0

    def note(self, ask: Ask, words: str, gave_up: bool = False) -> UserError | None:
        """Count a row; the reason to stop, where others can expect nothing better."""
        alike = re.sub(r"\d+", "#", words.replace(ask.row.id, ""))  # however long each one is
        reason = self._reasons.setdefault(alike, _Reason(ask.row.id, words))
        reason.rows += 1
        self.rows += 1
        self._given_up = self._given_up + 1 if gave_up else 0
        if self._given_up >= GIVEN_UP:
            return UserError(
                f"{self._given_up} rows one after another {words}: run the same command when the "
                "server is well: what is answered is kept"
            )
        if not self.answered and reason.rows == self.rows == FIRST_REFUSED:
            return UserError(
                f"none of the first {self.rows} rows was answered, all alike: {words}: does the "
                "model take images, is its context long enough? mend it and run the same command"
            )
        return None

    def tell(self) -> None:
        """A line a reason, the most frequent first."""
        reasons = sorted(self._reasons.values(), key=lambda reason: -reason.rows)
        for reason in reasons[:SHOWN]:
            rows = f"{reason.rows:,} row{'s' if reason.rows > 1 else ''}"
            say(f"  no answer to {rows} (first: {reason.first}): {reason.words}")
        if rest := reasons[SHOWN:]:
            rows = f"{sum(reason.rows for reason in rest):,} rows"
            say(f"  no answer to {rows} for {len(rest):,} other reasons")


def why_none(completion: Completion) -> str:
    """Why a reply answers nothing; "" where it does, be it an empty text or one cut off."""
    reply = completion.reply
    if reply.refusal or reply.finish_reason == "content_filter":
        return f"refused: {reply.refusal or 'stopped by the content filter'}"
    if completion.has_text or reply.cut:
        return ""
    if completion.has_reasoning:
        return (
            "thought, and then wrote no answer: try --chat-template-kwargs "
            "'{\"enable_thinking\": false}', or a server that sets no thinking apart"
        )
    return f"a reply without a text (finish_reason: {reply.finish_reason or 'none'})"
