"""Fixtures that several test files share: one demo build, one browser, a cache for each test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One thread a worker: tiny tensors gain nothing from more, and the cores are taken. Before torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from corpora import PLAIN, TRIAL, builder, once, process
from hubsite import site, small_build
from hypothesis import HealthCheck, settings
from reviews import Build, make_corpora

__all__ = ["site", "small_build"]

# A busy machine may take seconds over one example.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: a third of the time is spent waiting for disk, sockets and browser."""
    return min(os.cpu_count() or 1, 8) + 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests go to one worker, those that open the review page to the same one. (The marks
    of `--dist loadgroup` group nothing under pytest 9.2: pytest-xdist sets what is gone.)"""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return "browser" if re.search("review_page", file) else file

    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the calibrated demo, which takes a minute, is of the slow tier."""
    for item in items:
        if "calibrated" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folders of the same name share a place in `datasets`' cache: give each test its own."""
    import datasets

    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)


@pytest.fixture
def unaudited(monkeypatch: pytest.MonkeyPatch) -> None:
    """`rebuild` and `publish` without audits, where another thing is tried."""
    for place in ("builder.audit.run", "builder.audit.verdict.run"):
        monkeypatch.setattr(place, lambda folder: [])


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards without plots: half of the time that writing one takes."""
    monkeypatch.setattr("builder.dataset_folder.card.plots.plots", lambda facts: {})


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the demo was built as it stands; it takes a minute."""

    def make(folder: Path) -> None:
        done = process("builder", "rebuild", cwd=folder)
        (folder / "stdout.txt").write_text(done.stdout, "utf-8")

    return once(tmp_path_factory, "calibrated", make)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the demo was built, not calibrated: `mllmu-med`, `mllmu-med.work`."""

    def make(folder: Path) -> None:
        done = builder("rebuild", *PLAIN, cwd=folder)
        (folder / "stdout.txt").write_text(done.stdout, "utf-8")

    return once(tmp_path_factory, "demo", make)


@pytest.fixture(scope="session")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small build that `TRIAL` makes: to look at only, see `copy_build`."""

    def make(folder: Path) -> None:
        # A real process, which lists what it has imported: `test_builder_calibrate` looks.
        code = (
            "import sys; from builder.__main__ import app\n"
            f"app({TRIAL!r}, standalone_mode=False)\n"
            "open('modules.txt', 'w').write(' '.join(sys.modules))"
        )
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)

    return once(tmp_path_factory, "limited", make)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny random checkpoint of a family of `families`: to look at only."""
    import families
    import small_training as small

    rows = [*small.FORGET, *small.RETAIN]
    texts = [f"{row.question} {row.answer}" for row in rows] * 3

    def make(name: str) -> Path:
        folder = once(
            tmp_path_factory,
            f"checkpoint-{name}",
            lambda folder: families.make(name, folder / name, texts),
        )
        return folder / name

    return make


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny random LLaVA of `small_training`: to look at only."""
    import small_training as small

    return small.make(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def waiting_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Waits for review; not to be decided about: see `build`."""

    def make(folder: Path) -> None:
        Build(make_corpora(folder), folder).rebuild(code=3)

    folder = once(tmp_path_factory, "review", make)
    return Build(folder, folder)


@pytest.fixture
def build(waiting_build: Build, tmp_path: Path, undrawn: None, unaudited: None) -> Build:
    """A build that waits for review, of the test's own; without plots and audits."""
    return waiting_build.copy(tmp_path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium here: the review page is tried in it (apt-get install chromium)")
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that containers do not give.
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that has seen nothing yet, as wide as a laptop."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    yield context
    context.close()
