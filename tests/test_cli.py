"""What is typed counts, also where it is nothing: 0 is a limit, and an empty value is a mistake."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cases import cases
from typer.testing import CliRunner

import baselines.__main__
import builder.__main__
import eval.__main__
from mllmu_med.llm.settings import Price, Settings, Totals, limit_reached
from mllmu_med.locks import held
from mllmu_med_dataset import UsageError, UserError

CASES = cases(__file__)

APPS = {"builder": builder.__main__, "eval": eval.__main__, "baselines": baselines.__main__}


def refused(module: str, *words: str) -> str:
    result = CliRunner().invoke(APPS[module].app, words)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    "words",
    CASES["a_limit_of_nothing_is_seen_where_nobody_is_asked"],
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
    CASES["an_empty_value_is_no_default"],
)
def test_an_empty_value_is_no_default(
    module: str, words: list[str], flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script's variable that is not set: `--base-url ""` would ask OpenAI. One place sees it for
    all commands; here is each kind of option and argument."""
    monkeypatch.chdir(tmp_path)
    said = refused(module, *words)
    assert said.startswith(f"error: {flag}: is empty: give a value")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "words",
    CASES["no_folder_is_left"],
    ids=" ".join,
)
def test_no_folder_is_left(words: list[str], demo: Path, tmp_path: Path, monkeypatch: Any) -> None:
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


@pytest.mark.parametrize(
    ("encoding", "shown"), [("latin-1", "\\u2192 é"), ("ascii", "\\u2192 \\xe9")]
)
def test_what_an_encoding_lacks_is_shown_as_an_escape(
    encoding: str, shown: str, tmp_path: Path
) -> None:
    (tmp_path / "r.yaml").write_text("# → é\n", "utf-8")
    line = [sys.executable, "-m", "builder", "recipe", tmp_path / "r.yaml"]
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(line, capture_output=True, env=env, check=True)
    assert done.stdout.decode(encoding) == f"# {shown}\n"
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *line]
    assert subprocess.run(closed, capture_output=True, env=env, check=True).stderr == b""
