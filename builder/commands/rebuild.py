"""`python -m builder rebuild`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from mllmu_med.command_line import one_line_errors
from mllmu_med_dataset import UsageError

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
        bool, typer.Option("--offline", help="llm: replay recorded replies, ask nobody.")
    ] = False,
    requests: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="llm: read these replies first: provenance/requests.parquet."
        ),
    ] = None,
    batch: Annotated[
        bool, typer.Option("--batch", help="llm: ask through OpenAI's Batch API.")
    ] = False,
    concurrency: Annotated[
        int, typer.Option(min=1, metavar="N", help="llm: calls in flight, at most.")
    ] = 16,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="llm: how long a call may take.")
    ] = 120,
    max_requests: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="llm: replies to pay for, earlier runs included."),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, metavar="USD", help="llm: what to pay, earlier runs included."),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(metavar="IN/OUT", help="llm: USD per million tokens, e.g. 2.50/10."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The dataset's folder.")] = OUT,
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What resumes a killed run. [default: OUT.work]"),
    ] = None,
    choices: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe key; may be repeated."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="At most N rows a scenario, the sets in the same proportion."
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
            help="Calibrate a scenario by these answers of a model adapted elsewhere.",
        ),
    ] = None,
    review: Annotated[
        str | None,
        typer.Option(
            metavar="accept-all",
            help="Take the texts that nobody has reviewed unseen; the dataset says so.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say which stages would run, and what llm would cost."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")] = False,
) -> None:
    """Build the dataset, or what has changed of it; run it again after a kill and it goes on.

    At the end it audits the folder and says whether it may be published; exit code 1 if not.
    Where the recipe wants a review, it stops with exit code 3 until people have decided: see
    `python -m builder review --help`.
    """
    from builder.audit.verdict import insist
    from builder.core.plan import STAGES
    from builder.core.recipe import tell_given
    from builder.rebuild import pipeline
    from builder.rebuild import status as tables
    from builder.rebuild.stages import plan
    from mllmu_med.recipe_files import choices as parse_choices

    wanted = [f"llm.model={json.dumps(model)}"] if model is not None else []
    job = _job(
        recipe,
        scenario,
        slake,
        mm_skin,
        author,
        out,
        work,
        [*(choices or []), *wanted],
        limit,
        not dry_run,
    )
    if adapted:
        job = replace(job, adapted=_adapted(adapted, job.recipe))
        tell_given(job.recipe, parse_choices(choices or []), job.adapted)
    if review is not None:
        job = replace(job, accept_all=_accept_all(review, job.recipe))
    if job.recipe.asks_model:
        from mllmu_med.llm.settings import Settings, read_price

        if batch and max_cost is not None:
            raise UsageError("--batch cannot keep --max-cost: use --max-requests")
        settings = Settings(
            str(job.recipe.llm.model),
            base_url=base_url,
            concurrency=concurrency,
            timeout=timeout,
            max_requests=max_requests,
            max_cost=max_cost,
            price=read_price(price) if price is not None else None,
            offline=offline,
        )
        job = replace(job, llm=settings, batch=batch, recorded=requests)
    else:
        _refuse_for_llm(
            job.recipe.author,
            {
                "--base-url": base_url,
                "--offline": offline or None,
                "--requests": requests,
                "--batch": batch or None,
                "--max-requests": max_requests,
                "--max-cost": max_cost,
                "--price": price,
            },
        )
    if until not in STAGES:
        raise UsageError(f"--until {until}: use one of {', '.join(STAGES)}")
    if dry_run:
        plans = plan(job)
        stale = pipeline.stale(plans, job)
        asked = pipeline.estimates(job)
        if as_json:
            print(
                json.dumps(
                    {
                        "would_run": stale,
                        "waits": tables.waiting(job, plans, stale),
                        "requests": {name: one._asdict() for name, one in asked.items()},
                        "recipe": job.recipe.model_dump(mode="json"),
                    }
                )
            )
        else:
            tables.print_plan(job, plans, stale)
            tables.print_estimates(asked)
        return
    result = pipeline.rebuild(job, until)
    if as_json:
        print(json.dumps(tables.as_json(job, result)))
    else:
        tables.print_result(job, result)
    insist(job.out, result.checks)


def _refuse_for_llm(author: str, given: Mapping[str, object]) -> None:
    """Refuse what is for a language model, a limit of 0 included, where none is asked."""
    for flag, value in given.items():
        if value is not None:
            raise UsageError(
                f"{flag}: the author is {author}, which asks no model: add --author llm (or --set "
                "calibration.rater=llm)"
            )


def _accept_all(review: str, recipe: Any) -> bool:
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


def _adapted(given: list[str], recipe: Any) -> dict[str, Path]:
    """By scenario, the answers that are given."""
    names, found = list(recipe.scenarios()), {}
    if recipe.calibration is None:
        raise UsageError(f"--adapted: recipe {recipe.name} has no calibration to use it for")
    for one in given:
        name, equals, file = one.partition("=")
        if not equals and len(names) == 1:
            name, file = names[0], one
        if name not in names or not file:
            raise UsageError(f"--adapted {one}: write NAME=FILE, with NAME {' or '.join(names)}")
        if name in found:
            raise UsageError(f"--adapted: {name} is given twice")
        found[name] = Path(file).expanduser().resolve()
    return found


def _job(
    recipe: str,
    scenario: str,
    slake: str | None,
    mm_skin: Path | None,
    author: str | None,
    out: Path,
    work: Path | None,
    choices: list[str],
    limit: int | None,
    fetch: bool,
) -> Any:
    from builder.core.job import Job, work_folder
    from builder.core.recipe import load_recipe
    from mllmu_med.recipe_files import Choice
    from mllmu_med.recipe_files import choices as parse_choices

    if scenario not in ("all", "privacy", "incorrect"):
        raise UsageError(f"--scenario {scenario}: use privacy, incorrect or all")
    wanted = parse_choices(choices)
    if author is not None:
        wanted.append(Choice("author", author))
    # A corpus that is given is used, whatever the recipe reads by default.
    if slake is not None and scenario != "incorrect":
        wanted.append(Choice("privacy.source", "slake"))
    if mm_skin is not None and scenario != "privacy":
        wanted.append(Choice("incorrect.source", "mm_skin"))
    loaded = load_recipe(recipe, wanted, scenario, limit)
    slake_folder = None
    if slake == "hub" and loaded.privacy is not None:
        from builder.ingest.slake import download

        slake_folder = download(fetch)
    elif slake is not None:
        slake_folder = Path(slake).expanduser().resolve()
    target, place = out.expanduser().resolve(), work_folder(work, out)
    if target.is_relative_to(place) or place.is_relative_to(target):
        raise UsageError(f"--out {target} and --work {place}: one is inside the other")
    return Job(
        recipe=loaded,
        out=target,
        work=place,
        slake=slake_folder,
        mm_skin=mm_skin.expanduser().resolve() if mm_skin else None,
    )
