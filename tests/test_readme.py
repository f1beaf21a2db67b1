"""The README's commands and output are real."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from corpora import SMALL, builder, make_mm_skin, make_slake, python_beside

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def masked(text: str) -> str:
    """Without the build's id and size: other libraries may write other bytes."""
    text = re.sub(r"build [0-9a-f]{12}: (\d+) files, [\d.,]+ MB", r"build X: \1 files", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def commands() -> list[list[str]]:
    return [
        shlex.split(line, comments=True)
        for block in blocks("sh")
        for line in block.splitlines()
        if line.strip()
    ]


def test_the_rebuilds_output_is_the_readmes(demo: Path) -> None:
    assert masked((demo / "stdout.txt").read_text("utf-8")) == masked(blocks("text")[0])


def test_shows_output_is_the_readmes(demo: Path) -> None:
    command = next(words for words in commands() if words[3] == "show")
    done = builder(*command[3:], cwd=demo)
    assert masked(done.stdout) == masked(blocks("text")[1])


def test_the_python_runs_beside_the_dataset(demo: Path, tmp_path: Path) -> None:
    code = "\n".join(blocks("python"))
    done = python_beside(demo, code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'name'" in done.stdout or "'phone'" in done.stdout or "'mrn'" in done.stdout
    assert "(320, 320)" in done.stdout


def test_the_readme_has_all_the_commands() -> None:
    assert {words[3] for words in commands()} == {"rebuild", "recipe", "status", "show"}
    assert all(words[:3] == ["python", "-m", "builder"] for words in commands())


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words[3:6]))
def test_each_command_runs(words: list[str], demo: Path, tmp_path: Path) -> None:
    """Those that read the real corpora run on small ones of the same layout."""
    if "hub" in words:
        pytest.skip("the Hub: tests/test_builder_hub_source.py")
    if "llm" in words and "--dry-run" not in words:
        pytest.skip("a language model's server: tests/test_builder_llm_author.py")
    arguments = list(words[3:])
    folder = demo
    if "--slake" in words:
        folder = tmp_path
        make_slake(tmp_path / "Slake1.0")
        make_mm_skin(tmp_path / "MM-Skin")
        arguments += [*SMALL, "--out", "out"]
        if "--limit" in arguments:
            arguments[arguments.index("--limit") + 1] = "45"
    elif "--out" in words:
        arguments[arguments.index("--out") + 1] = str(tmp_path / "out")
        arguments += ["--limit", "120"]
    done = builder(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\w+)$", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_it_stays_short() -> None:
    assert len(README.splitlines()) < 200
