"""`publish` against a Hub on the loopback: what it commits, and how others load it."""

import json
import shutil
from pathlib import Path

import pytest
from corpora import mm_skin_rows, tree
from fakehub_repo import Blob
from hubsite import REPO, Site, build

from eval.results import Figure, Report, to_csv

#: Where neither plots nor audits are tried.
plain = pytest.mark.usefixtures("undrawn", "unaudited")


def test_the_first_is_one_commit_and_the_second_none(site: Site) -> None:
    before = tree(site.folder / "mllmu-med")
    done = site.publish_alone()
    assert [commit.summary.split()[0] for commit in site.repo.commits] == ["initial", "Publish"]
    assert site.repo.private
    assert not site.repo.gated
    assert site.hub.changes() == ["commit"]
    assert f"{site.hub.url}/datasets/{REPO} (private)" in done.stdout
    assert f"commit {site.repo.head.oid}" in done.stdout
    assert f'load_dataset("{REPO}", "privacy")' in done.stdout
    manifest = json.loads(site.repo.files["provenance/manifest.json"].data)
    held = {name: blob.sha256 for name, blob in site.repo.files.items() if name[0] != "."}
    held.pop("provenance/manifest.json")
    assert held == {name: entry["sha256"] for name, entry in manifest["files"].items()}
    assert f'load_dataset("{REPO}"' in site.repo.files["README.md"].data.decode()
    assert tree(site.folder / "mllmu-med") == before  # what is here stays as it was

    uploads = site.hub.count("^PUT /lfs/")
    again = site.publish()
    assert "nothing to commit" in again.stdout
    assert f"commit {site.repo.head.oid}" in again.stdout
    assert len(site.repo.commits) == 2
    assert site.hub.changes() == ["commit"]
    assert site.hub.count("^PUT /lfs/") == uploads


@plain
def test_a_change_uploads_only_what_changed(site: Site, tmp_path: Path) -> None:
    site.publish()
    first = site.repo.files
    site.folder = tmp_path / "changed"
    rows = mm_skin_rows(60)
    for row in rows:
        row["question"] = row["question"].replace("What type of", "What kind of")
    build(site.folder, rows)
    site.hub.requests.clear()
    site.hub.repos[REPO].commit("by hand", {**first, "NOTES.md": first["README.md"]})
    found = site.json()
    data = [name for name in found["uploaded"] if name.endswith(".parquet")]
    assert data == [f"incorrect/{name}.parquet" for name in ("forget", "retain", "test")]
    assert found["foreign"] == ["NOTES.md"]
    assert "NOTES.md" in site.repo.files
    assert site.hub.changes() == ["commit"]
    assert site.hub.count("^PUT /lfs/") <= 3 + sum("card/" in n for n in found["uploaded"])
    same = [name for name in first if name.startswith("privacy/")]
    assert same
    assert all(site.repo.files[name] == first[name] for name in same)


@plain
def test_gating_comes_before_openness(site: Site) -> None:
    found = site.json("--public", "--gated", "manual")
    assert (site.repo.private, site.repo.gated) == (False, "manual")
    assert site.hub.changes() == ["settings", "commit", "settings"]
    assert found["settings"] == ["gated manual", "public"]
    card = site.repo.files["README.md"].data.decode()
    assert "extra_gated_prompt" in card
    # What is not asked for stays: gated, public, and the card says so still.
    again = site.json()
    assert (again["committed"], again["settings"]) == (False, [])
    assert (again["private"], again["gated"]) == (False, "manual")
    assert len(site.hub.changes()) == 3
    closed = site.json("--private", "--gated", "auto")
    assert closed["settings"] == ["gated auto", "private"]
    assert (site.repo.private, site.repo.gated) == (True, "auto")
    assert closed["committed"]  # the card tells how access is given


LOAD = """
from datasets import load_dataset
for streaming in (False, True):
    data = load_dataset("alice/mllmu-med", "privacy", streaming=streaming)
    for split, rows in data.items():
        seen = [(row["id"], row["image"].size) for row in rows]
        print(split, len(seen), len(set(seen)), {size for _, size in seen})
"""


@plain
def test_who_has_only_the_hub_loads_it(site: Site) -> None:
    site.publish()
    sizes = {"forget": 6, "retain": 40, "test": 10}
    lines = [f"{split} {size} {size} {{(48, 48)}}" for split, size in sizes.items()]
    assert site.load(LOAD).splitlines() == 2 * lines
    assert site.hub.count("^GET /cdn/") > 3


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_images_by_reference_are_put_back(site: Site) -> None:
    """MM-Skin's by default; SLAKE's on demand, its pictures still packed."""
    site.publish("--images", "privacy=reference")
    manifest = json.loads(site.repo.files["provenance/manifest.json"].data)
    assert manifest["images"] == {"privacy": "reference", "incorrect": "reference"}
    local = json.loads((site.folder / "mllmu-med/provenance/manifest.json").read_text("utf-8"))
    assert manifest["build"] != local["build"]
    for name, blob in site.repo.files.items():
        assert b"\xff\xd8\xff" not in blob.data or name.startswith("card/"), name
    code = f"""
from hashlib import sha256
from mllmu_med_dataset import load
for config, images in (("privacy", "slake"), ("incorrect", "mm_skin")):
    local = load(config, {str(site.folder / "mllmu-med")!r})
    images = {str(site.folder)!r} + "/" + images
    assert {{row["image"] for row in load(config, "{REPO}")["test"]}} == {{None}}
    data = load(config, "{REPO}", images=images)
    for split, rows in local.items():
        for ours, theirs in zip(rows, data[split], strict=True):
            assert ours["image"].tobytes() == theirs["image"].tobytes()
            assert {{**ours, "image": 0}} == {{**theirs, "image": 0}}
    print(config, [s.features == local["test"].features for s in data.values()])
"""
    lines = [f"{config} [True, True, True]" for config in ("privacy", "incorrect")]
    assert site.load(code).splitlines() == lines


@plain
def test_files_of_an_earlier_build_go_in_the_same_commit(site: Site) -> None:
    site.publish()
    old = dict(site.repo.files)
    manifest = json.loads(old["provenance/manifest.json"].data)
    manifest["files"]["privacy/old.parquet"] = {"bytes": 5, "sha256": ""}
    data = json.dumps(manifest).encode()
    more = {
        "privacy/old.parquet": Blob(b"PAR1", large=True),
        "provenance/manifest.json": Blob(data),
        "README.md": Blob(b"---\na: 1\n---\nedited by hand"),
    }
    site.repo.commit("an earlier build", {**old, **more})
    done = site.publish()
    assert set(site.repo.files) == set(old)
    assert len(site.repo.commits) == 4
    assert "README.md: was edited on the Hub, replaced" in done.stderr
    assert "deleted 1" in done.stdout


@plain
def test_images_kept_back_once_stay_back_unless_it_is_said(site: Site) -> None:
    site.publish("--images", "privacy=reference")
    head = site.repo.head.oid
    said = site.fails()
    assert "--images privacy=reference to keep it so" in said
    assert site.repo.head.oid == head
    assert "nothing to commit" in site.publish("--images", "privacy=reference").stdout
    site.publish("--images", "privacy=embed")
    assert site.repo.head.oid != head


def test_what_the_audit_refuses_is_not_published(site: Site, tmp_path: Path) -> None:
    shutil.copytree(site.folder / "mllmu-med", tmp_path / "bad" / "mllmu-med")
    site.folder = tmp_path / "bad"
    with (site.folder / "mllmu-med/provenance/profiles.jsonl").open("a") as stream:
        stream.write("\n")
    before = tree(site.folder)
    line = site.fails()
    assert "checks of the audit fail" in line
    assert "nothing is published" in line
    assert site.hub.requests == []
    assert tree(site.folder) == before


@pytest.mark.usefixtures("undrawn")
def test_a_table_of_results_is_audited_too(site: Site, tmp_path: Path) -> None:
    """A run's name is a folder's, and may tell whose."""
    report = tmp_path / "report.csv"
    alike = {"config": "privacy", "run": "/home/alice/runs/ga", "role": "method"}
    alike |= {"metric": "rouge1", "value": 0.5}
    figures = [Figure(**alike, split=split) for split in ("forget", "retain", "test")]
    report.write_text(to_csv(Report("privacy", figures)), "utf-8")
    for more in ([], ["--dry-run"]):
        said = site.fails("--results", str(report), *more)
        assert "no path of the building machine" in said
    assert site.hub.changes() == []


@plain
def test_dry_run_asks_no_network(site: Site) -> None:
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": ""}
    done = site.publish("--dry-run", "--public", "--gated", "auto", **closed)
    assert "audit: all 1 checks hold\n" in done.stderr  # here none but what a rebuild adds, too
    assert " files (eval.yaml is for the Hub alone), " in done.stdout
    assert "incorrect/forget.parquet" in done.stdout
    assert "by reference" in done.stdout
    assert "visibility: public" in done.stdout
    assert "gated: auto" in done.stdout
    found = json.loads(site.publish("--dry-run", "--json").stdout)  # a Hub that listens
    assert found["images"] == {"privacy": "embed", "incorrect": "reference"}
    assert found["bytes"] == sum(found["files"].values())
    assert site.hub.requests == []
    # What was announced is what goes.
    site.publish()
    sizes = {name: len(blob.data) for name, blob in site.repo.files.items() if name[0] != "."}
    assert sizes == found["files"]
