"""The ledger: which stage has run on what, and what it kept and dropped.

A stage's folder `WORK/SCENARIO/STAGE/` holds `records.jsonl`, `drops.jsonl`, files of its own and,
written last, `stage.json`. A stage is current when its fingerprint is the recorded one, its inputs
on the disk are the recorded ones and its outputs are whole; then it is skipped. The fingerprint is
a hash of the stage's name and version, the recipe fields that it declares and the output of the
stage before it: never of time, of paths or of source code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mllmu_med.files import (
    canonical_json,
    digest,
    file_digest,
    parse_json,
    read_jsonl,
    write_atomic,
    write_jsonl,
)
from mllmu_med.folders import atomic_folder, make_folder
from mllmu_med.locks import lock_file
from mllmu_med_dataset import Record, UserError

if TYPE_CHECKING:
    from builder.core.recipe import Scenario

FORMAT = 1  # of stage.json
REFUSED: Final = "rejected.jsonl"  # texts that failed a check: to look at, no part of the output
AT_WORK = "another rebuild is at work here"
#: Every stage, in the order of the work. `inject` belongs to privacy, `corrupt` to incorrect and
#: `locate` to own.
STAGES: Final = tuple(
    "ingest draw locate profiles inject corrupt review calibrate split write".split()
)


class Drop(NamedTuple):
    """A row that went no further: which, why, and the row as it was then."""

    id: str
    reason: str
    row: dict[str, Any]

    @classmethod
    def of(cls, record: Record, reason: str) -> Drop:
        return cls(record.id, reason, record.to_json())


class Stamp(NamedTuple):
    """A file outside the work folder: size and time spare reading it again, the hash decides."""

    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Stamp:
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, file_digest(path))

    def matches(self, path: Path) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False
        if status.st_size != self.size:
            return False
        return status.st_mtime_ns == self.mtime_ns or file_digest(path) == self.sha256


@dataclass
class Outcome:
    """What a stage made: what it kept, what it dropped and counts worth telling."""

    kept: list[Record]
    drops: list[Drop]
    notes: dict[str, int] = field(default_factory=dict)
    #: Files outside the work folder that were read, by their path under the source's folder;
    #: None for an optional one that was not there.
    inputs: dict[str, Stamp | None] = field(default_factory=dict)

    @classmethod
    def of(cls, results: Iterable[Record | Drop], **notes: int) -> Outcome:
        every = list(results)
        kept = [result for result in every if not isinstance(result, Drop)]
        return cls(kept, [result for result in every if isinstance(result, Drop)], notes)


class StageState(NamedTuple):
    """A finished stage, as `stage.json` tells it."""

    fingerprint: str
    output: str
    kept: int
    dropped: dict[str, int]
    notes: dict[str, int]
    inputs: dict[str, Stamp | None]

    def counts(self) -> dict[str, Any]:
        """What it kept, dropped and noted."""
        return {"kept": self.kept, "dropped": self.dropped, "notes": self.notes}


@dataclass(frozen=True)
class Stage:
    """One step: its identity and the function that does it.

    `uses` are the recipe's values that change its result; or a function that gives them, where they
    depend on what the stage before has left: it is called when that is there. `run(folder)` does
    the work and may leave files of its own in `folder`, such as images under `folder/pictures`.
    """

    name: str
    version: int
    uses: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
    run: Callable[[Path], Outcome]
    #: Stages of other scenarios that it reads too, as "incorrect/draw"; `uses` holds their outputs.
    beside: Sequence[str] = ()
    #: Where the paths of `Outcome.inputs` begin; None when the stage reads nothing from outside.
    source: Path | None = None


class Chain:
    """The stages of one scenario, in order, over one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def state(self, stage: str) -> StageState | None:
        """The record of a finished stage; None when it has none that can be read."""
        return read_state(self.folder / stage)

    def records(self, stage: str) -> list[Record]:
        rows = read_jsonl(self.folder / stage / "records.jsonl")
        return [Record.from_json(row) for row in rows]

    def drops(self, stage: str) -> list[Drop]:
        return [Drop(**row) for row in read_jsonl(self.folder / stage / "drops.jsonl")]

    def current(self, stage: Stage, previous: str) -> StageState | None:
        """The stage's state when nothing it depends on has changed, else None."""
        state = self.state(stage.name)
        if state is None or state.fingerprint != fingerprint(stage, previous):
            return None
        if not _inputs_match(stage.source, state.inputs):
            return None
        return state if _output(self.folder / stage.name) == state.output else None

    def run(self, stage: Stage, previous: str) -> StageState:
        """Run a stage in a folder beside its own and put that in place when it is whole."""
        with atomic_folder(self.folder / stage.name) as building:
            outcome = stage.run(building)
            _check_ids(stage.name, outcome)
            write_jsonl(building / "records.jsonl", (record.to_json() for record in outcome.kept))
            write_jsonl(building / "drops.jsonl", (drop._asdict() for drop in outcome.drops))
            state = StageState(
                fingerprint=fingerprint(stage, previous),
                output=_output(building),
                kept=len(outcome.kept),
                dropped=dict(sorted(Counter(drop.reason for drop in outcome.drops).items())),
                notes=outcome.notes,
                inputs=outcome.inputs,
            )
            write_atomic(building / "stage.json", canonical_json(state._asdict()) + "\n")
        return state


class ChainPlan(NamedTuple):
    """One scenario's stages over its folder."""

    name: str
    scenario: Scenario
    chain: Chain
    stages: list[Stage]

    def states(self) -> dict[str, StageState]:
        """The stages that have run, by name."""
        states = {stage.name: self.chain.state(stage.name) for stage in self.stages}
        return {name: state for name, state in states.items() if state is not None}


def _check_ids(stage: str, outcome: Outcome) -> None:
    """An id names one row, dropped ones included: a stage that breaks this has a bug."""
    times = Counter([row.id for row in outcome.kept] + [drop.id for drop in outcome.drops])
    twice = [row_id for row_id, count in times.items() if count > 1]
    if twice:
        raise RuntimeError(f"{stage}: {len(twice)} ids name two rows, the first is {twice[0]}")


def _inputs_match(source: Path | None, inputs: Mapping[str, Stamp | None]) -> bool:
    if source is None:
        return not inputs
    return all(
        not (source / name).exists() if stamp is None else stamp.matches(source / name)
        for name, stamp in inputs.items()
    )


def fingerprint(stage: Stage, previous: str) -> str:
    return digest(
        {
            "format": FORMAT,
            "name": stage.name,
            "version": stage.version,
            "uses": stage.uses() if callable(stage.uses) else stage.uses,
            "previous": previous,
        }
    )


def read_state(folder: Path) -> StageState | None:
    try:
        raw = parse_json((folder / "stage.json").read_text("utf-8"))
        inputs = {name: Stamp(*stamp) if stamp else None for name, stamp in raw["inputs"].items()}
        return StageState(**{**raw, "inputs": inputs})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Not there, or not ours: the stage simply has not run.
        return None


def _output(folder: Path) -> str:
    """A hash over a stage's files, its images among them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest(
        {
            path.relative_to(folder).as_posix(): file_digest(path)
            for path in paths
            if path.name not in ("stage.json", REFUSED)
        }
    )


@contextmanager
def locked(work: Path) -> Iterator[None]:
    """Hold a work folder; a second run in it is told so instead of mixing with the first."""
    if work.is_dir() and not (work / "job.json").is_file():
        ours = {".lock", "job.json.tmp"}  # of a run that was killed as it began
        foreign = sorted(path.name for path in work.iterdir() if path.name not in ours)
        if foreign:
            raise UserError(
                f"{work}: holds {foreign[0]} and is no work folder of ours: choose another --work"
            )
    make_folder(work, "the work folder")
    with lock_file(work / ".lock", work, AT_WORK, "use another --work"):
        yield
