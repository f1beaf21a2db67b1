"""A Hub on the loopback, an account there and a small dataset: what publishing is tried with."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from corpora import (
    SMALL,
    Done,
    builder,
    command,
    ended,
    make_mm_skin,
    make_slake,
    once,
    process,
    python_beside,
    zip_images,
)
from fakehub import FakeHub, Repo, User, serve

TOKEN = "hf_" + "s3cret" * 6
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
        }
        self.said = ""

    @property
    def repo(self) -> Repo:
        return self.hub.repos[REPO]

    def publish(self, *options: str, repo: str = REPO, code: Any = 0, **env: str) -> Done:
        """Publish in this process, to this Hub and from this account."""
        words = ("publish", repo, *options)
        with as_set({**self.env, **env}):
            return self._done(command("builder", *words, cwd=self.folder, code=None), code)

    def publish_alone(self, *options: str, **env: str) -> Done:
        """Publish in a process of its own, in which a resource left open is an error."""
        words, env = ("publish", REPO, *options), {**self.env, **env}
        return self._done(process("builder", *words, cwd=self.folder, env=env, code=None), 0)

    def _done(self, done: Done, code: int | None) -> Done:
        self.said += done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return ended(done, code)

    def fails(self, *options: str, repo: str = REPO, **env: str) -> str:
        """Publish, see it fail, and give the last line."""
        done = self.publish(*options, repo=repo, **env, code=1)
        return done.stderr.strip().splitlines()[-1]

    def json(self, *options: str) -> dict[str, Any]:
        return json.loads(self.publish(*options, "--json").stdout)

    def load(self, code: str, home: str = "fresh") -> str:
        """What Python code prints that has only the Hub, with empty caches."""
        head = f"import os; os.environ.update({self.env | {'HF_HOME': ''}!r});"
        head += f"os.environ['HF_HOME'] = {str(self.home.parent / home)!r}\n"
        done = python_beside(self.home.parent, head + code, self.home.parent / home)
        return done.stdout


def build(folder: Path, skin: list[dict[str, str]] | None = None) -> None:
    """A small dataset from corpora in the real ones' layouts, its sources beside it."""
    zip_images(make_slake(folder / "slake"))
    make_mm_skin(folder / "mm_skin", skin)
    given = ("--slake", "slake", "--mm-skin", "mm_skin", "--recipe", "paper")
    builder("rebuild", *given, *SMALL, "--set", "author=offline", cwd=folder)


@pytest.fixture(scope="session")
def small_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small build and its sources, to look at and not to change."""
    return once(tmp_path_factory, "small", build)


@contextmanager
def as_set(env: dict[str, str]) -> Iterator[None]:
    """What huggingface-hub takes from the environment, part of it once when it is imported.

    Sleeps are cut short: it waits 23 s before it gives up.
    """
    home, sleep = Path(env["HF_HOME"]), time.sleep
    constants = {
        "ENDPOINT": env["HF_ENDPOINT"],
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
        "HF_HUB_DISABLE_XET": True,
        "HUGGINGFACE_CO_URL_TEMPLATE": env["HF_ENDPOINT"]
        + "/{repo_id}/resolve/{revision}/{filename}",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.05)))
        patch.setenv("HF_TOKEN", env["HF_TOKEN"])
        for name, value in constants.items():
            patch.setattr(huggingface_hub.constants, name, value)
        yield


@pytest.fixture
def site(small_build: Path, tmp_path: Path) -> Iterator[Site]:
    """A Hub where `alice` has a token; in the end nothing is misused or left, and no token told."""
    hub = FakeHub()
    hub.users[TOKEN] = User("alice", orgs=("lab",))
    folder = tmp_path / "small"
    shutil.copytree(small_build, folder)
    with serve(hub):
        found = Site(hub, folder, tmp_path / "home")
        yield found
    assert hub.misuse == []
    assert TOKEN not in found.said
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    assert not list(folder.glob(".*"))  # the place where it worked is gone
