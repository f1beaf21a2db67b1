"""The model's forward pass as training takes it: logits at answer positions only.

Imports torch: import this module late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from baselines.batches import Batch
from eval.dataset_rows import ImageStore
from eval.model import Model


class Features:
    """Each image's features from the frozen vision tower, computed once and kept in memory.

    One image at a time, so that they do not depend on which images came together.
    """

    def __init__(self, model: Model, images: ImageStore) -> None:
        self._model, self._images = model, images
        self._kept: dict[str, Tensor] = {}

    def __call__(self, image_ids: Sequence[str]) -> Tensor:
        """What the projector reads: images x tokens x width of the vision tower."""
        for image_id in image_ids:
            if image_id not in self._kept:
                self._kept[image_id] = self._read(image_id).cpu()
        return torch.stack([self._kept[image_id] for image_id in image_ids]).to(self._model.device)

    def _read(self, image_id: str) -> Tensor:
        llava = base_of(self._model).model
        seen: list[Tensor] = []
        # The library chooses layers and tokens of the tower: take what it hands to the projector.
        hook = llava.multi_modal_projector.register_forward_pre_hook(
            lambda _, args: seen.append(args[0])
        )
        try:
            with torch.no_grad():
                llava.get_image_features(self._model.pixels([self._images[image_id]]))
        finally:
            hook.remove()
        return seen[0][0]


class AnswerLogits(nn.Module):
    """A model that gives its logits where an answer is predicted, and nowhere else.

    The output layer is the widest of a model and answers are short: hidden states are selected
    first, so that a 7B model's logits of a batch take some MB instead of hundreds.

    Where the model's weights are in bfloat16, so is the arithmetic, that of an adapter kept in
    float32 included.
    """

    def __init__(self, model: Model, features: Features | None) -> None:
        super().__init__()
        self.net = model.model
        self._base = [base_of(model)]  # in a list: no second registration of the same weights
        self._features = features
        self._half = model.model.dtype == torch.bfloat16

    def forward(self, batch: Batch) -> Tensor:
        """Logits [T, vocabulary] of the batch's answer tokens."""
        with torch.autocast(batch.targets.device.type, torch.bfloat16, enabled=self._half):
            return self._logits(batch)

    def _logits(self, batch: Batch) -> Tensor:
        if not batch.images or self._features is None:
            logits: Tensor = self.net(**batch.inputs, use_cache=False).logits
            return logits[batch.rows, batch.columns]
        base = self._base[0]
        llava = base.model
        ids = batch.inputs["input_ids"]
        words = llava.get_input_embeddings()(ids)
        seen = llava.multi_modal_projector(self._features(batch.images)).to(words.dtype)
        where = (ids == base.config.image_token_index)[..., None]
        hidden: Tensor = llava.language_model(
            inputs_embeds=words.masked_scatter(where, seen),
            attention_mask=batch.inputs["attention_mask"],
            position_ids=batch.inputs["position_ids"],
            use_cache=False,
        )[0]
        answer_logits: Tensor = base.lm_head(hidden[batch.rows, batch.columns])
        return answer_logits


def base_of(model: Model) -> Any:
    """The image-text model itself, below its adapters."""
    net = model.model
    return net.get_base_model() if hasattr(net, "get_base_model") else net
