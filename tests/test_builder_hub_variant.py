"""The folder as it goes to the Hub: what of the build is kept, named only, or left out."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from cases import cases
from corpora import builder, record

from builder.audit import run
from builder.dataset_folder.manifest import read_manifest
from builder.dataset_folder.shipped_requests import leave_out, tells_caption
from builder.harm.prompts import incorrect
from builder.hub import personal
from builder.hub.folder import image_modes, make_variant, without_images
from mllmu_med.llm.chat import Request
from mllmu_med.llm.reply_cache import ReplyCache
from mllmu_med_dataset import FEATURES, Record, UsageError, UserError

CASES = cases(__file__)


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "provenance/manifest.json").read_text("utf-8"))


def variant(folder: Path, target: Path, modes: str | None) -> dict[str, Any]:
    target.mkdir()
    manifest = read_manifest(folder)
    sources = {name: scenario.source for name, scenario in manifest.scenarios.items()}
    chosen = image_modes(modes, sources, manifest.images)
    given: dict[str, Any] = {"repo": "alice/set", "gated": None, "results": None}
    return make_variant(folder, manifest, target, chosen, **given).tree()


@pytest.mark.parametrize(
    ("text", "kind"),
    CASES["real_looking_texts_of_ones_own_corpus_are_not_published"],
)
def test_real_looking_texts_of_ones_own_corpus_are_not_published(
    text: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [record("Where?", text, key="table/a/1"), record("Where?", "here", key="table/a/2")]
    written = SimpleNamespace(every_record=lambda name: rows)
    monkeypatch.setattr(personal, "read_folder", lambda *_: written)
    for source in ("slake", "table"):
        told: Any = SimpleNamespace(scenarios={"privacy": SimpleNamespace(source=source)})
        if source == "slake" or not kind:
            personal.check(Path(), told, "out")
            continue
        with pytest.raises(UserError, match=r"^out: 1 rows of the corpus hold") as caught:
            personal.check(Path(), told, "out")
        assert f"({kind} 1; first table/a/1)" in str(caught.value)
        assert text not in str(caught.value)


def test_real_patients_are_never_published(small_build: Path, tmp_path: Path) -> None:
    told = manifest_of(small_build / "mllmu-med")
    own = {**told["recipe"]["incorrect"], "source": "table", "candidates": 4}
    own = {key: own[key] for key in ("source", "forget", "retain", "test", "candidates")}
    told["recipe"] |= {"privacy": None, "incorrect": None, "calibration": None, "own": own}
    (tmp_path / "own/provenance").mkdir(parents=True)
    (tmp_path / "own/provenance/manifest.json").write_text(json.dumps(told), "utf-8")
    done = builder("publish", "alice/set", "--out", "own", cwd=tmp_path, code=1)
    assert done.stderr.endswith(
        "own: holds data of real patients (scenario own): it cannot be published\n"
    )


def test_images_without_a_licence_are_named_only() -> None:
    sources = {"privacy": "slake", "incorrect": "mm_skin"}
    default = {"privacy": "embed", "incorrect": "reference"}
    assert image_modes(None, sources, {}) == default
    assert image_modes("incorrect=embed", sources, {}) == {**default, "incorrect": "embed"}
    both = image_modes(" privacy=reference , incorrect=embed", sources, {})
    assert both == {"privacy": "reference", "incorrect": "embed"}
    alone = {"incorrect": "phantom"}
    assert image_modes(None, alone, {}) == {"incorrect": "embed"}
    with pytest.raises(UsageError, match="SCENARIO incorrect and MODE"):
        image_modes("privacy=embed", alone, {})
    named = {"privacy": "reference", "incorrect": "embed"}
    assert image_modes(None, sources, named)["privacy"] == "reference"
    with pytest.raises(UsageError, match="build it again from their source"):
        image_modes("privacy=embed", sources, named)


def test_the_variant_has_a_build_of_its_own(small_build: Path, tmp_path: Path) -> None:
    """That it is whole, and the folder here as it was: test_builder_hub_publish.py."""
    folder = small_build / "mllmu-med"
    made = variant(folder, tmp_path / "hub", None)
    for name in made["files"]:
        if name.startswith("privacy/"):
            assert (tmp_path / "hub" / name).samefile(folder / name)
    card = (tmp_path / "hub/README.md").read_text("utf-8")
    assert f"build {made['build']}" in card
    assert manifest_of(folder)["build"] not in card
    assert "alice/set" in (tmp_path / "hub/croissant.json").read_text("utf-8")
    embedded = variant(folder, tmp_path / "embedded", "incorrect=embed")
    assert embedded["build"] == manifest_of(folder)["build"]
    for name in ("hub", "embedded"):
        assert [check for check in run(tmp_path / name) if not check.ok] == []


def test_rows_without_their_images_are_the_same_rows(demo: Path, tmp_path: Path) -> None:
    source, target = demo / "mllmu-med/privacy/retain-core.parquet", tmp_path / "rows.parquet"
    without_images(source, target)
    whole, bare = pq.read_table(source), pq.read_table(target)
    assert bare.schema.equals(whole.schema, check_metadata=True)
    assert list(bare.schema.names) == list(FEATURES)
    assert bare["image"].null_count == bare.num_rows
    assert bare.drop_columns("image").equals(whole.drop_columns("image"))
    paths = [row["path"] for row in whole["image"].to_pylist()]
    assert bare["image_path"].to_pylist() == paths
    groups = pq.ParquetFile(source).metadata, pq.ParquetFile(target).metadata
    assert groups[0].num_row_groups == groups[1].num_row_groups
    assert target.stat().st_size < source.stat().st_size / 10


def test_captions_of_named_images_are_left_out(tmp_path: Path) -> None:
    base = {"image_id": "a", "image_path": "a", "image_sha256": "", "question": "q", "answer": "a"}
    base |= {"modality": "clinical", "source": "mm_skin", "answer_type": "open"}
    base |= {"clean_question": "q", "clean_answer": "a"}
    raw = json.dumps({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]})
    with ReplyCache(tmp_path / "l") as ledger:
        for number, context in enumerate(("", "Words of a textbook", "")):
            prompt = incorrect(Record(id=str(number), context=context, **base), "wrong_diagnosis")
            messages = ({"role": "user", "content": prompt.user + f" {number}"},)
            asked = Request("m", messages, None, {}, prompt.version)
            ledger.put(asked, "none", raw).result()
        assert ledger.export(tmp_path / "all.parquet") == 3
    assert leave_out(tmp_path / "all.parquet", tmp_path / "some.parquet", tells_caption) == 1
    assert b"textbook" not in (tmp_path / "some.parquet").read_bytes()
    assert "textbook" not in str(pq.read_table(tmp_path / "some.parquet").to_pylist())
    with ReplyCache(tmp_path / "other") as ledger:
        assert ledger.load(tmp_path / "some.parquet") == 2
    some = tmp_path / "some.parquet"
    before = some.read_bytes()
    assert leave_out(some, some, tells_caption) == 0
    assert some.read_bytes() == before
