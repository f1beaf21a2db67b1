"""Fixtures that several test files share: one demo build, and a cache of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpora import PLAIN, builder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folders of the same name share a place in `datasets`' cache: give each test its own."""
    import datasets

    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the demo was built as it stands; it takes a minute."""
    folder = tmp_path_factory.mktemp("calibrated")
    done = builder("rebuild", cwd=folder, timeout=800)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout, "utf-8")
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the demo was built, not calibrated: `mllmu-med`, `mllmu-med.work`."""
    folder = tmp_path_factory.mktemp("demo")
    done = builder("rebuild", *PLAIN, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout, "utf-8")
    return folder
