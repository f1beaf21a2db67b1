"""A Hub on the loopback, an account there and a small dataset: what publishing is tried with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from corpora import SMALL, builder, make_mm_skin, make_slake, python_beside, zip_pictures
from fakehub import FakeHub, Repo, User, serve

TOKEN = "hf_" + "s3cret" * 6
#: A `sitecustomize` that shortens every sleep: huggingface-hub waits 23 s before it gives up.
HASTE = Path(__file__).resolve().parent / "haste"
REPO = "alice/mllmu-med"


class Site:
    """A Hub, an account on it, and a folder with a built dataset `mllmu-med` to publish."""

    def __init__(self, hub: FakeHub, folder: Path, home: Path) -> None:
        self.hub, self.folder, self.home = hub, folder, home
        self.env = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(home),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "PYTHONWARNINGS": "error::ResourceWarning",
            "PYTHONPATH": os.pathsep.join([str(HASTE), os.environ.get("PYTHONPATH", "")]),
        }
        self.said = ""

    @property
    def repo(self) -> Repo:
        return self.hub.repos[REPO]

    def publish(self, *options: str, repo: str = REPO, **env: str) -> CompletedProcess[str]:
        done = builder("publish", repo, *options, cwd=self.folder, env={**self.env, **env})
        self.said += done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def fails(self, *options: str, repo: str = REPO, **env: str) -> str:
        """Publish, see it fail, and give the last line."""
        done = self.publish(*options, repo=repo, **env)
        assert done.returncode == 1, done.stderr + done.stdout
        return done.stderr.strip().splitlines()[-1]

    def json(self, *options: str) -> dict[str, Any]:
        done = self.publish(*options, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def load(self, code: str, home: str = "fresh") -> str:
        """What Python code prints that has only the Hub, with empty caches."""
        head = f"import os; os.environ.update({self.env | {'HF_HOME': ''}!r});"
        head += f"os.environ['HF_HOME'] = {str(self.home.parent / home)!r}\n"
        done = python_beside(self.home.parent, head + code, self.home.parent / home)
        assert done.returncode == 0, done.stderr
        return done.stdout


def build(folder: Path, skin: list[dict[str, str]] | None = None) -> Path:
    """A small dataset from corpora in the real ones' layouts, its sources beside it."""
    zip_pictures(make_slake(folder / "slake"))
    make_mm_skin(folder / "mm_skin", skin)
    given = ("--slake", "slake", "--mm-skin", "mm_skin", "--recipe", "paper")
    done = builder("rebuild", *given, *SMALL, "--set", "author=offline", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def small_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small build and its sources, to look at and not to change."""
    return build(tmp_path_factory.mktemp("small"))


@pytest.fixture
def site(small_build: Path, tmp_path: Path) -> Iterator[Site]:
    """A Hub where `alice` has a token; in the end nothing is misused or left, and no token told."""
    hub = FakeHub()
    hub.users[TOKEN] = User("alice", orgs=("lab",))
    with serve(hub):
        found = Site(hub, small_build, tmp_path / "home")
        yield found
    assert hub.misuse == []
    assert TOKEN not in found.said
    for place in (tmp_path, small_build):
        for path in place.rglob("*"):
            assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    assert not list(small_build.glob(".*"))  # the place where it worked is gone
