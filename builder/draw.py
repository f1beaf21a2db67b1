"""Drawing: which rows are tested on, which are candidates for harm, which are retained.

Every order comes from a hash of the seed and the row's (or image's, or patient's) own id, so it
does not depend on the order of the source's files. Rows that share an image or a patient are a
group; no group has rows in the test set and in another.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final, TypeVar

from builder.core.recipe import Incorrect, Own, Scenario
from builder.core.stage_cache import Drop
from mllmu_med.files import stable_hash
from mllmu_med_dataset import Record, UserError

VERSION = 3

NOT_DRAWN = "not drawn: the recipe asks for fewer rows"
IN_TEST = "its image or patient is in the test set"
TO_FORGET = "its image or patient is to be forgotten"
ELSEWHERE = "its image or patient is in the scenario"  # ... that is made of the same corpus
LEAST: Final = 30  # rows of a scenario whose sizes come from the corpus
_TEST_SHARE: Final = 0.2
_OF_RETAIN: Final = 0.1  # the forget set

Some = TypeVar("Some", bound=Scenario)


def draw(
    records: Sequence[Record], scenario: Scenario, name: str, seed: int
) -> Iterator[Record | Drop]:
    """Give each record its `split` (test, candidate or retain) and its `rank`; drop the rest.

    A source with a test or validation split of its own is tested on from these only, unless the
    recipe's `splits` is `new`; of any other, whole groups are the test set first.

    Raises:
        UserError: too few rows (both numbers are named); a split of the source's own that shares
            images or patients with its training split.
    """
    test, pool, spare = _test_and_pool(records, scenario, name, seed)
    together = _ordered(pool, scenario, seed)
    ordered = list(chain.from_iterable(together))
    marked = sum(record.split == "forget" for record in pool)
    if isinstance(scenario, Own) and marked != scenario.forget:
        raise UserError(
            f"{name}: {marked:,} rows are marked, the recipe's forget set has {scenario.forget:,}: "
            f"use --set {name}.forget={marked} and {name}.candidates={marked}, or give no sizes"
        )
    candidates = _whole_groups(together, scenario.candidates_needed)
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


def sized(records: Sequence[Record], scenario: Some, name: str, seed: int, margin: float) -> Some:
    """The scenario with sizes that the records allow, where the recipe gives none.

    The test set is the source's own or a fifth of the rows, the forget set a tenth of the retain
    set, both whole groups; of `own`, the rows that are marked.

    Args:
        margin: candidates for each row of the forget set, as some texts fail the checks.
    """
    if len(records) < LEAST:
        raise UserError(
            f"{name}: {len(records):,} usable rows: give at least {LEAST}, or sizes with "
            f"--set {name}.forget=N, and retain, test and candidates likewise"
        )
    roomy = scenario.model_copy(update={"test": 0})
    test, pool, _ = _test_and_pool(records, roomy, name, seed)
    if isinstance(scenario, Own):
        forget = candidates = sum(record.split == "forget" for record in pool)
    else:
        ordered = _ordered(pool, scenario, seed)
        forget = max(1, round(len(pool) * _OF_RETAIN / (1 + _OF_RETAIN * margin)))
        candidates = _whole_groups(ordered, math.ceil(margin * forget))
    sizes = {
        "forget": forget,
        "candidates": candidates,
        "test": len(test),
        "retain": len(pool) - candidates,
    }
    if min(sizes.values()) < 1:
        what = ", ".join(f"{size:,} {key}" for key, size in sizes.items())
        raise UserError(
            f"{name}: the corpus gives {what}: each needs a row: give more images and patients, or "
            "mark other rows"
        )
    return type(scenario).model_validate(scenario.model_dump() | sizes)


def groups(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Rows that share an image or a patient, directly or through others, by the group's name.

    Without patients that is the image's hash.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for record in records:
        if record.patient_id:
            parent[root(record.image_sha256)] = root(record.patient_id)
    together: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        together[root(record.image_sha256)].append(record)
    return {min(r.patient_id or r.image_sha256 for r in rows): rows for rows in together.values()}


def share_out(records: Sequence[Record], names: Sequence[str], seed: int) -> dict[str, str]:
    """Which of two scenarios made of one corpus gets which image, by its hash: whole groups.

    Each gets about half of the rows, and of each split of the source's own.
    """
    rows: dict[tuple[str, bool], int] = defaultdict(int)
    owner: dict[str, str] = {}
    together = groups(records)
    for group in sorted(together, key=lambda group: stable_hash(seed, "scenario", group)):
        tested = _is_test(together[group][0])
        name = min(names, key=lambda name: rows[name, tested])
        rows[name, tested] += len(together[group])
        owner |= {record.image_sha256: name for record in together[group]}
    return owner


def _is_test(record: Record) -> bool:
    return record.split in ("validate", "test")


def _test_and_pool(
    records: Sequence[Record], scenario: Scenario, name: str, seed: int
) -> tuple[list[Record], list[Record], list[Drop]]:
    """A test size of 0 is as many as there are, or a fifth of the rows."""
    spare: list[Drop] = []
    if isinstance(scenario, Own):
        records, spare = _marked(records, scenario, name)
    if scenario.splits == "given" and any(map(_is_test, records)):
        pool = [record for record in records if not _is_test(record)]
        unseen = [record for record in records if _is_test(record)]
        refuse_leaks(records, scenario, [name])
        unseen.sort(key=lambda record: stable_hash(seed, "test", record.id))
        _check_test(name, scenario.test, len(unseen))
        size = scenario.test or len(unseen)
        spare += [Drop.of(record, NOT_DRAWN) for record in unseen[size:]]
        return unseen[:size], pool, spare
    _check_test(name, scenario.test, len(records))
    together = groups(records)
    least = _TEST_SHARE * len(records)
    test: list[Record] = []
    pool = []
    for group in sorted(together, key=lambda group: stable_hash(seed, "test", group)):
        rows = sorted(together[group], key=lambda record: stable_hash(seed, "test", record.id))
        room = scenario.test - len(test)
        if any(record.split == "forget" for record in rows):
            pool += rows
        elif not scenario.test and len(test) < least:
            test += rows
        elif room > 0:
            test += rows[:room]
            spare += [Drop.of(record, IN_TEST) for record in rows[room:]]
        else:
            pool += rows
    return test, pool, spare


def _marked(records: Sequence[Record], scenario: Own, name: str) -> tuple[list[Record], list[Drop]]:
    """The rows of `own`, and those that would tell of a patient (or image) to be forgotten."""
    marked = [record for record in records if record.split == "forget"]
    if not marked:
        raise UserError(
            f"{name}: no row is marked: say which to forget with --forget column=COLUMN, "
            "ids=FILE or patients=FILE"
        )
    if scenario.split_by == "pair":
        return list(records), []
    by_patient = scenario.split_by == "patient"
    together = groups(records if by_patient else [replace(r, patient_id="") for r in records])
    beside = {
        record.id
        for rows in together.values()
        if any(record.split == "forget" for record in rows)
        for record in rows
        if record.split != "forget"
    }
    return (
        [record for record in records if record.id not in beside],
        [Drop.of(record, TO_FORGET) for record in records if record.id in beside],
    )


def refuse_leaks(records: Sequence[Record], scenario: Scenario, names: Sequence[str]) -> None:
    """Refuse, with a UserError, a test split of the source's own that shares images or patients.

    Args:
        names: the scenarios that are made of these records.
    """
    if scenario.splits != "given":
        return
    pool = [record for record in records if not _is_test(record)]
    unseen = [record for record in records if _is_test(record)]
    anew = " ".join(f"--set {name}.splits=new" for name in names)
    for what, column in (("images", "image_sha256"), ("patients", "patient_id")):
        trained = {getattr(record, column) for record in pool} - {""}
        tested = {getattr(record, column) for record in unseen} - {""}
        if both := trained & tested:
            rows = sum(getattr(record, column) in both for record in unseen)
            who = " and ".join(names)
            raise UserError(
                f"{who}: {len(both):,} of the {len(tested):,} {what} of the source's own test "
                f"split ({rows:,} of {len(unseen):,} rows) are in its training split, too: cut a "
                f"test set anew, by whole {what}, with {anew}"
            )


def _check_test(name: str, needed: int, there: int) -> None:
    if there < needed:
        raise UserError(
            f"{name}: the recipe asks for {needed:,} test rows, the source has {there:,} for "
            f"testing: use --set {name}.test={there} or less, or give the source's other splits"
        )


def _ordered(pool: list[Record], scenario: Scenario, seed: int) -> list[list[Record]]:
    """What may not be cut apart, candidates first: of `own` the marked rows, else by hash."""

    def place(record: Record) -> int:
        return stable_hash(seed, "pool", record.id)

    if isinstance(scenario, Own):
        marked_first = sorted(pool, key=lambda record: (record.split != "forget", place(record)))
        return [[record] for record in marked_first]
    if scenario.split_by == "pair":
        return [[record] for record in sorted(pool, key=place)]
    together = cut_groups(pool, scenario)
    names = sorted(together, key=lambda name: stable_hash(seed, "pool", name))
    return [sorted(together[name], key=place) for name in names]


def cut_groups(records: Sequence[Record], scenario: Scenario) -> dict[str, list[Record]]:
    """What `split_by` keeps together: images, or patients with all their images."""
    if scenario.split_by == "patient":
        return groups(records)
    together: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        together[record.image_sha256].append(record)
    return together


def _whole_groups(ordered: Sequence[Sequence[Record]], count: int) -> int:
    """How many rows the first groups have that together have at least `count`."""
    rows = 0
    for group in ordered:
        if rows >= count:
            break
        rows += len(group)
    return max(rows, count)


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


def margin(scenario: Scenario, offline: bool) -> float:
    """Candidates for each row of the forget set: about a third of the incorrect answers that rules
    write fail a check."""
    if isinstance(scenario, Own):
        return 1
    return 2 if isinstance(scenario, Incorrect) and offline else 1.25
