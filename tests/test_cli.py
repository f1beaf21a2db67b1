"""What is typed counts, also where it is nothing: 0 is a limit, and an empty value is a mistake."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

import baselines.__main__
import builder.__main__
import eval.__main__
from builder.request_ledger import Totals
from builder.request_settings import Price, Settings, limit_reached
from mllmu_med_dataset import UsageError

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
