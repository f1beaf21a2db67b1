"""JSON lines end at a line feed alone: a model may write every other character that ends a line."""

import re
from pathlib import Path

import pytest
from corpora import ROOT

from baselines.training_state import RunFolder
from builder.dataset_folder.read import read_objects
from eval.run_folder import read_rows_file
from mllmu_med.files import read_jsonl, text_lines, write_jsonl

#: What `str.splitlines` cuts at and JSON leaves as it is in a text, or writes as an escape.
ENDS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r"
ROWS = [{"id": "a", "output": f"one{end}two"} for end in ENDS] + [{"id": "b", "output": "three"}]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "privacy-ratings.jsonl"
    write_jsonl(path, ROWS)
    return path


def test_every_reader_of_json_lines_reads_them(file: Path) -> None:
    assert read_objects(file).rows == ROWS
    assert read_rows_file(file, "x") == ROWS
    assert list(read_jsonl(file)) == ROWS
    assert len(text_lines(file.read_text("utf-8"))) == len(ROWS)
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))  # as an editor may leave it
    assert read_objects(file).rows == ROWS


def test_a_log_is_cut_at_its_own_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    for row in ROWS:
        folder.add(row)
    monkeypatch.setattr(RunFolder, "load", lambda *_: {"step": 3})
    folder.cut_log("x")
    assert list(read_jsonl(folder.log)) == ROWS[:3]


def test_no_text_is_cut_at_other_ends() -> None:
    """`splitlines` is for the words of an exception alone."""
    for room in ("builder", "eval", "baselines"):
        for path in (ROOT / room).rglob("*.py"):
            for call in re.findall(r".*\.splitlines\(", path.read_text("utf-8")):
                assert re.search(r"str\(error\)|\btext\.splitlines\(", call), f"{path}: {call}"
