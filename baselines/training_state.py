"""What a run folder holds of a training run, so that it goes on after a kill at any moment.

OUT/record.json     method, settings, rows, model and parent adapters with hashes, versions; at the
                    end the outcome; of a fine-tuned model from elsewhere, where it was measured
OUT/log.jsonl       a line for each step: every term of the loss, gradient norm, learning rate
OUT/compute.jsonl   what each step has cost, those too that a kill has undone
OUT/checkpoint.pt   adapter, optimizer, random state and position; gone when the run has ended
OUT/adapter/        the trained adapter in PEFT's own format
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from baselines.schedule import Sample, Step
from baselines.training_settings import TrainSettings
from eval.model import Model
from eval.run_folder import RECORD, read_json
from mllmu_med.disk import writing
from mllmu_med.files import (
    atomic_file,
    canonical_json,
    read_jsonl,
    text_lines,
    write_atomic,
    write_json,
)
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    import torch

#: Of the time since the last checkpoint, what the next may take.
_WRITING: Final = 0.02
#: What makes two runs the same one, of the model's identity: not where it is, nor where it runs.
_MODEL = ("weights", "prompt", "format", "dtype")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    status: `finished`, or `collapsed` with the reason; the adapter is there either way.
    seconds: of all training steps, those too that a kill has undone; compute: see
        `summed`.
    """

    status: Literal["finished", "collapsed"]
    reason: str
    steps: int
    seconds: float
    adapter: Path
    compute: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k != "adapter"}


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock, self._since, self._took = clock, clock(), 0.0
        self.record, self.log = path / RECORD, path / "log.jsonl"
        self.checkpoint, self.adapter = path / "checkpoint.pt", path / "adapter"
        self.compute = path / "compute.jsonl"

    def begin(self, record: dict[str, Any]) -> Outcome | None:
        """Write a new run's record, or give the same run's outcome; a UserError for another."""
        if self.record.is_file():
            before = read_json(self.record)
            if before.get("run") != record["run"]:
                differs = difference(before.get("identity", {}), record["identity"])
                raise UserError(
                    f"{self.path}: holds another run ({differs}): give --out another folder, or "
                    "remove this one"
                )
            if before.get("outcome"):
                told = {k: v for k, v in before["outcome"].items() if k in Outcome.__slots__}
                return Outcome(**told, adapter=self.adapter)
        write_json(self.record, record)
        return None

    def end(self, outcome: Outcome) -> None:
        record = read_json(self.record)
        write_json(self.record, {**record, "outcome": outcome.to_json()})
        self.checkpoint.unlink(missing_ok=True)

    def due(self) -> bool:
        """Whether a checkpoint now, if it takes as long as the last, is worth its time."""
        return self._took <= _WRITING * (self._clock() - self._since)

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint, whole or not at all."""
        import torch

        began = self._clock()
        with atomic_file(self.checkpoint) as stream:
            torch.save(state, stream)
        self._since = self._clock()
        self._took = self._since - began

    def load(self, run: str) -> dict[str, Any] | None:
        """The checkpoint, if there is one."""
        import torch

        if not self.checkpoint.is_file():
            return None
        state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if state["run"] != run:
            raise UserError(f"{self.checkpoint}: is of another run: remove it")
        return state

    def cut_log(self, run: str) -> None:
        """Take away the log's lines of steps that the checkpoint knows nothing of."""
        state = self.load(run)
        if state is None:
            self.log.unlink(missing_ok=True)
        elif self.log.is_file():
            lines = text_lines(self.log.read_text("utf-8"))[: state["step"]]
            write_atomic(self.log, "".join(line + "\n" for line in lines))
        if self.compute.is_file():
            content = self.compute.read_bytes()  # perhaps with half a line, by a kill
            write_atomic(self.compute, content[: content.rfind(b"\n") + 1])

    def add(self, line: dict[str, Any]) -> None:
        _append(self.log, line)

    def spend(self, line: dict[str, Any]) -> None:
        _append(self.compute, line)

    def spent(self) -> list[dict[str, Any]]:
        return list(read_jsonl(self.compute)) if self.compute.is_file() else []


def _append(path: Path, line: dict[str, Any]) -> None:
    with writing(path), path.open("a", encoding="utf-8", newline="\n") as stream:
        stream.write(canonical_json(line) + "\n")


def ended(run: Path) -> tuple[dict[str, Any], list[Path]]:
    """The record of a run that has ended, and its adapters, its own last; else a UserError."""
    folder = RunFolder(run)
    if not folder.record.is_file():
        raise UserError(f"{run}: no run of baselines here (no {RECORD})")
    record = read_json(folder.record)
    if not record.get("outcome"):
        raise UserError(f"{run}: this run has not ended: the command that made it goes on with it")
    below = [Path(adapter["path"]) for adapter in record["model"].get("adapters", [])]
    trained = record["outcome"]["status"] != "measured"
    return record, [*below, folder.adapter] if trained else below


def from_elsewhere(measured: Path | None) -> dict[str, str]:
    """What a record says of a fine-tuned model from elsewhere, measured in a run folder."""
    return {"finetuned": "elsewhere", "measured": str(measured)} if measured else {}


def run_identity(
    method: str, settings: dict[str, Any], model: dict[str, Any], rows: str
) -> dict[str, Any]:
    """What decides a run's result, in the parts in which another one may differ."""
    return {
        "method": method,
        "settings": settings,
        "rows": rows,
        "model": {name: model.get(name) for name in _MODEL},
        "parents": [adapter["weights"] for adapter in model.get("adapters", [])],
    }


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The first value that differs, of a part that is a mapping the key in it."""
    name = next((name for name in now if before.get(name) != now[name]), "")
    old, new = before.get(name), now.get(name)
    if isinstance(old, dict) and isinstance(new, dict) and any(old.get(k) != new[k] for k in new):
        return f"{name}.{difference(old, new)}"
    return f"{name}: {old!r} there, {new!r} now" if name else "of another version"


def step_cost(
    number: int, seconds: float, tokens: float, step: Step, forget: Sequence[Sample], peak: int
) -> dict[str, Any]:
    """The line of a step; `tokens`: read by its passes, the reference's too, without padding."""
    ids = {sample.id for sample in forget}
    exposed = sum(unit[0].id in ids for unit in step.units)
    line = {"step": number, "seconds": round(seconds, 4), "tokens": int(tokens)}
    return {**line, "forget_exposures": exposed, "peak_memory": peak}


def peak_memory(device: torch.device) -> int:
    """The most bytes that were allocated on a GPU; on a CPU, that this process ever held.

    So on a CPU a part of a run of several shows the largest of itself and those before.
    """
    import resource
    import sys

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def summed(
    lines: Sequence[dict[str, Any]], model: Model, settings: TrainSettings, processes: int
) -> dict[str, Any]:
    """The cost of a run that has ended, and the signature under which it may be compared.

    forget_exposures: how often a forget row was trained on, of the steps that count; the other
    sums are of all steps that were taken (`steps`), `repeated` ones of them after a kill.
    """
    import torch

    counted = {line["step"]: line for line in lines}
    device = model.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    where = {
        "device": name,
        "processes": processes,
        "attention": model.identity.get("attention", "unknown"),
        "batch_size": settings.batch_size,
        "micro_batch": settings.micro_batch,
        "dtype": model.identity.get("dtype", ""),
    }
    signed = "|".join(f"{key} {value}" for key, value in where.items())
    return {
        "seconds": round(sum(line["seconds"] for line in lines), 1),
        "tokens": sum(line["tokens"] for line in lines),
        "forget_exposures": sum(line["forget_exposures"] for line in counted.values()),
        "steps": len(lines),
        "repeated": len(lines) - len(counted),
        "peak_memory": max((line["peak_memory"] for line in lines), default=0),
        **where,
        "signature": f"compute|training steps alone, repeated ones too|{signed}|"
        f"torch {torch.__version__}|mllmu-med 1",
    }
