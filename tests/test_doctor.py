"""`builder doctor`: what it says, what is a problem, and that no key is told."""

import json
import re
from pathlib import Path

import pytest
import typer
from corpora import process
from packaging.requirements import Requirement

from builder.commands.doctor import packages
from mllmu_med.command_line import one_line_errors


def test_it_tells_no_key_and_writes_nothing(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_secret"}
    env |= {"OPENAI_API_KEY": "sk-secret", "PATH": "/nothing", "LC_ALL": "C"}
    done = process("builder", "doctor", cwd=tmp_path, env=env)
    assert "secret" not in done.stdout + done.stderr
    assert re.search(r"^ok +Hub token: set$", done.stdout, re.MULTILINE)
    assert re.search(r"^note +browser: none found -> copy", done.stdout, re.MULTILINE)
    assert not list(tmp_path.iterdir())


def test_a_problem_has_its_advice_and_exit_code(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    env = {"HF_HOME": str(tmp_path / "file" / "hf")}
    done = process("builder", "doctor", "--json", cwd=tmp_path, env=env, code=1)
    told = json.loads(done.stdout)
    assert not told["ok"]
    bad = [line for line in told["lines"] if line["state"] == "problem"]
    assert [line["what"] for line in bad] == ["cache"]
    assert "set HF_HOME" in bad[0]["next"]


def test_letters_that_the_locale_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "Zoë"
    place.mkdir()
    env = {"HF_HOME": str(tmp_path), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = process("builder", "doctor", cwd=place, env=env, code=1)
    assert re.search(r"^problem +this folder: .* -> .*set PYTHONUTF8=1", done.stdout, re.MULTILINE)

    @one_line_errors
    def command() -> None:
        "\udcc3".encode()

    with pytest.raises(UnicodeEncodeError):  # a bug of ours
        command()
    monkeypatch.setattr("sys.argv", ["run", "--out", "Zo\udcc3"])
    with pytest.raises(typer.Exit):
        command()
    assert "set PYTHONUTF8=1" in capsys.readouterr().err


def test_versions_are_held_against_their_ranges() -> None:
    asked = map(Requirement, ["numpy>=2.0", "typer>=999", "no-such>=1", "torch>=1"])
    said = {line.what: line for line in packages(asked)}
    assert said["typer"].state == said["no-such"].state == "problem"
    assert "needed is >=999" in said["typer"].found
    assert said["packages"].found.startswith("2 within")


def test_a_library_that_is_not_installed_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    @one_line_errors
    def command(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    with pytest.raises(typer.Exit):
        command(name="torch.nn")
    assert capsys.readouterr().err.startswith("error: torch: not installed in this Python: pip ")
    with pytest.raises(ModuleNotFoundError):  # a bug of ours
        command(name="eval.nothing")
