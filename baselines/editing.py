"""What edits a model without gradients: rows read through it, its matrices, the adapter written.

Imports torch late.
"""

from __future__ import annotations

import copy
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines.adapters import put_on, write_adapter
from baselines.lora_places import lora_places
from baselines.training_state import Outcome, RunFolder, peak_memory, summed
from eval.spread import shown
from mllmu_med.folders import atomic_folder
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from baselines.batches import Batch, Encoder
    from baselines.forward import AnswerLogits
    from baselines.methods import Method
    from baselines.schedule import Sample
    from baselines.training_settings import TrainSettings
    from eval.dataset_rows import ImageStore
    from eval.model import Model

#: LoRA's two matrices of each layer that is changed, by its name: A [r, in] and B [out, r]; the
#: layer's matrix W becomes W + B A.
Edit = dict[str, tuple["Tensor", "Tensor"]]
#: What is kept of a layer in one forward pass, from the batch, its input and its output.
Look = Callable[["Batch", "Tensor", "Tensor"], "Tensor"]
#: The linear map from an MLP's neurons, by its name in every family of docs/models.md.
DOWN: Final = ".down_proj"
#: Columns of a matrix that are worked out at once.
_COLUMNS: Final = 1024


@dataclass(frozen=True, slots=True)
class RowsRead:
    """The rows of one set, read through a model in batches, `size` at once."""

    samples: Sequence[Sample]
    encoder: Encoder
    forward: AnswerLogits
    size: int
    name: str = ""

    def read(
        self, layers: Sequence[str], look: Look, packing: str = "none"
    ) -> Iterator[tuple[Sequence[Sample], dict[str, Tensor]]]:
        """Each batch's samples with what `look` keeps of some layers, question and answer read.

        packing: `none`: one sample a row; else as training packs them.
        """
        import torch

        model = self.encoder.model
        batch: Batch
        kept: dict[str, Tensor] = {}

        def keep(layer: str) -> Any:
            def hook(_: Any, given: tuple[Tensor, ...], gave: Tensor) -> None:
                kept[layer] = look(batch, given[0], gave).float().cpu()

            return hook

        hooks = [model.base.get_submodule(at).register_forward_hook(keep(at)) for at in layers]
        try:
            with shown(f"reading {self.name}", len(self.samples)) as advance:
                for first in range(0, len(self.samples), self.size):
                    some = self.samples[first : first + self.size]
                    batch = self.encoder.collate(some, packing)
                    try:
                        with torch.no_grad():
                            self.forward(batch)
                    except torch.cuda.OutOfMemoryError as error:
                        raise UserError(
                            f"a pass of {len(some)} samples does not fit into the GPU's memory: "
                            "lower micro_batch"
                        ) from error
                    yield some, dict(kept)
                    advance(len(some))
        finally:
            for each in hooks:
                each.remove()


def down_projections(model: Model) -> list[str]:
    """The map from its MLP's neurons in each layer of the decoder, by name, in their order.

    Raises:
        UserError: a layer without one, e.g. with experts in one tensor.
    """
    base, name = model.base, str(model.identity.get("model"))
    places = lora_places(base, False, name)
    found = [p for p, _ in base.named_modules() if re.fullmatch(places.pattern, p)]
    found = [place for place in found if place.endswith(DOWN)]
    layers = base.config.get_text_config().num_hidden_layers
    if len(found) != layers:
        raise UserError(
            f"{name}: {len(found)} of its language model's {layers} layers have one linear map "
            f"from their neurons ({DOWN[1:]}), which this method changes: use another method "
            f"(its linear maps: {places})"
        )
    return found


def neurons_in(model: Model, down: str) -> list[str]:
    """All linear maps of the MLP of `down`, by name."""
    from torch import nn

    mlp = down.removesuffix(DOWN)
    return [
        f"{mlp}.{name}"
        for name, module in model.base.get_submodule(mlp).named_children()
        if isinstance(getattr(module, "base_layer", module), nn.Linear)
    ]


def columns(model: Model, layer: str, which: Tensor | None = None) -> Tensor:
    """Columns of a linear map's matrix, adapters on it counted in, in float32: [n, out].

    which: their numbers, [n]; default all. What the map makes of a unit vector is its column,
    whatever the kind of the adapters.
    """
    import torch

    with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
        whole = copy.deepcopy(model.base.get_submodule(layer)).float()
        width = whole.in_features
        nothing = whole(torch.zeros(1, width, device=model.device))
        numbers = torch.arange(width) if which is None else which
        found = []
        for some in torch.split(numbers.to(model.device), _COLUMNS):
            units = torch.zeros(len(some), width, device=model.device)
            found.append((whole(units.scatter_(1, some[:, None], 1.0)) - nothing).cpu())
    return torch.cat(found)


def edit(
    model: Model,
    name: str,
    method: Method,
    rows: Mapping[str, Sequence[Sample]],
    images: ImageStore,
    settings: TrainSettings,
    folder: RunFolder,
    card: Callable[[str], str],
    accelerator: Accelerator,
) -> Outcome:
    """Edit a model by a method that has no steps, into a run folder; the model then answers so.

    Of several processes the first one does it.

    Args:
        rows: of each part that the method reads.
        card: the adapter's model card, told which layers it is on.
    """
    from baselines.batches import Encoder
    from baselines.forward import AnswerLogits

    began = time.monotonic()
    if accelerator.is_main_process:
        encoder, forward = Encoder(model, images), AnswerLogits(model, images)
        read = {}
        for part, samples in rows.items():
            if not samples:
                raise UserError(f"the {part} set is empty: this method reads it")
            read[part] = RowsRead(samples, encoder, forward, settings.micro_batch, part)
        changes = method.loss(model, **read, **method.values(settings))
        places = said(changes)
        say(f"  {name}: LoRA on {places}")
        with atomic_folder(folder.adapter) as new:
            _write(changes, new, card(places), folder.adapter)
        line = {
            "step": 0,
            "seconds": round(time.monotonic() - began, 4),
            "tokens": 0,
            "forget_exposures": len(rows.get("forget", ())),
            "peak_memory": peak_memory(model.device),
        }
        folder.spend(line)
    accelerator.wait_for_everyone()
    put_on(model, folder.adapter)
    cost = {**summed(folder.spent(), model, settings, 1), "steps": 0}
    outcome = Outcome("finished", "", 0, cost["seconds"], folder.adapter, cost)
    if accelerator.is_main_process:
        folder.end(outcome)
    accelerator.wait_for_everyone()
    return outcome


def said(changes: Edit) -> str:
    """The kinds of layers that are changed, how many of each, and the ranks."""
    kinds = Counter(re.sub(r"^.*[.][0-9]+[.]", "", layer) for layer in changes)
    ranks = [len(a) for a, _ in changes.values()]
    named = ", ".join(f"{kind} ({n})" for kind, n in sorted(kinds.items()))
    return f"{named}; rank {min(ranks)} to {max(ranks)}"


def _write(changes: Edit, new: Path, card: str, folder: Path) -> None:
    """An edit as a PEFT adapter in an empty folder that will stand at `folder`."""
    from peft import LoraConfig

    ranks = {layer: len(a) for layer, (a, _) in changes.items()}
    config = LoraConfig(
        r=max(ranks.values()),
        lora_alpha=max(ranks.values()),  # its scaling is 1, in every layer
        rank_pattern=ranks,
        alpha_pattern=ranks,
        target_modules=[*changes],
        task_type="CAUSAL_LM",
    )
    state = {
        f"base_model.model.{layer}.lora_{which}.weight": matrix.float()
        for layer, pair in changes.items()
        for which, matrix in zip("AB", pair, strict=True)
    }
    write_adapter(state, config, new, card, folder)
