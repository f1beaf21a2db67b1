"""What `rebuild` was asked for, as typed, and the job that it means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from builder.commands.options import OUT, AsJson, Forget, Out, Work, told
from mllmu_med_dataset import CONFIGS, UsageError

if TYPE_CHECKING:
    from builder.core.corpus import Corpus, Marks
    from builder.core.job import Job
    from builder.core.recipe import Recipe
    from mllmu_med.llm.settings import Settings


@dataclass(frozen=True)
class Options:
    """The options of `python -m builder rebuild`."""

    recipe: Annotated[str | None, told("rebuild.recipe")] = None
    scenario: Annotated[str, told("rebuild.scenario")] = "all"
    slake: Annotated[str | None, told("rebuild.slake")] = None
    mm_skin: Annotated[Path | None, told("rebuild.mm_skin")] = None
    corpus: Annotated[str | None, told("rebuild.corpus")] = None
    revision: Annotated[str | None, told("rebuild.revision")] = None
    mapping: Annotated[str | None, told("rebuild.mapping")] = None
    pairs: Annotated[list[str] | None, told("rebuild.map", "--map")] = None
    forget: Forget = None
    author: Annotated[str | None, told("rebuild.author")] = None
    model: Annotated[str | None, told("rebuild.model")] = None
    base_url: Annotated[str | None, told("rebuild.base_url")] = None
    offline: Annotated[bool, told("rebuild.offline")] = False
    requests: Annotated[Path | None, told("rebuild.requests")] = None
    concurrency: Annotated[int, told("rebuild.concurrency", min=1)] = 16
    timeout: Annotated[float, told("rebuild.timeout", min=1)] = 120
    max_requests: Annotated[int | None, told("rebuild.max_requests", min=0)] = None
    max_cost: Annotated[float | None, told("rebuild.max_cost", min=0)] = None
    price: Annotated[str | None, told("rebuild.price")] = None
    out: Out = OUT
    work: Work = None
    choices: Annotated[list[str] | None, told("rebuild.set", "--set")] = None
    limit: Annotated[int | None, told("rebuild.limit", min=1)] = None
    until: Annotated[str, told("rebuild.until")] = "write"
    review: Annotated[str | None, told("rebuild.review")] = None
    dry_run: Annotated[bool, told("rebuild.dry_run")] = False
    as_json: AsJson = False


def make_job(options: Options) -> Job:
    """The job that the options mean; a UsageError or UserError where they contradict.

    `--slake hub` fetches SLAKE unless it is a dry run.
    """
    from builder.core.stage_cache import STAGES

    job = _job(options)
    if options.review is not None:
        job = replace(job, accept_all=_accept_all(options.review, job.recipe))
    if job.recipe.asks_model:
        llm = _settings(options, str(job.recipe.llm.model))
        job = replace(job, llm=llm, recorded=options.requests)
    else:
        _refuse_for_llm(options, job.recipe.author)
    if options.until not in STAGES:
        raise UsageError(f"--until {options.until}: use one of {', '.join(STAGES)}")
    return job


def _job(options: Options) -> Job:
    from builder.core.job import Job, work_folder
    from builder.core.load_recipe import load_recipe
    from mllmu_med.recipe_files import Choice
    from mllmu_med.recipe_files import choices as parse_choices

    scenario = options.scenario
    if scenario not in ("all", *CONFIGS):
        raise UsageError(f"--scenario {scenario}: use {', '.join(CONFIGS)} or all")
    given = _given(options)
    # A corpus that is given is used, whatever the recipe reads by default.
    changes = [Choice(f"{name}.source", source) for name, source in _takers(given, options)]
    changes += parse_choices(options.choices or [])
    if options.model is not None:
        changes += parse_choices([f"llm.model={json.dumps(options.model)}"])
    if options.author is not None:
        changes.append(Choice("author", options.author))
    default = "own" if scenario == "own" else "table" if options.corpus else "demo"
    recipe = load_recipe(options.recipe or default, changes, scenario, options.limit)
    corpora = {
        name: given[one.source] for name, one in recipe.scenarios().items() if one.source in given
    }
    if options.forget is not None and "own" not in corpora:
        raise UsageError("--forget: marks the rows of --scenario own")
    out, work = options.out.expanduser().resolve(), work_folder(options.work, options.out)
    if out.is_relative_to(work) or work.is_relative_to(out):
        raise UsageError(f"--out {out} and --work {work}: one is inside the other")
    return Job(recipe=recipe, out=out, work=work, corpora=corpora)


def _takers(given: Mapping[str, Corpus], options: Options) -> list[tuple[str, str]]:
    """The scenarios that the corpora of the command line are for."""
    usual = {"slake": "privacy", "mm_skin": "incorrect"}
    if options.corpus is not None:
        names = usual.values() if options.scenario == "all" else [options.scenario]
        return [(name, source) for name in names for source in given]
    if options.scenario == "all":
        return [(usual[source], source) for source in given]
    first = sorted(given, key=lambda source: usual[source] != options.scenario)
    return [(options.scenario, source) for source in first[:1]]


def _given(options: Options) -> dict[str, Corpus]:
    """The corpora of the command line, by the name that a recipe's `source` has."""
    from builder.core.corpus import TABLE, Corpus, Marks, mapping_of, shipped, shipped_mapping
    from builder.ingest.hub_source import local_copy

    given = {}
    if options.slake is not None:
        folder = Path(options.slake).expanduser().resolve()
        if options.slake == "hub":
            from builder.ingest.slake import download

            folder = download(not options.dry_run)
        given["slake"] = Corpus("slake", folder, shipped_mapping("slake"))
    if options.mm_skin is not None:
        folder = options.mm_skin.expanduser().resolve()
        given["mm_skin"] = Corpus("mm_skin", folder, shipped_mapping("mm_skin"))
    if options.corpus is None:
        alone = {"mapping": options.mapping, "map": options.pairs, "revision": options.revision}
        for flag, value in alone.items():
            if value:
                raise UsageError(f"--{flag}: says how to read --corpus: give that, too")
        return given
    if given:
        raise UsageError("--corpus: stands alone: leave --slake and --mm-skin out")
    name = options.mapping if options.mapping in shipped() else TABLE
    path = local_copy(Path(options.corpus).expanduser(), options.revision)
    mapping = mapping_of(options.mapping, options.pairs or [])
    if options.scenario == "own":  # real patients: whatever the layout, nothing keeps its name
        name, mapping = TABLE, mapping.model_copy(update={"names": "keyed"})
    given[name] = Corpus(
        name,
        path.resolve(),
        mapping,
        marks_of(options.forget) if options.forget is not None else Marks(),
        options.revision,
    )
    return given


def marks_of(forget: str) -> Marks:
    """`--forget`: a column, or a file of ids or patients."""
    from builder.core.corpus import Marks
    from mllmu_med.files import read_text, text_lines

    what, _, value = forget.partition("=")
    if what not in ("column", "ids", "patients") or not value:
        raise UsageError(f"--forget {forget}: write column=COLUMN, ids=FILE or patients=FILE")
    if what == "column":
        return Marks(column=value)
    path = Path(value).expanduser()
    names = frozenset(line.strip() for line in text_lines(read_text(path))) - {""}
    if not names:
        raise UsageError(f"--forget {forget}: {path} names nothing: write a line for each")
    return Marks(ids=names) if what == "ids" else Marks(patients=names)


def _settings(options: Options, model: str) -> Settings:
    from mllmu_med.llm.settings import Settings, read_price

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
    for name in "base_url offline requests max_requests max_cost price".split():
        value = getattr(options, name)
        if value is not None and value is not False:
            raise UsageError(
                f"--{name.replace('_', '-')}: the author is {author}, which asks no model: add "
                "--author llm (or --set calibration.rater=llm)"
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
