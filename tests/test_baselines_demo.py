"""The demo recipe teaches and unlearns what it says, by the commands of docs/tour.md."""

import json
import re
import shlex
from pathlib import Path

import pytest
from corpora import copy_build, process

from eval import load_results

README = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_tour_learns_and_unlearns(calibrated: Path, tmp_path: Path) -> None:
    """As it stands, in a folder with blanks and accents, an empty home and a plain locale."""
    here = tmp_path / "à côté"
    here.mkdir()
    copy_build(calibrated / "mllmu-med", here / "mllmu-med")
    home = {"HOME": str(here), "LC_ALL": "C", "HF_HOME": str(here / "cache")}
    page = (Path(__file__).resolve().parents[1] / "docs" / "tour.md").read_text("utf-8")
    said = {}
    for line in "".join(re.findall(r"^```sh\n(.*?)^```$", page, re.M | re.S)).splitlines():
        python, _, module, verb, *words = shlex.split(line)
        assert python == "python"
        done = process(module, verb, *words, cwd=here, env=home, timeout=1400)
        said[verb, *words[-1:]] = done.stdout
    assert "problem" not in said["doctor",]
    assert "spare: " in said["show", "privacy/calibrate"]
    # What lies where: what the page says, by half and double.
    for name, size in (("mllmu-med", 45), ("mllmu-med.work", 47), ("runs/demo-privacy", 20)):
        assert f"{name}`" in page
        found = sum(file.stat().st_size for file in (here / name).rglob("*") if file.is_file())
        assert size / 2 < found / 1e6 < size * 2, name
    assert (here / "report.html").is_file()
    assert {path.suffix for path in (here / "plots").iterdir()} == {".pdf", ".png"}
    # The README shows what more methods and seeds gave; figures differ on another processor.
    shown = dict(re.findall(r"^\| (Finetune|Retrain) \| (-?[\d.]+) \[", README, re.MULTILINE))
    frame = load_results(here / "runs" / "demo-privacy")
    ues = frame[(frame.metric == "ues") & (frame.versus == "")].set_index("run").value
    for label, value in shown.items():
        assert ues[label.lower()] == pytest.approx(float(value), abs=0.15), label
    assert len(shown) == 2
    rows = frame[(frame.metric == "rouge1") & (frame.versus == "") & (frame.cut == "")]
    rouge = {name: dict(zip(of.split, of.value, strict=True)) for name, of in rows.groupby("run")}
    tuned = rouge["finetune"]
    assert min(tuned["forget"], tuned["retain"]) > 0.85
    assert tuned["test"] > rouge["base"]["test"] + 0.2
    swapped = json.loads((here / "runs/demo-privacy/finetune/done.json").read_text())["swapped"]
    assert swapped["swapped"] < swapped["right"] - 0.3
    # A model that never saw the forget set is the reference: it says next to nothing of it.
    assert rouge["retrain"]["forget"] < 0.3
    assert rouge["retrain"]["retain"] > 0.85
    for method in ("ga", "npo"):
        lowered = rouge[method]["forget"] < tuned["forget"] - 0.1
        assert lowered or f"{method}: has not lowered" in said["run", "ga,npo"]
    assert rouge["npo"]["forget"] < 0.5
    assert rouge["npo"]["retain"] > 0.7
    leaked = frame[(frame.metric == "leaked_values") & (frame.way == "own") & (frame.cut == "")]
    values = leaked[leaked.versus == ""].set_index("run").value
    assert values["finetune"] > 0.9
    assert values["npo"] < 0.5
    assert values["retrain"] == 0
