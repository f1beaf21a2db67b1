"""The paper's size on the real annotations, with stand-in pictures drawn around them.

Skipped where the real annotation files are not at hand.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from corpora import ROOT, SHARED, builder
from datasets import load_dataset

from builder.audit import failing
from builder.core.stage_cache import Chain
from mllmu_med_dataset import SPLITS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no real annotation files here"),
]
COMMAND = ["rebuild", "--recipe", "paper", "--author", "offline", "--slake", "Slake1.0"]
COMMAND += ["--mm-skin", "MM-Skin", "--review", "accept-all", "--set", "privacy.test=1000"]
COMMAND += ["--set", "incorrect.retain=2000", "--set", "incorrect.test=1000"]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    for kind, name in (("slake", "Slake1.0"), ("mm_skin", "MM-Skin")):
        tool = SHARED / "tools" / "draw_stand_in_images.py"
        command = [sys.executable, str(tool), kind, str(SHARED / "data" / kind), str(folder / name)]
        subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="module")
def built(corpora: Path) -> Path:
    builder(*COMMAND, cwd=corpora)
    return corpora / "mllmu-med"


def test_builds_of_repeated_rows_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of those that `benchmarks/audited_builds.py` makes: five rows of each file twice."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from audited_builds import builds, make_corpora

    make_corpora(SHARED / "data", tmp_path, 5)
    for built in builds(tmp_path, [1]):
        assert failing(built.checks) == "", built.split_by
        assert len(built.checks) == 59
        for name, files in (("privacy", 2), ("incorrect", 1)):
            drops = Chain(tmp_path / "mllmu-med.work" / name).drops("ingest")
            repeats = [drop.id for drop in drops if drop.id.endswith("-2")]
            assert len(repeats) == len(set(repeats)) == 5 * files


def unique_and_stored(folder: Path) -> float:
    """Bytes of the folder over the bytes of its distinct pictures."""
    sizes: dict[str, int] = {}
    for path in folder.rglob("*.parquet"):
        for batch in pq.ParquetFile(path).iter_batches(100, columns=["image", "image_sha256"]):
            for image, digest in zip(batch["image"], batch["image_sha256"], strict=True):
                sizes[digest.as_py()] = len(image["bytes"].as_py())
    stored = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return stored / sum(sizes.values())


def test_the_papers_shares(built: Path, tmp_path: Path) -> None:
    """Figure 3(e): 47 / 30 / 23 % CT, X-ray, MRI; about 35 % of the questions are closed."""
    columns = ["id", "modality", "answer_type"]
    data = load_dataset(str(built), "privacy", columns=columns, cache_dir=str(tmp_path))
    assert [len(data[split]) for split in SPLITS] == [351, 3960, 1000]
    rows = [row for split in SPLITS for row in data[split]]
    modality = Counter(row["modality"] for row in rows)
    for name, share in (("CT", 0.47), ("X-Ray", 0.30), ("MRI", 0.23)):
        assert modality[name] / len(rows) == pytest.approx(share, abs=0.02)
    closed = Counter(data["retain"]["answer_type"])["closed"] / len(data["retain"])
    assert closed == pytest.approx(1376 / 3960, abs=0.02)


def test_the_folder_stays_small(corpora: Path, built: Path) -> None:
    """Each picture once a file: 4.5 times the unique bytes with six ratios, 1.5 without."""
    assert unique_and_stored(built / "privacy") <= 4.5
    builder(*COMMAND, "--set", "privacy.ratios=[10]", "--out", "plain", cwd=corpora)
    assert unique_and_stored(corpora / "plain") <= 1.5
    assert unique_and_stored(corpora / "plain" / "privacy") <= 1.5
