"""Weights on the disk: their hash, LoRA adapters on top of a model, and the device for them."""

from __future__ import annotations

import warnings
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final

from mllmu_med.errors import first_line
from mllmu_med.files import digest, file_digest, parse_json
from mllmu_med_dataset import UsageError, UserError

#: What trainers save beside the weights, under names that end as weights' do.
_TRAINERS: Final = ("training_args.bin", "optimizer.bin", "scheduler.bin", "scaler.bin")
#: What decides how a model reads and speaks, beside its weights.
_SETTINGS: Final = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "processor_config.json"),
    *("preprocessor_config.json", "chat_template.jinja", "chat_template.json"),
)


def pick_device(name: str) -> str:
    """The named device if torch can reach it; without a name the accelerator, or the CPU."""
    import torch

    if not name:
        # A build with CUDA has one even where no driver is: it is looked for.
        found = torch.accelerator.current_accelerator(check_available=True)
        return (found or torch.device("cpu")).type
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: cannot be used here: {first_line(error)}") from error
    return name


def adapter_hash(path: str | Path) -> str:
    """`weights_hash` of a PEFT adapter's folder; raises where it is none."""
    folder = Path(path).expanduser()
    if not (folder / "adapter_config.json").is_file():
        inner = sorted(folder.glob("*/adapter_config.json"), key=lambda file: file.stat().st_mtime)
        hint = f": give {inner[-1].parent}" if inner else ""
        if (folder / "config.json").is_file():
            hint = ": it is a whole model: give it as --model, without --adapter"
        raise UserError(f"--adapter {path}: no PEFT adapter here (no adapter_config.json){hint}")
    return weights_hash(folder)


def base_of(net: Any) -> Any:
    """The image-text model itself, below its adapters."""
    return net.get_base_model() if hasattr(net, "get_base_model") else net


def active(net: Any) -> list[str]:
    """Names of the adapters that are on; none of a bare model."""
    if not hasattr(net, "peft_config"):
        return []
    active = net.base_model.active_adapter
    return [active] if isinstance(active, str) else list(active)


def beyond_decoder(net: Any) -> frozenset[str]:
    """The adapters of a PEFT model with weights in neither decoder nor output layer."""
    base = base_of(net)
    inside = {*map(id, base.get_decoder().parameters())}
    inside |= {*map(id, base.get_output_embeddings().parameters())}
    names = [name for name, p in net.named_parameters() if id(p) not in inside]
    return frozenset(a for a in net.peft_config if any(f".{a}." in name for name in names))


def next_name(model: Any) -> str:
    """The name of the next adapter on top of a model: the first that is free."""
    taken = getattr(model, "peft_config", {})
    return next(name for name in map("adapter_{}".format, count()) if name not in taken)


def with_adapter(model: Any, path: str | Path, processor: Any = None) -> Any:
    """The model with one more adapter on top, all active; a UserError if it does not fit.

    Args:
        processor: the model's, if it is known, with whose chat template an adapter's is compared.
    """
    from peft import PeftModel
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
    from peft.utils import set_peft_model_state_dict

    from eval.adapter_files import check_vocabulary, read_adapter

    below, name = [*getattr(model, "peft_config", {})], next_name(model)
    adapter = read_adapter(path, model)
    check_vocabulary(adapter, model, processor)
    try:
        with warnings.catch_warnings():
            # peft calls what transformers deprecates: nothing that a user can mend.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            if isinstance(model, PeftModel):
                model.add_adapter(name, adapter.config)
            else:
                model = PeftModel(model, adapter.config, name)
            loaded = set_peft_model_state_dict(model, adapter.weights, name)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        head, *rest = [line.strip() for line in str(error).strip().split("\n")]
        raise adapter.misfit(rest[0] if rest and head.endswith(":") else head) from error
    except KeyError as error:  # of what is kept whole
        raise adapter.misfit(f"it holds no {error.args[0]}") from error
    # The library goes on without them: the adapter would be none, and nobody would know.
    mark = PEFT_TYPE_TO_PREFIX_MAPPING[adapter.config.peft_type]
    strange = [*loaded.unexpected_keys]
    strange += [key for key in loaded.missing_keys if mark in key and name in key]
    if strange:
        raise adapter.misfit(
            f"{len(strange)} weights have no place in it, or are missing (first: {strange[0]})"
        )
    try:
        model.base_model.set_adapter([*below, name], inference_mode=True)
    except ValueError as error:
        whole = ", ".join(sorted(adapter.config.modules_to_save or ()))
        raise UserError(
            f"--adapter {path}: it and an adapter below it replace the same layer whole (of "
            f"{whole}), of which one alone can be active: merge the one below into the model first"
        ) from error
    no_casting(model)
    return model


def no_casting(net: Any) -> None:
    """Hand a bfloat16 model's adapters their input as it is, and hold frozen LoRA as it is used.

    All passes are autocast (`Model.precision`), to the same numbers: peft's way, to float32 and
    from there to bfloat16 again, makes two copies of each layer's input, and keeps one. Weights in
    float32 are needed by what is trained alone; others would be converted at every token.
    """
    import torch
    from peft.tuners.lora import LoraLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    half = net.dtype == torch.bfloat16
    for module in net.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = not half
        if half and isinstance(module, LoraLayer):
            for name, part in (*module.lora_A.items(), *module.lora_B.items()):
                if not (part.weight.requires_grad or name in module.lora_variant):
                    part.bfloat16()


def weights_hash(folder: Path) -> str:
    """A hash of a model's or adapter's configuration and weights; a UserError without weights.

    Of a generation configuration the tokens that end an answer count, of an adapter no tokenizer
    (it may lie there unused), and nothing of what a trainer keeps beside them to go on (optimizer,
    scheduler, its arguments). Files are read whole, each once as long as it does not change.
    """
    files = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    files = sorted(path for path in files if path.name not in _TRAINERS)
    if not files:
        raise UserError(f"{folder}: holds no weights (*.safetensors)")
    adapter = folder / "adapter_config.json"
    names = [adapter] if adapter.is_file() else [folder / name for name in _SETTINGS]
    files += [path for path in names if path.is_file()]
    found: dict[str, Any] = {path.name: _digest(path, *_as_it_is(path)) for path in files}
    generation = folder / "generation_config.json"
    if generation.is_file() and not adapter.is_file():
        try:
            found["ends"] = parse_json(generation.read_text("utf-8")).get("eos_token_id")
        except (ValueError, AttributeError) as error:
            raise UserError(f"{generation}: not JSON ({error}): fetch it again") from error
    return digest(found)[:16]


def _as_it_is(path: Path) -> tuple[int, int, int]:
    """Size and times: a file that is moved into another's place may keep its time of change, but
    not its `ctime`."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


@cache
def _digest(path: Path, *_: int) -> str:
    return file_digest(path)


def check_named(name: str) -> None:
    """Raise UserError where a model's name is neither a folder here nor one of the Hub."""
    if not Path(name).expanduser().is_dir() and not is_hub_id(name):
        raise UserError(f"{name}: no such folder here; a model of the Hub is named ORG/NAME")


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
    import httpx2
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = (hf_hub_download if fetch else try_to_load_from_cache)(name, "config.json")
    except (httpx2.HTTPError, HFValidationError, OSError):  # loading will say what is wrong
        return None
    return Path(config).parent.name if isinstance(config, str) else None
