"""Weights on the disk: their hash, LoRA adapters on top of a model, and the device for them."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

from mllmu_med.errors import first_line
from mllmu_med.files import digest, file_digest
from mllmu_med_dataset import UsageError, UserError


def pick_device(name: str) -> str:
    """The named device if torch can reach it; without a name the accelerator, or the CPU."""
    import torch

    if not name:
        return (torch.accelerator.current_accelerator() or torch.device("cpu")).type
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: cannot be used here: {first_line(error)}") from error
    return name


def adapter_hash(path: str | Path) -> str:
    """`weights_hash` of a PEFT adapter's folder; raises where it is none."""
    folder = Path(path).expanduser()
    if not (folder / "adapter_config.json").is_file():
        raise UserError(f"--adapter {path}: no PEFT adapter here (no adapter_config.json)")
    return weights_hash(folder)


def next_name(model: Any) -> str:
    """The name of the next adapter on top of a model."""
    return f"adapter_{len(getattr(model, 'peft_config', {}))}"


def with_adapter(model: Any, path: str | Path) -> Any:
    """The model with one more LoRA adapter on top, all active; a UserError if it does not fit."""
    from peft import PeftConfig, PeftModel
    from safetensors import SafetensorError

    folder = str(Path(path).expanduser())
    below, name = [*getattr(model, "peft_config", {})], next_name(model)
    try:
        with warnings.catch_warnings():
            # peft calls what transformers deprecates: nothing that a user can mend.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            if not isinstance(model, PeftModel):
                model = PeftModel(model, PeftConfig.from_pretrained(folder), name)
            loaded = model.load_adapter(folder, adapter_name=name)
    except (RuntimeError, ValueError, OSError, SafetensorError) as error:
        raise UserError(
            f"--adapter {path}: does not fit this model: {first_line(error)}"
        ) from error
    # The library goes on without them: the adapter would be none, and nobody would know.
    strange = [*loaded.unexpected_keys, *loaded.missing_keys]
    if strange:
        raise UserError(
            f"--adapter {path}: does not fit this model: {len(strange)} weights have no place "
            f"in it, or are missing (first: {strange[0]})"
        )
    model.base_model.set_adapter([*below, name], inference_mode=True)
    return model


def weights_hash(folder: Path) -> str:
    """A hash of a model's or adapter's configuration and weights; a UserError without weights.

    Files are read whole, each once by a process: reading a 7B model through takes a while.
    """
    files = sorted(folder.glob("*.safetensors"))  # else what a trainer left is not loaded either
    files = files or sorted([*folder.glob("*.bin"), *folder.glob("*.pt")])
    if not files:
        raise UserError(f"{folder}: holds no weights (*.safetensors)")
    names = ("config.json", "adapter_config.json", "tokenizer.json", "processor_config.json")
    files += [folder / name for name in names if (folder / name).is_file()]
    hashes = {}
    for path in files:
        status = path.stat()
        hashes[path.name] = _file_hash(path.resolve(), status.st_size, status.st_mtime_ns)
    return digest(hashes)[:16]


def is_hub_id(name: str) -> bool:
    """Whether a model's name is one of the Hub, and no folder here."""
    local = Path(name).expanduser().is_dir() or name.startswith((".", "/", "~"))
    return not local and name.count("/") == 1


def hub_commit(name: str, *, fetch: bool) -> str | None:
    """The commit of the Hub's model that is loaded under a name; None where nobody here knows it.

    Args:
        fetch: ask the Hub, as loading does, which may fetch a newer one; else, and without a
            network, it is the one in huggingface-hub's cache.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        config = (hf_hub_download if fetch else try_to_load_from_cache)(name, "config.json")
    except (HfHubHTTPError, HFValidationError, OSError):  # loading will say what is wrong
        return None
    return Path(config).parent.name if isinstance(config, str) else None


@cache
def _file_hash(path: Path, size: int, modified: int) -> str:
    """Of a file as it was at some time; remembered as long as it has not changed."""
    return file_digest(path)
