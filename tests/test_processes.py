"""Work side by side: results as they come, and what happens to an error or a killed process."""

import os
import time
from pathlib import Path

import pytest

from mllmu_med.errors import UserError
from mllmu_med.processes import side_by_side
from mllmu_med.progress import say


def work(what: str, load: str = "") -> str:
    del load
    say(f"  at {what}")
    if what == "error":
        raise UserError("no room")
    if what == "killed":
        os._exit(9)
    time.sleep(60 if what == "long" else 0)
    return what.upper()


def test_side_by_side(capfd: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    folders = [Path(name) for name in ("x/seed-1/npo", "x/at", "x/c")]
    assert sorted(side_by_side(work, [*"abc"], 2, folders)) == [*enumerate("ABC")]
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines) == ["at: at b", "c: at c", "seed-1/npo: at a"]
    for ends, said in (("error", "no room"), ("killed", "--jobs 1")):
        more = [("long",), (ends,), *[("c", 300_000 * "x")] * 6]  # no pipe holds so much
        with pytest.raises(UserError, match=said):  # and nobody waits for the long one
            [*side_by_side(work, more, 2, [*map(Path, "abcdefgh")])]
    assert time.monotonic() - started < 55
