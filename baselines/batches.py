"""From samples to tensors: tokens, masks, and where the answers are predicted.

Questions of one image are packed behind one copy of it (`packing: image`): its tokens, then
each question with its answer. A question sees the image and itself, and its positions go on after
the image, so that loss and gradients are those of one sample a row. That holds where positions
are plain (`Model.shares`); any other model gets one sample a row from its own processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from baselines.schedule import Sample
from eval.dataset_rows import ImageStore
from eval.model import Model
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class Batch:
    """One forward pass: the model's inputs, and where in its output the answers are predicted.

    inputs: what the model reads; of a LLaVA `input_ids` [B, L], `attention_mask` ([B, L], or
        additive [B, 1, L, L] where rows are packed), `position_ids` [B, L].
    images: `image_id` of each row, where the features are put in by us.
    rows, columns: of each answer token, the place that predicts it, [T].
    targets: the answer tokens, [T], sample after sample; of: the sample of each, [T].
    counts: answer tokens of each sample, [samples]. read: tokens of all rows, without padding.
    """

    inputs: dict[str, torch.Tensor]
    rows: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor
    of: torch.Tensor
    counts: torch.Tensor
    read: int = 0
    images: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


@dataclass(slots=True)
class Encoder:
    """Tokens of questions and answers, as `eval.model` has them, remembered."""

    model: Model
    images: ImageStore
    _prefix: list[int] = field(default_factory=list)
    _questions: dict[str, list[int]] = field(default_factory=dict)
    _answers: dict[str, list[int]] = field(default_factory=dict)

    def answer(self, text: str) -> list[int]:
        if text not in self._answers:
            self._answers[text] = self.model.answer_ids(text)
        return self._answers[text]

    def answer_tokens(self, text: str) -> int:
        return len(self.answer(text))

    def question(self, text: str) -> tuple[list[int], list[int]]:
        """A prompt's tokens up to the end of its image, and those after it."""
        if text not in self._questions:
            ids = self.model.token_ids(self.model.prompt(text))
            mark = self.model.model.config.image_token_index
            end = len(ids) - ids[::-1].index(mark)
            self._prefix = self._prefix or ids[:end]
            if ids[:end] != self._prefix or end == len(ids):
                raise UserError(
                    f"{self.model.identity.get('model')}: its chat template puts the question "
                    "before the image: such a LLaVA cannot be trained yet"
                )
            self._questions[text] = ids[end:]
        return self._prefix, self._questions[text]

    def collate(self, samples: Sequence[Sample], packing: str, pad_to: int = 0) -> Batch:
        """One batch of some samples, padded on the right; `pad_to` widens the padding."""
        if not self.model.shares:
            return self._from_processor(samples)
        groups: dict[object, list[int]] = {}
        for i, sample in enumerate(samples):
            groups.setdefault(sample.image_id if packing == "image" else i, []).append(i)
        return self._packed(samples, list(groups.values()), pad_to)

    def _packed(self, samples: Sequence[Sample], groups: list[list[int]], pad_to: int) -> Batch:
        import torch

        lines: list[tuple[list[int], list[int], list[int]]] = []  # ids, positions, segments
        spots: list[tuple[int, int, int, int]] = []  # row, column, target, sample
        for row, group in enumerate(groups):
            prefix, _ = self.question(samples[group[0]].question)
            ids, positions = list(prefix), list(range(len(prefix)))
            segments = [0] * len(prefix)
            for number, i in enumerate(group, 1):
                _, question = self.question(samples[i].question)
                answer = self.answer(samples[i].answer)
                first = len(ids) + len(question) - 1
                spots += [(row, first + k, token, i) for k, token in enumerate(answer)]
                added = question + answer[:-1]  # nothing is predicted after the end token
                ids += added
                positions += range(len(prefix), len(prefix) + len(added))
                segments += [number] * len(added)
            lines.append((ids, positions, segments))
        width = max(pad_to, *(len(ids) for ids, _, _ in lines))

        def padded(values: list[int], fill: int) -> list[int]:
            return values + [fill] * (width - len(values))

        pad = self.model.processor.tokenizer.pad_token_id or 0
        segment = torch.tensor([padded(line[2], -1) for line in lines])
        alone = all(len(group) == 1 for group in groups)
        inputs = {
            "input_ids": torch.tensor([padded(line[0], pad) for line in lines]),
            "attention_mask": (segment >= 0).long() if alone else self._block_mask(segment),
            "position_ids": torch.tensor([padded(line[1], 0) for line in lines]),
        }
        images = tuple(samples[group[0]].image_id for group in groups)
        return self._batch(samples, inputs, spots, sum(len(ids) for ids, _, _ in lines), images)

    def _block_mask(self, segments: torch.Tensor) -> torch.Tensor:
        """Additive mask [B, 1, L, L]: 0 where a token may look, else the type's lowest value."""
        import torch

        width = segments.shape[1]
        theirs, own = segments[:, None, :], segments[:, :, None]
        earlier = torch.ones(width, width, dtype=torch.bool).tril()
        # Padding comes last, so that nothing looks at it; it looks at itself at least.
        seen = earlier & ((theirs == 0) | (theirs == own))
        kind = self.model.model.dtype
        mask = torch.zeros(seen.shape, dtype=kind)
        return mask.masked_fill(~seen, torch.finfo(kind).min)[:, None]

    def _from_processor(self, samples: Sequence[Sample]) -> Batch:
        """One sample a row through the model's own processor."""
        tokenizer = self.model.processor.tokenizer
        prompts = [self.model.prompt(s.question) for s in samples]
        texts = [
            f"{prompt} {self.model.quoting.quoted(s.answer)}{tokenizer.eos_token}"
            for prompt, s in zip(prompts, samples, strict=True)
        ]
        shown = [self.images[s.image_id] for s in samples]
        inputs = dict(self.model.read_texts(texts, shown, padding=True, padding_side="right"))
        spots = []
        for i, sample in enumerate(samples):
            answer, end = self.answer(sample.answer), int(inputs["attention_mask"][i].sum())
            if inputs["input_ids"][i, end - len(answer) : end].tolist() != answer:
                raise self.model.tokens_depend("it cannot be trained yet")
            first = end - len(answer) - 1
            spots += [(i, first + k, token, i) for k, token in enumerate(answer)]
        return self._batch(samples, inputs, spots, int(inputs["attention_mask"].sum()), ())

    def _batch(
        self,
        samples: Sequence[Sample],
        inputs: dict[str, torch.Tensor],
        spots: list[tuple[int, int, int, int]],
        read: int,
        images: tuple[str, ...],
    ) -> Batch:
        import torch

        device = self.model.device
        spots = sorted(spots, key=lambda spot: spot[3])  # stable: a sample's tokens in their order
        rows, columns, targets, of = torch.tensor(spots, device=device).unbind(1)
        counts = torch.tensor([self.answer_tokens(s.answer) for s in samples], device=device)
        return Batch(
            {name: value.to(device) for name, value in inputs.items()},
            rows,
            columns,
            targets,
            of,
            counts,
            read,
            images,
            tuple(s.part for s in samples),
        )
