"""The file that answers go to: what is taken over after a kill, and what is left as it was."""

import json
from pathlib import Path
from typing import Any

import pytest
from corpora import record
from faults import each_fault

from eval.answer import AnswerFile
from eval.attacks import Ask, asks
from eval.model import Answer
from eval.predictions import read_predictions
from mllmu_med_dataset import UsageError, UserError

IDENTITY: dict[str, Any] = {"model": "tiny", "weights": "ab", "max_new_tokens": 8}


def asked(count: int = 4) -> list[Ask]:
    return asks(record(f"What is {i}?", "CT", f"x/{i}", "x") for i in range(count))


def add(file: AnswerFile, some: list[Ask]) -> None:
    file.add(some, [Answer("a \u2028 b", 3, "eos") for _ in some])


def half_run(path: Path) -> bytes:
    """Two of four answers, as a killed run leaves them."""
    with AnswerFile(path, asked(), IDENTITY) as file:
        add(file, asked()[:2])
    return path.read_bytes()


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_half_written_line_is_answered_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "answers.jsonl"
    content = half_run(path)
    path.write_bytes(content[:-cut])
    kept = 2 if cut == 1 else 1  # without its line end alone a line is whole
    with AnswerFile(path, asked(), IDENTITY) as file:
        assert [file.has(ask) for ask in asked()] == [i < kept for i in range(4)]
        add(file, asked()[kept:])
        assert [one.id for one in read_predictions(path)] == [f"x/{i}" for i in range(4)]
        file.finish()
    assert path.read_bytes().startswith(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"id": "x/0", "answer": "CT"}\n{"id": "x/1", "answer": "MR"}', "another model"),
        ('{"answer":"CT","id":"x/0"}', "another model"),
        ('{"id": "x/0", "answer": "CT"}\n{"answer":"M', "another model"),
        ("my notes, without a line end", "broken JSON"),
        ("my notes\n", "broken JSON"),
    ],
)
def test_a_file_of_somebody_else_stays_as_it_is(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(content, "utf-8")
    with pytest.raises(UserError, match=said):
        AnswerFile(path, asked(), IDENTITY)
    assert path.read_text("utf-8") == content


def test_two_at_once_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with AnswerFile(path, asked(), IDENTITY) as first:
        add(first, asked()[:1])
        with pytest.raises(UserError, match="another command is writing here"):
            AnswerFile(path, asked(), IDENTITY)
        add(first, asked()[1:])
        first.finish()
    with AnswerFile(path, asked(), IDENTITY) as second:
        assert all(map(second.has, asked()))
    assert json.loads(path.with_suffix(".run.json").read_text())["model"] == "tiny"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this is a folder: give a file's name"):
        AnswerFile(tmp_path, asked(), IDENTITY)
    assert not list(tmp_path.parent.glob("*.run.json"))


def test_a_full_disk_at_the_start(tmp_path: Path) -> None:
    """Of a file whose last line lacks its end, which is the first thing that is written."""
    path = tmp_path / "answers.jsonl"
    path.write_bytes(half_run(path)[:-1])
    said = []

    def start() -> None:
        try:
            with AnswerFile(path, asked(), IDENTITY) as file:
                assert all(map(file.has, asked()[:2]))
        except UserError as error:
            said.append(str(error))

    points = [point for point, _ in each_fault(start, tmp_path)]
    assert ("write", "answers.jsonl", 1) in points
    assert len(said) == len(points)
    assert all("json" in one and ": cannot be written (No space" in one for one in said)
