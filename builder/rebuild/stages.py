"""The stages of each scenario, in order. Each says which values of the recipe change its result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from builder import draw, split
from builder.calibrate import rating
from builder.core.chain_plan import ChainPlan
from builder.core.corpus import PHANTOM
from builder.core.job import Job
from builder.core.recipe import Calibration, Incorrect, Judge, Own, Privacy, Scenario
from builder.core.stage_cache import Chain, Drop, Outcome, Stage, StageState
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
    plans = []
    chains = {name: Chain(job.work / name) for name in job.recipe.scenarios()}
    for name, scenario in job.recipe.scenarios().items():
        chain = chains[name]
        stages = [ingest(job, name, scenario), _draw(job, chain, name, scenario)]
        if isinstance(scenario, Own):
            stages.append(_locate(chain))
        if isinstance(scenario, Privacy):
            stages.append(_profiles(job, name, chains))
        if isinstance(scenario, Privacy | Incorrect):
            stages.append(_write(job, chain, name, scenario))
        if scenario.review:
            stages.append(_review(job, chain, name, scenario))
        if job.recipe.calibration is not None:
            before = stages[-1].name
            stages.append(_calibrate(job, chain, before, name, scenario, job.recipe.calibration))
        stages.append(_split(chain, stages[-1].name, name, scenario))
        plans.append(ChainPlan(name, scenario, chain, stages))
    return plans


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

        keyed = corpus.mapping.names == "keyed"
        marks = [corpus.marks.column, sorted(corpus.marks.ids), sorted(corpus.marks.patients)]
        return {
            "version": table.VERSION,
            "corpus": corpus.name,
            "mapping": corpus.mapping.model_dump(mode="json", exclude={"about", "publish"}),
            "marks": marks,
            "revision": corpus.revision,
            "key": digest(job.key().decode()) if keyed else "",
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
    uses = {
        "seed": job.recipe.seed,
        **_cut(scenario),
        "test": scenario.test,
        "splits": scenario.splits,
        "beside": beside,
    }

    def run(_: Path) -> Outcome:
        records, elsewhere = own_share(job, name, chain.records("ingest"))
        outcome = Outcome.of(draw.draw(records, scenario, name, job.recipe.seed))
        outcome.drops += elsewhere
        return outcome

    return Stage("draw", draw.VERSION, uses, run)


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
    owner = draw.share_out(records, names, job.recipe.seed)
    mine = [record for record in records if owner[record.id] == name]
    reason = f"{draw.ELSEWHERE} {next(n for n in names if n != name)}"
    return mine, [Drop.of(record, reason) for record in records if owner[record.id] != name]


def _locate(chain: Chain) -> Stage:
    return Stage("locate", locate.VERSION, {}, lambda _: locate.locate(chain.records("draw")))


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
        corpus = [
            *records,
            *(record for each in others.values() for record in each.records("draw")),
        ]
        people = profiles.make_profiles(
            (profiles.shown_in(record) for record in records if record.split == "candidate"),
            corpus,
            job.recipe.seed,
            offline.own_texts(),
        )
        write_jsonl(folder / "profiles.jsonl", (person.to_json() for person in people.values()))
        return Outcome(records, [], {"fictional patients": len(people)})

    beside = [f"{other}/draw" for other in others]
    return Stage("profiles", profiles.VERSION, uses, run, beside=beside)


def _write(job: Job, chain: Chain, name: str, scenario: Privacy | Incorrect) -> Stage:
    """`inject` or `corrupt`: the harmful text."""
    from builder.harm.prompts import INCORRECT_VERSION, PRIVACY_VERSION

    if isinstance(scenario, Privacy):
        stage, version, prompt = "inject", inject.VERSION, PRIVACY_VERSION
        own: dict[str, Any] = {
            "placements": scenario.placements.model_dump(),
            "kinds": scenario.kinds,
        }
    else:
        stage, version, prompt = "corrupt", corrupt.VERSION, INCORRECT_VERSION
        own = {
            "outdated_share": scenario.outdated_share,
            "blend": scenario.blend,
            **_judge(job, scenario.judge),
        }
    uses = {
        **_author(job, prompt),
        "sifted": job.recipe.sifts(scenario),
        **_cut(scenario),
        "seed": job.recipe.seed,
        **own,
    }

    def run(folder: Path) -> Outcome:
        from builder.harm.stage import write_stage

        return write_stage(job, chain, name, scenario, folder)

    return Stage(stage, version, uses, run)


def _author(job: Job, prompt: str) -> dict[str, Any]:
    """What decides the text of an author."""
    uses: dict[str, Any] = {"author": job.recipe.author, "checks": text_checks.VERSION}
    if job.recipe.author == "llm":
        return {**uses, "llm": job.recipe.llm.model_dump(), "prompt": prompt}
    return {**uses, "author_version": _HARM_VERSION}


def _judge(job: Job, judge: Judge | None) -> dict[str, Any]:
    """What decides which texts a judge lets pass."""
    from builder.harm.prompts import PLAUSIBILITY_VERSION, WRONGNESS_VERSION

    if judge is None:
        return {}
    how = (judge.model_dump(), job.recipe.llm.model_dump())
    return {"judge": [*how, PLAUSIBILITY_VERSION, WRONGNESS_VERSION]}


def _review(job: Job, chain: Chain, name: str, scenario: Scenario) -> Stage:
    given = (job, chain, name, scenario)
    return Stage(
        "review",
        review.VERSION,
        lambda: review.uses(*given),
        lambda folder: review.review(*given, folder),
    )


def _calibrate(
    job: Job, chain: Chain, previous: str, name: str, scenario: Scenario, how: Calibration
) -> Stage:
    from builder.calibrate import fine_tune
    from builder.calibrate import stage as calibrate
    from builder.harm.prompts import RATING_VERSION

    given = job.adapted.get(name)
    llm = {"llm": job.recipe.llm.model_dump(), "prompt": RATING_VERSION}

    def uses() -> dict[str, Any]:  # a model that is fetched meanwhile may have another commit
        return {
            **_cut(scenario),
            "seed": job.recipe.seed,
            "least": how.least,
            "rater": llm if how.rater == "llm" else rating.VERSION,
            "answers": "given" if given else fine_tune.identity(job, name),
        }

    def run(folder: Path) -> Outcome:
        return calibrate.calibrate(job, chain, name, scenario, previous, folder)

    source = given.parent if given else None
    return Stage("calibrate", calibrate.VERSION, uses, run, source=source)


def _split(chain: Chain, previous: str, name: str, scenario: Scenario) -> Stage:
    def run(_: Path) -> Outcome:
        return Outcome.of(split.split(chain.records(previous), scenario, name))

    return Stage("split", split.VERSION, _cut(scenario), run)


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
