"""Where LoRA goes: on all linear maps of the language model."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from mllmu_med_dataset import UserError

#: What the layers between a vision tower and a language model are called.
_BETWEEN: Final = re.compile(r"projector|connector|merger")


@dataclass(frozen=True, slots=True)
class Places:
    """Where LoRA goes: a pattern of whole names for PEFT, how many linear maps of each kind it
    takes, and the decoder's weight matrices that are none, and stay as they are."""

    pattern: str
    taken: dict[str, int]
    left_out: dict[str, int]

    def __str__(self) -> str:
        named = ", ".join(f"{name} ({n})" for name, n in self.taken.items())
        if not self.left_out:
            return named
        return f"{named}; left out: {', '.join(f'{n} ({k})' for n, k in self.left_out.items())}"


def lora_places(base: Any, projector: bool, name: str) -> Places:
    """All linear maps of the language model's layers; `projector`: those before it, too.

    Raises:
        UserError: the decoder has none, or no projector is known.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper
    from torch import nn

    decoder = base.get_decoder()
    root = next(place for place, module in base.named_modules() if module is decoder)
    words = {*map(id, (base.get_input_embeddings().weight, base.get_output_embeddings().weight))}
    taken, left, between = Counter[str](), Counter[str](), set[str]()
    theirs = {
        id(part)
        for module in base.modules()
        if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper)
        for name, child in module.named_children()
        if name not in ("base_layer", "modules_to_save")
        for part in child.modules()
    }
    for place, module in base.named_modules():
        if id(module) in theirs:  # PEFT's, or a layer that it has replaced
            continue
        place, whole, _ = place.partition(".modules_to_save.")
        place = place.removesuffix(".base_layer")  # of an adapter below
        inside = place.startswith(f"{root}.")
        if isinstance(module, nn.Linear) and not whole and id(module.weight) not in words:
            if inside:
                taken[re.sub(r"\.\d+\.", ".N.", place.removeprefix(f"{root}."))] += 1
            elif _BETWEEN.search(place):
                between.add(place)
        elif inside:
            for own, weight in module.named_parameters(recurse=False):
                if weight.ndim > 1 and id(weight) not in words:
                    left[f"{re.sub(r'^.*[.][0-9]+[.]', '', place)}.{own}"] += 1
    if not taken or (projector and not between):
        raise UserError(
            f"{name}: no linear maps {'between its tower and' if taken else 'in'} its language "
            "model: no place for LoRA"
        )
    kinds = "|".join(re.escape(kind).replace(r"\.N\.", r"\.\d+\.") for kind in sorted(taken))
    pattern = rf".*{re.escape(root.rpartition('.')[2])}\.({kinds})"
    if projector:
        pattern = "|".join(
            [f"({pattern})", *(f".*{re.escape(place)}" for place in sorted(between))]
        )
        taken["projector"] = len(between)
    shown = {kind.rpartition(".N.")[2]: n for kind, n in sorted(taken.items())}
    return Places(pattern, shown, dict(left))
