"""The audit's report for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from builder.audit.run_checks import Check
from mllmu_med.console import make_console, make_table

SHOWN: Final = 20  # failures of one check; --json names all


def print_checks(where: str, checks: Sequence[Check], seconds: float) -> None:
    """A line each check with how much it looked at, then what fails."""

    console = make_console()
    table = make_table("check", "#checked", "result", "note")
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
