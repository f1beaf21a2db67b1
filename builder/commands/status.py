"""`python -m builder status` and `python -m builder show`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from builder.commands.options import OUT, AsJson, Out, Work, job_of
from mllmu_med.command_line import one_line_errors

STATUS_EXAMPLES = """
python -m builder status
python -m builder status --out trial --json
"""
SHOW_EXAMPLES = """
python -m builder show phantom/radiology-train-0034/q04
python -m builder show slake/xmlab102/1043 --out trial
"""


@one_line_errors
def status(out: Out = OUT, work: Work = None, as_json: AsJson = False) -> None:
    """Stages done so far, rows kept and dropped by each, and the reasons."""
    from builder.rebuild import pipeline
    from builder.rebuild.print_rebuild import print_status, status_json
    from builder.rebuild.stages import plan

    job = job_of(out, work)
    plans = plan(job)
    stale = pipeline.stale(plans, job)
    if as_json:
        print(json.dumps(status_json(job, plans, stale)))
    else:
        print_status(job, plans, stale)


@one_line_errors
def show(
    row_id: Annotated[str, typer.Argument(metavar="ID", help="A row's id.")],
    out: Out = OUT,
    work: Work = None,
) -> None:
    """Trace one row through the stages, or see why it was dropped."""
    from builder.rebuild import pipeline
    from builder.rebuild.print_life import print_life
    from builder.rebuild.stages import plan

    job = job_of(out, work)
    plans = plan(job)
    print_life(plans, row_id, pipeline.stale(plans, job))
