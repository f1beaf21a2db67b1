"""`python -m builder rebuild`, `status` and `show`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from builder.commands.options import OUT, AsJson, Out, Work, job_of, told
from builder.commands.rebuild_options import Options, make_job
from mllmu_med.command_line import one_line_errors

if TYPE_CHECKING:
    from builder.core.job import Job


@one_line_errors
def rebuild(options: Options) -> None:
    """Build the dataset, or the stages whose inputs changed; rerun to resume after a kill.

    The build ends with an audit that says whether the folder may be published (exit code 1 if
    not). If the recipe requires manual review, it stops with exit code 3 until the reviewers have
    decided: see `python -m builder review --help`.
    """
    from builder.audit.verdict import insist
    from builder.core.job import read_job, trial
    from builder.rebuild import pipeline, print_rebuild

    job = make_job(options)
    if options.dry_run:
        _print_plan(trial(job), options.as_json)
        return
    result = pipeline.rebuild(job, options.until)
    job = replace(job, recipe=read_job(job.work).recipe)  # with the sizes of the corpus
    if options.as_json:
        print(json.dumps(print_rebuild.as_json(job, result)))
    else:
        print_rebuild.print_result(job, result)
    insist(job.out, result.checks)


def _print_plan(job: Job, as_json: bool) -> None:
    from builder.rebuild import pipeline, print_rebuild
    from builder.rebuild.stages import plan, sized_aside

    job = sized_aside(job)
    plans = plan(job)
    stale = pipeline.stale(plans, job)
    if as_json:
        report = {
            "would_run": stale,
            "waits": print_rebuild.waiting(job, plans, stale),
            "recipe": job.recipe.model_dump(mode="json"),
        }
        print(json.dumps(report))
    else:
        print_rebuild.print_plan(job, plans, stale)


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
    row_id: Annotated[str, told("show.row_id", argument=True)], out: Out = OUT, work: Work = None
) -> None:
    """Trace one row through the stages, or list the rows that a stage dropped."""
    from builder.rebuild import pipeline
    from builder.rebuild.print_life import print_life
    from builder.rebuild.stages import plan

    job = job_of(out, work)
    plans = plan(job)
    print_life(plans, row_id, pipeline.stale(plans, job))
