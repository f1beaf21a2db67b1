"""Where a scenario's candidates get written: the author, and how many texts it has in hand.

The offline author writes one after the other. The language model has many calls in flight; its
replies come from the request ledger where that holds them, and the keys of all that were used end
in the stage's `requests.txt`, so that exactly these travel with the dataset.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from builder.core.job import Job, image_reader
from builder.core.recipe import Incorrect, Privacy, Scenario
from builder.core.stage_cache import REFUSED, Chain, Drop, Outcome
from builder.harm import corrupt, inject, judge
from builder.harm.authors.llm import LlmAuthor
from builder.harm.authors.offline import OfflineAuthor
from builder.harm.candidates import (
    OnDone,
    Texts,
    WriteMany,
    WriteOne,
    Written,
    one_by_one,
    outcome,
    to_write,
    write_candidates,
)
from builder.harm.check_offline import check_offline
from builder.harm.texts import Author
from builder.patients.profiles import Profile, read_profiles, shown_in
from mllmu_med.files import write_atomic, write_jsonl
from mllmu_med.llm.chat import Reply, Request
from mllmu_med.llm.client import Client
from mllmu_med.llm.concurrency import run_all
from mllmu_med.llm.reply_cache import ReplyCache
from mllmu_med.llm.settings import Settings
from mllmu_med.progress import progress, say
from mllmu_med_dataset import Record

USED = "requests.txt"  # in a stage's folder

T = TypeVar("T")
Ask = Callable[[Request], Awaitable[Reply]]
#: Some work with a language model: how to ask it, how to have many in hand, what to call at each.
Work = Callable[[Ask, WriteMany, OnDone], Awaitable[T]]


def write_stage(job: Job, chain: Chain, name: str, scenario: Scenario, folder: Path) -> Outcome:
    """Have a scenario's candidates written; the stage `inject` or `corrupt`."""
    records, sifted = _before(chain, scenario), job.recipe.sifts(scenario)
    refused: dict[str, list[dict[str, str]]] = {}

    async def write(author: Author, many: WriteMany, done: OnDone) -> Texts:
        one = _write_one(job, chain, scenario, author)

        def note(written: Written) -> None:
            row = {"id": written.result.id}
            for failure in written.failures:
                text = {"check": failure.name, "text": failure.text or failure.problem}
                refused.setdefault(row["id"], []).append(row | text)
            done(written)

        found = await write_candidates(records, scenario, name, one, many, note, sifted=sifted)
        write_jsonl(folder / REFUSED, (row for id_ in sorted(refused) for row in refused[id_]))
        return found

    if job.recipe.author != "llm":
        offline = _offline(job, records)
        one = _write_one(job, chain, scenario, offline)
        asyncio.run(check_offline(records, scenario, name, one))
    if not job.recipe.writes_with_model(scenario):
        return outcome(*asyncio.run(write(offline, one_by_one, lambda written: None)))

    async def work(ask: Ask, many: WriteMany, done: OnDone) -> tuple[Texts, dict[str, int]]:
        author = _asking(job, chain, name, scenario, records, ask)
        texts = await write(author, many, done)
        return texts, author.notes() if isinstance(author, judge.JudgedAuthor) else {}

    total = to_write(records, scenario, sifted)
    (found, judged), notes = asyncio.run(with_model(job, f"{name}: writing", total, folder, work))
    made = outcome(*found)
    made.notes |= judged | notes
    return made


def _offline(job: Job, records: Sequence[Record]) -> OfflineAuthor:
    # A test answer in the training data would be a leak.
    corpus = [record for record in records if record.split != "test"]
    incorrect = job.recipe.incorrect
    outdated = incorrect is not None and incorrect.outdated_share > 0
    return OfflineAuthor(corpus, job.recipe.seed, outdated)


def _asking(
    job: Job, chain: Chain, name: str, scenario: Scenario, records: Sequence[Record], ask: Ask
) -> Author:
    llm = job.recipe.llm
    author: Author = _offline(job, records)
    if job.recipe.author == "llm":
        author = LlmAuthor(ask, llm, image_reader(job, chain, name))
    if isinstance(scenario, Incorrect) and scenario.judge is not None:
        author = judge.JudgedAuthor(author, ask, llm, scenario.judge)
    return author


def _before(chain: Chain, scenario: Scenario) -> list[Record]:
    return chain.records("profiles" if isinstance(scenario, Privacy) else "draw")


def _write_one(job: Job, chain: Chain, scenario: Scenario, author: Author) -> WriteOne:
    seed = job.recipe.seed
    if isinstance(scenario, Incorrect):
        return lambda record: corrupt.corrupt(record, author, scenario, seed)
    if not isinstance(scenario, Privacy):
        raise TypeError(f"no way to write {type(scenario).__name__}")
    privacy = scenario
    people: dict[str, Profile] = {one.image_id: one for one in read_profiles(chain)}
    return lambda record: inject.inject(record, people[shown_in(record)], author, privacy, seed)


async def with_model(
    job: Job, what: str, total: int, folder: Path, work: Work[T]
) -> tuple[T, dict[str, int]]:
    """Do some work with the recipe's model; and how many replies of which model it took.

    The keys of the replies that were used are left in the stage's folder.
    """
    rejected_so_far: Counter[str] = Counter()
    with ReplyCache(job.requests) as cache:
        async with Client(settings_of(job), cache) as client:

            def status() -> str:
                return spent(client, rejected_so_far)

            with progress(what, total, status) as advance:

                def done(written: Written) -> None:
                    rejected_so_far.update(written.rejected)
                    if not isinstance(written.result, Drop):
                        advance()

                found = await work(client.ask, partial(run_all, client), done)
    say(f"  {what}: {status()}")
    write_atomic(folder / USED, "".join(f"{key}\n" for key in sorted(client.used)))
    replies = Counter(client.used.values())
    return found, {f"replies of {who}": n for who, n in sorted(replies.items())}


def settings_of(job: Job) -> Settings:
    """How to ask the recipe's model."""
    model = str(job.recipe.llm.model)
    return replace(job.llm, model=model) if job.llm else Settings(model)


def used_requests(stage_folder: Path) -> set[str]:
    """The ledger's keys of the replies that a finished stage used."""
    with suppress(FileNotFoundError):
        return set((stage_folder / USED).read_text("utf-8").split())
    return set()


def spent(client: Client, rejected: Counter[str]) -> str:
    stats = client.stats
    most = "".join(f" (mostly: {name})" for name, _ in rejected.most_common(1))
    cost = "cost unknown" if stats.cost is None else f"{stats.cost:.4f} USD"
    return (
        f"{stats.replies:,} asked, {stats.from_cache:,} from the ledger, {stats.retries}, "
        f"{rejected.total():,} rejected by a check{most}, {stats.prompt_tokens:,} + "
        f"{stats.completion_tokens:,} tokens, {cost}"
    )
