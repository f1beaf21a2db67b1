"""The tensors of a checkpoint's weight files by name; their values stay on the disk until used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mllmu_med.errors import first_line
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: As transformers has it: safetensors before pickles, one file before shards.
_FORMS = ("model.safetensors", "pytorch_model.bin")


def read_checkpoint(folder: Path) -> dict[str, Tensor]:
    """Weights in one file or in shards, mapped into memory; a UserError if they are not whole."""
    tensors: dict[str, Tensor] = {}
    files, indexed = _files(folder)
    for file in files:
        shard = _read(file)
        if doubled := tensors.keys() & shard.keys():
            raise UserError(f"{file}: {min(doubled)} is in another file too: fetch the model again")
        tensors |= shard
    if indexed and (differ := sorted(indexed ^ tensors.keys())):
        raise UserError(
            f"{folder}: index and weight files disagree about {len(differ)} tensors (first: "
            f"{differ[0]}): fetch the model again"
        )
    return tensors


def _files(folder: Path) -> tuple[list[Path], set[str]]:
    """A folder's weight files, and the tensors that its index names (none without an index)."""
    for name in _FORMS:
        if (folder / name).is_file():
            return [folder / name], set()
        index = folder / f"{name}.index.json"
        if not index.is_file():
            continue
        try:
            file_of = json.loads(index.read_text("utf-8"))["weight_map"]
            files = [folder / file for file in sorted(set(file_of.values()))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{index}: not an index of weights: fetch it again") from error
        if lacking := [file for file in files if not file.is_file()]:
            raise UserError(f"{lacking[0]}: not there, but the index names it: fetch it")
        return files, set(file_of)
    raise UserError(f"{folder}: no weights here ({' or '.join(_FORMS)}, or their index.json)")


def _read(file: Path) -> dict[str, Tensor]:
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise UserError(f"{file}: cannot be read ({first_line(error)}): fetch it again") from error
    named = isinstance(tensors, dict) and all(isinstance(v, torch.Tensor) for v in tensors.values())
    if not named:
        raise UserError(f"{file}: holds other things than tensors by name")
    return dict(tensors)
