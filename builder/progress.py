"""Progress on stderr: a live bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_EVERY = 10.0  # seconds between two lines about the same work when nobody watches


class Advance(Protocol):
    def __call__(self, steps: int = 1) -> None: ...


def say(line: str) -> None:
    """One line about what is going on; results go to stdout instead."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Count `total` steps of some work; `advance()` may be called from several threads."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("left"),
            Remaining(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda steps=1: bar.advance(task, steps)
        return
    started = said = time.monotonic()
    done = 0

    def advance(steps: int = 1) -> None:
        nonlocal done, said
        done += steps
        now = time.monotonic()
        if now - said >= PLAIN_EVERY and done < total:
            said = now
            left = (now - started) / done * (total - done)
            say(f"  {what}: {done:,} of {total:,}, about {left:.0f} s left")

    yield advance
