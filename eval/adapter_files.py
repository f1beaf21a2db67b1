"""PEFT adapters as others have saved them: their names of layers, their vocabulary.

What an adapter was trained on is seldom said: another transformers, which named layers otherwise;
more tokens than the model has; the original LLaVA program.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Final

from eval.run_folder import RECORD, read_json
from eval.weights import base_of
from mllmu_med.errors import first_line
from mllmu_med.files import parse_json, stand_in
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from torch import Tensor

FILES: Final = ("adapter_model.safetensors", "adapter_model.bin")
#: What PEFT puts before the names of a model's layers.
_PEFT: Final = "base_model.model."
#: What torch.compile, DeepSpeed, FSDP and activation checkpointing put into them.
_WRAPPERS: Final = re.compile(
    r"(?<![^.])(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)


@dataclass(slots=True)
class AdapterFiles:
    """An adapter's configuration (a `PeftConfig`) and weights, by PEFT's names of today."""

    name: str  # as the user gave it
    folder: Path
    config: Any
    weights: dict[str, Tensor]

    def misfit(self, why: str) -> UserError:
        """The error of an adapter that does not fit, with the model that it names as its own."""
        base = getattr(self.config, "base_model_name_or_path", None)
        hint = f" (it says that it was trained on {base})" if base else ""
        return UserError(f"--adapter {self.name}: does not fit this model: {why}{hint}")


def read_adapter(path: str | Path, model: Any) -> AdapterFiles:
    """An adapter's files, named as the model names its layers; a UserError where unreadable."""
    folder = Path(path).expanduser()
    adapter = AdapterFiles(str(path), folder, _config(path, folder), _weights(path, folder))
    base = base_of(model)
    layers = {name for name, _ in base.named_modules()}
    apart = next((file.name for file in folder.glob("non_lora_*.bin")), "")
    theirs = (f"{_PEFT}model.layers.", f"{_PEFT}model.mm_projector.")
    llava = base.config.model_type.startswith("llava")
    if llava and (apart or any(name.startswith(theirs) for name in adapter.weights)):
        raise UserError(
            f"--adapter {path}: a LoRA of the original LLaVA program, which keeps the projector "
            "apart (non_lora_trainables.bin): merge it there (scripts/merge_lora_weights.py), then "
            "`python -m baselines convert-llava-med MERGED NEW`, and give NEW as --model"
        )
    if apart:
        raise UserError(
            f"--adapter {path}: {apart} holds weights that PEFT does not read: merge all with the "
            "program that trained them, and give the result as --model"
        )
    _rename(adapter, base, layers)
    return adapter


def _config(path: str | Path, folder: Path) -> Any:
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftConfig

    file = folder / "adapter_config.json"
    try:
        told = parse_json(file.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{file}: not JSON ({error}): copy or fetch it again") from error
    kind = told.get("peft_type") if isinstance(told, dict) else None
    if not isinstance(kind, str) or kind not in PEFT_TYPE_TO_CONFIG_MAPPING:
        found = f"peft_type is {kind!r}" if kind else "no peft_type"
        raise UserError(
            f"{file}: {found}, so that nobody knows what the weights mean: write what PEFT calls "
            'it (for LoRA: "peft_type": "LORA"), or save the adapter again with PEFT'
        )
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{file}: PEFT cannot read it: {first_line(error)}") from error
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise UserError(
            f"--adapter {path}: peft_type {kind} puts tokens before the prompt, which cannot be "
            "stacked: use LoRA or another kind that changes the layers"
        )
    return config


def _weights(path: str | Path, folder: Path) -> dict[str, Tensor]:
    from peft.utils import load_peft_weights
    from safetensors import SafetensorError

    if not any((folder / name).is_file() for name in FILES):
        raise UserError(f"--adapter {path}: holds no weights ({' or '.join(FILES)})")
    for file in (folder / name for name in FILES):
        if what := stand_in(file):
            raise UserError(f"--adapter {path}: {file.name} {what}")
    try:
        weights: dict[str, Tensor] = load_peft_weights(str(folder), device="cpu")
    except UnpicklingError as error:
        raise UserError(
            f"--adapter {path}: adapter_model.bin is damaged, or holds more than tensors and could "
            "run code when read: save it as safetensors where you trust it"
        ) from error
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise UserError(f"--adapter {path}: cannot be read: {first_line(error)}") from error
    if not all(bool(weight.isfinite().all()) for weight in weights.values()):
        raise UserError(
            f"--adapter {path}: holds weights that are no numbers (NaN or infinite), as a training "
            "that has diverged leaves them: use an earlier checkpoint, or train at a lower rate"
        )
    ups = [weight for key, weight in weights.items() if ".lora_B" in key]
    if len(ups) * 2 == len(weights) and not any(bool(weight.any()) for weight in ups):
        say(f"--adapter {path}: changes nothing: its lora_B are all 0, as before any training")
    return weights


def _rename(adapter: AdapterFiles, base: Any, layers: set[str]) -> None:
    """Rename what transformers named otherwise, by the rules with which it reads checkpoints.

    PEFT does so itself for LoRA's two matrices alone, and where no pattern in `adapter_config.json`
    holds an old name. Layers are then listed by their full names of today, with the rank and scale
    that their old names had.
    """
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
    from peft.utils.other import get_pattern_key
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    config = adapter.config
    mark = f".{PEFT_TYPE_TO_PREFIX_MAPPING[config.peft_type]}"
    rules = get_model_conversion_mapping(base, add_legacy=False)
    rules = [rule for rule in rules if isinstance(rule, WeightRenaming)]

    def layer(name: str) -> str:
        before, found, _ = name.partition(mark)
        return before if found else name.rpartition(".")[0]

    def today(name: str) -> str:
        before, found, after = name.partition(mark)
        name = f"{before}{found}{re.sub(r'[.]default(?=[.]|$)', '', after)}"  # not as PEFT saves
        if layer(name) in layers:
            return name
        name = _WRAPPERS.sub("", name)
        new: str = name if layer(name) in layers else rename_source_key(name, rules, [])[0]
        return new if layer(new) in layers else name

    names = {old: old for old in adapter.weights}
    for old in names:
        if _PEFT in old:  # behind wrappers
            names[old] = _PEFT + today(old.partition(_PEFT)[2])
    moved = [old for old, new in names.items() if old != new]
    if not moved:
        return
    say(
        f"--adapter {adapter.name}: {len(moved)} weights have names of an older transformers or of "
        f"another program, read as those of today (first: {moved[0]} as {names[moved[0]]})"
    )
    adapter.weights = {names[old]: weight for old, weight in adapter.weights.items()}
    was = {layer(new): layer(old) for old, new in names.items() if mark in old}
    was = {new.removeprefix(_PEFT): old.removeprefix(_PEFT) for new, old in was.items()}
    config.target_modules = sorted(was) or config.target_modules
    for pattern in ("exclude_modules", "layers_to_transform", "layers_pattern"):
        if hasattr(config, pattern):  # what they would leave out, or choose, is listed
            setattr(config, pattern, None)
    for pattern in ("rank_pattern", "alpha_pattern"):
        if values := getattr(config, pattern, None):
            keys = {new: get_pattern_key(list(values), old) for new, old in was.items()}
            found = {re.escape(new): values[key] for new, key in keys.items() if key in values}
            setattr(config, pattern, found)
    if getattr(config, "modules_to_save", None):
        config.modules_to_save = [today(f"{one}.x")[:-2] for one in config.modules_to_save]


def misplaced(identity: Mapping[str, Any], *above: str) -> str:
    """Why an adapter of a run folder is not on what it was trained on; empty where all are.

    PEFT compares shapes alone, which are those of every model of a family. above: paths of
    adapters that go on top of the model of this identity.
    """
    stack = identity.get("adapters", [])
    for i, path in enumerate([*(adapter["path"] for adapter in stack), *above]):
        record = Path(path).expanduser().parent / RECORD
        trained = read_json(record) if record.is_file() else {}
        if "identity" not in trained:  # not of a training run of ours
            continue
        on = trained.get("model", {})
        if on.get("weights") != identity.get("weights"):
            return (
                f"{path}: was trained on {on.get('model')} (weights {on.get('weights')}), and not "
                f"on {identity.get('model')} (weights {identity.get('weights')})"
            )
        below = on.get("adapters", [])
        if [parent["weights"] for parent in below] != [parent["weights"] for parent in stack[:i]]:
            named = [*(parent["path"] for parent in below), path]
            return (
                f"{path}: was trained on top of {' and '.join(named[:-1]) or 'no adapter'}, "
                "otherwise than here (one is missing, or has changed since): give "
                f"`{' '.join(f'--adapter {name}' for name in named)}`, or what `python -m "
                f"baselines merge {record.parent} --out NEW` makes of them"
            )
    return ""


def check_vocabulary(adapter: AdapterFiles, model: Any, processor: Any) -> None:
    """Raise UserError where an adapter was trained with another vocabulary than the model's.

    processor: the model's, with whose chat template an adapter's is compared, if it is known.
    """
    base = base_of(model)
    template = adapter.folder / "chat_template.jinja"
    spoken = str(getattr(processor, "chat_template", "")).strip()
    if processor and template.is_file() and template.read_text("utf-8").strip() != spoken:
        say(
            f"--adapter {adapter.name}: its chat_template.jinja is not the model's, whose own is "
            "used: if it was trained with the other, put that into the model's folder"
        )
    ends = [base.get_input_embeddings(), base.get_output_embeddings()]
    rows = len(ends[0].weight)
    names = [name for name, module in base.named_modules() if any(module is e for e in ends)]
    keys = {f"{_PEFT}{name}{part}" for name in names for part in (".weight", ".base_layer.weight")}
    sizes = {len(weight) for key, weight in adapter.weights.items() if key in keys}
    tokenizer = adapter.folder / "tokenizer.json"
    if tokenizer.is_file():
        try:
            added = parse_json(tokenizer.read_text("utf-8")).get("added_tokens", [])
            sizes |= {token["id"] + 1 for token in added if token["id"] >= rows}
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UserError(
                f"{tokenizer}: no tokenizer ({error}): copy or fetch it again"
            ) from error
    if other := sizes - {rows}:
        raise adapter.misfit(
            f"its vocabulary has {max(other)} tokens, and the model's {rows}: merge it into the "
            "model that it was trained on, with the program that trained it, and give the result "
            "as --model"
        )
