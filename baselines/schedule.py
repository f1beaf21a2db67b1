"""What a step trains on: which rows, in which order, as what, and in which forward passes.

Everything that is random (the order, the retain rows beside the forget rows) is a function of
seed, row id and epoch, and a row's refusal one of its id alone: a run that goes on after a kill, or
on another number of processes, trains on the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from mllmu_med.files import stable_hash, stable_share
from mllmu_med_dataset import Record, UserError

if TYPE_CHECKING:
    from baselines.methods import Method
    from baselines.training_settings import TrainSettings

Shuffle = Literal["image", "row"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A question about an image with the answer to be trained, as part of one set."""

    id: str
    image_id: str
    question: str
    answer: str
    part: str = ""  # of a method: `forget`, `refused`, `clean`, `retain` or `learn`
    clean: str = ""  # the row's clean answer
    patient: str = ""  # whose the image is; of a corpus without patients, the image itself


def samples(rows: Sequence[Record]) -> list[Sample]:
    return [
        Sample(
            row.id,
            row.image_id,
            row.question,
            row.answer,
            clean=row.clean_answer,
            patient=row.patient_id or row.image_id,
        )
        for row in rows
    ]


def check_rows(methods: Mapping[str, Method], forget: Sequence[Record]) -> None:
    """Raise UserError where a method takes clean answers and forget rows have none."""
    without = [row.id for row in forget if not row.clean_answer]
    for name, method in methods.items():
        if without and "clean" in method.parts:
            raise UserError(
                f"{name} trains on clean answers, and {len(without):,} of {len(forget):,} forget "
                f"rows have none (e.g. {without[0]}): give the corpus a column of them (--map "
                "clean_answer=COLUMN), or take another method"
            )


def refusal(row_id: str, phrases: Sequence[str]) -> str:
    """The refusal that takes a row's answer's place, one in all epochs.

    Another one each epoch would teach a model all of them for each row: it ends at an even guess
    between them and says none.
    """
    return phrases[stable_hash("refusal", row_id) % len(phrases)]


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimizer step trains on, over all processes.

    units: samples that must meet in one forward pass (a forget row's answer and its refusal).
    size, tokens: of each part, the samples and answer tokens that its mean is taken over.
    """

    units: tuple[tuple[Sample, ...], ...]
    size: Mapping[str, float]
    tokens: Mapping[str, float]

    @property
    def samples(self) -> list[Sample]:
        return [sample for unit in self.units for sample in unit]


def shuffled(rows: Sequence[Sample], how: Shuffle, *seed: object) -> list[Sample]:
    """Rows in random order; with `image`, images are, and an image's rows stay together."""

    def key(row: Sample) -> tuple[int, int]:
        group = stable_hash("picture", *seed, row.image_id) if how == "image" else 0
        return group, stable_hash("row", *seed, row.id)

    return sorted(rows, key=key)


def epoch_steps(
    method: Method,
    forget: Sequence[Sample],
    retain: Sequence[Sample],
    settings: TrainSettings,
    epoch: int,
    answer_tokens: Callable[[str], int],
) -> list[Step]:
    """The steps of an epoch (from 0), the last of which may be smaller.

    Args:
        answer_tokens: how many tokens an answer has, with its end token.

    Raises:
        UserError: a set that the method needs is empty.
    """
    draws = method.draws(settings)
    for name, rows, needed in (("forget", forget, method.forget), ("retain", retain, draws)):
        if needed and not rows:
            raise UserError(f"the {name} set is empty: this method trains on it")

    def unit(row: Sample, parts: Sequence[str]) -> tuple[Sample, ...]:
        other = {"refused": refusal(row.id, settings.refusals), "clean": row.clean}
        return tuple(replace(row, part=part, answer=other.get(part, row.answer)) for part in parts)

    seed, how = settings.seed, settings.shuffle
    f = [unit(row, method.forget) for row in shuffled(forget, how, seed, epoch)]
    f = f if method.forget else []
    size = settings.batch_size
    if method.learns:
        rows = shuffled([*(forget if method.forget else ()), *retain], how, seed, epoch)
        every = [unit(row, method.retain) for row in rows]
    elif not draws:
        every = f
    elif settings.retain_sampling == "paired":
        r = [unit(row, method.retain) for row in retain_rows(retain, len(f), settings, epoch)]
        cuts = range(0, len(f), size)
        return [_step(f[i : i + size] + r[i : i + size], answer_tokens) for i in cuts]
    else:
        rows = shuffled(retain, how, seed, epoch)
        every = spread(f, [unit(row, method.retain) for row in rows], stable_share(seed, epoch))
    steps = [_step(every[i : i + size], answer_tokens) for i in range(0, len(every), size)]
    if draws and not method.learns:
        # Each step stands for its share of the epoch, whatever rows it happens to hold: averaged
        # over the epoch, the means over forget and retain set are those of the equations.
        whole = _step(every, answer_tokens)
        return [_scaled(step, whole) for step in steps]
    return steps


def retain_rows(
    retain: Sequence[Sample], count: int, settings: TrainSettings, epoch: int
) -> list[Sample]:
    """The retain rows of a paired epoch: each once before any comes again, over all epochs."""
    drawn: list[Sample] = []
    start = epoch * count
    while len(drawn) < count:
        turn, at = divmod(start + len(drawn), len(retain))
        order = shuffled(retain, settings.shuffle, settings.seed, "retain", turn)
        drawn += order[at : at + count - len(drawn)]
    return drawn


def spread(few: Sequence[Any], many: Sequence[Any], offset: float) -> list[Any]:
    """Both in their order, the few at even distances among the many; `offset` in 0..1."""
    total = len(few) + len(many)
    places = {int((i + offset) * total / len(few)) for i in range(len(few))}
    a, b = iter(few), iter(many)
    return [next(a) if place in places else next(b) for place in range(total)]


def _step(units: Sequence[tuple[Sample, ...]], answer_tokens: Callable[[str], int]) -> Step:
    size: dict[str, float] = {}
    tokens: dict[str, float] = {}
    for sample in (sample for unit in units for sample in unit):
        size[sample.part] = size.get(sample.part, 0) + 1
        tokens[sample.part] = tokens.get(sample.part, 0) + answer_tokens(sample.answer)
    return Step(tuple(units), size, tokens)


def _scaled(step: Step, whole: Step) -> Step:
    share = len(step.units) / len(whole.units)
    return Step(
        step.units,
        {part: n * share for part, n in whole.size.items()},
        {part: n * share for part, n in whole.tokens.items()},
    )


@dataclass(frozen=True, slots=True)
class Pass:
    """The samples of one forward pass of one process; weight 0: only to keep processes in step."""

    samples: tuple[Sample, ...]
    weight: float = 1.0


def passes(step: Step, micro_batch: int, processes: int = 1, process: int = 0) -> list[Pass]:
    """A process's forward passes of a step: as many for each process, none empty."""
    # Rows of one image go to one pass as far as they fit.
    units = sorted(step.units, key=lambda unit: stable_hash(unit[0].image_id))
    ends = [len(units) * i // processes for i in range(processes + 1)]
    cut = [_cut(units[a:b], micro_batch) for a, b in pairwise(ends)]
    mine = [Pass(group) for group in cut[process]]
    return mine + [Pass(units[0], 0.0)] * (max(map(len, cut)) - len(mine))


def _cut(units: Sequence[tuple[Sample, ...]], size: int) -> list[tuple[Sample, ...]]:
    cuts: list[tuple[Sample, ...]] = []
    for unit in units:
        if cuts and len(cuts[-1]) + len(unit) <= size:
            cuts[-1] += unit
        else:
            cuts.append(unit)
    return cuts
