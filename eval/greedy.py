"""Greedy answers to questions that share what their image has filled the cache with.

Each image of a batch is read once; the cache is repeated for its questions, and positions go on
after it. The text is that of one question at a time.

Imports torch: import this module late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eval.attacks import Ask
from eval.dataset_rows import ImageStore
from eval.image_prefix import CACHE, Prefix, Rows, read_rows
from eval.model import Model
from eval.packed_rows import additive
from mllmu_med_dataset import UserError


def greedy(
    model: Model, asked: Sequence[Ask], images: ImageStore, most: int
) -> list[list[int]] | None:
    """The tokens of each answer, its end token included unless it was cut off after `most`.

    None where a row would be longer than the model's sliding window.
    """
    begun = begin(model, asked, images, most=most)
    if begun is None:
        return None
    cache, rows = begun
    written: list[list[int]] = [[] for _ in asked]
    alive = list(range(len(asked)))
    ends = model.end_tokens()
    mask, positions, at = (t.to(model.device) for t in (rows.mask, rows.positions, rows.at))
    for step in range(most):
        out = read_rows(model, rows, images, use_cache=True, **{CACHE: cache})
        cache = out[CACHE]
        scores = model.logits(out.last_hidden_state[:, -1])
        if not step and bool(scores.isnan().any()):
            raise UserError(
                "the model's scores are NaN: its weights are damaged, or too large for this type: "
                "try --dtype float32"
            )
        chosen = scores.argmax(-1)
        tokens = chosen.tolist()  # all that the device is waited for
        for i, token in zip(alive, tokens, strict=True):
            written[i].append(token)
        left = [i for i, token in enumerate(tokens) if token not in ends]
        if step + 1 == most or not left:
            break
        if len(left) < len(alive):
            # Answers differ much in length: those that have ended leave the batch.
            keep = torch.tensor(left, device=model.device)
            cache.batch_select_indices(keep)
            chosen, mask, at, positions = chosen[keep], mask[keep], at[keep], positions[:, keep]
            alive = [alive[i] for i in left]
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
        positions, at = positions[:, :, -1:] + 1, at[:, -1:]
        prefixes = [rows.prefixes[i] for i in left]
        rows = Rows(chosen[:, None], mask, positions, prefixes, at, begins=False)
    return written


def begin(
    model: Model,
    asked: Sequence[Ask],
    images: ImageStore,
    ends: Sequence[Sequence[int]] = (),
    most: int = 0,
) -> tuple[Any, Rows] | None:
    """A cache with each ask's image read, and the rows to be read next.

    ends: tokens to be read after each prompt. most: how many more will come; see `greedy`.
    """
    split = [model.prefixes.split(ask, images) for ask in asked]
    prefixes, rest = [prefix for prefix, _ in split], [tokens for _, tokens in split]
    if ends:
        rest = [[*tokens, *end] for tokens, end in zip(rest, ends, strict=True)]
    width, longest = max(map(len, prefixes)), max(map(len, rest))
    if model.sharing.window and width + longest + most > model.sharing.window:
        return None
    once = {prefix.image_id: prefix for prefix in prefixes}
    first = _prefill(model, [*once.values()], width)
    cache = read_rows(model, first, images, use_cache=True)[CACHE]
    order = list(once)
    index = torch.tensor([order.index(p.image_id) for p in prefixes], device=model.device)
    cache.batch_select_indices(index)
    before = torch.stack([_present(prefix, width) for prefix in prefixes])
    return cache, _questions(model, prefixes, rest, before, longest)


def _present(prefix: Prefix, width: int) -> Tensor:
    """1 where a prefix, padded on the left, has tokens: [width]."""
    return (torch.arange(width) >= width - len(prefix)).long()


def _prefill(model: Model, prefixes: Sequence[Prefix], width: int) -> Rows:
    """Images as rows, padded on the left."""
    mask = torch.stack([_present(p, width) for p in prefixes])
    if any(p.mask is not None for p in prefixes):
        seen = torch.ones(width, width, dtype=torch.bool).tril() & (mask > 0)[:, None]
        seen |= torch.eye(width, dtype=torch.bool)
        for row, p in enumerate(prefixes):
            if p.mask is not None:
                seen[row, -len(p) :, -len(p) :] = p.mask
        mask = additive(seen, model.model.dtype)
    ids, positions, at = [], [], []
    for p in prefixes:
        pad = width - len(p)
        ids.append([model.pad] * pad + p.ids)
        zeros = p.positions.new_zeros(len(p.positions), pad)
        positions.append(torch.cat([zeros, p.positions[:, :-1]], 1))
        at.append([len(p)] * pad + list(range(len(p))))
    return Rows(torch.tensor(ids), mask, torch.stack(positions, 1), prefixes, torch.tensor(at))


def _questions(
    model: Model,
    prefixes: Sequence[Prefix],
    rest: Sequence[Sequence[int]],
    before: Tensor,
    width: int,
) -> Rows:
    """What follows the images, padded on the left; `before`: [B, tokens in the cache]."""
    ids, mask, positions, at = [], [], [], []
    for prefix, tokens in zip(prefixes, rest, strict=True):
        pad = width - len(tokens)
        ids.append([model.pad] * pad + [*tokens])
        mask.append([0] * pad + [1] * len(tokens))
        # Positions go on after the image; those of the padding are never looked at.
        positions.append(prefix.positions[:, -1:] + (torch.arange(width) - pad).clamp(min=0))
        at.append([len(prefix)] * width)
    return Rows(
        torch.tensor(ids),
        torch.cat([before, torch.tensor(mask)], 1),
        torch.stack(positions, 1),
        prefixes,
        torch.tensor(at),
        begins=False,
    )
