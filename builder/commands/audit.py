"""`python -m builder audit`."""

import json
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from builder.commands.options import told
from mllmu_med.command_line import one_line_errors
from mllmu_med.image_folder import VARIABLE, Images
from mllmu_med.schema import DEFAULT_FOLDER
from mllmu_med_dataset import CONFIGS, UsageError

EPILOG = """Exit codes: 0 all checks hold, 1 a check fails or cannot be run, 2 wrong usage.
"""


@one_line_errors
def audit(
    where: Annotated[str, told("audit.where", argument=True)] = DEFAULT_FOLDER,
    images: Annotated[list[str] | None, told("audit.images")] = None,
    as_json: Annotated[bool, told("audit.json")] = False,
) -> None:
    """Check a dataset folder; failures are listed with their rows."""
    from builder.audit.run_checks import run
    from builder.audit.verdict import print_checks

    started = time.monotonic()
    given = _images(images or [])
    for place in given.values():
        Images(Path(place).expanduser())  # what is named is there, needed or not
    checks = run(Path(where).expanduser(), given or os.environ.get(VARIABLE))
    seconds = time.monotonic() - started
    if as_json:
        every = [{**check._asdict(), "ok": check.ok} for check in checks]
        about = {"dataset": where, "ok": all(check.ok for check in checks)}
        print(json.dumps({**about, "seconds": round(seconds, 2), "checks": every}))
    else:
        print_checks(where, checks, seconds)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _images(given: list[str]) -> dict[str, str]:
    """The folder of each scenario's images."""
    folders: dict[str, str] = {}
    for choice in given:
        name, _, place = choice.partition("=")
        names: dict[str, str] = (
            {name: place} if name in CONFIGS and place else dict.fromkeys(CONFIGS, choice)
        )
        if folders.keys() & names.keys():
            raise UsageError("--images: give one folder for all, or one NAME=DIR for each scenario")
        folders |= names
    return folders
