"""A stage runs again when what makes its rows has another version."""

import importlib
from pathlib import Path

import pytest

from builder.core.corpus import Corpus, shipped_mapping
from builder.core.job import Job
from builder.core.load_recipe import load_recipe
from builder.core.stage_cache import fingerprint
from builder.rebuild.stages import plan


def fingerprints(work: Path, recipe: str) -> dict[str, str]:
    named = {"privacy": "slake", "incorrect": "mm_skin"} if recipe == "paper" else {}
    corpora = {key: Corpus(name, work, shipped_mapping(name)) for key, name in named.items()}
    job = Job(load_recipe(recipe), work / "out", work, corpora)
    return {
        f"{item.name}/{stage.name}": fingerprint(stage, "before")
        for item in plan(job)
        for stage in item.stages
        if stage.name != "review"
    }


@pytest.mark.parametrize(
    ("module", "recipe", "stages"),
    [
        ("builder.ingest.phantoms", "demo", {"privacy/ingest", "incorrect/ingest"}),
        ("builder.ingest.table", "paper", {"privacy/ingest", "incorrect/ingest"}),
        ("builder.draw", "demo", {"privacy/draw", "incorrect/draw"}),
        ("builder.patients.profiles", "demo", {"privacy/profiles"}),
        ("builder.harm.inject", "demo", {"privacy/inject"}),
        ("builder.harm.corrupt", "demo", {"incorrect/corrupt"}),
        ("builder.harm.text_checks", "demo", {"privacy/inject", "incorrect/corrupt"}),
        ("builder.calibrate.rating", "demo", {"privacy/calibrate", "incorrect/calibrate"}),
        ("builder.calibrate.fine_tune", "demo", {"privacy/calibrate", "incorrect/calibrate"}),
        ("builder.calibrate.stage", "demo", {"privacy/calibrate", "incorrect/calibrate"}),
        ("builder.split", "demo", {"privacy/split", "incorrect/split"}),
    ],
)
def test_another_version_is_another_fingerprint(
    module: str, recipe: str, stages: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprints(tmp_path, recipe)
    monkeypatch.setattr(importlib.import_module(module), "VERSION", 99)
    after = fingerprints(tmp_path, recipe)
    assert {name for name in before if before[name] != after[name]} == stages
