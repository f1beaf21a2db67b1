"""`python -m builder rebuild`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.commands.rebuild_options import Options, make_job
from mllmu_med.command_line import one_line_errors

if TYPE_CHECKING:
    from builder.core.job import Job

OUT = Path("mllmu-med")

EPILOG = """Examples:

\b
  python -m builder rebuild
  python -m builder rebuild --recipe paper --slake DIR --mm-skin DIR
  python -m builder rebuild --recipe paper --slake hub --scenario privacy
  python -m builder rebuild --set privacy.ratios=[10] --set privacy.split_by=image
  python -m builder rebuild --recipe paper --slake DIR --mm-skin DIR --limit 200 --out trial
  python -m builder rebuild --author llm --model MODEL --price 2.50/10 --dry-run
  python -m builder rebuild --author llm --model MODEL --price 2.50/10 --max-cost 5
  python -m builder rebuild --author llm --model MODEL --base-url http://localhost:8000/v1
  python -m builder rebuild --author llm --model MODEL --offline --requests FILE
  python -m builder rebuild --set calibration=null
  python -m builder rebuild --set calibration=null --set incorrect.review=true
  python -m builder rebuild --recipe paper --slake DIR --mm-skin DIR --review accept-all
  python -m builder rebuild --set calibration.model=llava-med --until calibrate
  python -m builder rebuild --set calibration.model=llava-med --adapted privacy=answers.jsonl
"""


@one_line_errors
def rebuild(
    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="What to build: demo, paper or a YAML file.")
    ] = "demo",
    scenario: Annotated[
        str,
        typer.Option(metavar="NAME", help="privacy, incorrect, or all that the recipe has."),
    ] = "all",
    slake: Annotated[
        str | None,
        typer.Option(metavar="DIR|hub", help="SLAKE's folder; `hub` fetches its Hub mirror."),
    ] = None,
    mm_skin: Annotated[Path | None, typer.Option(metavar="DIR", help="MM-Skin's folder.")] = None,
    author: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who writes the harmful text: offline (fixed rules) or llm (a language model).",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="llm: the model. The key comes from OPENAI_API_KEY."),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="llm: the server. [default: OPENAI_BASE_URL or OpenAI]"),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="llm: replay recorded replies; send no request.")
    ] = False,
    requests: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="llm: recorded replies to use first: provenance/requests.parquet."
        ),
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="llm: use OpenAI's Batch API.")] = False,
    concurrency: Annotated[
        int, typer.Option(min=1, metavar="N", help="llm: maximum number of concurrent requests.")
    ] = 16,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="llm: timeout of a request.")
    ] = 120,
    max_requests: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="llm: stop after N paid replies, earlier runs included."
        ),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, metavar="USD", help="llm: stop at this cost, earlier runs included."),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(metavar="IN/OUT", help="llm: USD per million tokens, e.g. 2.50/10."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The dataset's folder.")] = OUT,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Working folder; resumes an interrupted build. [default: OUT.work]"
        ),
    ] = None,
    choices: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe key; may be repeated."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="At most N rows per scenario, with the sets in proportion."
        ),
    ] = None,
    until: Annotated[
        str,
        typer.Option(
            metavar="STAGE",
            help="Stop after ingest, draw, profiles, inject, corrupt, review, split or publish; "
            "before calibrate, with the candidates written for another machine.",
        ),
    ] = "publish",
    adapted: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE",
            help="Calibrate a scenario with these predictions of a model fine-tuned on another "
            "machine.",
        ),
    ] = None,
    review: Annotated[
        str | None,
        typer.Option(
            metavar="accept-all",
            help="Accept unreviewed texts as they are (recorded in the card).",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print which stages would run and what llm would cost."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")] = False,
) -> None:
    """Build the dataset, or the stages whose inputs changed; rerun to resume after a kill.

    The build ends with an audit that says whether the folder may be published (exit code 1 if
    not). If the recipe requires manual review, it stops with exit code 3 until the reviewers have
    decided: see `python -m builder review --help`.
    """
    options = Options(**locals())
    from builder.audit.verdict import insist
    from builder.rebuild import pipeline, results

    job = make_job(options)
    if dry_run:
        _print_plan(job, as_json)
        return
    result = pipeline.rebuild(job, until)
    if as_json:
        print(json.dumps(results.as_json(job, result)))
    else:
        results.print_result(job, result)
    insist(job.out, result.checks)


def _print_plan(job: Job, as_json: bool) -> None:
    from builder.rebuild import pipeline, results
    from builder.rebuild.stages import plan

    plans = plan(job)
    stale = pipeline.stale(plans, job)
    estimates = pipeline.estimates(job)
    if as_json:
        report = {
            "would_run": stale,
            "waits": results.waiting(job, plans, stale),
            "requests": {name: estimate._asdict() for name, estimate in estimates.items()},
            "recipe": job.recipe.model_dump(mode="json"),
        }
        print(json.dumps(report))
    else:
        results.print_plan(job, plans, stale)
        results.print_estimates(estimates)
