"""LoRA on the language model, and the reference model that costs no second copy.

What is trained is always a new adapter on top of all that the model was given with. The reference
(the fine-tuned model, when unlearning) is therefore the same weights with the new adapter left out.
A later round goes on with the last one's adapter instead of putting one more on top (`Start`).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from baselines.lora_places import lora_places
from baselines.training_settings import WORDS
from eval.adapter_files import misplaced
from eval.model import Model
from eval.run_folder import read_json
from eval.weights import active, adapter_hash, next_name, no_casting, with_adapter
from mllmu_med.disk import writing
from mllmu_med.files import stable_hash, write_atomic
from mllmu_med.folders import atomic_folder
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: What LoRA has besides its two matrices (fields of PEFT's LoraConfig).
_MORE: Final = (
    "use_dora",
    "modules_to_save",
    "lora_bias",
    "target_parameters",
    "trainable_token_indices",
)


class Start(NamedTuple):
    """Where a round of unlearning goes on: with the weights of the last round's adapter.

    They are the first weights of this round's own adapter, on the same parents: a model has one
    unlearning adapter, however many rounds there were. reference: what the losses compare with; the
    model of the last round (`previous`), by a frozen copy of its adapter, or the parents alone
    (`finetuned`).
    """

    adapter: Path
    reference: str = "previous"

    def identity(self, compares: bool) -> dict[str, str]:
        """What decides a result; `compares`: whether the method reads a reference at all."""
        about = {"weights": adapter_hash(self.adapter)}
        return {**about, "reference": self.reference} if compares else about


@dataclass(slots=True)
class Adapter:
    """The adapter that is trained, on a model whose every other weight is frozen."""

    net: Any
    name: str
    parents: list[str]
    before: str = ""  # the frozen copy of the last round's, which only the reference has on

    def weights(self) -> dict[str, Any]:
        """Its parameters by name."""
        return {name: p for name, p in self.net.named_parameters() if f".{self.name}." in name}

    def use(self) -> None:
        """Answer as the model under training, which only this adapter's weights can change."""
        self.net.base_model.set_adapter([*self.parents, self.name], inference_mode=True)
        # `set_adapter` decides what is trainable anew each time, for all active adapters alike.
        self.net.base_model.set_requires_grad(self.name)

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Answer as the model that training is compared with: as a rule that it started from."""
        net = self.net.base_model
        below = [*self.parents, *[self.before] * bool(self.before)]
        if below:
            net.set_adapter(below, inference_mode=True)
        else:  # that there are none cannot be set where an adapter replaces layers whole
            net.disable_adapter_layers()
            net.active_adapter = []
        try:
            yield
        finally:
            if not below:
                net.enable_adapter_layers()
            self.use()

    def save(self, folder: Path, card: str) -> None:
        """Write it in PEFT's own format, whole or not at all."""
        with atomic_folder(folder) as new:
            self.write(new, card, folder)

    def write(self, new: Path, card: str, folder: Path) -> None:
        """Write it into an empty folder, which will stand at `folder`."""
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(
            self.net, adapter_name=self.name, save_embedding_layers=False
        )
        write_adapter(state, self.net.peft_config[self.name], new, card, folder)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over the values of `weights()` of another process of the same run."""
        import torch

        own = self.weights()
        if own.keys() != state.keys():
            raise UserError("the checkpoint is of an adapter with other layers: remove it")
        with torch.no_grad():
            for name, value in state.items():
                own[name].copy_(value)

    def load_saved(self, folder: Path) -> None:
        """Take over the values of an adapter that `save` wrote, of the same layers and rank."""
        from safetensors.torch import load_file

        saved = load_file(folder / "adapter_model.safetensors")
        own = {name.replace(f".{self.name}.", "."): name for name in self.weights()}
        here, there = self.net.peft_config[self.name], read_json(folder / "adapter_config.json")
        shape = here.r, here.lora_alpha
        if own.keys() != saved.keys() or shape != (there.get("r"), there.get("lora_alpha")):
            raise UserError(
                f"{folder}: cannot be gone on with: its layers, rank or alpha (rank "
                f"{there.get('r')}, alpha {there.get('lora_alpha')}) are not this run's (rank "
                f"{shape[0]}, alpha {shape[1]}): take the recipe of the last round"
            )
        self.load({own[name]: value for name, value in saved.items()})

    def let_go(self) -> None:
        """Take away the frozen copy of the last round's adapter, when training has ended."""
        if self.before:
            self.net.delete_adapter(self.before)
            self.before = ""
            self.use()


def write_adapter(
    state: Mapping[str, Tensor], config: Any, new: Path, card: str, folder: Path
) -> None:
    """Write matrices by PEFT's names into an empty folder, which will stand at `folder`."""
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    trains, config.inference_mode = config.inference_mode, True
    size = sum(value.nbytes for value in state.values())
    with writing(folder, size):
        save_file(state, new / "adapter_model.safetensors", metadata={"format": "pt"})
        try:
            config.save_pretrained(str(new))
        finally:
            config.inference_mode = trains
        path = new / "adapter_config.json"  # PEFT writes a set in an order of each process
        about = read_json(path)
        for name in ("target_modules", "exclude_modules"):
            if isinstance(about[name], list):
                about[name].sort()
        write_atomic(path, json.dumps(about, indent=2, sort_keys=True))
        write_atomic(new / "README.md", card)


def add_adapter(
    model: Model,
    rank: int,
    alpha: float,
    seed: int = 0,
    projector: bool = False,
    start: Start | None = None,
    compares: bool = True,
) -> Adapter:
    """Put a new adapter on top of a model, which is changed in place; all else is frozen.

    Its second matrices are 0: the model's answers stay those that they were, exactly. With `start`
    its weights are the last round's, and so are the answers.

    Args:
        rank, alpha: of LoRA; the update is scaled by alpha / rank.
        seed: of the first matrices, with the number of adapters below: of equal rank they would
            begin as the adapter below had begun.
        projector: also on the layers between vision tower and language model.
        compares: whether a reference is read; if not, no copy of `start` is kept for it.

    Raises:
        UserError: no place for it (`lora_places`), or `start` is of other layers or rank.
    """
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model

    places = lora_places(model.base, projector, str(model.identity.get("model")))
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=places.pattern,
        task_type="CAUSAL_LM",
    )
    net = model.model
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    parents, before = active(net), ""
    if start and compares and start.reference == "previous":
        before = next_name(net)
        net = with_adapter(net, start.adapter)
    name = next_name(net)
    torch.manual_seed(stable_hash("adapter", seed, len(parents)) if parents else seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of names that peft still uses
        if isinstance(net, PeftModel):
            net.add_adapter(name, config)
        else:
            net = get_peft_model(net, config, adapter_name=name)
    net.eval()
    adapter = Adapter(net, name, parents, before)
    adapter.use()
    if start:
        adapter.load_saved(start.adapter)
    no_casting(net)
    trained = sum(f".{name}." in place and "lora_A" in place for place in adapter.weights())
    if trained != sum(places.taken.values()):
        raise RuntimeError(f"LoRA is on {trained} maps, not on {places}")
    model.model = net
    model.changed()
    return adapter


def not_plain(config: Any) -> str:
    """Why an adapter is more than two matrices a layer; empty for plain LoRA."""
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    odd = [field for field in _MORE if getattr(config, field, None)]
    odd += ["bias"] if getattr(config, "bias", "none") != "none" else []
    return f"is {kind}, no LoRA" if kind != "LORA" else f"has {odd[0]}" if odd else ""


def put_on(model: Model, folder: Path) -> None:
    """Put a saved adapter on top of a loaded model, as `load_model` does; else a UserError."""
    named(model, folder)
    model.model = with_adapter(model.model, folder).eval()
    model.changed()
    check_stack(model)


def named(model: Model, folder: Path) -> None:
    """Say in a model's identity that the adapter saved in a folder is on top of it."""
    above = {"path": str(folder), "weights": adapter_hash(folder)}
    model.identity["adapters"] = [*parents_of(model), above]


def check_stack(model: Model, start: Start | None = None) -> None:
    """Raise UserError where an adapter, `start` too, was trained on another stack than this."""
    if why := misplaced(model.identity, *[str(start.adapter)] if start else []):
        raise UserError(why)


def take_off(model: Model) -> None:
    """Undo the last `put_on` (or training): the model is again what it was before it."""
    net = model.model
    *parents, name = active(net)
    if parents:
        net.delete_adapter(name)
        net.base_model.set_adapter(parents, inference_mode=True)
    else:
        model.model = net.unload()
    model.identity["adapters"] = parents_of(model)[: len(parents)]
    model.changed()


def parents_of(model: Model) -> list[dict[str, str]]:
    """The adapters that a model was loaded with: path and hash of each, in their order."""
    return [dict(adapter) for adapter in model.identity.get("adapters", [])]


def card(model: Model, method: str, record: Mapping[str, Any]) -> str:
    """The model card of an adapter: what it is, what it goes on top of, how to load it."""
    order = ", ".join([*(parent["path"] for parent in parents_of(model)), "this folder"])
    facts = [f"{name}: {value}" for name, value in record.items()]
    load = "Load the base model, then all adapters in this order, all active together: "
    return page(model, f"LoRA adapter: {method}", facts, f"{load}{order}.")


def page(model: Model, title: str, facts: list[str], text: str, library: str = "peft") -> str:
    """A model card: the base model and its adapters, what else is known, and what to take care of.

    library: what loads it; without adapters (transformers) nothing can be taken off.
    """
    base = model.identity.get("model", "")
    base_line = f"base_model: {base}\n" if base and not Path(base).expanduser().is_dir() else ""
    lines = [f"Base model: `{base}` (weights {model.identity.get('weights', 'unknown')})"]
    for i, parent in enumerate(parents_of(model), 1):
        lines.append(f"Adapter {i}: `{parent['path']}` (weights {parent['weights']})")
    listed = "\n".join(f"- {line}" for line in [*lines, *facts])
    text = "\n\n".join(filter(None, [text, WORDS["gives_back"] if library == "peft" else ""]))
    return f"""---
library_name: {library}
tags: [lora, mllmu-med, machine-unlearning]
{base_line}---

# {title}

{listed}

{text}

Research artefact of the MLLMU-Med benchmark; not for clinical use.
"""
