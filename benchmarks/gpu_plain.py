"""Training as public unlearning code has it, for `gpu.py` to be compared with.

A sample a row, padded; image and tower in each step; logits of the whole vocabulary at all tokens;
KL-Min's reference is a second copy of the model. LoRA is on the same maps, weights in bfloat16.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from gpu_models import Noise, Rows, sizes
from torch.nn.functional import kl_div, log_softmax

from baselines.adapters import add_adapter, take_off
from baselines.schedule import samples, shuffled
from baselines.training_loop import _checkpoint_activations
from eval.model import Model


class PlainLoop:
    def __init__(
        self, model: Model, rows: Rows, images: Noise, method: str, rank: int, alpha: float
    ) -> None:
        self.model, self.rows, self.images, self.method = model, rows, images, method
        self.reference = copy.deepcopy(model.base) if method == "kl-min" else None
        with torch.device(model.device):
            self.adapter = add_adapter(model, rank, alpha)
        self.weights = list(self.adapter.weights().values())
        self.optimizer = torch.optim.AdamW(self.weights, 2e-5)

    def end(self) -> None:
        self.reference = self.optimizer = self.weights = None
        _checkpoint_activations(self.model.base, False)
        take_off(self.model)

    def steps(
        self, batch: int, micro: int, again: bool, wait: Callable[[], None]
    ) -> tuple[float, int, float, float]:
        """Seconds, rows, tokens and FLOPs of two steps after a first one."""
        _checkpoint_activations(self.model.base, again)
        self.optimizer.zero_grad(set_to_none=True)
        frozen, trained, output = sizes(self.model)
        decoder = sum(p.numel() for p in self.model.base.get_decoder().parameters())
        rest = sum(p.numel() for p in self.model.base.parameters()) - decoder - output
        rows = shuffled(samples(self.rows.all), "row", 0)
        cuts = [
            [rows[i : min(i + micro, n + batch)] for i in range(n, n + batch, micro)]
            for n in range(0, 3 * batch, batch)
        ]
        made = [[self._inputs(cut) for cut in step] for step in cuts]
        self._step(made[0], batch)
        wait()
        started = time.monotonic()
        for parts in made[1:]:
            self._step(parts, batch)
        wait()
        seconds = time.monotonic() - started
        tokens = flops = 0.0
        passes = 2 if self.reference is not None else 1
        for inputs, labels in (part for parts in made[1:] for part in parts):
            read = float(inputs["attention_mask"].sum())
            said = float((labels >= 0).sum())
            tokens += passes * read
            flops += read * (4 * frozen + 6 * trained) + 4 * output * said
            flops += passes * 2 * rest * _patches(inputs)
            flops += (passes - 1) * (2 * frozen * read + 2 * output * said)
        return seconds, 2 * batch, tokens, flops

    def _inputs(self, rows: Any) -> tuple[dict[str, Any], torch.Tensor]:
        model = self.model
        texts = [
            model.prompt(row.question, start=row.answer) + model.format.closing for row in rows
        ]
        shown = [self.images[row.image_id] for row in rows]
        inputs = dict(model.read_texts(texts, shown, padding=True, padding_side="right"))
        labels = inputs["input_ids"].clone().fill_(-100)
        for i, row in enumerate(rows):
            end, long = int(inputs["attention_mask"][i].sum()), len(model.answer_ids(row.answer))
            labels[i, end - long : end] = inputs["input_ids"][i, end - long : end]
        return inputs, labels

    def _step(self, parts: Any, batch: int) -> None:
        for inputs, labels in parts:
            with self.model.precision():
                out = self.model.model(**inputs, labels=labels, use_cache=False)
                loss = out.loss
                if self.reference is not None:
                    with torch.no_grad():
                        other = self.reference(**inputs, use_cache=False).logits
                    loss = loss + kl_div(
                        log_softmax(out.logits, -1),
                        log_softmax(other, -1),
                        reduction="batchmean",
                        log_target=True,
                    )
            (loss * len(labels) / batch).backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def _patches(inputs: dict[str, Any]) -> float:
    """Patches that the tower reads of a batch."""
    pixels = inputs["pixel_values"]
    each = 1 if pixels.ndim == 2 else (pixels.shape[-1] // 14) ** 2
    return float(len(pixels) * each)
