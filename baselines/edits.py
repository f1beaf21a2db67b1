"""Unlearning methods without gradients, each one function from a model to the layers it changes.

What they change is written as LoRA matrices on top of the fine-tuned model (`editing.Edit`), so
that the result is an adapter like that of every other method. A function's parameters `forget` and
`retain` are the rows that it reads; those with a default are the method's own settings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from baselines.adapters import not_plain
from baselines.editing import Edit, Look, RowsRead, columns, down_projections, neurons_in
from baselines.training_settings import Count, Portion, Positive, Share
from eval.weights import active
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.batches import Batch
    from eval.model import Model

#: Added to what is divided by, and the smallest difference that has a direction; as in the papers'
#: own code.
_EPSILON: Final = 1e-5
_NO_LENGTH: Final = 1e-8


def negation(model: Model, *, strength: Positive = 0.4) -> Edit:
    """Task vector negation (Ilharco et al. 2023, arXiv:2212.04089).

    base + (1 - strength) (fine-tuned - base): at 1 the base model, above 1 beyond it. The vector is
    that of the whole fine-tuning, of all adapters below together; the paper fine-tunes a model on
    the forget rows alone and takes that one's vector away. The default strength is ours (there it
    is chosen on held-out rows). No row is read.
    """
    import torch

    below = active(model.model)
    if not below:
        raise UserError(
            f"{model.identity.get('model')}: has no adapter on it, which negation takes away: give "
            "the fine-tuned model as --model BASE --adapter ADAPTER, or use another method"
        )
    for path, name in zip(model.identity["adapters"], below, strict=True):
        if why := not_plain(model.model.peft_config[name]):
            raise UserError(f"{path['path']}: {why}, which negation cannot take away")
    found: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for layer, module in model.base.named_modules():
        for name in below:
            if name in getattr(module, "lora_embedding_A", ()):
                raise UserError(f"{layer}: its adapter is on no linear map: use another method")
            if name in getattr(module, "lora_A", ()):
                a, b = module.lora_A[name].weight.detach(), module.lora_B[name].weight.detach()
                if a.ndim != 2:
                    raise UserError(f"{layer}: its adapter is on no linear map: use another method")
                found[layer].append((a, -strength * module.scaling[name] * b))
    return {
        layer: (torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs], 1))
        for layer, pairs in found.items()
    }


def manu(model: Model, forget: RowsRead, retain: RowsRead, *, neurons: Portion = 0.1) -> Edit:
    """MANU, modality-aware neuron unlearning (Liu et al. 2025, arXiv:2502.15910).

    The share `neurons` of the decoder's MLP neurons with the largest sum of I_forget / (I_retain +
    1e-5) is silenced: the columns of the map from them become 0, adapters below counted in. As in
    their code the importances I are the mean of |z|, z's standard deviation and its root mean
    square (how often z is large has weight 0 there), and the share is over all layers together.
    Ours: z is the neuron's value, after the gate; it is taken where an answer's tokens are
    predicted, of rows with their images (they: all text tokens, without), in all layers (they: the
    last three, and the vision tower's), a tenth by default.
    """
    import torch

    layers = down_projections(model)
    of_forget, of_retain = (importances(rows, layers) for rows in (forget, retain))
    ratios = torch.stack([of_forget[at] / (of_retain[at] + _EPSILON) for at in layers])
    scores = ratios.sum(1)  # [layers, neurons]
    count = max(1, int(neurons * scores.numel()))
    chosen = torch.zeros(scores.numel(), dtype=torch.bool)
    chosen[scores.flatten().topk(count).indices] = True
    found = {}
    for layer, own in zip(layers, chosen.view_as(scores), strict=True):
        if own.any():
            which = own.nonzero()[:, 0]
            unit = torch.nn.functional.one_hot(which, len(own)).float()
            found[layer] = unit, -columns(model, layer, which).T
    return found


def importances(rows: RowsRead, layers: Sequence[str]) -> dict[str, Tensor]:
    """Mean |z|, standard deviation and root mean square of what each layer is given: [3, in].

    Over all answer tokens alike, where they are predicted.
    """
    import torch

    sums: dict[str, Tensor] = {}
    tokens = 0

    def predicting(batch: Batch, given: Tensor, _: Tensor) -> Tensor:
        return given[batch.rows, batch.columns]

    for _, kept in rows.read(layers, predicting, "image"):
        for layer, values in kept.items():
            z = values.double()
            three = torch.stack([z.abs().sum(0), z.sum(0), z.square().sum(0)])
            sums[layer] = sums.get(layer, 0) + three
        tokens += len(values)
    found = {}
    for layer, total in sums.items():
        size, mean, square = total / tokens
        deviation = (square - mean.square()).clamp(min=0).sqrt()
        found[layer] = torch.stack([size, deviation, square.sqrt()])
    return found


def chip(
    model: Model,
    forget: RowsRead,
    retain: RowsRead,
    *,
    variance: Portion = 0.95,
    neurons: Portion = 0.1,
    image_weight: Share = 0.3,
    layers: Count = 6,
) -> Edit:
    """CHIP, cross-modal hierarchy-informed projection (MedForget, arXiv:2512.09867).

    W <- (I - Q Q^T) W for the linear maps of the MLPs of the last `layers` decoder layers. As in
    their code: what counts of a map's output is a row's mean over image tokens, weighed by
    `image_weight`, plus that over the other tokens; the share `neurons` of a map's outputs that are
    larger (in mean size) on forget than on retain is changed; of an image in forget, the direction
    is its mean there minus its siblings'; Q spans the share `variance` of the directions' squares.
    A bias stays. Ours: the hierarchy is patient -> image. Siblings are the patient's other images
    in retain; of a patient without such, all other images.
    """
    import torch

    places = [at for down in down_projections(model)[-layers:] for at in neurons_in(model, down)]
    token = model.prefixes.image_token

    def pooled(batch: Batch, _: Tensor, gave: Tensor) -> Tensor:
        return torch.einsum("rt,rtw->rw", _shares(batch, token, image_weight), gave.float())

    of_forget, of_retain = (ByImage.of(rows, places, pooled) for rows in (forget, retain))
    found = {}
    for place in places:
        apart = of_forget.size[place] - of_retain.size[place]
        own = apart.topk(max(1, int(neurons * len(apart)))).indices.sort().values
        spans = directions(of_forget, of_retain, place)[:, own]
        lengths = spans.norm(dim=1, keepdim=True)
        spans = (spans / lengths)[lengths[:, 0] > _NO_LENGTH]
        if not len(spans):
            continue
        _, sizes, basis = torch.linalg.svd(spans, full_matrices=False)
        reached = sizes.square().cumsum(0) / sizes.square().sum()
        q = basis[: 1 + int((reached < variance - _NO_LENGTH).sum())].float()  # [r, own]
        b = torch.zeros(len(apart), len(q))
        b[own] = -q.T
        found[place] = q @ columns(model, place).T[own], b
    if not found:
        raise UserError("the forget images are like all others to this model: nothing to project")
    return found


@dataclass(frozen=True, slots=True)
class ByImage:
    """What is kept of a set's rows, by image.

    images: (patient, image) of each, with its number of rows in `count` [images].
    total: of each layer, the sum over an image's rows, [images, width]; size: mean |.| over all
        rows, [width].
    """

    images: list[tuple[str, str]]
    count: Tensor
    total: dict[str, Tensor]
    size: dict[str, Tensor]

    @classmethod
    def of(cls, rows: RowsRead, layers: Sequence[str], look: Look) -> ByImage:
        import torch

        whose = {row.image_id: row.patient for row in rows.samples}
        number = {image: i for i, image in enumerate(whose)}
        total: dict[str, Tensor] = {}
        size: dict[str, Tensor] = {}
        count = torch.zeros(len(number), dtype=torch.float64)
        for some, kept in rows.read(layers, look):
            which = torch.tensor([number[row.image_id] for row in some])
            count.index_add_(0, which, count.new_ones(len(some)))
            for layer, values in kept.items():
                if layer not in total:
                    total[layer] = count.new_zeros(len(number), values.shape[1])
                    size[layer] = count.new_zeros(values.shape[1])
                total[layer].index_add_(0, which, values.double())
                size[layer] += values.double().abs().sum(0) / len(rows.samples)
        return cls([(patient, image) for image, patient in whose.items()], count, total, size)


def directions(forget: ByImage, retain: ByImage, layer: str) -> Tensor:
    """Of each image in forget, its rows' mean minus that of its siblings' rows: [images, width].

    Without a sibling there is none for it, and none for an image of which no row differs.
    """
    import torch

    found = [forget.total[layer].new_zeros(0, forget.total[layer].shape[1])]
    for (patient, image), count, total in zip(
        forget.images, forget.count, forget.total[layer], strict=True
    ):
        others = [i for i, (_, other) in enumerate(retain.images) if other != image]
        siblings = [i for i in others if retain.images[i][0] == patient] or others
        if siblings:
            mean = retain.total[layer][siblings].sum(0) / retain.count[siblings].sum()
            found.append((total / count - mean)[None])
    return torch.cat(found)


def _shares(batch: Batch, image_token: int, weight: float) -> Tensor:
    """What each token counts for in its row's mean, [rows, tokens]; nothing after the answer."""
    import torch

    read = batch.inputs
    ids = read["input_ids"] if isinstance(read, dict) else read.ids.to(batch.rows.device)
    last = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
    last = last.scatter_reduce(0, batch.rows, batch.columns, "amax")
    told = torch.arange(ids.shape[1], device=ids.device) <= last[:, None]
    image = (ids == image_token) & told
    text = (told & ~image).float()
    shares: Tensor = weight * image / image.sum(1, keepdim=True).clamp(min=1)
    return shares + (1 - weight) * text / text.sum(1, keepdim=True)
