"""What `rebuild` was asked for, as typed, and the job that it means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.commands.options import OUT, Out
from mllmu_med.command_line import option
from mllmu_med_dataset import UsageError

if TYPE_CHECKING:
    from builder.core.job import Job
    from builder.core.recipe import Recipe
    from mllmu_med.llm.settings import Settings


@dataclass(frozen=True)
class Options:
    """The options of `python -m builder rebuild`."""

    recipe: Annotated[str, option("NAME|FILE", "What to build: demo, paper or a YAML file.")] = (
        "demo"
    )
    scenario: Annotated[str, option("NAME", "privacy, incorrect, or all that the recipe has.")] = (
        "all"
    )
    slake: Annotated[
        str | None, option("DIR|hub", "SLAKE's folder; `hub` fetches its Hub mirror.")
    ] = None
    mm_skin: Annotated[Path | None, option("DIR", "MM-Skin's folder.")] = None
    author: Annotated[
        str | None,
        option(
            "NAME", "Who writes the harmful text: offline (fixed rules) or llm (a language model)."
        ),
    ] = None
    model: Annotated[
        str | None, option("NAME", "llm: the model. The key comes from OPENAI_API_KEY.")
    ] = None
    base_url: Annotated[
        str | None, option("URL", "llm: the server. [default: OPENAI_BASE_URL or OpenAI]")
    ] = None
    offline: Annotated[
        bool, typer.Option("--offline", help="llm: replay recorded replies; send no request.")
    ] = False
    requests: Annotated[
        Path | None,
        option("FILE", "llm: recorded replies to use first: provenance/requests.parquet."),
    ] = None
    batch: Annotated[bool, typer.Option("--batch", help="llm: use OpenAI's Batch API.")] = False
    concurrency: Annotated[
        int, option("N", "llm: maximum number of concurrent requests.", min=1)
    ] = 16
    timeout: Annotated[float, option("SECONDS", "llm: timeout of a request.", min=1)] = 120
    max_requests: Annotated[
        int | None, option("N", "llm: stop after N paid replies, earlier runs included.", min=0)
    ] = None
    max_cost: Annotated[
        float | None, option("USD", "llm: stop at this cost, earlier runs included.", min=0)
    ] = None
    price: Annotated[str | None, option("IN/OUT", "llm: USD per million tokens, e.g. 2.50/10.")] = (
        None
    )
    out: Out = OUT
    work: Annotated[
        Path | None,
        option("DIR", "Working folder; resumes an interrupted build. [default: OUT.work]"),
    ] = None
    choices: Annotated[
        list[str] | None, option("KEY=VALUE", "Change a recipe key; may be repeated.", "--set")
    ] = None
    limit: Annotated[
        int | None, option("N", "At most N rows per scenario, with the sets in proportion.", min=1)
    ] = None
    until: Annotated[
        str,
        option(
            "STAGE",
            "Stop after ingest, draw, profiles, inject, corrupt, review, split or write; "
            "before calibrate, with the candidates written for another machine.",
        ),
    ] = "write"
    adapted: Annotated[
        list[str] | None,
        option(
            "[NAME=]FILE",
            "Calibrate a scenario with these predictions of a model fine-tuned on another machine.",
        ),
    ] = None
    review: Annotated[
        str | None,
        option("accept-all", "Accept unreviewed texts as they are (recorded in the card)."),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print which stages would run and what llm would cost."),
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")] = False


def make_job(options: Options) -> Job:
    """The job that the options mean; a UsageError or UserError where they contradict.

    `--slake hub` fetches SLAKE unless it is a dry run.
    """
    from builder.core.chain_plan import STAGES
    from builder.core.recipe import tell_given
    from mllmu_med.recipe_files import choices as parse_choices

    job = _job(options)
    if options.adapted:
        job = replace(job, adapted=_adapted(options.adapted, job.recipe))
        tell_given(job.recipe, parse_choices(options.choices or []), job.adapted)
    if options.review is not None:
        job = replace(job, accept_all=_accept_all(options.review, job.recipe))
    if job.recipe.asks_model:
        llm = _settings(options, str(job.recipe.llm.model))
        job = replace(job, llm=llm, batch=options.batch, recorded=options.requests)
    else:
        _refuse_for_llm(options, job.recipe.author)
    if options.until not in STAGES:
        raise UsageError(f"--until {options.until}: use one of {', '.join(STAGES)}")
    return job


def _job(options: Options) -> Job:
    from builder.core.job import Job, work_folder
    from builder.core.recipe import load_recipe
    from mllmu_med.recipe_files import Choice
    from mllmu_med.recipe_files import choices as parse_choices

    scenario, slake, mm_skin = options.scenario, options.slake, options.mm_skin
    if scenario not in ("all", "privacy", "incorrect"):
        raise UsageError(f"--scenario {scenario}: use privacy, incorrect or all")
    changes = parse_choices(options.choices or [])
    if options.model is not None:
        changes += parse_choices([f"llm.model={json.dumps(options.model)}"])
    if options.author is not None:
        changes.append(Choice("author", options.author))
    # A corpus that is given is used, whatever the recipe reads by default.
    if slake is not None and scenario != "incorrect":
        changes.append(Choice("privacy.source", "slake"))
    if mm_skin is not None and scenario != "privacy":
        changes.append(Choice("incorrect.source", "mm_skin"))
    recipe = load_recipe(options.recipe, changes, scenario, options.limit)
    slake_folder = None
    if slake == "hub" and recipe.privacy is not None:
        from builder.ingest.slake import download

        slake_folder = download(not options.dry_run)
    elif slake is not None:
        slake_folder = Path(slake).expanduser().resolve()
    out, work = options.out.expanduser().resolve(), work_folder(options.work, options.out)
    if out.is_relative_to(work) or work.is_relative_to(out):
        raise UsageError(f"--out {out} and --work {work}: one is inside the other")
    return Job(
        recipe=recipe,
        out=out,
        work=work,
        slake=slake_folder,
        mm_skin=mm_skin.expanduser().resolve() if mm_skin else None,
    )


def _settings(options: Options, model: str) -> Settings:
    from mllmu_med.llm.settings import Settings, read_price

    if options.batch and options.max_cost is not None:
        raise UsageError("--batch cannot keep --max-cost: use --max-requests")
    return Settings(
        model,
        base_url=options.base_url,
        concurrency=options.concurrency,
        timeout=options.timeout,
        max_requests=options.max_requests,
        max_cost=options.max_cost,
        price=read_price(options.price) if options.price is not None else None,
        offline=options.offline,
    )


def _refuse_for_llm(options: Options, author: str) -> None:
    """Refuse what is for a language model, a limit of 0 included, where none is asked."""
    for_llm: Mapping[str, object] = {
        "--base-url": options.base_url,
        "--offline": options.offline or None,
        "--requests": options.requests,
        "--batch": options.batch or None,
        "--max-requests": options.max_requests,
        "--max-cost": options.max_cost,
        "--price": options.price,
    }
    for flag, value in for_llm.items():
        if value is not None:
            raise UsageError(
                f"{flag}: the author is {author}, which asks no model: add --author llm (or --set "
                "calibration.rater=llm)"
            )


def _accept_all(review: str, recipe: Recipe) -> bool:
    """Whether `--review` says so, of a recipe that wants a review."""
    if review != "accept-all":
        raise UsageError(
            f"--review {review}: use accept-all, or leave it out to have people review"
        )
    if not any(scenario.review for scenario in recipe.scenarios().values()):
        first = next(iter(recipe.scenarios()))
        raise UsageError(
            f"--review: recipe {recipe.name} wants no review: add --set {first}.review=true"
        )
    return True


def _adapted(given: list[str], recipe: Recipe) -> dict[str, Path]:
    """By scenario, the answers that are given."""
    names, files = list(recipe.scenarios()), {}
    if recipe.calibration is None:
        raise UsageError(f"--adapted: recipe {recipe.name} has no calibration to use it for")
    for entry in given:
        name, equals, file = entry.partition("=")
        if not equals and len(names) == 1:
            name, file = names[0], entry
        if name not in names or not file:
            raise UsageError(f"--adapted {entry}: write NAME=FILE, with NAME {' or '.join(names)}")
        if name in files:
            raise UsageError(f"--adapted: {name} is given twice")
        files[name] = Path(file).expanduser().resolve()
    return files
