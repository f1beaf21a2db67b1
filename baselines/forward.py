"""The model's forward pass as training takes it: logits at answer positions only.

Imports torch: import this module late.
"""

from __future__ import annotations

from torch import Tensor, nn

from baselines.batches import Batch
from eval.dataset_rows import ImageStore
from eval.image_prefix import read_rows
from eval.model import Model


class AnswerLogits(nn.Module):
    """A model that gives its logits where an answer is predicted, and nowhere else.

    The output layer is the widest of a model and answers are short: hidden states are selected
    first, so that a 7B model's logits of a batch take some MB instead of hundreds.
    """

    def __init__(self, model: Model, images: ImageStore) -> None:
        super().__init__()
        self.net = model.model
        self._model, self._images = [model], images  # in a list: no module of this one

    def forward(self, batch: Batch) -> Tensor:
        """Logits [T, vocabulary] of the batch's answer tokens."""
        (model,) = self._model
        with model.precision():
            if isinstance(batch.inputs, dict):
                out = model.base.model(**batch.inputs, use_cache=False)
            else:
                out = read_rows(model, batch.inputs, self._images, use_cache=False)
            return model.logits(out.last_hidden_state[batch.rows, batch.columns])
