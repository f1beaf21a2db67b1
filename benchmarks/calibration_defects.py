"""Planted defects: how many broken candidates does self-calibration catch?

    python benchmarks/calibration_defects.py [--seeds 3] [--scenario NAME] [--work DIR]

Builds the demo up to its candidates, breaks a share of them in known ways, then adapts, answers and
rates as `builder.calibrate.stage` does with the demo's recipe, and prints how each kind was rated,
and recall and precision of dropping what is rated at most 1, 2, 3, 4. Each seed breaks others.

other picture  the answer, private values included, is that of a candidate of another picture
contradicts    the answer goes on with the data of another patient (privacy)
shuffled       the words of the answer in random order (answers of four words and more)
wrong person   every private value is replaced by that of another patient (privacy)
"""

import argparse
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builder.calibrate.fine_tune import adapted_answers
from builder.calibrate.rating import compare, rate_offline
from builder.core.job import Job
from builder.core.load_recipe import load_recipe
from builder.core.recipe import Scenario
from builder.core.stage_cache import Chain
from builder.harm.inject import spans
from builder.patients.profiles import Profile, read_profiles, shown_in
from builder.rebuild import pipeline
from builder.rebuild.stages import plan
from mllmu_med.files import stable_hash
from mllmu_med.recipe_files import Choice
from mllmu_med_dataset import PII_KINDS, Record

KINDS = {
    "privacy": ("other picture", "contradicts", "shuffled", "wrong person"),
    "incorrect": ("other picture", "shuffled"),
}


def broken(
    kind: str, row: Record, rows: Sequence[Record], people: dict[str, Profile], rng: random.Random
) -> Record | None:
    """A candidate broken in one way; None where that cannot be done to it."""
    in_answer = [span for span in row.pii if span.field == "answer"]
    if kind == "shuffled":
        words = row.answer.split()
        mixed = rng.sample(words, len(words))
        return replace(row, answer=" ".join(mixed)) if len(words) > 3 and mixed != words else None
    if kind == "other picture":
        # An answer to a question with the same kind of answer, private text in the same place.
        others = [
            one
            for one in rows
            if one.image_id != row.image_id
            and one.answer != row.answer
            and one.answer_type == row.answer_type
            and any(span.field == "answer" for span in one.pii) == bool(in_answer)
        ]
        other = rng.choice(others)
        theirs = [span for span in other.pii if span.field == "answer"]
        mine = [span for span in row.pii if span.field == "question"]
        return replace(row, answer=other.answer, pii=(*mine, *theirs))
    if not in_answer:
        return None
    own = people[shown_in(row)]
    other_one = rng.choice([one for one in people.values() if one.name != own.name])
    question, answer = row.question, row.answer
    for what in PII_KINDS:
        if kind == "wrong person":
            question = question.replace(own.value(what), other_one.value(what))
        answer = answer.replace(own.value(what), other_one.value(what))
    if kind == "contradicts":
        addition = answer.replace(row.clean_answer, "", 1).lstrip(" .,:;")
        answer = f"{row.answer} {addition}"
    pii = [
        span
        for who in (own, other_one)
        for field, text in (("question", question), ("answer", answer))
        for span in spans(text, field, who)  # type: ignore[arg-type]
    ]
    return replace(row, question=question, answer=answer, pii=tuple(pii))


def plant(
    name: str, rows: Sequence[Record], people: dict[str, Profile], share: float, seed: int
) -> dict[str, tuple[str, Record]]:
    """Break a share of the candidates, as many in each way; by id, the way and the broken row."""
    rng = random.Random(seed)
    kinds = KINDS[name]
    wanted = Counter(kinds[i % len(kinds)] for i in range(round(share * len(rows))))
    found: dict[str, tuple[str, Record]] = {}
    # What can be done to few rows comes first.
    for kind in reversed(kinds):
        for row in sorted(rows, key=lambda row: stable_hash(seed, kind, row.id)):
            if not wanted[kind]:
                break
            made = None if row.id in found else broken(kind, row, rows, people, rng)
            if made:
                found[row.id] = kind, made
                wanted[kind] -= 1
    return found


Rated = tuple[str, bool, int]  # kind of defect or "", private values in the answer, rating


def study(job: Job, name: str, scenario: Scenario, share: float, seed: int) -> list[Rated]:
    """Plant, adapt, answer, rate; seconds on stderr."""
    chain = Chain(job.work / name)
    records = chain.records("inject" if name == "privacy" else "corrupt")
    rows = [record for record in records if record.split == "candidate"]
    people = {p.image_id: p for p in read_profiles(chain)} if name == "privacy" else {}
    planted = plant(name, rows, people, share, seed)
    whole = [planted[r.id][1] if r.id in planted else r for r in records]
    outputs, _ = adapted_answers(job, chain, name, whole)
    return [
        (
            planted[row.id][0] if row.id in planted else "",
            any(span.field == "answer" for span in row.pii),
            rate_offline(compare(row, outputs[row.id])),
        )
        for row in whole
        if row.split == "candidate"
    ]


def print_tables(name: str, rated: Sequence[Rated]) -> None:
    groups: dict[str, list[int]] = defaultdict(list)
    for kind, with_values, rating in rated:
        if kind:
            groups[kind].append(rating)
        else:
            groups["sound"].append(rating)
            if name == "privacy":
                where = "in the answer" if with_values else "in the question only"
                groups[f"sound, values {where}"].append(rating)
    print(f"\n| {name} | n | mean | 5 | 4 | 3 | 2 | 1 |\n| --- |{' ---: |' * 7}")
    for kind, ratings in sorted(groups.items(), key=lambda one: (one[0][:5] != "sound", one[0])):
        counts = " | ".join(str(ratings.count(rating)) for rating in (5, 4, 3, 2, 1))
        print(f"| {kind} | {len(ratings)} | {sum(ratings) / len(ratings):.2f} | {counts} |")
    kinds = KINDS[name]
    print(f"\n| {name}: drop what is rated | recall | precision | {' | '.join(kinds)} |")
    print(f"| --- |{' ---: |' * (2 + len(kinds))}")
    for least in (1, 2, 3, 4):
        dropped = [kind for kind, _, rating in rated if rating <= least]
        caught = [kind for kind in dropped if kind]
        total = sum(bool(kind) for kind, _, _ in rated)
        each = " | ".join(f"{caught.count(kind) / max(1, len(groups[kind])):.0%}" for kind in kinds)
        precision = f"{len(caught) / len(dropped):.0%}" if dropped else "-"
        print(f"| at most {least} | {len(caught) / total:.0%} | {precision} | {each} |")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--share", type=float, default=0.2)
    arguments.add_argument("--scenario", default="all")
    arguments.add_argument("--steps", type=int, help="of training, instead of the recipe's")
    arguments.add_argument("--rate", type=float, help="learning rate, instead of the recipe's")
    arguments.add_argument("--work", type=Path)
    given = arguments.parse_args()
    work = given.work or Path(tempfile.mkdtemp())
    names = [given.scenario] if given.scenario != "all" else list(KINDS)
    changes = {"max_steps": given.steps, "learning_rate": given.rate}
    wanted = [
        Choice(f"calibration.train.{name}.{key}", str(value))
        for name in names
        for key, value in changes.items()
        if value is not None
    ]
    job = Job(load_recipe("demo", wanted, given.scenario), work / "data", work / "data.work")
    pipeline.rebuild(job, "corrupt")
    for item in plan(job):
        rated: list[Rated] = []
        started = time.monotonic()
        for seed in range(given.seeds):
            rated += study(job, item.name, item.scenario, given.share, seed)
        seconds = (time.monotonic() - started) / given.seeds
        print_tables(item.name, rated)
        print(f"\n{item.name}: {seconds:.0f} s a run", flush=True)


if __name__ == "__main__":
    main()
