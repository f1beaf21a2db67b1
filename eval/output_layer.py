"""The output layer in float32 where weights are halves: a logit of 20 in bfloat16 is right to .06.

Imports torch: import this module late.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor


def widen_output(model: Any) -> None:
    """Multiply in float32, in the layer itself: the family's own code and `generate` do so, too."""
    head = model.get_output_embeddings()
    if type(head) is torch.nn.Linear and head.weight.dtype != torch.float32:
        vars(head)["forward"] = MethodType(_forward, head)


def _forward(head: torch.nn.Linear, hidden: Tensor) -> Tensor:
    bias = None if head.bias is None else head.bias.float()
    with torch.autocast(hidden.device.type, enabled=False):
        halves = torch.version.cuda and hidden.is_cuda and hidden.dtype == head.weight.dtype
        if halves and not torch.is_grad_enabled():
            # The same products and sums without a copy of the weights in each step of an answer.
            flat = hidden.reshape(-1, hidden.shape[-1])
            made = torch.mm(flat, head.weight.t(), out_dtype=torch.float32)
            made = made.view(*hidden.shape[:-1], -1)
            return made if bias is None else made + bias
        return torch.nn.functional.linear(hidden.float(), head.weight.float(), bias)
