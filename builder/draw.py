"""Drawing: which rows are tested on, which are candidates for harm, which are retained.

Every order comes from a hash of the seed and the row's (or image's) own id, so it does not depend
on the order of the source's files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from builder.core.recipe import Scenario
from builder.core.stage_cache import Drop
from mllmu_med.files import stable_hash
from mllmu_med_dataset import Record, UserError

VERSION = 2

NOT_DRAWN = "not drawn: the recipe asks for fewer rows"
IMAGE_IN_TEST = "its picture is in the test set"
IMAGE_IN_TRAIN = "its picture is also in the source's training split"


def draw(
    records: Sequence[Record], scenario: Scenario, name: str, seed: int
) -> Iterator[Record | Drop]:
    """Give each record its `split` (test, candidate or retain) and its `rank`; drop the rest.

    Rows of a source with splits of its own (SLAKE) are tested on from `validate` and `test` only.
    A source without (MM-Skin, `split` empty) gives the test set whole images first, so that
    no test image is in another set. Too few rows are a UserError that names both numbers.
    """
    test, pool, spare = _test_and_pool(records, scenario, name, seed)
    ordered = _ordered(pool, scenario, seed)
    candidates = scenario.candidates_needed
    if scenario.split_by == "image":
        while candidates < len(ordered) and _same_image(ordered, candidates):
            candidates += 1
    needed = candidates + scenario.retain_core
    if len(ordered) < needed:
        raise UserError(_too_few(name, scenario, len(ordered), needed))
    if scenario.gives_back:
        candidates = needed
    for rank, record in enumerate(ordered):
        if rank < candidates:
            yield replace(record, split="candidate", rank=rank)
        elif rank < needed:
            yield replace(record, split="retain", rank=rank)
        else:
            yield Drop.of(record, NOT_DRAWN)
    yield from (replace(record, split="test") for record in test)
    yield from spare


def _test_and_pool(
    records: Sequence[Record], scenario: Scenario, name: str, seed: int
) -> tuple[list[Record], list[Record], list[Drop]]:
    if any(record.split for record in records):
        pool = [record for record in records if record.split == "train"]
        trained = {record.image_sha256 for record in pool}
        unseen, spare = [], []
        for record in records:
            if record.split != "train":
                if record.image_sha256 in trained:
                    spare.append(Drop.of(record, IMAGE_IN_TRAIN))
                else:
                    unseen.append(record)
        unseen.sort(key=lambda record: stable_hash(seed, "test", record.id))
        _check_test(name, scenario.test, len(unseen))
        spare += [Drop.of(record, NOT_DRAWN) for record in unseen[scenario.test :]]
        return unseen[: scenario.test], pool, spare
    _check_test(name, scenario.test, len(records))
    images: dict[str, list[Record]] = {}
    for record in records:
        images.setdefault(record.image_sha256, []).append(record)
    test: list[Record] = []
    pool, spare = [], []
    for image in sorted(images, key=lambda image: stable_hash(seed, "test", image)):
        rows = sorted(images[image], key=lambda record: stable_hash(seed, "test", record.id))
        room = scenario.test - len(test)
        if room:
            test += rows[:room]
            spare += [Drop.of(record, IMAGE_IN_TEST) for record in rows[room:]]
        else:
            pool += rows
    return test, pool, spare


def _check_test(name: str, needed: int, there: int) -> None:
    if there < needed:
        raise UserError(
            f"{name}: the recipe asks for {needed:,} test rows, the source has {there:,} for "
            f"testing: use --set {name}.test={there} or less, or give the source's other splits"
        )


def _ordered(pool: list[Record], scenario: Scenario, seed: int) -> list[Record]:
    if scenario.split_by == "pair":
        return sorted(pool, key=lambda record: stable_hash(seed, "pool", record.id))
    return sorted(
        pool,
        key=lambda record: (
            stable_hash(seed, "pool", record.image_sha256),
            stable_hash(seed, "pool", record.id),
        ),
    )


def _same_image(records: list[Record], index: int) -> bool:
    return index > 0 and records[index - 1].image_sha256 == records[index].image_sha256


def _too_few(name: str, scenario: Scenario, there: int, needed: int) -> str:
    candidates = scenario.candidates_needed
    study = len(scenario.ratios) > 1
    most = scenario.retain - (needed - there)
    advice = [f"--set {name}.retain={most}"] if most > 0 and not study else []
    if study:
        advice.append(f"--set {name}.ratios=[10] (no ratio study: fewer candidates)")
    advice.append("a smaller set with --limit N")
    return (
        f"{name}: the recipe asks for {needed:,} training rows ({candidates:,} candidates and "
        f"{scenario.retain_core:,} retain), the source has {there:,}: use {' or '.join(advice)}"
    )
