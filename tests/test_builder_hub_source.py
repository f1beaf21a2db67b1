"""`--slake hub`: huggingface-hub's own client against a Hub on the loopback."""

import json
from pathlib import Path

from corpora import SMALL, builder, make_slake, slake_rows, zip_images
from fakehub import folder_hub, serve
from hubsite import as_set

from builder.ingest.slake import HUB_ID, HUB_REVISION

COMMAND = ["rebuild", "--recipe", "paper", "--scenario", "privacy", "--slake", "hub", *SMALL[:10]]


def test_the_mirror_is_fetched_once_at_its_pinned_revision(tmp_path: Path) -> None:
    files = zip_images(make_slake(tmp_path / "mirror", validate=slake_rows(70, 1)))
    (files / "KG.zip").write_bytes(b"not wanted")
    with serve(folder_hub(files, HUB_ID, HUB_REVISION)) as hub:
        env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": ""}
        with as_set(env):
            done = builder(*COMMAND, "--json", cwd=tmp_path)
        assert json.loads(done.stdout)["sets"]["privacy"]["retain"] == 40
        fetched = [line for line in hub.requests if line.startswith(("GET /datasets/", "GET /cdn"))]
        names = sorted(line.rpartition("/")[2] for line in fetched)
        packed = hub.repos[HUB_ID].files["imgs.zip"].sha256  # a large file lies elsewhere
        assert names == sorted([packed, "test.json", "train.json", "validation.json"])
        with as_set(env):
            again = builder(*COMMAND, "--json", cwd=tmp_path)
        assert json.loads(again.stdout)["ran"] == []
        assert hub.count("^GET /(datasets|cdn)/") == len(fetched)
    # The Hub is gone; what was fetched serves.
    hub.requests.clear()
    with as_set(env):
        builder(*COMMAND, "--json", "--out", "other", cwd=tmp_path)


def test_no_hub_and_one_without_the_repository_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    with serve(folder_hub(tmp_path / "files", "somebody/else", "0" * 40)) as hub:
        for url in ("http://127.0.0.1:9", hub.url):
            with as_set({"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": ""}):
                done = builder(*COMMAND, cwd=tmp_path, code=1)
            last = done.stderr.strip().splitlines()[-1]
            assert last.startswith(f"error: {HUB_ID}: cannot be fetched")
            assert "--slake DIR" in last
            assert "Traceback" not in done.stderr
