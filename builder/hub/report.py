"""What publishing did, or would do, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from mllmu_med.console import make_table
from mllmu_med.disk import readable


def print_plan(found: Mapping[str, Any]) -> None:
    """Every file with its size, how pictures go out, and who could see it."""
    console = Console(highlight=False, soft_wrap=True)
    table = make_table("file", "#bytes")
    for name, size in found["files"].items():
        table.add_row(Text(name), f"{size:,}")
    console.print(table)
    count, size = len(found["files"]), readable(found["bytes"])
    _line(console, f"\n{found['repo']}: {count} files, {size}, build {found['build']}")
    for name, mode in found["images"].items():
        pictures = f"{found['pictures'][name]:,} pictures"
        how = "embedded" if mode == "embed" else "by reference: rows give path and hash, no picture"
        _line(console, f"{name}: {pictures}, {how}")
    for name, left in found["left_out"].items():
        _line(console, f"{name}: {left['requests']:,} requests left out: {left['why']}")
    _line(console, f"visibility: {_visibility(found['private'])}")
    _line(console, f"gated: {found['gated'] or 'a new repository is not, another stays as it is'}")
    _line(console, f"tag: {found['tag'] or 'none'}")
    _line(console, "dry run: the network was not asked and nothing is changed")


def _visibility(private: bool | None) -> str:
    if private is None:
        return "a new repository is made private, another stays as it is"
    return "private" if private else "public"


def print_done(found: Mapping[str, Any]) -> None:
    """What changed, where it lies, and how to load it."""
    console = Console(highlight=False, soft_wrap=True)
    if found["committed"]:
        deleted = f", deleted {len(found['deleted']):,}" if found["deleted"] else ""
        count, size = len(found["uploaded"]), readable(found["bytes"])
        _line(console, f"committed {count:,} files ({size}){deleted}: build {found['build']}")
    else:
        _line(console, f"nothing to commit: the Hub holds build {found['build']} already")
    for setting in found["settings"]:
        _line(console, f"now {setting}")
    if found["tag"]:
        _line(
            console, f"tag {found['tag']}: {'set' if found['tagged'] else 'stands there already'}"
        )
    seen = "private" if found["private"] else "public"
    gated = f", gated {found['gated']}" if found["gated"] else ""
    _line(console, f"\n{found['url']} ({seen}{gated})")
    _line(console, f"commit {found['commit']}")
    load = f'load_dataset("{found["repo"]}", "{found["config"]}")'
    _line(console, f"\n  from datasets import load_dataset\n  data = {load}")


def _line(console: Console, text: str) -> None:
    console.print(Text(text))
