"""From samples to tensors: tokens, masks, and where the answers are predicted.

Questions of one image are packed behind one copy of it (`packing: image`, see `eval.packed_rows`)
where `eval.sharing` has found that to be right; else each has a row of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from baselines.schedule import Sample
from eval.dataset_rows import ImageStore
from eval.model import Model

if TYPE_CHECKING:
    import torch

    from eval.image_prefix import Rows
    from eval.packed_rows import Spot, Text


@dataclass(slots=True)
class Batch:
    """One forward pass: the model's inputs, and where in its output the answers are predicted.

    inputs: rows of kept image features, or what the model's own processor makes of them.
    rows, columns: of each answer token, the place that predicts it, [T].
    targets: the answer tokens, [T], sample after sample; of: the sample of each, [T].
    counts: answer tokens of each sample, [samples]. read: tokens of all rows, without padding.
    """

    inputs: Rows | dict[str, torch.Tensor]
    rows: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor
    of: torch.Tensor
    counts: torch.Tensor
    read: int = 0
    parts: tuple[str, ...] = ()


@dataclass(slots=True)
class Encoder:
    """Tokens of questions and answers, as `eval.model` has them, remembered."""

    model: Model
    images: ImageStore
    _questions: dict[str, list[int]] = field(default_factory=dict)
    _answers: dict[str, list[int]] = field(default_factory=dict)

    def answer(self, text: str) -> list[int]:
        if text not in self._answers:
            self._answers[text] = self.model.answer_ids(text)
        return self._answers[text]

    def answer_tokens(self, text: str) -> int:
        return len(self.answer(text))

    def _text(self, sample: Sample) -> Text:
        from eval.packed_rows import Text

        if sample.question not in self._questions:
            rest = self.model.prefixes.rest(self.model.prompt(sample.question), True)
            self._questions[sample.question] = rest
        return Text(self._questions[sample.question], self.answer(sample.answer))

    def collate(self, samples: Sequence[Sample], packing: str) -> Batch:
        """One batch of some samples, padded on the right."""
        shared = self.model.sharing
        if shared.rows:
            from eval.packed_rows import pack

            prefixes = [self.model.prefixes.of(s.image_id, self.images) for s in samples]
            texts = [self._text(sample) for sample in samples]
            together = packing == "image" and shared.packing
            if packed := pack(self.model, prefixes, texts, together):
                return self._batch(samples, *packed, packed[0].tokens)
            self.model.too_long()
        # One sample a row through the model's own processor.
        asked = [(s.question, s.answer, True) for s in samples]
        inputs, spots = self.model.read_answered(asked, [self.images[s.image_id] for s in samples])
        return self._batch(samples, inputs, spots, int(inputs["attention_mask"].sum()))

    def _batch(
        self,
        samples: Sequence[Sample],
        inputs: Rows | dict[str, Any],
        spots: Sequence[Spot],
        read: int,
    ) -> Batch:
        import torch

        device = self.model.device
        spots = sorted(spots, key=lambda spot: spot.sample)  # stable: tokens keep their order
        rows, columns, targets, of = torch.tensor(spots, device=device).unbind(1)
        counts = torch.tensor([self.answer_tokens(s.answer) for s in samples], device=device)
        parts = tuple(s.part for s in samples)
        return Batch(inputs, rows, columns, targets, of, counts, read, parts)
