"""`python -m builder status` and `python -m builder show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mllmu_med.command_line import one_line_errors

OUT = Path("mllmu-med")

STATUS_EPILOG = """Examples:

\b
  python -m builder status
  python -m builder status --out trial --json
"""
SHOW_EPILOG = """Examples:

\b
  python -m builder show phantom/radiology-train-0034/q04
  python -m builder show slake/xmlab102/1043 --out trial
"""


@one_line_errors
def status(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The dataset's folder.")] = OUT,
    work: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Its work folder. [default: OUT.work]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Stages done so far, rows kept and dropped by each, and the reasons."""
    from builder.core.job import read_job, work_folder
    from builder.rebuild import pipeline
    from builder.rebuild.stages import plan
    from builder.rebuild.status import print_status, status_json

    job = read_job(work_folder(work, out))
    plans = plan(job)
    stale = pipeline.stale(plans, job)
    if as_json:
        print(json.dumps(status_json(job, plans, stale)))
    else:
        print_status(job, plans, stale)


@one_line_errors
def show(
    row_id: Annotated[str, typer.Argument(metavar="ID", help="A row's id.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The dataset's folder.")] = OUT,
    work: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Its work folder. [default: OUT.work]")
    ] = None,
) -> None:
    """Trace one row through the stages, or see why it was dropped."""
    from builder.core.job import read_job, work_folder
    from builder.rebuild import pipeline
    from builder.rebuild.life import print_life
    from builder.rebuild.stages import plan

    job = read_job(work_folder(work, out))
    plans = plan(job)
    print_life(plans, row_id, pipeline.stale(plans, job))
