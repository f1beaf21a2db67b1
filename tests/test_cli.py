"""What is typed counts, also where it is nothing: 0 is a limit, and an empty value is a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import baselines.__main__
import builder.__main__
import eval.__main__
from builder.request_ledger import Totals
from builder.request_settings import Price, Settings, limit_reached
from eval.locks import held
from mllmu_med_dataset import UsageError, UserError

APPS = {"builder": builder.__main__, "eval": eval.__main__, "baselines": baselines.__main__}


def refused(module: str, *words: str) -> str:
    result = CliRunner().invoke(APPS[module].app, words)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--max-cost", "0"],
        ["--max-requests", "0"],
        ["--max-cost", "0", "--price", "0/0"],
        ["--base-url", "http://localhost/v1"],
        ["--price", "1/1"],
        ["--batch"],
        ["--offline"],
    ],
)
def test_a_limit_of_nothing_is_seen_where_nobody_is_asked(words: list[str]) -> None:
    said = refused("builder", "rebuild", *words, "--dry-run")
    assert f"{words[0]}: the author is offline, which asks no model: add --author llm" in said


@pytest.mark.parametrize("limit", [{"max_requests": 0}, {"max_cost": 0.0, "price": Price(1, 1)}])
def test_a_limit_of_nothing_lets_nothing_through(limit: dict[str, Any]) -> None:
    settings = Settings("m", base_url="http://localhost/v1", **limit)
    assert limit_reached(settings, Totals(0, 0, 0, 0), 0)


@pytest.mark.parametrize("wrong", [{"max_cost": float("nan")}, {"timeout": float("nan")}])
def test_what_is_no_number_is_no_limit(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Settings("m", base_url="http://localhost/v1", price=Price(1, 1), **wrong)


@pytest.mark.parametrize(
    ("module", "words", "flag"),
    [
        ("builder", ["rebuild", "--author", "llm", "--model", "m", "--base-url", ""], "--base-url"),
        ("builder", ["rebuild", "--author", "llm", "--model", "m", "--price", ""], "--price"),
        ("builder", ["rebuild", "--model", ""], "--model"),
        ("builder", ["rebuild", "--slake", ""], "--slake"),
        ("builder", ["rebuild", "--set", ""], "--set"),
        ("builder", ["publish", "a/b", "--images", ""], "--images"),
        ("builder", ["review", "export", "--reviewers", ""], "--reviewers"),
        ("eval", ["answer", "--model", "m", "--server", "", "--out", "x"], "--server"),
        ("eval", ["likelihood", "--model", "", "--out", "x"], "--model"),
        ("baselines", ["run", "--recipe", ""], "--recipe"),
        ("baselines", ["run", "--model", ""], "--model"),
        ("baselines", ["run", "--config", ""], "--config"),
        ("baselines", ["finetune", "--data", "", "--out", "x"], "--data"),
    ],
)
def test_an_empty_value_is_no_default(module: str, words: list[str], flag: str) -> None:
    """A script's variable that is not set: `--base-url ""` would ask OpenAI."""
    assert f"{flag}: is empty: give a value, or leave the option out" in refused(module, *words)


@pytest.mark.parametrize(
    "words",
    [
        ["score", "rnus/ga/answers.jsonl"],
        ["score", "a.jsonl", "--out", "rnus/ga"],
        ["leak", "rnus/ga/leak.jsonl"],
        ["leak", "--model", "no-such", "--out", "rnus/ga"],
        ["likelihood", "--out", "rnus/ga"],
        ["likelihood", "--model", "no-such", "--out", "rnus/ga"],
        ["answer", "--model", "no-such", "--out", "rnus/ga/answers.jsonl"],
        ["answer", "--out", "rnus/ga/answers.jsonl"],
        ["report", "rnus/ga", "--plots", "plots"],
    ],
    ids=" ".join,
)
def test_a_wrong_input_leaves_no_folder(
    words: list[str], demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = [] if words[0] == "report" else ["--data", str(demo / "mllmu-med")]
    done = CliRunner().invoke(eval.__main__.app, [*words, *data])
    assert done.exit_code in (1, 2), done.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:

    def fail(folder: Path, name: str = "") -> None:
        with held(folder):
            if name:
                (folder / name).touch()
            raise UserError("wrong")

    (tmp_path / "b").mkdir()
    with pytest.raises(UserError):
        fail(tmp_path / "a", "file")
    with pytest.raises(UserError):
        fail(tmp_path / "b" / "c")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "file"]
