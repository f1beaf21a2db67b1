"""How many calls to a model server are in flight, and many pieces of work done at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from mllmu_med.llm.errors import Interrupted

if TYPE_CHECKING:
    from mllmu_med.llm.server import Server

Item = TypeVar("Item")
Result = TypeVar("Result")

GROWTH: Final = 16  # rounds of answered calls from one call at a time back to all


class Slots:
    """How many calls may be in flight: halved by a 429, grown again by answers."""

    def __init__(self, most: int) -> None:
        self.most, self.limit, self.taken = most, float(most), 0
        self.paused_until = self._halved_at = 0.0
        self._freed = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._freed:
            await self._freed.wait_for(lambda: self.taken < int(self.limit))
            self.taken += 1

    async def __aexit__(self, *_: object) -> None:
        async with self._freed:
            self.taken -= 1
            self._freed.notify(max(0, int(self.limit) - self.taken))

    def answered(self) -> None:
        self.limit = min(self.most, self.limit + self.most / GROWTH / self.limit)

    def throttled(self, sent_at: float, wait: float) -> None:
        """A 429 to a call sent at `sent_at`: one burst of them counts once."""
        now = time.monotonic()
        if sent_at >= self._halved_at:
            self.limit, self._halved_at = max(1.0, self.limit / 2), now
        self.paused_until = max(self.paused_until, now + wait)


async def run_all(
    server: Server,
    work: Callable[[Item], Awaitable[Result]],
    items: Iterable[Item],
    on_done: Callable[[Result], None] = lambda result: None,
    ahead: int = 2,
) -> list[Result]:
    """`[await work(item) for item in items]`, many at once; `on_done` as each ends.

    Items are drawn as they are needed: there are never more tasks than `ahead` times the calls
    in flight: with twice as many the server is not idle while a reply is checked and kept.
    The first error ends the rest (a `Client` still keeps their calls in flight) and is raised.
    """
    todo = enumerate(items)
    results: dict[int, Result] = {}

    async def worker() -> None:
        for number, item in todo:
            server.check()
            results[number] = await work(item)
            on_done(results[number])
            await asyncio.sleep(0)  # answers from the cache never wait: let Ctrl-C in

    workers = [asyncio.create_task(worker()) for _ in range(ahead * server.settings.concurrency)]
    try:
        for ended in asyncio.as_completed(workers):
            # After a Ctrl-C the others go on until their calls in flight are kept.
            with suppress(Interrupted):
                await ended
        server.check()
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[number] for number in range(len(results))]
