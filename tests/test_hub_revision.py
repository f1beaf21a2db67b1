"""A Hub id is no identity of a model: the commit that it stands for is."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from baselines.recipe import load_recipe as load_baseline
from baselines.run import Part, Stack, identity_of
from builder.calibrate.fine_tune import adapted_answers, identity
from builder.core.job import Job
from builder.core.load_recipe import load_recipe
from builder.core.stage_cache import Chain, fingerprint
from builder.rebuild.stages import plan
from eval.load_model import load_model
from mllmu_med.recipe_files import Choice

OLD, NEW = "a" * 40, "b" * 40
DATA: Any = SimpleNamespace(hash="h")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's cache on a machine without a network; no model in it."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub" / "models--lab--llava"


def fetched(cache: Path, commit: str) -> None:
    """As huggingface_hub leaves a model that was fetched."""
    for path, text in {f"snapshots/{commit}/config.json": "{}", "refs/main": commit}.items():
        (cache / path).parent.mkdir(parents=True, exist_ok=True)
        (cache / path).write_text(text)


def job(work: Path) -> Job:
    recipe = load_recipe("demo", [Choice("calibration.model", "lab/llava")])
    return Job(recipe, work / "out", work)


@pytest.mark.parametrize("fetch", [False, True])
def test_a_calibrations_identity_has_the_commit(cache: Path, tmp_path: Path, fetch: bool) -> None:
    def model() -> Any:
        return identity(job(tmp_path), "privacy", fetch=fetch)["model"]

    assert model() == {"hub": "lab/llava", "revision": None}
    fetched(cache, OLD)
    assert model() == {"hub": "lab/llava", "revision": OLD}
    fetched(cache, NEW)
    assert model() == {"hub": "lab/llava", "revision": NEW}


def test_the_stage_is_stale_when_the_model_has_moved_on(cache: Path, tmp_path: Path) -> None:
    stage = next(s for s in plan(job(tmp_path))[0].stages if s.name == "calibrate")
    fetched(cache, OLD)
    before = fingerprint(stage, "x")
    assert fingerprint(stage, "x") == before
    fetched(cache, NEW)  # as the stage's own run may do: what it leaves is of the new one
    assert fingerprint(stage, "x") != before


def test_a_run_of_baselines_is_done_for_its_commit_only(cache: Path, tmp_path: Path) -> None:
    recipe = load_baseline("paper-privacy", [Choice("model", "lab/llava")])

    def model() -> object:
        return identity_of(Part("base", tmp_path), recipe, DATA, Stack("lab/llava"))["model"]

    fetched(cache, OLD)
    before = model()
    assert OLD in str(before)
    fetched(cache, NEW)
    assert model() != before


class Loaded(Exception):
    """Instead of a model: the revision that was asked for."""


@pytest.mark.parametrize("part", ["AutoModelForImageTextToText", "AutoProcessor"])
def test_the_commit_is_loaded(cache: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    import transformers

    def load(*_: object, revision: str | None = None, **__: object) -> Any:
        raise Loaded(revision)

    model = transformers.AutoModelForImageTextToText
    monkeypatch.setattr(model, "from_pretrained", lambda *_, **__: (None, None))
    monkeypatch.setattr(getattr(transformers, part), "from_pretrained", load)
    fetched(cache, OLD)
    with pytest.raises(Loaded, match=OLD):
        load_model("lab/llava")
    with pytest.raises(Loaded, match=NEW):
        load_model("lab/llava", revision=NEW)


def test_a_model_that_moves_on(cache: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def load(*given: object) -> Any:
        raise Loaded(given[4])

    monkeypatch.setattr("eval.load_model.load_model", load)
    fetched(cache, OLD)
    stack = Stack("lab/llava")
    recipe = load_baseline("paper-privacy", [Choice("model", "lab/llava")])
    before = identity_of(Part("base", tmp_path), recipe, DATA, stack)
    fetched(cache, NEW)
    with pytest.raises(Loaded, match=OLD):
        stack.at([])
    assert identity_of(Part("base", tmp_path), recipe, DATA, stack) == before


def test_a_calibration_loads_its_commit(cache: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def load(*_: object, revision: str | None = None) -> Any:
        raise Loaded(revision)

    def read(*_: object) -> Any:
        fetched(cache, NEW)

    monkeypatch.setattr("eval.load_model.load_model", load)
    monkeypatch.setattr("builder.calibrate.fine_tune.image_reader", read)
    fetched(cache, OLD)
    with pytest.raises(Loaded, match=OLD):
        adapted_answers(job(tmp_path), Chain(tmp_path / "w/privacy"), "privacy", [])
