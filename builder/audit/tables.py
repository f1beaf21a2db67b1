"""The audit's report for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from builder.audit.check import Check

SHOWN: Final = 20  # failures of one check; --json names all


def print_checks(where: str, checks: Sequence[Check], seconds: float) -> None:
    """A line each check with how much it looked at, then what fails."""
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:  # a file or a pipe: do not wrap ids and reasons
        console = Console(highlight=False, width=160)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("check", "checked", "result", "note"):
        table.add_column(column, justify="right" if column == "checked" else "left")
    for check in checks:
        result = Text("ok", style="green") if check.checked else Text("-")
        if not check.ok:
            result = Text(f"{len(check.failed):,} failed", style="bold red")
        table.add_row(Text(check.name), f"{check.checked:,}", result, Text(check.note))
    console.print(table)
    failed = [check for check in checks if not check.ok]
    for check in failed:
        console.print(Text(f"\n{check.name}:", style="bold"))
        for entry in check.failed[:SHOWN]:
            console.print(Text(f"  {entry}"), soft_wrap=True)
        if len(check.failed) > SHOWN:
            more = f"  and {len(check.failed) - SHOWN:,} more: see --json"
            console.print(Text(more), soft_wrap=True)
    done = f"{len(failed)} of {len(checks)} checks fail" if failed else "all checks hold"
    console.print(Text(f"\n{where}: {done} ({seconds:.1f} s)"), soft_wrap=True)
