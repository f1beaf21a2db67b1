"""`python -m builder rebuild`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.commands.options import Out
from builder.commands.rebuild_options import Options, make_job
from mllmu_med.command_line import one_line_errors, option

if TYPE_CHECKING:
    from builder.core.job import Job

EXAMPLES = """
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
        str, option("NAME|FILE", "What to build: demo, paper or a YAML file.")
    ] = Options.recipe,
    scenario: Annotated[
        str,
        option("NAME", "privacy, incorrect, or all that the recipe has."),
    ] = Options.scenario,
    slake: Annotated[
        str | None,
        option("DIR|hub", "SLAKE's folder; `hub` fetches its Hub mirror."),
    ] = Options.slake,
    mm_skin: Annotated[Path | None, option("DIR", "MM-Skin's folder.")] = Options.mm_skin,
    author: Annotated[
        str | None,
        option(
            "NAME", "Who writes the harmful text: offline (fixed rules) or llm (a language model)."
        ),
    ] = Options.author,
    model: Annotated[
        str | None,
        option("NAME", "llm: the model. The key comes from OPENAI_API_KEY."),
    ] = Options.model,
    base_url: Annotated[
        str | None,
        option("URL", "llm: the server. [default: OPENAI_BASE_URL or OpenAI]"),
    ] = Options.base_url,
    offline: Annotated[
        bool, typer.Option("--offline", help="llm: replay recorded replies; send no request.")
    ] = Options.offline,
    requests: Annotated[
        Path | None,
        option("FILE", "llm: recorded replies to use first: provenance/requests.parquet."),
    ] = Options.requests,
    batch: Annotated[
        bool, typer.Option("--batch", help="llm: use OpenAI's Batch API.")
    ] = Options.batch,
    concurrency: Annotated[
        int, option("N", "llm: maximum number of concurrent requests.", min=1)
    ] = Options.concurrency,
    timeout: Annotated[
        float, option("SECONDS", "llm: timeout of a request.", min=1)
    ] = Options.timeout,
    max_requests: Annotated[
        int | None,
        option("N", "llm: stop after N paid replies, earlier runs included.", min=0),
    ] = Options.max_requests,
    max_cost: Annotated[
        float | None,
        option("USD", "llm: stop at this cost, earlier runs included.", min=0),
    ] = Options.max_cost,
    price: Annotated[
        str | None,
        option("IN/OUT", "llm: USD per million tokens, e.g. 2.50/10."),
    ] = Options.price,
    out: Out = Options.out,
    work: Annotated[
        Path | None,
        option("DIR", "Working folder; resumes an interrupted build. [default: OUT.work]"),
    ] = Options.work,
    choices: Annotated[
        list[str] | None,
        option("KEY=VALUE", "Change a recipe key; may be repeated.", "--set"),
    ] = Options.choices,
    limit: Annotated[
        int | None,
        option("N", "At most N rows per scenario, with the sets in proportion.", min=1),
    ] = Options.limit,
    until: Annotated[
        str,
        option(
            "STAGE",
            "Stop after ingest, draw, profiles, inject, corrupt, review, split or write; "
            "before calibrate, with the candidates written for another machine.",
        ),
    ] = Options.until,
    adapted: Annotated[
        list[str] | None,
        option(
            "[NAME=]FILE",
            "Calibrate a scenario with these predictions of a model fine-tuned on another machine.",
        ),
    ] = Options.adapted,
    review: Annotated[
        str | None,
        option("accept-all", "Accept unreviewed texts as they are (recorded in the card)."),
    ] = Options.review,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print which stages would run and what llm would cost."),
    ] = Options.dry_run,
    as_json: Annotated[
        bool, typer.Option("--json", help="The result as JSON on stdout.")
    ] = Options.as_json,
) -> None:
    """Build the dataset, or the stages whose inputs changed; rerun to resume after a kill.

    The build ends with an audit that says whether the folder may be published (exit code 1 if
    not). If the recipe requires manual review, it stops with exit code 3 until the reviewers have
    decided: see `python -m builder review --help`.
    """
    options = Options(**locals())
    from builder.audit.verdict import insist
    from builder.rebuild import pipeline, print_rebuild

    job = make_job(options)
    if dry_run:
        _print_plan(job, as_json)
        return
    result = pipeline.rebuild(job, until)
    if as_json:
        print(json.dumps(print_rebuild.as_json(job, result)))
    else:
        print_rebuild.print_result(job, result)
    insist(job.out, result.checks)


def _print_plan(job: Job, as_json: bool) -> None:
    from builder.rebuild import pipeline, print_rebuild
    from builder.rebuild.stages import plan

    plans = plan(job)
    stale = pipeline.stale(plans, job)
    estimates = pipeline.estimates(job)
    if as_json:
        report = {
            "would_run": stale,
            "waits": print_rebuild.waiting(job, plans, stale),
            "requests": {name: estimate._asdict() for name, estimate in estimates.items()},
            "recipe": job.recipe.model_dump(mode="json"),
        }
        print(json.dumps(report))
    else:
        print_rebuild.print_plan(job, plans, stale)
        print_rebuild.print_estimates(estimates)
