"""The stages of each scenario, in order. Each says which values of the recipe change its result."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from builder import draw, split
from builder.calibrate import rating
from builder.core.corpus import PHANTOM
from builder.core.job import Job
from builder.core.recipe import Calibration, Incorrect, Own, Privacy, Scenario
from builder.core.stage_cache import Chain, ChainPlan, Drop, Outcome, Stage, StageState
from builder.harm import corrupt, inject, text_checks
from builder.harm.authors import offline
from builder.ingest import phantoms
from builder.patients import locate, profiles
from builder.review import stage as review
from mllmu_med.files import digest, write_jsonl
from mllmu_med.progress import say
from mllmu_med_dataset import Record, UserError

_HARM_VERSION: Final = 3  # of the offline author's sentences and rules


def plan(job: Job) -> list[ChainPlan]:
    """The scenarios of a job with their stages; a UserError where a source has not been given."""
    scenarios = job.recipe.scenarios()
    chains = {name: Chain(job.work / name) for name in scenarios}
    return [
        ChainPlan(name, scenario, chains[name], _stages(job, chains, name, scenario))
        for name, scenario in scenarios.items()
    ]


def _stages(job: Job, chains: Mapping[str, Chain], name: str, scenario: Scenario) -> list[Stage]:
    chain = chains[name]
    given = (job, chain, name, scenario)
    stages = [ingest(job, name, scenario), _draw(*given)]

    def located(_: Path) -> Outcome:
        return locate.locate(chain.records("draw"))

    if isinstance(scenario, Own):
        stages.append(Stage("locate", locate.VERSION, {}, located))
    if isinstance(scenario, Privacy):
        stages.append(_profiles(job, name, chains))
    if isinstance(scenario, Privacy | Incorrect):
        stages.append(_write(job, chain, name, scenario))
    if scenario.review:
        uses, run = partial(review.uses, *given), partial(review.review, *given)
        stages.append(Stage("review", review.VERSION, uses, run))
    if job.recipe.calibration is not None:
        stages.append(_calibrate(*given, stages[-1].name, job.recipe.calibration))
    previous = stages[-1].name

    def cut(_: Path) -> Outcome:
        return Outcome.of(split.split(chain.records(previous), scenario, name))

    return [*stages, Stage("split", split.VERSION, _cut(scenario), cut)]


def ingest(job: Job, name: str, scenario: Scenario) -> Stage:
    """The first stage, which needs no sizes of the scenario unless images are drawn for it."""
    if scenario.source == PHANTOM:
        return _ingest_phantom(job, name, scenario)
    corpus = job.corpora.get(name)
    if corpus is None:
        known = {"slake": "--slake DIR (or --slake hub)", "mm_skin": "--mm-skin DIR"}
        flag = known.get(scenario.source, "--corpus PATH")
        raise UserError(
            f"recipe {job.recipe.name}: {name} is made from the corpus {scenario.source}: give it "
            f"with {flag}, or leave {name} out with --scenario"
        )
    on_bad = scenario.bad_pictures
    drop_conversation = isinstance(scenario, Incorrect) and scenario.drop_conversation

    def uses() -> dict[str, Any]:
        from builder.ingest import table
        from builder.ingest.read_table import table_names

        keyed = corpus.mapping.names == "keyed"
        return {
            "version": table.VERSION,
            "corpus": corpus.name,
            "tables": table_names(corpus.path, corpus.mapping),
            "mapping": corpus.mapping.model_dump(mode="json", exclude={"about", "publish"}),
            "marks": [corpus.marks.column, sorted(corpus.marks.ids), sorted(corpus.marks.patients)],
            "revision": corpus.revision,
            "key": digest(job.key().hex()) if keyed else "",
            "bad_pictures": on_bad,
            "drop_conversation": drop_conversation,
        }

    def run(folder: Path) -> Outcome:
        from builder.ingest import table

        return table.read(corpus, folder, on_bad, job.key(), drop_conversation, name)

    return Stage("ingest", 1, uses, run, source=corpus.folder)


def _ingest_phantom(job: Job, name: str, scenario: Scenario) -> Stage:
    part: Literal["radiology", "skin"] = "radiology" if name == "privacy" else "skin"
    # Room for what whole images leave over at the edges: at most an image's rows at each.
    spare = 12 * (len(scenario.ratios) + 1) if scenario.split_by != "pair" else 0
    train = scenario.candidates_needed + scenario.retain_core + spare
    uses = {
        "source": "phantom",
        "version": phantoms.VERSION,  # of what is drawn and asked
        "part": part,
        "seed": job.recipe.seed,
        "train": train,
        "test": scenario.test,
    }

    def run(folder: Path) -> Outcome:
        from builder.ingest import phantom

        return phantom.read(part, job.recipe.seed, train, scenario.test, folder)

    return Stage("ingest", 1, uses, run)


def _draw(job: Job, chain: Chain, name: str, scenario: Scenario) -> Stage:
    beside = sharing(job, name)

    def uses() -> dict[str, Any]:
        first = Chain(job.work / beside[0]).state("ingest") if beside else None
        return {
            "seed": job.recipe.seed,
            **_cut(scenario),
            "test": scenario.test,
            "splits": scenario.splits,
            "beside": [*beside, first.output if first else ""],
        }

    def run(_: Path) -> Outcome:
        records, elsewhere = own_share(job, name, chain.records("ingest"))
        outcome = Outcome.of(draw.draw(records, scenario, name, job.recipe.seed))
        outcome.drops += elsewhere
        return outcome

    reads = [f"{beside[0]}/ingest"] if beside and beside[0] != name else []
    return Stage("draw", draw.VERSION, uses, run, beside=reads)


def sharing(job: Job, name: str) -> list[str]:
    """The scenarios that are made from a scenario's corpus, itself among them; none if alone."""
    together = [
        other
        for other in ("privacy", "incorrect")
        if name != "own" and other in job.corpora and job.corpora[other] == job.corpora.get(name)
    ]
    return together if len(together) > 1 else []


def own_share(job: Job, name: str, records: list[Record]) -> tuple[list[Record], list[Drop]]:
    """A scenario's rows of the corpus that it shares with another one, and the others as drops."""
    names = sharing(job, name)
    if not names:
        return records, []
    draw.refuse_leaks(records, job.recipe.scenarios()[name], names)
    # By what one of them reads, as the other may leave rows out that this one keeps.
    first = records if name == names[0] else Chain(job.work / names[0]).records("ingest")
    owner = draw.share_out(first, names, job.recipe.seed)
    mine = [record for record in records if owner.get(record.image_sha256, name) == name]
    reason = f"{draw.ELSEWHERE} {next(n for n in names if n != name)}"
    kept = {record.id for record in mine}
    return mine, [Drop.of(record, reason) for record in records if record.id not in kept]


def _profiles(job: Job, name: str, chains: Mapping[str, Chain]) -> Stage:
    """The patients; their values are in no text of any scenario that may be published."""
    chain = chains[name]
    others = {other: each for other, each in chains.items() if other != name}

    def uses() -> dict[str, Any]:
        states = {other: each.state("draw") for other, each in others.items()}
        beside = {other: state.output if state else "" for other, state in states.items()}
        return {"seed": job.recipe.seed, "beside": beside, "author_version": _HARM_VERSION}

    def run(folder: Path) -> Outcome:
        records = chain.records("draw")
        shown = (profiles.shown_in(row) for row in records if row.split == "candidate")
        corpus = [*records, *(row for each in others.values() for row in each.records("draw"))]
        own = offline.own_texts()
        people = profiles.make_profiles(shown, corpus, job.recipe.seed, own)
        write_jsonl(folder / "profiles.jsonl", (person._asdict() for person in people.values()))
        return Outcome(records, [], {"fictional patients": len(people)})

    beside = [f"{other}/draw" for other in others]
    return Stage("profiles", profiles.VERSION, uses, run, beside=beside)


def _write(job: Job, chain: Chain, name: str, scenario: Privacy | Incorrect) -> Stage:
    from builder.harm import prompts

    llm = job.recipe.llm.model_dump()
    if isinstance(scenario, Privacy):
        stage, version, prompt = "inject", inject.VERSION, prompts.PRIVACY_VERSION
        keys = ("placements", "kinds")
    else:
        stage, version, prompt = "corrupt", corrupt.VERSION, prompts.INCORRECT_VERSION
        keys = ("outdated_share", "blend")
    uses = {
        "author": job.recipe.author,
        "checks": text_checks.VERSION,
        "sifted": job.recipe.sifts(scenario),
        **_cut(scenario),
        "seed": job.recipe.seed,
        **{key: value for key, value in scenario.model_dump().items() if key in keys},
    }
    if job.recipe.author == "llm":
        uses |= {"llm": llm, "prompt": prompt}
    else:
        uses["author_version"] = _HARM_VERSION
    if isinstance(scenario, Incorrect) and scenario.judge is not None:
        judge = scenario.judge.model_dump()
        uses["judge"] = [judge, llm, prompts.PLAUSIBILITY_VERSION, prompts.WRONGNESS_VERSION]

    def run(folder: Path) -> Outcome:
        from builder.harm.stage import write_stage

        return write_stage(job, chain, name, scenario, folder)

    return Stage(stage, version, uses, run)


def _calibrate(
    job: Job, chain: Chain, name: str, scenario: Scenario, previous: str, how: Calibration
) -> Stage:
    from builder.calibrate import fine_tune
    from builder.calibrate import stage as calibrate
    from builder.harm.prompts import RATING_VERSION

    llm = {"llm": job.recipe.llm.model_dump(), "prompt": RATING_VERSION}

    def uses() -> dict[str, Any]:  # a model that is fetched meanwhile may have another commit
        return {
            **_cut(scenario),
            "seed": job.recipe.seed,
            "least": how.least,
            "rater": llm if how.rater == "llm" else rating.VERSION,
            "answers": fine_tune.identity(job, name),
        }

    def run(folder: Path) -> Outcome:
        return calibrate.calibrate(job, chain, name, scenario, previous, folder)

    return Stage("calibrate", calibrate.VERSION, uses, run)


def _cut(scenario: Scenario) -> dict[str, Any]:
    keys = ("forget", "retain", "candidates", "ratios", "split_by")
    return {key: getattr(scenario, key) for key in keys}


def run_stage(name: str, chain: Chain, stage: Stage, previous: str, ran: list[str]) -> StageState:
    """Run a scenario's stage, note it in `ran` and say what it kept."""
    state = chain.run(stage, previous)
    ran.append(f"{name}/{stage.name}")
    dropped = sum(state.dropped.values())
    tail = f", {dropped:,} dropped" if dropped else ""
    say(f"{name}/{stage.name}: {state.kept:,} rows{tail}")
    return state


def sized(job: Job, ran: list[str]) -> Job:
    """The job with the sizes that its corpora allow, where its recipe gives none.

    For that the corpora are read: the stage `ingest`, which is current afterwards.
    """
    scenarios: dict[str, Scenario] = {}
    every = job.recipe.scenarios()
    if all(scenario.sized for scenario in every.values()):
        return job
    for name, scenario in every.items():
        chain, stage = Chain(job.work / name), ingest(job, name, scenario)
        if chain.current(stage, "") is None:
            run_stage(name, chain, stage, "", ran)
        if not scenario.sized:
            records, _ = own_share(job, name, chain.records("ingest"))
            margin = draw.margin(scenario, job.recipe.author == "offline")
            scenarios[name] = draw.sized(records, scenario, name, job.recipe.seed, margin)
    return replace(job, recipe=job.recipe.model_copy(update=scenarios))


def sized_aside(job: Job) -> Job:
    """`sized`, with the corpora read in a folder that is thrown away: it changes nothing."""
    if all(scenario.sized for scenario in job.recipe.scenarios().values()):
        return job
    say("dry run: reading the corpus for the sizes of the sets")
    with tempfile.TemporaryDirectory() as folder:
        return replace(sized(replace(job, work=Path(folder)), []), work=job.work)
