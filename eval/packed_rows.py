"""Questions with their answers behind one copy of their image, in one row.

A question sees the image and itself only, and its positions go on after the image, so that losses
and likelihoods are those of one question a row. Training and the weighing of answers share this.

Imports torch: import this module late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from eval.attacks import Ask
from eval.dataset_rows import ImageStore
from eval.image_prefix import Prefix, Rows, read_rows
from eval.memorisation import Weighed
from eval.model import Model

#: Tokens whose moments are taken at once: each of them has copies of the whole vocabulary.
_ROWS: Final = 64
#: A log-probability at which p is 0, for those of minus infinity: 0 times it is to be 0.
_NEVER: Final = -1e4


class Text(NamedTuple):
    """What follows an image: the rest of a prompt, and an answer with its end, as tokens."""

    question: list[int]
    answer: list[int]


class Spot(NamedTuple):
    """Where a token of an answer is predicted, and whose answer it is."""

    row: int
    column: int
    token: int
    sample: int


def grouped(image_ids: Sequence[str], together: bool) -> list[list[int]]:
    """Samples by image, in the order of their first ones; each alone where not `together`.

    Those without an image ("") are alone, too: they share nothing.
    """
    groups: dict[object, list[int]] = {}
    for i, image_id in enumerate(image_ids):
        groups.setdefault(image_id if together and image_id else i, []).append(i)
    return list(groups.values())


def pack(
    model: Model, prefixes: Sequence[Prefix], texts: Sequence[Text], together: bool
) -> tuple[Rows, list[Spot]] | None:
    """Rows of some samples, padded on the right, and where to look in them.

    prefixes: of each sample. None where a row would be longer than the model's sliding window.
    """
    window = model.sharing.window
    groups: list[list[int]] = []
    for group in grouped([p.image_id for p in prefixes], together):
        length, groups = 0, [*groups, []]
        for i in group:  # what a window has no room for begins another row
            added = len(texts[i].question) + len(texts[i].answer) - 1
            if groups[-1] and window and length + added > window:
                groups.append([])
            length = added + (length if groups[-1] else len(prefixes[i]))
            groups[-1].append(i)
    spots: list[Spot] = []
    lines = []
    for row, group in enumerate(groups):
        prefix = prefixes[group[0]]
        ids, after = list(prefix.ids), list[int]()
        segments = [0] * len(prefix)
        for number, i in enumerate(group, 1):
            first = len(ids) + len(texts[i].question) - 1
            spots += [Spot(row, first + k, token, i) for k, token in enumerate(texts[i].answer)]
            read = texts[i].question + texts[i].answer[:-1]  # nothing is predicted after the end
            ids += read
            after += range(len(read))
            segments += [number] * len(read)
        lines.append((prefix, ids, segments, after))
    width = max(len(ids) for _, ids, _, _ in lines)
    if model.device.type == "cuda" and len(texts) > 1:  # it copies a mask of any other width
        width = -(-width // 8) * 8
    if window and width > window:
        return None

    def padded(values: list[int], fill: int) -> list[int]:
        return values + [fill] * (width - len(values))

    segment = torch.tensor([padded(segments, -1) for _, _, segments, _ in lines])
    alone = all(len(group) == 1 for group in groups)
    causal = all(line[0].mask is None for line in lines)
    dtype = model.model.dtype
    rows = Rows(
        torch.tensor([padded(ids, model.pad) for _, ids, _, _ in lines]),
        (segment >= 0).long() if alone and causal else _mask(segment, lines, dtype),
        torch.stack([_positions(p, padded(after, 0), width) for p, _, _, after in lines], 1),
        [prefix for prefix, _, _, _ in lines],
        torch.arange(width).repeat(len(lines), 1),
        tokens=sum(len(ids) for _, ids, _, _ in lines),
    )
    return rows, spots


def _positions(prefix: Prefix, after: list[int], width: int) -> Tensor:
    """[1 or 3, width]: the prefix', then counted on from it; those of padding do not matter."""
    counted = prefix.positions[:, -1:] + torch.tensor(after[: width - len(prefix)])[None]
    return torch.cat([prefix.positions[:, :-1], counted], 1)


def _mask(segment: Tensor, lines: Sequence[Any], dtype: torch.dtype) -> Tensor:
    """Additive, [B, 1, L, L]: a token sees what comes before it of the image and of its own."""
    width = segment.shape[1]
    own, theirs = segment[:, :, None], segment[:, None, :]
    earlier = torch.ones(width, width, dtype=torch.bool).tril()
    # Padding comes last, so that nothing looks at it; it looks at itself at least.
    seen = earlier & ((theirs == 0) | (theirs == own))
    for row, (prefix, *_) in enumerate(lines):
        if prefix.mask is not None:
            seen[row, : len(prefix), : len(prefix)] = prefix.mask
    return additive(seen, dtype)


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, L, L] of what sees what, as attention adds it, [B, 1, L, L]."""
    mask = torch.zeros(seen.shape, dtype=dtype)
    return mask.masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def weigh(
    model: Model, pairs: Sequence[tuple[Ask, str]], images: ImageStore
) -> list[Weighed] | None:
    """Each answer's tokens, see `Model.weigh`; None where the rows are too long for it."""
    split = [model.prefixes.split(ask, images) for ask, _ in pairs]
    texts = [
        Text(rest, model.answer_ids(answer))
        for (_, rest), (_, answer) in zip(split, pairs, strict=True)
    ]
    packed = pack(model, [prefix for prefix, _ in split], texts, model.sharing.packing)
    if packed is None:
        return None
    rows, spots = packed
    hidden = read_rows(model, rows, images, use_cache=False).last_hidden_state
    where = torch.tensor([spot[:2] for spot in spots], device=hidden.device)
    return by_sample(model.logits(hidden[where[:, 0], where[:, 1]]), spots, len(pairs))


def by_sample(logits: Tensor, spots: Sequence[Spot], samples: int) -> list[Weighed]:
    """What each sample's tokens weigh, of logits in their places: [T, vocabulary]."""
    weighed = [Weighed([], [], [], []) for _ in range(samples)]
    tokens = torch.tensor([spot.token for spot in spots], device=logits.device)[:, None]
    starts = range(0, len(spots), _ROWS)
    parts = [_weigh(logits[i : i + _ROWS], tokens[i : i + _ROWS]) for i in starts]
    found = [torch.cat(each).tolist() for each in zip(*parts, strict=True)]
    for spot, *values in zip(spots, *found, strict=True):
        for each, value in zip(weighed[spot.sample], values, strict=True):
            each.append(value)
    return weighed


def _weigh(logits: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
    """The fields of `Weighed` of some tokens, [T, 1], by the logits that predict them."""
    logprobs = logits.float().log_softmax(-1)
    own = logprobs.gather(1, tokens)
    right = (logprobs >= own).sum(1) == 1
    p = logprobs.exp()
    logprobs.clamp_(min=_NEVER)
    means = (p * logprobs).sum(1)
    deviations = (p * (logprobs - means[:, None]).square()).sum(1).sqrt()
    return own[:, 0], right, means, deviations


def chosen(logits: Tensor, tokens: Sequence[int]) -> list[float]:
    """Log-probabilities of tokens by the logits that predict them: [T, vocabulary] -> T."""
    index = torch.tensor(tokens, device=logits.device)[:, None]
    logprobs: list[float] = logits.float().log_softmax(-1).gather(1, index)[:, 0].tolist()
    return logprobs
