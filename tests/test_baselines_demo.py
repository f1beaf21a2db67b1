"""The demo recipe teaches and unlearns what it says, on the demo dataset."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from corpora import process

README = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_learns_and_unlearns(calibrated: Path, tmp_path: Path) -> None:
    done = process(
        *("baselines", "run", "--data", calibrated / "mllmu-med", "--methods", "ga,idk"),
        *("--out", tmp_path / "run"),
        cwd=tmp_path,
        timeout=1400,
    )
    assert done.returncode == 0, done.stderr
    # The README shows this table; figures may differ on another processor.
    shown = re.findall(r"^```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[1]
    printed = [line.split() for line in done.stdout.splitlines()]
    heads = [line.split() for line in shown.splitlines()[:2]]
    assert heads == printed[printed.index(heads[0]) :][:2]
    rouge = {}
    for name in ("base", "finetune", "ga", "idk", "retrain"):
        scores = json.loads((tmp_path / "run" / name / "scores.json").read_text())
        rouge[name] = {s: found["rouge1"]["value"] for s, found in scores["splits"].items()}
    tuned = rouge["finetune"]
    assert min(tuned["forget"], tuned["retain"]) > 0.85
    assert tuned["test"] > rouge["base"]["test"] + 0.2
    swapped = json.loads((tmp_path / "run" / "finetune" / "done.json").read_text())["swapped"]
    assert swapped["swapped"] < swapped["right"] - 0.3
    # A model that never saw the forget set is the reference: it says next to nothing of it.
    assert rouge["retrain"]["forget"] < 0.3
    assert rouge["retrain"]["retain"] > 0.85
    for method in ("ga", "idk"):
        lowered = rouge[method]["forget"] < tuned["forget"] - 0.1
        assert lowered or f"{method}: has not lowered" in done.stdout
    assert rouge["idk"]["forget"] < 0.5
    assert rouge["idk"]["retain"] > 0.7
    leaks = {
        name: json.loads((tmp_path / "run" / name / "leak.json").read_text())["any_way"]["rows"]
        for name in ("finetune", "idk", "retrain")
    }
    assert leaks["finetune"]["normalised"] > leaks["idk"]["normalised"]
    assert leaks["retrain"]["normalised"] == 0
