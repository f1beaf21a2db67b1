"""Thirty of the faults of `benchmarks/faults.py`, whose table is in benchmarks/README.md."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_thirty_faults(tmp_path: Path) -> None:
    words = ["-m", "benchmarks.faults", "--out", tmp_path, "--count", "30", "--seed", "7"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 of 30 held" in done.stdout
