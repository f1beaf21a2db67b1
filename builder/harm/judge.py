"""A blind judge: the language model says whether an incorrect answer is one, before it counts.

It is not told which answers are harmful, nor what their author says is wrong. It reads an answer
alone first, as beside the true one every wrong answer looks implausible: does it reply, and how
plausible is it. Only an answer that passes is compared with the true one: is it wrong.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from builder.core.recipe import Judge, Llm
from builder.harm import prompts
from builder.harm.authors.llm import ask_until_read
from builder.harm.read_reply import PlausibilityReply, WrongnessReply, read
from builder.harm.text_checks import check_incorrect
from builder.harm.texts import Author, Failure, Harm, Incorrect, PrivateValues, Text
from mllmu_med.llm.chat import Reply, Request
from mllmu_med_dataset import Record

_R = TypeVar("_R", PlausibilityReply, WrongnessReply)
_VERDICTS = {"partly": "judge: only partly wrong", "right": "judge: not wrong"}


class JudgedAuthor:
    """An author whose incorrect answers are judged; satisfies `builder.harm.texts.Author`.

    A yes or a no is not judged: there is only one incorrect answer.
    """

    def __init__(
        self, author: Author, ask: Callable[[Request], Awaitable[Reply]], llm: Llm, judge: Judge
    ) -> None:
        self.tries = author.tries
        self._author, self._ask, self._llm, self._judge = author, ask, llm, judge
        self._plausible: dict[tuple[str, str], int] = {}  # of an id and an answer

    async def embed_privacy(
        self, record: Record, values: PrivateValues, failures: Sequence[Failure]
    ) -> Text | Failure | None:
        return await self._author.embed_privacy(record, values, failures)

    async def write_incorrect(
        self, record: Record, harm: Harm, failures: Sequence[Failure]
    ) -> Incorrect | Failure | None:
        """The author's answer, or why the judge rejects it; not asked where a check stops it."""
        text = await self._author.write_incorrect(record, harm, failures)
        if not isinstance(text, Incorrect) or record.answer_type == "closed":
            return text
        if check_incorrect(record, text.answer):
            return text
        rejection = await self._rejection(record, text.answer)
        return rejection._replace(text=text.answer) if rejection else text

    def notes(self) -> dict[str, int]:
        """How many texts were found how plausible."""
        times = Counter(self._plausible.values())
        return {f"texts judged {n} of 5 plausible": times[n] for n in range(5, 0, -1) if times[n]}

    async def _rejection(self, record: Record, answer: str) -> Failure | None:
        alone = await self._said(partial(prompts.plausibility, record, answer), PlausibilityReply)
        if isinstance(alone, Failure):
            return alone
        self._plausible[record.id, answer] = alone.plausible
        if not alone.replies:
            return Failure("judge: no reply", f"it does not reply to the question: {alone.reason}")
        if alone.plausible < self._judge.least_plausible:
            return Failure("judge: not plausible", f"it is not plausible: {alone.reason}")
        beside = await self._said(partial(prompts.wrongness, record, answer), WrongnessReply)
        if isinstance(beside, Failure) or beside.verdict == "wrong":
            return beside if isinstance(beside, Failure) else None
        return Failure(_VERDICTS[beside.verdict], f"it is not wrong: {beside.reason}")

    async def _said(
        self, prompt: Callable[[Sequence[Failure]], prompts.Prompt], form: type[_R]
    ) -> _R | Failure:
        reply, refused = await ask_until_read(
            self._ask, self._llm, prompt, lambda reply: read(reply, form)
        )
        if reply is not None:
            return reply
        return Failure(f"judge: {refused[-1].name}", refused[-1].problem, final=True)
