"""Evaluation over the processes of a run: each does every n-th batch, the main one writes.

Without torch's process group (see `baselines.train.process_device`) there is one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from mllmu_med.progress import Advance, progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def ranks() -> tuple[int, int]:
    """The number of this process, from 0, and how many there are."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def is_first() -> bool:
    """Whether this process is the one that writes and says."""
    return ranks()[0] == 0


def tell(value: Result) -> Result:
    """The first process's value, to all."""
    from torch import distributed

    told = [value]
    if ranks()[1] > 1:
        distributed.broadcast_object_list(told)
    return told[0]


def spread(items: Sequence[Item], work: Callable[[Item], Result]) -> Iterator[tuple[Item, Result]]:
    """Each item with what `work` makes of it, in order, in every process."""
    from torch import distributed

    rank, count = ranks()
    for start in range(0, len(items), count):
        some = items[start : start + count]
        done: list[Any] = [work(some[rank]) if rank < len(some) else None]
        if count > 1:
            mine, done = done[0], [None] * count
            distributed.all_gather_object(done, mine)
        yield from zip(some, done, strict=False)


def shown(what: str, total: int, *more: Callable[[], str]) -> AbstractContextManager[Advance]:
    """`progress`, in the first process."""
    return progress(what, total, *more) if is_first() else nullcontext(lambda steps=1: None)
