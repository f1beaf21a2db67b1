"""One forward pass of a method: the answers' losses under the model and, if needed, the reference.

Samples of all parts of a method share a pass. The reference's pass goes first, without gradients
and over those samples alone that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from baselines.adapters import Adapter
from baselines.batches import Batch, Encoder
from baselines.losses import Answers, Part
from baselines.methods import Method
from baselines.schedule import Pass, Step

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.training_settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Tally:
    """A pass's share of a step's loss, and sums from which the step's terms are logged.

    sums: for each term its sum over the pass's samples and their number; each a mean over tokens.
    read: tokens that the pass has read, with the reference's.
    """

    loss: Tensor
    sums: Mapping[str, tuple[Tensor, Tensor]]
    read: int = 0


def run_pass(
    micro_batch: Pass,
    step: Step,
    method: Method,
    settings: TrainSettings,
    encoder: Encoder,
    logits_of: Callable[[Batch], Tensor],
    logits_without_gradients: Callable[[Batch], Tensor],
    adapter: Adapter,
) -> Tally:
    """The share that a pass has in the loss of its step; its gradients are the caller's to take."""
    import torch

    reference, read = None, 0
    compared = [s for s in micro_batch.samples if s.part in method.reference]
    if compared:
        batch = encoder.collate(compared, settings.packing)
        read = batch.read
        with torch.no_grad(), adapter.reference():
            reference = logits_without_gradients(batch)
    batch = encoder.collate(micro_batch.samples, settings.packing)
    parts = parts_of(logits_of(batch), batch, step, method, settings, reference)
    loss = method.loss(**parts, **method.values(settings))
    sums = {}
    for name, part in parts.items():
        seen = torch.tensor(float(len(part.nll)), device=loss.device)
        sums[name] = ((part.nll / part.tokens).sum().detach(), seen)
        if settings.reduction == "token":  # as the loss has it, by which PDU moves its multiplier
            sums[name] = (part.nll.sum().detach(), part.tokens.sum().to(seen.dtype))
        if name == "retain" and name in method.reference:  # the same terms in every process
            sums["kl"] = ((part.kl.detach() / part.tokens).sum(), seen)
    if not micro_batch.weight:
        sums = {name: (a * 0, b * 0) for name, (a, b) in sums.items()}
    return Tally(loss * micro_batch.weight, sums, read + batch.read)


def parts_of(
    logits: Tensor,
    batch: Batch,
    step: Step,
    method: Method,
    settings: TrainSettings,
    reference: Tensor | None = None,
) -> dict[str, Part]:
    """A pass's samples by part.

    Args:
        logits: [T, vocabulary] at the batch's answer tokens.
        reference: the same of the reference model, of the samples in `method.reference` only.
    """
    import torch

    def of(*names: str) -> Tensor:
        own = [i for i, part in enumerate(batch.parts) if part in names]
        return torch.tensor(own, dtype=torch.long, device=logits.device)

    compared = of(*method.reference) if method.reference else None
    whole = Answers(logits, batch.targets, batch.of, batch.counts, reference, compared)
    _ = whole.nll  # always looked at; first, so that gradients are summed in one order
    return {
        name: Part(
            whole,
            of(name),
            step.size.get(name, 0),
            step.tokens.get(name, 0),
            settings.reduction,
            name,
        )
        for name in method.parts
    }
