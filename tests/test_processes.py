"""Work side by side: results as they come, and what happens to an error or a killed process."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mllmu_med.processes import side_by_side
from mllmu_med_dataset import UserError


def work(place: Path, what: str) -> str:
    (place / what).touch()
    if what == "error":
        raise UserError("no room")
    if what == "killed":
        os._exit(9)
    time.sleep(60 if what == "long" else 0)
    return what.upper()


def test_side_by_side(tmp_path: Path) -> None:
    calls = [(tmp_path, name) for name in "abc"]
    assert sorted(side_by_side(work, calls, 2)) == [(0, "A"), (1, "B"), (2, "C")]


@pytest.mark.parametrize(("ends", "said"), [("error", "no room"), ("killed", "--jobs 1")])
def test_one_that_fails_ends_the_others(tmp_path: Path, ends: str, said: str) -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=said):
        [*side_by_side(work, [(tmp_path, name) for name in ("long", ends, "c", "d", "e")], 2)]
    assert time.monotonic() - started < 50
    assert not (tmp_path / "e").exists()
