"""The model that a run has made: its base, the adapters below it and its own, checked by hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from baselines.state import RunFolder
from eval.model import Model, load_model, weights_hash
from eval.runs import read_json
from mllmu_med_dataset import UserError


def read_run(run: Path) -> dict[str, Any]:
    """The record of a run that has ended.

    Raises:
        UserError: no run folder, or the run has not ended.
    """
    folder = RunFolder(run)
    if not folder.record.is_file():
        raise UserError(f"{run}: no run of baselines here (no record.json)")
    record = read_json(folder.record)
    if not record.get("outcome"):
        raise UserError(f"{run}: this run has not ended: the command that made it goes on with it")
    return record


def load_run(run: Path, base: str = "", device: str = "", dtype: str = "") -> Model:
    """The model of a run that has ended, as `eval.model.load_model` gives it.

    Args:
        base: where its base model is now; default: where it was.
        device, dtype: as `load_model`; `dtype` by default the run's.

    Raises:
        UserError: no such run, another base model than the run's, an adapter that is gone or has
            been changed since.
    """
    record = read_run(run)
    made_of = record["model"]
    adapters = [Path(one["path"]) for one in made_of["adapters"]]
    for path, one in zip(adapters, made_of["adapters"], strict=True):
        if not path.is_dir():
            raise UserError(f"{run}: goes on top of the adapter {path}, which is not there")
        if weights_hash(path) != one["weights"]:
            raise UserError(f"{run}: goes on top of the adapter {path}, which has changed since")
    name = base or str(made_of["model"])
    stack = [*adapters, RunFolder(run).adapter]
    model = load_model(name, stack, device, dtype or str(made_of["dtype"]))
    if model.identity["weights"] != made_of["weights"]:
        raise UserError(
            f"{run}: was trained on {made_of['model']} (weights {made_of['weights']}), and not on "
            f"{name} (weights {model.identity['weights']})"
        )
    return model
