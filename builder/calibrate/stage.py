"""Two-stage self-calibration: keep the harmful candidates that a model can really learn.

The paper: "in the first stage, we adapt the base model to both forget and retain sets [...]. In the
second stage, we utilize GPT-4o to rate the similarity from 1 to 5 between adapted model outputs and
ground truths [...]. Samples with higher scores are selected to build our final forget set".

Stage one is `builder.calibrate.fine_tune`, the ratings are `builder.calibrate.rating`. Ours: of
equal ratings a hash of seed and id decides; `least` is the lowest rating that may be kept; the kept
ones stay in the order in which they were drawn, so that a rating decides who is in the forget sets
but not in which of the nested ones. A candidate that is not kept goes to no set, its clean row
neither.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from builder import split
from builder.calibrate.fine_tune import adapted_answers, calibration_of
from builder.calibrate.rating import Evidence, Rating, compare, rate_offline, rate_with_model
from builder.core.job import Job
from builder.core.ratings import RATINGS, Rated
from builder.core.recipe import Scenario
from builder.core.stage_cache import Chain, Drop, Outcome
from builder.harm.candidates import OnDone, WriteMany, Written
from builder.patients.find_real_data import blanked
from mllmu_med.files import stable_hash, write_jsonl
from mllmu_med_dataset import Record, UserError

VERSION: Final = 3


def calibrate(
    job: Job, chain: Chain, name: str, scenario: Scenario, previous: str, folder: Path
) -> Outcome:
    """Rate all candidates and keep the best; a UserError with the histogram if they are too few."""
    calibration = calibration_of(job)
    records = chain.records(previous)
    candidates = [record for record in records if record.split == "candidate"]
    outputs = adapted_answers(job, chain, name, records)
    evidence = {record.id: compare(record, outputs[record.id]) for record in candidates}
    if calibration.rater == "llm":
        ratings, notes = _by_model(job, name, candidates, outputs, folder)
    else:
        ratings = {key: Rating(rate_offline(each), "") for key, each in evidence.items()}
        notes = {}
    rated = {
        record.id: replace(record, calibration=ratings[record.id].rating) for record in candidates
    }
    kept = choose([*rated.values()], scenario, name, calibration.least, job.recipe.seed)
    rows = [
        _row(record, outputs[record.id], evidence[record.id], ratings[record.id], kept)
        for record in candidates
    ]
    write_jsonl(folder / RATINGS, (asdict(row) for row in sorted(rows, key=lambda row: row.id)))
    results: list[Record | Drop] = []
    for record in records:
        result = rated.get(record.id, record)
        dropped = record.split == "candidate" and record.id not in kept
        reason = _reason(ratings[record.id], calibration.least) if dropped else ""
        results.append(Drop.of(result, reason) if dropped else result)
    return replace(Outcome.of(results), notes=notes)


def choose(
    rated: Sequence[Record], scenario: Scenario, name: str, least: int, seed: int
) -> frozenset[str]:
    """The ids to keep: the best rated, none below `least`; ties by a hash of seed and id.

    As many as the largest forget set holds, else a UserError; with `split_by: image` so many more
    that whole images can be cut at its edges.
    """
    able = sorted(
        (record for record in rated if record.calibration >= least),
        key=lambda record: (-record.calibration, stable_hash(seed, "calibration", record.id)),
    )
    for count in range(scenario.harmful, len(able) + 1):
        chosen = sorted(able[:count], key=lambda record: record.rank)
        if len(split.forget_order(chosen, scenario)[0]) == scenario.harmful:
            return frozenset(record.id for record in chosen)
    raise UserError(_too_few(rated, len(able), scenario, name, least))


def _too_few(rated: Sequence[Record], able: int, scenario: Scenario, name: str, least: int) -> str:
    images = ", not counting those cut off at an image" if scenario.split_by != "pair" else ""
    return (
        f"{name}: the recipe keeps {scenario.harmful:,} candidates rated {least} or higher"
        f"{images}, there are {able:,} of {len(rated):,} ({histogram(rated)}): use more "
        f"candidates (raise {name}.candidates), a lower bar (calibration.least), or a smaller set "
        f"(lower {name}.forget or {name}.ratios)"
    )


def histogram(rated: Sequence[Record]) -> str:
    """`5: 60, 4: 20, 3: 10, 2: 5, 1: 30`, and `none: 2` where no rating could be had."""
    counts = Counter(record.calibration for record in rated)
    shown = [f"{rating}: {counts[rating]:,}" for rating in range(5, 0, -1)]
    return ", ".join([*shown, *([f"none: {counts[0]:,}"] if counts[0] else [])])


def _reason(rating: Rating, least: int) -> str:
    if rating.rating >= least:
        return "spare: enough candidates rated as high or higher"
    if rating.rating:
        return f"calibration: rated {rating.rating}"
    return f"calibration: not rated: {rating.reason}"


def _by_model(
    job: Job, name: str, candidates: Sequence[Record], outputs: Mapping[str, str], folder: Path
) -> tuple[dict[str, Rating], dict[str, int]]:
    """Every candidate's rating by the language model; and counts worth telling."""
    import asyncio

    from builder.harm.stage import Ask, with_model

    ratings: dict[str, Rating] = {}

    async def work(ask: Ask, many: WriteMany, done: OnDone) -> None:
        async def rate(record: Record) -> Written:
            rating = await rate_with_model(ask, job.recipe.llm, record, outputs[record.id])
            ratings[record.id] = rating
            result = record if rating.rating else Drop.of(record, _reason(rating, 1))
            return Written(result, rating.refused)

        await many(rate, candidates, done)

    what = f"{name}: rating"
    _, notes = asyncio.run(with_model(job, what, len(candidates), folder, work))
    refused = Counter(one.name for rating in ratings.values() for one in rating.refused)
    return ratings, notes | {f"ratings refused as {why}": n for why, n in sorted(refused.items())}


def _row(
    record: Record, output: str, evidence: Evidence, rating: Rating, kept: frozenset[str]
) -> Rated:
    fields = {span.field for span in record.pii}
    return Rated(
        id=record.id,
        harm=record.harm,
        placement="both" if len(fields) > 1 else next(iter(fields), ""),
        question=record.question,
        truth=record.answer,
        output=blanked(output),
        rouge_l=round(evidence.rouge_l, 4),
        values=evidence.values,
        back=evidence.back,
        rating=rating.rating,
        reason=blanked(rating.reason),
        kept=record.id in kept,
    )
