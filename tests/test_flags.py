"""Every option that a message or a page names is an option of some command."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from corpora import ROOT

import baselines.__main__
import builder.__main__
import eval.__main__

APPS = {
    "builder": builder.__main__.app,
    "eval": eval.__main__.app,
    "baselines": baselines.__main__.app,
}
#: Options of other programs that we name: accelerate, hf, and what docs/serve.md starts.
OTHERS = {
    "--index-url",
    "--query-gpu",
    "--multi_gpu",
    "--config_file",
    "--num_processes",
    "--local-dir",
}
SERVERS = {
    *("--enable-lora", "--lora-modules", "--max-lora-rank", "--enable-tower-connector-lora"),
    *("--generation-config", "--limit-mm-per-prompt", "--lora-paths", "--max-model-len"),
    *("--max-loras", "--model-path", "--port", "--sampling-defaults", "--served-model-name"),
}
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def commands(name: str, group: Any) -> Iterator[tuple[str, set[str]]]:
    """Each command as it is typed, with its options."""
    yield (
        name,
        {flag for one in group.params for flag in (*one.opts, *one.secondary_opts)} | {"--help"},
    )
    for key, command in getattr(group, "commands", {}).items():
        yield from commands(f"{name} {key}", command)


KNOWN = {
    typed: flags
    for module, app in APPS.items()
    for typed, flags in commands(f"python -m {module}", typer.main.get_command(app))
}
ALL = set().union(*KNOWN.values()) | OTHERS | SERVERS


def sources() -> list[Path]:
    rooms = [path for room in APPS for path in (ROOT / room).rglob("*.py")]
    return [*rooms, *ROOT.glob("mllmu_med*.py")]


def pages() -> list[Path]:
    shipped = [path for room in APPS for path in (ROOT / room).rglob("*.yaml")]
    return [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *shipped]


def texts() -> Iterator[tuple[Path, str]]:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value
    for path in pages():
        yield path, path.read_text("utf-8")


def test_every_flag_that_is_named_is_one_of_a_command() -> None:
    assert "--set" in KNOWN["python -m builder rebuild"]
    unknown = {
        f"{path.relative_to(ROOT)}: {flag}"
        for path, text in texts()
        for flag in FLAG.findall(text)
        if flag not in ALL
    }
    assert not unknown


def test_every_command_that_is_written_out_takes_its_flags() -> None:
    wrong = set()
    for path, text in texts():
        for line in text.replace("\\\n", " ").splitlines():
            for typed in re.findall(r"python -m (?:builder|eval|baselines)\b[^`|&#\n]*", line):
                words = typed.split()
                size = max(
                    (n for n in range(3, len(words) + 1) if " ".join(words[:n]) in KNOWN),
                    default=3,
                )
                known = KNOWN.get(" ".join(words[:size]))
                if known is None:
                    continue
                for flag in FLAG.findall(typed):
                    if flag not in known:
                        wrong.add(f"{path.relative_to(ROOT)}: {typed}: {flag}")
    assert not wrong
