"""Work side by side, in processes of its own."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar

from mllmu_med import progress
from mllmu_med.errors import UserError

#: Processes at once when nobody says how many: more take more memory than they save time.
MOST: Final = 8

T = TypeVar("T")


def cores() -> int:
    """The cores that this process may use, at most `MOST`."""
    allowed = getattr(os, "sched_getaffinity", None)
    return min(MOST, len(allowed(0)) if allowed else os.cpu_count() or 1)


def side_by_side(
    work: Callable[..., T], calls: Sequence[tuple[Any, ...]], jobs: int, folders: Sequence[Path]
) -> Iterator[tuple[int, T]]:
    """Call a function of a module with each of some arguments, `jobs` at once.

    folders: one a call; the lines of each on stderr begin with what tells its own from the others.

    Yields:
        The number of a call and its result, as soon as it is there.

    Raises:
        UserError: a process has ended in the middle of its work. Whatever a call raises ends the
            others and is raised here.
    """
    whole = [folder.resolve() for folder in folders]
    top = os.path.commonpath([folder.parent for folder in whole])
    begin = work, calls, [f"{folder.relative_to(top)}:" for folder in whole]
    # Each starts afresh: a copy of this process would lack the threads that its libraries wait for.
    # It is given all calls as it starts, and later numbers alone: what is more than a pipe holds
    # would keep the pool from ending once nobody reads it (CPython 3.11.2).
    with ProcessPoolExecutor(min(jobs, len(calls)), get_context("spawn"), _begin, begin) as pool:
        ended = False
        try:
            numbers = {pool.submit(_call, number): number for number in range(len(calls))}
            for future in as_completed(numbers):
                yield numbers[future], future.result()
            ended = True
        except BrokenProcessPool as error:
            raise UserError(
                "a process ended in the middle of its work (out of memory?): the same command "
                "goes on from here; with --jobs 1 one part is done after another"
            ) from error
        finally:
            if not ended:
                for child in active_children():
                    child.terminate()


def _begin(work: Callable[..., Any], calls: Sequence[tuple[Any, ...]], names: list[str]) -> None:
    """In a new process: the one that has started it is told to stop, and takes this one along."""
    global _given
    _given = work, calls, names
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    progress.live = False
    Thread(target=_end_with_parent, daemon=True).start()


_given: tuple[Callable[..., Any], Sequence[tuple[Any, ...]], list[str]]


def _call(number: int) -> Any:
    work, calls, names = _given
    progress.who = names[number]
    return work(*calls[number])


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
