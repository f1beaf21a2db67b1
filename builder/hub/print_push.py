"""What a push to the Hub did, or would do, for a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from mllmu_med.console import make_table
from mllmu_med.disk import readable


def print_plan(plan: Mapping[str, Any]) -> None:
    """Every file with its size, how images go out, and who could see it."""
    table = make_table("file", "#bytes")
    for name, size in plan["files"].items():
        table.add_row(Text(name), f"{size:,}")
    Console(highlight=False, soft_wrap=True).print(table)
    count, size = len(plan["files"]), readable(plan["bytes"])
    lines = [f"\n{plan['repo']}: {count} files, {size}, build {plan['build']}"]
    for name, mode in plan["images"].items():
        how = "embedded" if mode == "embed" else "by reference: rows give path and hash, no image"
        lines.append(f"{name}: {plan['pictures'][name]:,} images, {how}")
    for name, left in plan["left_out"].items():
        lines.append(f"{name}: {left['requests']:,} requests left out: {left['why']}")
    seen = {
        None: "a new repository is made private, another stays as it is",
        True: "private",
        False: "public",
    }
    _print(
        *lines,
        f"visibility: {seen[plan['private']]}",
        f"gated: {plan['gated'] or 'a new repository is not, another stays as it is'}",
        f"tag: {plan['tag'] or 'none'}",
        "dry run: the network was not asked and nothing is changed",
    )


def print_done(done: Mapping[str, Any]) -> None:
    """What changed, where it lies, and how to load it."""
    lines = [f"nothing to commit: the Hub holds build {done['build']} already"]
    if done["committed"]:
        what = f"{len(done['uploaded']):,} files ({readable(done['bytes'])})"
        what += f", deleted {len(done['deleted']):,}" if done["deleted"] else ""
        lines = [f"committed {what}: build {done['build']}"]
    lines += [f"now {setting}" for setting in done["settings"]]
    if done["tag"]:
        lines.append(f"tag {done['tag']}: {'set' if done['tagged'] else 'stands there already'}")
    seen = "private" if done["private"] else "public"
    gated = f", gated {done['gated']}" if done["gated"] else ""
    _print(
        *lines,
        f"\n{done['url']} ({seen}{gated})",
        f"commit {done['commit']}",
        "\n  from datasets import load_dataset",
        f'  data = load_dataset("{done["repo"]}", "{done["config"]}")',
    )


def _print(*lines: str) -> None:
    Console(highlight=False, soft_wrap=True).print(Text("\n".join(lines)))
