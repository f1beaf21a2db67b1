"""The contract: the sizes and the schema of the demo, and `load()` with its helpers.

What must hold of the rows of every built folder is the audit's: each rebuild ends with it, and
test_builder_audit_defects.py plants what each of its checks finds.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from corpora import record
from datasets import DatasetDict, load_dataset

from builder.dataset_folder.write import _write_parquet
from eval.dataset_rows import read_rows
from mllmu_med_dataset import (
    FEATURES,
    FORGET_RATIOS,
    PII_KINDS,
    SPLITS,
    Record,
    UsageError,
    UserError,
    by_picture,
    config_name,
    load,
)


@pytest.fixture(scope="module")
def loaded(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, DatasetDict]:
    """Every config, by name."""
    cache = str(tmp_path_factory.mktemp("loaded"))
    names = ["privacy", "incorrect"]  # of `CONFIGS`, what the demo makes
    names += [config_name("privacy", ratio / 100) for ratio in FORGET_RATIOS if ratio != 10]
    folder = str(demo / "mllmu-med")
    return {name: load_dataset(folder, name, cache_dir=cache) for name in names}


def test_sizes(loaded: dict[str, DatasetDict]) -> None:
    sizes = {name: tuple(len(data[s]) for s in SPLITS) for name, data in loaded.items()}
    assert sizes["privacy"] == (44, 440, 150)
    assert sizes["incorrect"] == (30, 300, 150)
    for ratio in FORGET_RATIOS:
        forget, retain, test = sizes[config_name("privacy", ratio / 100)]
        assert (forget + retain, test) == (484, 150)
        assert forget == (44 if ratio == 10 else round(484 * ratio / (100 + ratio)))


def test_schema_and_harms(loaded: dict[str, DatasetDict]) -> None:
    harms = {"privacy": {"privacy"}, "incorrect": {"wrong_diagnosis", "outdated_knowledge"}}
    for name, data in loaded.items():
        assert {split: data[split].features for split in SPLITS} == dict.fromkeys(SPLITS, FEATURES)
        assert set(data["forget"]["harm"]) <= harms[name.partition("_")[0]]


def test_values_of_every_kind_stand_in_either_text_and_in_both(loaded: Any) -> None:
    kinds, fields = set(), set()
    for row in loaded["privacy_r30"]["forget"].remove_columns("image"):
        kinds |= {span["kind"] for span in row["pii"]}
        fields.add(tuple(sorted({span["field"] for span in row["pii"]})))
        assert row["clean_answer"].rstrip(".") in row["answer"]
        assert row["clean_question"] in row["question"]
    assert kinds == set(PII_KINDS)
    assert fields == {("question",), ("answer",), ("answer", "question")}


def test_each_image_stands_once_in_a_file(demo: Path) -> None:
    for path in sorted((demo / "mllmu-med").rglob("*.parquet")):
        table = pq.read_table(path)
        once = {i["path"].as_py(): len(i["bytes"].as_py()) for i in table["image"]}
        assert path.stat().st_size < 1.02 * sum(once.values()) + 60_000, path
        order = list(zip(table["image_id"].to_pylist(), table["id"].to_pylist(), strict=True))
        assert order == sorted(order)


def test_it_streams(demo: Path) -> None:
    data = load("privacy", demo / "mllmu-med", streaming=True, split="forget")
    row = next(iter(data))
    assert row["image"].size == (320, 320)
    assert row["pii"][0]["kind"] in PII_KINDS


def test_load_by_ratio(demo: Path) -> None:
    folder = demo / "mllmu-med"
    assert len(load("privacy", folder, split="forget")) == 44
    assert len(load("privacy", folder, forget_ratio=0.1, split="forget")) == 44
    assert len(load("privacy", folder, forget_ratio=0.3, split="forget")) == 112


def test_load_from_beside_the_folder(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo)
    assert set(load()) == set(SPLITS)


@pytest.mark.parametrize(
    ("arguments", "error", "line"),
    [
        ({"config": "privat"}, UsageError, "use one of privacy, incorrect"),
        ({"config": "privacy_r05"}, UsageError, "with forget_ratio=0.05"),
        ({"forget_ratio": "0.2"}, UsageError, "use one of 0.05"),
        ({"forget_ratio": 0.12}, UsageError, "use one of 0.05, 0.10"),
        ({"forget_ratio": 10}, UsageError, "fractions of retain"),
        ({"config": "incorrect", "forget_ratio": 0.2}, UserError, "holds no config incorrect_r20"),
        ({"source": "nowhere"}, UserError, "no such folder here"),
        ({"source": "./org/name"}, UserError, "no such folder here"),
        ({"source": Path("org/name")}, UserError, "no such folder here"),
    ],
)
def test_wrong_loads(arguments: Any, error: type[UserError], line: str, demo: Path) -> None:
    with pytest.raises(error, match=line):
        load(**{"source": demo / "mllmu-med", **arguments})


def test_load_refuses_another_folder(tmp_path: Path) -> None:
    """`load_dataset` would merge whatever it finds into one split, without a word."""
    (tmp_path / "package.json").write_text("{}")
    for name, text in {"x": "", "README.md": "---\nconfigs: [\n---\n"}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match="not a built dataset"):
            load(source=tmp_path)
    with pytest.raises(UserError, match="is a file: give the dataset's folder, unpacked"):
        load(source=tmp_path / "x")


def test_the_folder_of_a_dataset_is_named_to_who_gives_another(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "zip").mkdir()
    (tmp_path / "zip/data").symlink_to(demo / "mllmu-med")
    with pytest.raises(UserError, match=r"README.md is not there\): give .*/mllmu-med$"):
        load(source=tmp_path / "zip")
    with pytest.raises(UserError, match=r"README.md is not there\): give .*/mllmu-med$"):
        load(source=demo / "mllmu-med/privacy")


def test_by_image(demo: Path) -> None:
    retain = load("privacy", demo / "mllmu-med", split="retain")
    images = list(by_picture(retain))
    assert len(images) == len(set(retain["image_id"]))
    assert sum(len(image.rows) for image in images) == len(retain)
    for image in images[:5]:
        assert {row["image_id"] for row in image.rows} == {image.image_id}
        assert image.image.size == (320, 320)
        assert "image" not in image.rows[0]


def test_by_image_wants_one_map_style_split(demo: Path) -> None:
    with pytest.raises(UsageError, match="one split"):
        next(by_picture(load("privacy", demo / "mllmu-med")))
    with pytest.raises(UsageError, match="without streaming"):
        next(by_picture(load("privacy", demo / "mllmu-med", split="test", streaming=True)))


def test_a_record_survives_json(loaded: dict[str, DatasetDict], demo: Path) -> None:
    from builder.core.stage_cache import Chain

    for row in Chain(demo / "mllmu-med.work" / "privacy").records("split"):
        assert Record.from_json(row.to_json()) == row
        if row.split == "forget":
            clean = row.cleaned()
            assert (clean.question, clean.answer) == (row.clean_question, row.clean_answer)
            assert (clean.harm, clean.pii, clean.round) == ("none", (), 0)


def test_row_groups_stay_under_two_gigabytes(tmp_path: Path) -> None:
    """16,000 rows on one 148 KB picture in one row group would be a file that cannot be loaded."""
    path = tmp_path / "big.parquet"
    image = bytes(3_000_000)
    _write_parquet(path, [record("q", "a")] * 150, lambda _: image, lambda _: None)
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    assert sum(group.num_rows for group in groups) == 150
    assert max(group.num_rows for group in groups) * len(image) <= 256 * 2**20
    assert path.stat().st_size < 60_000_000
    assert next(file.iter_batches(batch_size=1)).num_rows == 1
    assert pa.types.is_struct(file.schema_arrow.field("image").type)


def test_a_split_that_is_not_there(demo: Path, tmp_path: Path) -> None:
    """A dataset of somebody else's, without a forget set: one line that says what it has."""
    folder = tmp_path / "mllmu-med"
    shutil.copytree(demo / "mllmu-med", folder)
    _, front, body = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    card = yaml.safe_load(front)
    for config in card["configs"]:
        config["data_files"] = [d for d in config["data_files"] if d["split"] != "forget"]
        config["description"] = "another build"
    card.pop("dataset_info", None)
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n{body}", "utf-8")
    said = "config privacy holds no forget set; it has retain, test"
    with pytest.raises(UserError, match=said):
        load("privacy", folder, split="forget")
    assert set(load("privacy", folder)) == {"retain", "test"}


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
FORGET = "privacy/forget-00-05.parquet"


def changed(table: pa.Table) -> pa.Table:
    return table.set_column(
        table.schema.get_field_index("answer"), "answer", pa.nulls(len(table), pa.string())
    )


@pytest.mark.parametrize(
    ("file", "damage", "line"),
    [
        (FORGET, lambda data: POINTER, "is a pointer of git-lfs"),
        (FORGET, lambda data: data[: len(data) // 2], "no rows here"),
        (FORGET, lambda data: b"", "no rows here"),
        (FORGET, lambda data: b"<!doctype html>", "is a web page, not data"),
        (FORGET, lambda data: b"/annex/objects/MD5E-s1--a\n", "is a pointer of git-annex"),
        (FORGET, None, "no rows here"),
        (FORGET, lambda table: table.drop(["answer"]), "it has no column answer"),
        (FORGET, lambda table: pa.concat_tables([table] * 2), "not as many as its card says"),
        (FORGET, changed, "has no answer"),
        ("README.md", lambda data: b"---\nconfigs: [3]\n---\n", "not a built dataset"),
        ("README.md", lambda data: data.decode().encode("utf-16"), "not a built dataset"),
    ],
)
def test_a_damaged_folder_is_one_line(
    file: str, damage: Any, line: str, demo: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    shutil.copytree(demo / "mllmu-med", folder)
    path = folder / file
    if damage is None:
        path.unlink()
    else:
        try:
            path.write_bytes(damage(path.read_bytes()))
        except (AttributeError, TypeError):
            pq.write_table(damage(pq.read_table(path)), path)
    with pytest.raises(UserError, match=line) as told:
        read_rows(folder, "privacy")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("status", [401, 302])
def test_a_hub_that_refuses_is_one_line(status: int, tmp_path: Path) -> None:
    import http.server
    import threading

    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}"}
    code = (
        "from mllmu_med_dataset import *\n"
        "try: load('privacy', 'ORG/x')\nexcept UserError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HOME": str(tmp_path), **place},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("ORG/x: config privacy: cannot be read (")
    assert len(done.stdout.splitlines()) == 1
    server.shutdown()
