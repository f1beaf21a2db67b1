"""The model that a run has made: its base, the adapters below it and its own, checked by hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from baselines.state import RunFolder
from eval.model import Model, load_model, weights_hash
from eval.runs import read_json
from mllmu_med_dataset import UserError


class Parent(NamedTuple):
    """What a run that has ended is made of: enough to load it, or to train on top of it."""

    record: dict[str, Any]
    adapters: tuple[Path, ...]  # those that it went on top of, then its own

    @property
    def model(self) -> str:
        return str(self.record["model"]["model"])


def read_run(run: Path) -> Parent:
    """A run that has ended, its adapters checked by hash.

    Raises:
        UserError: no run folder, the run has not ended, an adapter below it is gone or has changed.
    """
    folder = RunFolder(run)
    if not folder.record.is_file():
        raise UserError(f"{run}: no run of baselines here (no record.json)")
    record = read_json(folder.record)
    if not record.get("outcome"):
        raise UserError(f"{run}: this run has not ended: the command that made it goes on with it")
    below = record["model"].get("adapters", [])
    for one in below:
        path = Path(one["path"])
        if not path.is_dir():
            raise UserError(f"{run}: goes on top of the adapter {path}, which is not there")
        if weights_hash(path) != one["weights"]:
            raise UserError(f"{run}: goes on top of the adapter {path}, which has changed since")
    return Parent(record, (*(Path(one["path"]) for one in below), folder.adapter))


def load_run(run: Path, base: str = "", device: str = "", dtype: str = "") -> Model:
    """The model of a run that has ended, as `eval.model.load_model` gives it.

    Args:
        base: where its base model is now; default: where it was.
        device, dtype: as `load_model`; `dtype` by default the run's.

    Raises:
        UserError: as `read_run`, or another base model than the run's.
    """
    parent = read_run(run)
    made_of = parent.record["model"]
    name = base or parent.model
    model = load_model(name, parent.adapters, device, dtype or str(made_of["dtype"]))
    if model.identity["weights"] != made_of["weights"]:
        raise UserError(
            f"{run}: was trained on {made_of['model']} (weights {made_of['weights']}), and not on "
            f"{name} (weights {model.identity['weights']})"
        )
    return model
