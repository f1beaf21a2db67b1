"""Many pieces of work with a model server done at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from mllmu_med.llm.errors import Interrupted

if TYPE_CHECKING:
    from mllmu_med.llm.server import Server

Item = TypeVar("Item")
Result = TypeVar("Result")


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
