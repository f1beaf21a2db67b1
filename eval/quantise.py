"""Weights rounded to 8 or 4 bits, as quantising a model does, and put back afterwards.

Round to nearest, symmetric, a scale for each output channel: of a row `w` of a weight matrix, with
`q = 2^(bits-1) - 1` and `s = max|w| / q`, what is computed with is `s * round(w / s)`. Only the
values are rounded (the arithmetic stays that of the model), so it runs on any machine. Rounded are
the linear maps of the language model, not its embeddings and output layer; adapters are merged
first: quantising that leaves them apart (`--dtype nf4`) leaves untouched what was trained.

That quantising can bring back what was unlearned: Zhang et al. 2024 (arXiv:2410.16454).

Imports torch: import this module late.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from eval.model import Model
from mllmu_med.errors import first_line
from mllmu_med_dataset import UserError


def rounded(weight: Tensor, bits: int) -> Tensor:
    """A weight matrix [out, in] in its own type, each row on `2^bits - 1` even steps around 0."""
    wide, most = weight.float(), 2 ** (bits - 1) - 1
    step = wide.abs().amax(1, keepdim=True) / most
    codes = (wide / step.clamp_min(torch.finfo(torch.float32).tiny)).round()
    nearest: Tensor = codes.clamp(-most, most) * step
    return nearest.to(weight.dtype)


@contextmanager
def quantised(model: Model, bits: int) -> Iterator[None]:
    """The model with its adapters merged and rounded; afterwards bit for bit as it was.

    Raises:
        UserError: weights that are in few bits already, adapters that cannot be merged, or a
            language model without linear maps.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    name, dtype = model.identity.get("model"), model.identity["dtype"]
    tuned = [m for m in model.base.modules() if isinstance(m, BaseTunerLayer)]
    linear = _linear(model.base, tuned)
    weights = {id(m.weight): m.weight for m in (*linear, *(t.get_base_layer() for t in tuned))}
    if not linear or not all(w.is_floating_point() for w in weights.values()):
        why = "is in few bits already" if linear else "has no linear maps in its language model"
        raise UserError(f"{name}: {why}: nothing to quantise: leave the kind out, or use --dtype")
    # In main memory: a large model's own has no room for them twice.
    kept = [(weight, weight.detach().to("cpu", copy=True)) for weight in weights.values()]
    try:
        if tuned:
            try:
                model.model.base_model.merge_adapter()
            except (ValueError, AttributeError, NotImplementedError) as error:
                raise UserError(
                    f"{name}: its adapters cannot be merged: {first_line(error)}"
                ) from None
        with torch.no_grad():
            for module in linear:
                module.weight.copy_(rounded(module.weight, bits))
        model.identity["dtype"] = f"{dtype}, weights rounded to {bits} bits"
        yield
    finally:
        model.identity["dtype"] = dtype
        if tuned:
            model.model.base_model.unmerge_adapter()
        with torch.no_grad():
            for weight, before in kept:
                weight.copy_(before)


def _linear(base: Any, tuned: list[Any]) -> list[nn.Linear]:
    """The linear maps of the language model's layers, each once; none of an adapter's own."""
    theirs = {id(p) for layer in tuned for p in layer.modules()}
    theirs -= {id(layer.get_base_layer()) for layer in tuned}
    ends = {id(end.weight) for end in (base.get_input_embeddings(), base.get_output_embeddings())}
    return [
        module
        for module in base.get_decoder().modules()
        if isinstance(module, nn.Linear)
        and id(module) not in theirs
        and id(module.weight) not in ends
    ]
