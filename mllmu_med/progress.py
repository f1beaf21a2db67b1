"""Progress on stderr: a live bar on a terminal, plain lines otherwise."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol

live = True  # whether a bar may be drawn: not where several processes share a terminal
who = ""  # where several work at once: whose lines these are, as `npo:`
PLAIN_EVERY = 10.0  # seconds between two lines about the same work when nobody watches


class Advance(Protocol):
    def __call__(self, steps: int = 1) -> None: ...


def say(line: str) -> None:
    """One line about what is going on; results go to stdout instead."""
    line = line if line.strip().startswith(who) else f"{who} {line.strip()}"
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, total: int, more: Callable[[], str] = lambda: "") -> Iterator[Advance]:
    """Count `total` steps of some work; `advance()` may be called from several threads.

    `more()` is what else to say about it, e.g. what it has cost so far.
    """
    if live and sys.stderr.isatty():
        yield from _bar(what, total, more)
        return
    # (seconds, steps) at the last few lines: what came from a cache, or was done before a kill,
    # tells nothing of what is left, so that the first line has no estimate.
    seen: deque[tuple[float, int]] = deque(maxlen=7)
    done = 0
    ended = Event()

    def tell() -> None:
        while not ended.wait(PLAIN_EVERY):
            now = time.monotonic()
            seen.append((now, done))
            then, before = seen[0]
            left = ""
            if done > before:
                left = f", about {(now - then) / (done - before) * (total - done):.0f} s left"
            said = more()
            say(f"  {what}: {done:,} of {total:,}{left}{'; ' if said else ''}{said}")

    def advance(steps: int = 1) -> None:
        nonlocal done
        done += steps

    teller = Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield advance
    finally:
        ended.set()
        teller.join()


def _bar(what: str, total: int, more: Callable[[], str]) -> Iterator[Advance]:
    from rich import progress as bars
    from rich.text import Text

    from mllmu_med.console import SafeConsole

    class More(bars.ProgressColumn):
        def render(self, task: bars.Task) -> Text:
            return Text(more())

    columns = (
        bars.TextColumn("  {task.description}", markup=False),
        bars.BarColumn(bar_width=20),
        bars.MofNCompleteColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
        More(),
    )
    with bars.Progress(*columns, console=SafeConsole(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps=1: bar.advance(task, steps)
