"""`benchmarks/gpu.py` whole, at a small shape on a CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from baselines.methods import TRAINED

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
#: Runs it where `datasets` cannot be imported.
WITHOUT = (
    "import runpy, sys; sys.modules['datasets'] = None; sys.argv = sys.argv[1:]; "
    f"sys.path.insert(0, {str(PROGRAM.parent)!r}); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


@pytest.mark.slow
def test_small_shape_is_measured_whole_and_resumed(tmp_path: Path) -> None:
    out = tmp_path / "gpu"
    command = [sys.executable, "-c", WITHOUT, str(PROGRAM), "--small", "--out", str(out)]
    command += ["--models", "llava_med"]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    found = json.loads(out.with_suffix(".json").read_text("utf-8"))
    lines = {line["key"].removeprefix("llava_med/"): line for line in found["measured"]}
    methods = ["finetune", *TRAINED]
    wanted = {f"train/{m}/{p}" for m in methods for p in ("image/all", "none/all", "none/48")}
    wanted |= {f"train/{m}/none/24" for m in methods}
    wanted |= {f"train/{m}/plain loop/all" for m in ("finetune", "kl-min")}
    for how in ("shared", "row by row", "padded batch"):
        wanted |= {f"answers/{how}/40", f"likelihoods/{how}/0"}
    assert not wanted - lines.keys()
    for name in wanted:
        figures = {k: v for k, v in lines[name].items() if isinstance(v, float)}
        assert len(figures) >= 4, name
        assert min(figures.values()) > 0, (name, figures)
    for packing in ("none", "image"):
        hours = found["table_1_hours"]["llava_med"][packing]
        parts = [value for part, value in hours.items() if part != "all"]
        assert len(parts) == 10
        assert hours["all"] == pytest.approx(sum(parts))
    table = out.with_suffix(".md").read_text("utf-8")
    assert "| kl-min | plain loop |" in table
    assert "| hours of Table 1, privacy | a row each | packed |" in table

    journal = out.with_suffix(".jsonl")
    before = journal.read_text("utf-8")
    *kept, _ = before.splitlines(keepends=True)
    journal.write_text("".join(kept), "utf-8")
    again = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    assert journal.read_text("utf-8").count("\n") == len(kept) + 1
    assert len(again.stdout.splitlines()) == 1, "all but the last line is there already"
