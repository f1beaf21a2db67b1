"""What a training run has cost: seconds, tokens, exposures of forget rows, memory, and on what.

Each step adds a line to the run's `compute.jsonl`, and nothing takes one away: steps that a kill
has undone were paid for, and are in the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from baselines.schedule import Sample, Step
from baselines.training_settings import TrainSettings
from eval.model import Model

if TYPE_CHECKING:
    import torch


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
    text = model.model.config.get_text_config()
    where = {
        "device": name,
        "processes": processes,
        "attention": getattr(text, "_attn_implementation", None) or "unknown",
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
