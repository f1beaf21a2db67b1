"""Features of images in a folder of a run: one file an image, for all its parts and processes.

FOLDER/<model>/<image>.safetensors, both by hash of what they come from; the folder is its owner's
alone, and gone when the run has ended.

Imports torch: import this module late.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from eval.image_prefix import KEPT, Features, Prefix
from mllmu_med.disk import writing
from mllmu_med.files import digest

if TYPE_CHECKING:
    from PIL.Image import Image

    from eval.model import Model

#: What decides features and prompt, of a model's identity: adapters that do are not kept.
_DECIDE: Final = ("weights", "dtype", "attention", "prompt", "tokenizer", "versions")


def file_of(model: Model, folder: Path, image: Image) -> Path:
    chosen = [model.device.type, *(model.identity.get(name) for name in _DECIDE)]
    seen = hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()
    return folder / digest(chosen)[:16] / f"{seen[:32]}.safetensors"


def has_room(folder: Path) -> bool:
    """Whether the disk keeps some GB free beside what is kept here."""
    folder.mkdir(0o700, parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free > KEPT


def write(file: Path, prefix: Prefix, features: Features, after: tuple[str, str]) -> None:
    """`after`: how an image stands in a prompt, see `Prefixes`."""
    tensors: dict[str, Tensor] = {"positions": prefix.positions}
    tensors |= {"mask": prefix.mask} if prefix.mask is not None else {}
    tensors |= {"seen": features.seen} if features.seen is not None else {}
    tensors |= {f"each.{name}": value for name, (_, value) in prefix.each.items()}
    many: dict[str, int] = {}
    for name, value in features.whole.items():
        if isinstance(value, Tensor):
            tensors[f"whole.{name}"] = value
        else:
            many[name] = len(value)
            tensors |= {f"whole.{name}.{i}": one for i, one in enumerate(value)}
    about = {
        "ids": prefix.ids,
        "after": after,
        "dims": {name: dim for name, (dim, _) in prefix.each.items()},
        "whole": [name for name in features.whole if name not in many],
        "many": many,
    }
    tensors = {name: value.detach().cpu().clone() for name, value in tensors.items()}
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    with writing(file, features.nbytes, half=temporary):
        file.parent.mkdir(exist_ok=True)
        save_file(tensors, temporary, {"about": json.dumps(about)})
        temporary.replace(file)


def read(file: Path, image_id: str) -> tuple[Prefix, Features, tuple[str, str]] | None:
    """What `write` has written, features memory-mapped; None where there is none."""
    if not file.is_file():
        return None
    with safe_open(file, "pt") as stream:
        about: dict[str, Any] = json.loads(stream.metadata()["about"])
        held: dict[str, Tensor] = {name: stream.get_tensor(name) for name in [*stream.keys()]}
    mask, one = held.get("mask"), {name: held[f"whole.{name}"] for name in about["whole"]}
    listed = {n: [held[f"whole.{n}.{i}"] for i in range(k)] for n, k in about["many"].items()}
    prefix = Prefix(
        image_id,
        about["ids"],
        held["positions"].clone(),  # which outlives its file
        None if mask is None else mask.clone(),
        {name: (dim, held[f"each.{name}"].clone()) for name, dim in about["dims"].items()},
    )
    mark, text = about["after"]
    return prefix, Features(held.get("seen"), {**one, **listed}), (mark, text)
