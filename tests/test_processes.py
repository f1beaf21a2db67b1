"""Work side by side: results as they come, and what happens to an error or a killed process."""

import os
import time

import pytest

from mllmu_med.errors import UserError
from mllmu_med.processes import side_by_side


def work(what: str) -> str:
    if what == "error":
        raise UserError("no room")
    if what == "killed":
        os._exit(9)
    time.sleep(60 if what == "long" else 0)
    return what.upper()


def test_side_by_side() -> None:
    started = time.monotonic()
    assert sorted(side_by_side(work, [*"abc"], 2)) == [(0, "A"), (1, "B"), (2, "C")]
    for ends, said in (("error", "no room"), ("killed", "--jobs 1")):
        with pytest.raises(UserError, match=said):  # and nobody waits for the long one
            [*side_by_side(work, [("long",), (ends,), ("c",)], 2)]
    assert time.monotonic() - started < 55
