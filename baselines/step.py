"""One forward pass of a method: the answers' losses under the model and, if needed, the reference.

Samples of all parts of a method share a pass. The reference's pass goes first, without gradients
and over those samples alone that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from baselines.adapters import Adapter
from baselines.batches import Batch, Encoder
from baselines.losses import Method, Part, per_sample, token_kl, token_nll
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
    loss = method.loss(*(parts[name] for name in method.parts), **options(method, settings))
    sums = {}
    for name, part in parts.items():
        seen = torch.tensor(float(len(part.nll)), device=loss.device)
        sums[name] = ((part.nll / part.tokens).sum().detach(), seen)
        if part.kl is not None:
            sums["kl"] = ((part.kl / part.tokens).sum().detach(), seen)
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
    """A pass's samples by part, each with the losses of its answers.

    Args:
        logits: [T, vocabulary] at the batch's answer tokens.
        reference: the same of the reference model, of the samples in `method.reference` only.
    """
    import torch

    samples = len(batch.parts)
    nll = per_sample(token_nll(logits, batch.targets), batch.of, samples)
    kl = base = None
    if method.reference:
        compared = torch.tensor([p in method.reference for p in batch.parts], device=nll.device)
        tokens = compared[batch.of]
        kl, base = nll.new_zeros(samples), nll.new_zeros(samples)
        if reference is not None:
            of, targets = batch.of[tokens], batch.targets[tokens]
            if "retain" in method.reference:
                kl = per_sample(token_kl(reference, logits[tokens]), of, samples)
            else:
                base = per_sample(token_nll(reference, targets), of, samples)
    parts = {}
    for name in method.parts:
        own = [i for i, part in enumerate(batch.parts) if part == name]
        index = torch.tensor(own, dtype=torch.long, device=nll.device)
        against = name in method.reference
        parts[name] = Part(
            nll=nll[index],
            tokens=batch.counts[index],
            in_step=step.size.get(name, 0),
            tokens_in_step=step.tokens.get(name, 0),
            reference=base[index] if against and base is not None else None,
            kl=kl[index] if name == "retain" and against and kl is not None else None,
            reduction=settings.reduction,
        )
    return parts


def options(method: Method, settings: TrainSettings) -> dict[str, Any]:
    """The settings that a loss takes; those not given are left to its own default."""
    chosen = {name: getattr(settings, name) for name in method.options}
    return {name: value for name, value in chosen.items() if value is not None}
