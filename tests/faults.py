"""A disk that fails: every write, fsync, rename and commit under a folder in turn.

    for point, done in each_fault(lambda: rebuild(out), tmp_path):
        assert done.exit_code == 1

The first run fails at its first write, the second at the first one that has not failed yet, and so
on, until a run meets none: that one ends well, and is not handed out. `killed=True` ends a child
process at the point instead, as SIGKILL would, with nothing cleaned up; `run` and `only` are sent
to it, so they are functions of a module (or `partial`s of one).
"""

from __future__ import annotations

import builtins
import errno
import io
import multiprocessing
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from unittest import mock

import pyarrow.parquet
import pytest

Done = TypeVar("Done")
PATIENCE = 300  # seconds for a run that is killed: far more than a busy machine takes
#: What the children would import one by one; what is missing here costs time alone.
_PRELOAD = [
    *("builder.__main__", "builder.calibrate.stage", "builder.harm.stage"),
    *("builder.ingest.slake", "builder.rebuild.pipeline", "builder.rebuild.print_status"),
    "mllmu_med.llm.client",
    *("PIL.JpegImagePlugin", "dateutil.parser", "faker.factory", "faker.providers.person.en_US"),
    *("filelock", "pyarrow.parquet", "pytest", "typer.testing", "unittest.mock"),
]


class Point(NamedTuple):
    """One thing that a run asks of the disk."""

    what: str  # write, fsync, rename, mkdir, parquet, copy or commit
    path: str
    time: int  # of the same path in one run, from 1


Only = Callable[[Point], bool]


def every(point: Point) -> bool:
    return True


class Disk:
    """Passes everything on but one point: there `act()` is called, once half of it is done."""

    def __init__(
        self, root: Path, seen: set[Point], only: Only, act: Callable[[Point], Any]
    ) -> None:
        self.root, self.seen, self.only, self.act = root.resolve(), seen, only, act
        self.hit: Point | None = None
        self._times: Counter[tuple[str, str]] = Counter()

    def meet(self, what: str, path: Any, half: Callable[[], object] = lambda: None) -> None:
        place = Path(os.fsdecode(path)).absolute()
        if self.hit or not place.is_relative_to(self.root):
            return
        name = place.relative_to(self.root).as_posix()
        self._times[what, name] += 1
        point = Point(what, name, self._times[what, name])
        if point not in self.seen and self.only(point):
            self.hit = point
            half()
            self.act(point)


class _Stream:
    """An open file whose writes are met."""

    def __init__(self, stream: Any, path: Any, disk: Disk) -> None:
        self._stream, self._path, self._disk = stream, path, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, data: Any) -> int:
        def half() -> None:
            self._stream.write(data[: len(data) // 2])
            self._stream.flush()

        self._disk.meet("write", self._path, half)
        return int(self._stream.write(data))


@contextmanager
def watched(disk: Disk) -> Iterator[None]:
    """What Python, pyarrow and sqlite3 ask of the disk goes by `disk`."""
    opened, connect = io.open, sqlite3.connect

    def open_(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        stream = opened(file, mode, *args, **kwargs)
        writes = set(mode) & set("wax+") and not isinstance(file, int)
        return _Stream(stream, file, disk) if writes else stream

    class Connection(sqlite3.Connection):
        def __exit__(self, kind: Any, *rest: Any) -> Any:
            if kind is None:
                path = self.execute("PRAGMA database_list").fetchone()[2]
                disk.meet("commit", path, self.rollback)
            return super().__exit__(kind, *rest)

    def met(what: str, original: Any, argument: int) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            path = args[argument]
            path = Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else path
            if what != "mkdir" or not Path(path).exists():
                disk.meet(what, path)
            return original(*args, **kwargs)

        return call

    write_table = pyarrow.parquet.ParquetWriter.write_table

    def write_rows(writer: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(writer.where, str | Path):
            disk.meet("parquet", writer.where)
        write_table(writer, *args, **kwargs)

    def connect_(*args: Any, **kwargs: Any) -> Any:
        return connect(*args, **{"factory": Connection, **kwargs})

    with ExitStack() as patches:
        for where, name, instead in (
            (io, "open", open_),
            (builtins, "open", open_),
            (os, "fsync", met("fsync", os.fsync, 0)),
            (os, "rename", met("rename", os.rename, 1)),
            (os, "replace", met("rename", os.replace, 1)),
            (os, "mkdir", met("mkdir", os.mkdir, 0)),
            (shutil, "copyfile", met("copy", shutil.copyfile, 1)),
            (sqlite3, "connect", connect_),
            (pyarrow.parquet.ParquetWriter, "write_table", write_rows),
        ):
            patches.enter_context(mock.patch.object(where, name, instead))
        yield


def each_fault(
    run: Callable[[], Done],
    root: Path,
    *,
    number: int = errno.ENOSPC,
    killed: bool = False,
    only: Only = every,
) -> Iterator[tuple[Point, Done | None]]:
    """Run until no point is left; what failed, and what that run gave (None where it was killed).

    only: the points that fail; all others do well.
    """
    seen: set[Point] = set()
    while True:
        if killed:
            point, done = _in_child(run, root, seen, only), None
        else:
            disk = Disk(root, seen, only, lambda point: _refuse(number))
            with watched(disk):
                done = run()
            point = disk.hit
        if point is None:
            return
        yield point, done
        seen.add(point)


def _refuse(number: int) -> None:
    raise OSError(number, os.strerror(number))


def _in_child(run: Any, root: Path, seen: set[Point], only: Only) -> Point | None:
    """Run in a process that ends at the first point that is not seen.

    It is forked from a server that runs nothing itself: a fork of this process, in which torch and
    pyarrow have threads, could wait for ever for a lock that one of them holds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    reads, writes = context.Pipe(duplex=False)
    child = context.Process(target=_until_killed, args=(run, root, seen, only, writes))
    child.start()
    writes.close()  # the child has its own: what it does not send ends in EOFError
    with reads:
        child.join(PATIENCE)
        if child.exitcode is None:
            child.kill()
            pytest.fail(f"a run that was to be killed hangs: not ended after {PATIENCE} s")
        try:
            return Point(*reads.recv())
        except EOFError:
            assert child.exitcode == 0, f"a run that met no fault ended with {child.exitcode}"
            return None


def _until_killed(run: Any, root: Path, seen: set[Point], only: Only, tells: Connection) -> None:
    def end(point: Point) -> None:
        tells.send(tuple(point))
        os._exit(9)

    status = 1
    try:
        with watched(Disk(root, seen, only, end)):
            status = getattr(run(), "exit_code", 0)
    finally:
        os._exit(status)
