"""The tensors of a checkpoint's weight files: names and shapes at once, values one at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: As transformers has it: safetensors before pickles, one file before shards.
_FORMS = ("model.safetensors", "pytorch_model.bin")


class Checkpoint:
    """Weights of a folder in one file or in shards, `.safetensors` or `.bin`.

    Opening reads the files' tables only: values stay on the disk until `read` asks for one.

    Raises:
        UserError: no weights, a file missing or damaged, files and index that disagree.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._where: dict[str, Any] = {}
        files, indexed = _files(folder)
        for file in files:
            opened = _open(file)
            for name in opened.keys():  # noqa: SIM118  # a safetensors file is no mapping
                if name in self.shapes:
                    raise UserError(f"{file}: {name} is in another file too: fetch the model again")
                self.shapes[name] = _shape(opened, name)
                self._where[name] = opened
        if indexed and (differ := sorted(indexed ^ self.shapes.keys())):
            raise UserError(
                f"{folder}: index and weight files disagree about {len(differ)} tensors (first: "
                f"{differ[0]}): fetch the model again"
            )

    def read(self, name: str) -> Tensor:
        where = self._where[name]
        value: Tensor = where[name] if isinstance(where, dict) else where.get_tensor(name)
        return value


def _files(folder: Path) -> tuple[list[Path], set[str]]:
    """A folder's weight files, and the tensors that its index names (none without an index)."""
    for name in _FORMS:
        if (folder / name).is_file():
            return [folder / name], set()
        index = folder / f"{name}.index.json"
        if not index.is_file():
            continue
        try:
            where = json.loads(index.read_text("utf-8"))["weight_map"]
            files = [folder / file for file in sorted(set(where.values()))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{index}: not an index of weights: fetch it again") from error
        if lacking := [file for file in files if not file.is_file()]:
            raise UserError(f"{lacking[0]}: not there, but the index names it: fetch it")
        return files, set(where)
    raise UserError(f"{folder}: no weights here ({' or '.join(_FORMS)}, or their index.json)")


def _open(file: Path) -> Any:
    """A mapping of names to tensors that lie on the disk."""
    import pickle

    import torch
    from safetensors import SafetensorError, safe_open

    try:
        if file.suffix == ".safetensors":
            return safe_open(file, "pt")
        opened = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{file}: cannot be read ({reason}): fetch it again") from error
    if not isinstance(opened, dict) or not all(
        isinstance(v, torch.Tensor) for v in opened.values()
    ):
        raise UserError(f"{file}: holds other things than tensors by name")
    return opened


def _shape(opened: Any, name: str) -> tuple[int, ...]:
    found = opened[name].shape if isinstance(opened, dict) else opened.get_slice(name).get_shape()
    return tuple(found)
