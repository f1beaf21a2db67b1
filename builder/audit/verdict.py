"""The audit at the end of a rebuild: whether the folder may be published; its report in full."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from builder.audit.pseudonyms import own_names
from builder.audit.run_checks import VERSION, Check, failing, run
from builder.core.job import out_option, shown
from builder.dataset_folder.manifest import read_manifest
from builder.dataset_folder.write import MANIFEST
from mllmu_med.console import make_console, print_table
from mllmu_med.disk import remove
from mllmu_med.files import canonical_json, file_digest, parse_json, write_atomic
from mllmu_med.progress import say
from mllmu_med_dataset import UserError


def audited(folder: Path, record: Path, changed: bool) -> list[Check]:
    """The checks of a folder whose files are those of its manifest.

    Args:
        record: where they are remembered when all hold, so that a rebuild which changes nothing
            takes no time. What fails may lie in this machine, and is looked at again.
        changed: look again, whatever is remembered.

    The work folder that `record` lies in tells a corpus' own names.
    """
    of = {"audit": VERSION, "manifest": file_digest(folder / MANIFEST)}
    try:
        remembered = parse_json(record.read_text("utf-8"))
        if not changed and {name: remembered[name] for name in of} == of:
            return [Check(**check) for check in remembered["checks"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not ours: look
    say("audit: looking at every file and row")
    remove(record)
    checks = run(folder)
    if not failing(checks):
        checks.append(own_names(folder, record.parent))
    if not failing(checks):
        kept = {**of, "checks": [check._asdict() for check in checks]}
        write_atomic(record, canonical_json(kept) + "\n")
    return checks


def line(out: Path, checks: Sequence[Check]) -> str:
    """How many checks hold, and the command that publishes a folder in which all do."""
    held = sum(check.ok for check in checks)
    if held < len(checks):
        return f"audit: {held} of {len(checks)} checks hold: not to be published"
    if "own" in read_manifest(out).scenarios:
        return f"audit: all {held} checks hold; real patients' data: it cannot be published"
    publish = f"python -m builder publish ORG/NAME{out_option(out)}"
    return f"audit: all {held} checks hold; to publish it: {publish}"


def as_json(checks: Sequence[Check]) -> dict[str, Any] | None:
    """The verdict for programs; None where nothing has been audited."""
    if not checks:
        return None
    failed = {check.name: check.failed for check in checks if not check.ok}
    return {"ok": not failed, "checks": len(checks), "failed": failed}


def insist(out: Path, checks: Sequence[Check]) -> None:
    """Raise UserError where a check fails; the folder stays as it is."""
    if failed := failing(checks):
        raise UserError(
            f"{shown(out)}: {failed}: the folder stays, but is not to be published; all of them: "
            f"`python -m builder audit {shlex.quote(shown(out))}`"
        )


SHOWN: Final = 20  # failures of one check; --json names all


def print_checks(where: str, checks: Sequence[Check], seconds: float) -> None:
    """A line each check with how much it looked at, then what fails."""
    console = make_console()
    rows = []
    for check in checks:
        result = Text("ok", style="green") if check.checked else Text("-")
        if not check.ok:
            result = Text(f"{len(check.failed):,} failed", style="bold red")
        rows.append((check.name, check.checked, result, check.note))
    print_table(console, ("check", "#checked", "result", "note"), rows, gap=False)
    failed = [check for check in checks if not check.ok]
    for check in failed:
        console.print(Text(f"\n{check.name}:", style="bold"))
        print(*(f"  {entry}" for entry in check.failed[:SHOWN]), sep="\n")
        if len(check.failed) > SHOWN:
            print(f"  and {len(check.failed) - SHOWN:,} more: see --json")
    done = f"{len(failed)} of {len(checks)} checks fail" if failed else "all checks hold"
    print(f"\n{where}: {done} ({seconds:.1f} s)")
