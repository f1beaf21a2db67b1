"""Have as many candidates made harmful as the recipe keeps, in the order of their ranks.

A candidate that is dropped is replaced by the next, so that counts are exact; none is written, and
paid for, that is not needed; where calibration or people choose among them, all are. Which ones are
written depends on the texts alone, not on which reply came first. Where a recipe blends, more are
written, and those whose wording tells least that they are harmful are kept.
"""

import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, NoReturn, TypeVar

from builder.core.recipe import Incorrect as IncorrectScenario
from builder.core.recipe import Scenario
from builder.core.stage_cache import Drop, Outcome
from builder.harm.answer_checks import TOO_OFTEN, Claims
from builder.harm.authors.corpus_answers import is_candidate
from builder.harm.authors.question_intent import intent
from builder.harm.blend import least_telling
from builder.harm.texts import Failure, Incorrect, Text
from mllmu_med.progress import say
from mllmu_med_dataset import Record, UserError

T = TypeVar("T", Text, Incorrect)

#: Every record, harmful, dropped or as it was; and the rejections by name.
Texts = tuple[list[Record | Drop], Counter[str]]

SPARE = "spare: enough sound candidates before it"
#: How the notes of what was tried begin, by what a question asks for.
TRIED = "rows tried, asked about "
NO_TEXT = "rows without a text, asked about "
_REPEATS = f"failed check: {TOO_OFTEN}"


class Written(NamedTuple):
    """A candidate made harmful, or dropped; and the checks that texts for it failed, in order."""

    result: Record | Drop
    failures: tuple[Failure, ...]

    @property
    def rejected(self) -> tuple[str, ...]:
        return tuple(failure.name for failure in self.failures)


def rejected(record: Record, failures: Sequence[Failure], otherwise: str) -> Written:
    """A candidate dropped for its last failure, or for `otherwise` when no text failed."""
    reason = f"failed check: {failures[-1].name}" if failures else otherwise
    return Written(Drop.of(record, reason), tuple(failures))


WriteOne = Callable[[Record], Awaitable[Written]]
OnDone = Callable[[Written], None]


#: `[await write(record) for record in records]`, in whatever way; `done` as each ends.
WriteMany = Callable[[WriteOne, Sequence[Record], OnDone], Awaitable[list[Written]]]


async def one_by_one(write: WriteOne, records: Sequence[Record], done: OnDone) -> list[Written]:
    results = []
    for record in records:
        results.append(await write(record))
        done(results[-1])
    return results


async def until_sound(
    write: Callable[[list[Failure]], Awaitable[T | Failure | None]],
    check: Callable[[T], Failure | None],
    tries: int,
) -> tuple[T | None, list[Failure]]:
    """What `write` gives once it passes the check, None when it never does; and every failure."""
    failures: list[Failure] = []
    for _ in range(tries):
        # A copy: what was asked must not change with what is found later.
        text = await write(list(failures))
        if text is None:
            return None, failures
        failure = text if isinstance(text, Failure) else check(text)
        if failure is None:
            return text, failures  # type: ignore[return-value]
        if not isinstance(text, Failure):
            failure = failure._replace(
                text=" ".join(text) if isinstance(text, Text) else text.answer
            )
        failures.append(failure)
        if failure.final:
            break
    return None, failures


def to_write(records: Iterable[Record], scenario: Scenario, sifted: bool) -> int:
    """How many candidates have to be made harmful.

    Where they are rated or reviewed later, and where whole pictures are cut at the edges of the
    ratios, who will be needed is not known yet: all. Where any row may become one, as many sound
    ones as are kept, times what the recipe blends.
    """
    there = sum(record.split == "candidate" for record in records)
    if isinstance(scenario, IncorrectScenario) and scenario.gives_back:
        return min(there, math.ceil(_to_keep(scenario, sifted) * scenario.blend))
    return scenario.harmful if scenario.split_by == "pair" and not sifted else there


def _to_keep(scenario: Scenario, sifted: bool) -> int:
    return scenario.candidates_needed if sifted else scenario.harmful


async def write_candidates(
    records: Iterable[Record],
    scenario: Scenario,
    name: str,
    write: WriteOne,
    many: WriteMany,
    done: OnDone = lambda written: None,
    *,
    sifted: bool = False,
) -> Texts:
    """Every record once: candidates harmful or dropped, others as they are; and rejections by name.

    Where any row may become a candidate, one that is not kept is retained as it was.

    Raises:
        UserError: so many are dropped that the rest cannot fill the largest forget set; at once,
            not after the last one, with the table of reasons on stderr.
    """
    everyone = list(records)
    waiting = deque(sorted((r for r in everyone if r.split == "candidate"), key=lambda r: r.rank))
    wanted = to_write(everyone, scenario, sifted)
    candidates = len(waiting)
    spare = candidates - scenario.harmful
    results: dict[str, Record | Drop] = {}
    sound = dropped = 0
    rejected: Counter[str] = Counter()
    last: dict[str, str] = {}  # of the texts that each check rejected

    def count(written: Written) -> None:
        nonlocal sound, dropped
        rejected.update(written.rejected)
        last.update(
            (f.name, f"{written.result.id}: {f.text or f.problem}") for f in written.failures
        )
        results[written.result.id] = written.result
        if isinstance(written.result, Drop):
            dropped += 1
        else:
            sound += 1
        done(written)
        if dropped > spare:
            _too_few(name, scenario, candidates, list(results.values()), rejected, last)

    claims = Claims(scenario.harmful)
    while waiting and sound < wanted:
        missing = min(wanted - sound, len(waiting))
        for written in await many(write, [waiting.popleft() for _ in range(missing)], count):
            # By rank, after all have come: who repeats whom must not depend on who was first.
            result = written.result
            repeats = claims.add(result) if isinstance(result, Record) else None
            if isinstance(result, Record) and repeats is not None:
                sound -= 1
                count(Written(Drop.of(result, _REPEATS), (repeats._replace(text=result.answer),)))
    if scenario.gives_back:
        texts = [result for result in results.values() if isinstance(result, Record)]
        asked = [record.clean_question for record in everyone if record.split == "candidate"]
        kept = least_telling(texts, _to_keep(scenario, sifted), asked)
        rejected |= _by_intent(everyone, results)
        return [_kept_or_clean(record, results, kept) for record in everyone], rejected
    for record in waiting:
        results[record.id] = Drop.of(record, SPARE)
    return [results.get(record.id, record) for record in everyone], rejected


def _kept_or_clean(
    record: Record, results: Mapping[str, Record | Drop], kept: frozenset[str]
) -> Record:
    harmful = results.get(record.id)
    if isinstance(harmful, Record) and record.id in kept:
        return harmful
    return replace(record, split="retain") if record.split == "candidate" else record


def _by_intent(records: Iterable[Record], results: Mapping[str, Record | Drop]) -> Counter[str]:
    """How many rows of each intent were tried, and for how many of them no sound text was found.

    One whose text only said what many others say has one.
    """
    counts: Counter[str] = Counter()
    for record in records:
        if record.id in results:
            about = intent(record.clean_question) if is_candidate(record) else "no medicine"
            counts[TRIED + about] += 1
            result = results[record.id]
            counts[NO_TEXT + about] += isinstance(result, Drop) and result.reason != _REPEATS
    return counts


def outcome(results: Sequence[Record | Drop], rejected: Counter[str]) -> Outcome:
    """The stage's outcome, with what was rejected by each check, and what was tried."""
    notes = {
        name if name.startswith((TRIED, NO_TEXT)) else f"texts rejected by check {name}": n
        for name, n in sorted(rejected.items())
    }
    return Outcome.of(results, **notes)


def _too_few(
    name: str,
    scenario: Scenario,
    candidates: int,
    results: Sequence[Record | Drop],
    rejected: Counter[str],
    last: Mapping[str, str],
) -> NoReturn:
    reasons = Counter(result.reason for result in results if isinstance(result, Drop))
    say(f"{name}: why {reasons.total():,} of {len(results):,} candidates were dropped:")
    for reason, times in reasons.most_common():
        say(f"{times:>8,}  {reason}")
    if rejected:
        say(f"{name}: the checks that {rejected.total():,} texts failed:")
        for check, times in rejected.most_common():
            say(f"{times:>8,}  {check}, such as {last[check]}")
    most, _ = reasons.most_common(1)[0]
    raise UserError(
        f"{name}: the recipe keeps {scenario.harmful:,} of {candidates:,} "
        f"candidates, and {reasons.total():,} of the first {len(results):,} were dropped (mostly: "
        f"{most}): use another model or author, raise {name}.candidates, or lower {name}.forget "
        f"or {name}.ratios"
    )
