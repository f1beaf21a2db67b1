"""What a language model is handed of an image, read once and put into rows of our own.

Every family's forward pass turns prompt and image into inputs of its language model: embeddings
with the image's features in them, positions (one number a token, or three), a mask, perhaps more
(features for deeper layers, keys for cross-attention). It is run for one image up to that point;
what it hands over is kept. Rows are then made of it without the vision tower: several questions
behind one image, or answers that go on from one. Whether that equals the family's own forward pass
is not taken on trust: see `eval.sharing`.

Imports torch: import this module late.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPast

from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from eval.attacks import Ask
    from eval.dataset_rows import ImageStore
    from eval.model import Model

#: Most bytes of features that a machine keeps in memory; those of further images are read anew each
#: time.
KEPT: Final = 16_000_000_000
#: What the library calls a language model's cache, given and returned; before 5.24 otherwise.
CACHE: Final = next(
    name
    for name in ("cache", "past_key_values")
    if name in BaseModelOutputWithPast.__dataclass_fields__
)
_KNOWN: Final = {"input_ids", "inputs_embeds", "attention_mask", "position_ids", CACHE}
#: The question with which an image is read; nothing of it is kept.
_ASKED: Final = "Qwerty"


def most_kept() -> int:
    """Bytes of features that this process keeps: its share of `KEPT`, or of an eighth of memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(KEPT, memory // 8) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


class _Handed(Exception):
    """The language model has been reached."""


@dataclass(frozen=True, slots=True)
class Features:
    """Of one image: `seen` [image tokens, width], in the places of its tokens (None: no such), and
    `whole`, what else the language model is given once an image, by name."""

    seen: Tensor | None
    whole: dict[str, Tensor | list[Tensor]]

    @property
    def nbytes(self) -> int:
        held = [v for value in self.whole.values() for v in _listed(value)]
        return sum(t.nbytes for t in (self.seen, *held) if t is not None)


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prompt up to the end of its image; of a prompt without one, its first token.

    ids: [P]. positions: [1 or 3, P + 1], the last those of the first token after it.
    mask: which of these tokens sees which, [P, P]; None: each sees all before it.
    each: what else the language model is given token by token, by name: (dimension, values), P + 1
        long as positions are: what holds for the token after the image holds for all after it.
    """

    image_id: str
    ids: list[int]
    positions: Tensor
    mask: Tensor | None = None
    each: Mapping[str, tuple[int, Tensor]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


class Prefixes:
    """The prefixes of a model's images, with their features where these do not change.

    They are kept in memory, those of one store of images: what another one calls by the same id is
    read anew.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._store: ImageStore | None = None
        self._prefixes: dict[str, Prefix] = {}
        self._features: dict[str, Features] = {}
        self._bytes, self._most = 0, most_kept()
        self._after = ("", "")  # the image's mark in a prompt, and what follows its last token

    def of(self, image_id: str, images: ImageStore) -> Prefix:
        """Of an image; of "", of prompts without one."""
        self._look_at(images)
        if image_id not in self._prefixes:
            if image_id:
                self._prefixes[image_id] = self._known(image_id, images)[0]
            else:
                first = self._model.text_ids(self._model.prompt("", image=False))[:1]
                self._prefixes[""] = Prefix("", first, torch.arange(2)[None])
        return self._prefixes[image_id]

    def features(self, prefix: Prefix, images: ImageStore) -> Features:
        """As the model sees an image now: read anew where it is trained to see otherwise."""
        self._look_at(images)
        if not prefix.image_id:
            return Features(None, {})
        if self._model.sees_anew():
            return self._read(prefix.image_id, images)[1]  # with gradients, if wanted
        if prefix.image_id not in self._features:
            return self._known(prefix.image_id, images)[1]
        return self._features[prefix.image_id]

    def _known(self, image_id: str, images: ImageStore) -> tuple[Prefix, Features]:
        """Read, and kept where it does not change."""
        with torch.no_grad():
            prefix, features = self._read(image_id, images)
        if self._bytes < self._most and not self._model.sees_anew():
            self._keep(image_id, features)
        return prefix, features

    def split(self, ask: Ask, images: ImageStore) -> tuple[Prefix, list[int]]:
        """A question's prefix, and the tokens of its prompt after it."""
        prefix = self.of(ask.row.image_id if ask.image else "", images)
        return prefix, self.rest(self._model.prompt(ask.question, ask.image, ask.start), ask.image)

    def rest(self, text: str, image: bool) -> list[int]:
        """A prompt's tokens after its prefix, one at least."""
        if not image:
            return self._model.text_ids(text)[1:]
        mark, after = self._after
        asked = text.partition(mark)[2]
        known = self._model.processor.tokenizer.convert_ids_to_tokens(self.image_token)
        return self._model.encode(known + after + asked)[1:]

    @property
    def image_token(self) -> int:
        token: int = self._model.base.config.image_token_id
        return token

    def _look_at(self, images: ImageStore) -> None:
        if images is not self._store:
            self._prefixes.clear()
            self._features.clear()
            self._store, self._bytes = images, 0

    def _keep(self, image_id: str, features: Features) -> None:
        self._bytes += features.nbytes
        seen = None if features.seen is None else features.seen.cpu()
        whole = {
            name: [t.cpu() for t in value] if isinstance(value, list) else value.cpu()
            for name, value in features.whole.items()
        }
        self._features[image_id] = Features(seen, whole)

    def _read(self, image_id: str, images: ImageStore) -> tuple[Prefix, Features]:
        """Run the family's own forward pass up to its language model."""
        model, given = self._model, {}

        def take(_: Any, __: Any, kwargs: dict[str, Any]) -> None:
            given.update(kwargs)
            raise _Handed

        text = model.prompt(_ASKED)
        inputs = model.read_texts([text], [images[image_id]])
        hook = model.base.get_decoder().register_forward_pre_hook(take, with_kwargs=True)
        try:
            with model.precision():
                model.base.model(**inputs, use_cache=False)
        except _Handed:
            pass
        finally:
            hook.remove()
        ids = inputs["input_ids"][0].tolist()
        length, end = len(ids), len(ids) - ids[::-1].index(self.image_token)
        self._learn_mark(text, ids[end:])
        where = inputs["input_ids"][0] == self.image_token
        words = given.get("inputs_embeds")
        each, whole = {}, {}
        for name, value in given.items():
            if name in _KNOWN or not (held := _listed(value)):
                continue
            along = [d for d in range(1, held[0].ndim) if held[0].shape[d] == length]
            if along and not isinstance(value, list):
                kept = value.narrow(along[0], 0, end + 1)
                each[name] = along[0], kept.detach().cpu()
            else:
                whole[name] = value
        prefix = Prefix(
            image_id,
            ids[:end],
            _positions(given.get("position_ids"), end),
            _mask(given.get("attention_mask"), end),
            each,
        )
        return prefix, Features(None if words is None else words[0, where], whole)

    def _learn_mark(self, text: str, expected: list[int]) -> None:
        """Find out what stands in a prompt for the image, and which text follows its tokens."""
        if self._after[0]:
            return
        tokenizer, plain = self._model.processor.tokenizer, self._model.encode(text)
        same = 0
        while same < min(len(plain), len(expected)) and plain[-same - 1] == expected[-same - 1]:
            same += 1
        mark = tokenizer.decode(plain[len(plain) - same - 1])
        after = tokenizer.decode(expected[: len(expected) - same], skip_special_tokens=False)
        self._after = mark, after
        if text.count(mark) != 1 or self.rest(text, True) != expected:
            self._after = "", ""
            raise UserError(
                f"{self._model.identity.get('model')}: its processor puts an image into a prompt "
                "in a way that is not understood"
            )


def _listed(value: Any) -> list[Tensor]:
    values = value if isinstance(value, list | tuple) else [value]
    return [v for v in values if isinstance(v, Tensor)]


def _positions(given: Tensor | None, end: int) -> Tensor:
    if given is None:
        return torch.arange(end + 1)[None]
    axes = given.reshape(-1, given.shape[-1])[-3:]  # a fourth, first one counts text alone
    return axes[:, : end + 1].cpu()


def _mask(given: Any, end: int) -> Tensor | None:
    if isinstance(given, dict):
        given = given.get("full_attention", next(iter(given.values())))
    if given is None or given.ndim != 4:
        return None
    block: Tensor = given[0, 0, :end, :end].cpu()
    seen = block if block.dtype == torch.bool else block == 0
    return None if torch.equal(seen, torch.ones_like(seen).tril()) else seen


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of tokens as a language model reads them.

    ids: [B, L]. mask: [B, all tokens so far], or additive, [B, 1, L, L]. positions: [1 or 3, B, L].
    prefixes: of each row. at: [B, L], where in its prefix a token is (P: after it).
    begins: whether the rows hold their prefixes, and are given the features.
    """

    ids: Tensor
    mask: Tensor
    positions: Tensor
    prefixes: Sequence[Prefix]
    at: Tensor
    begins: bool = True
    tokens: int = 0


def read_rows(model: Model, rows: Rows, images: ImageStore, **cache: Any) -> Any:
    """The language model's output on some rows; `cache`: what it takes to go on from others."""
    base, device = model.base, model.device
    ids = rows.ids.to(device)
    words = base.get_input_embeddings()(ids)
    given: dict[str, Any] = {}
    prefixes = rows.prefixes
    for name, (dim, _) in prefixes[0].each.items():
        picked = [
            p.each[name][1].index_select(dim, at.clamp(max=len(p)))
            for p, at in zip(prefixes, rows.at.cpu(), strict=True)
        ]
        given[name] = torch.cat(picked).to(device)
    if rows.begins:
        features = [model.prefixes.features(p, images) for p in prefixes]
        if features[0].seen is not None:
            seen = torch.cat([f.seen for f in features if f.seen is not None])
            where = (ids == model.prefixes.image_token)[..., None]
            words = words.masked_scatter(where, seen.to(device, words.dtype))
        for name, value in features[0].whole.items():
            every = [f.whole[name] for f in features]
            if isinstance(value, Tensor):
                given[name] = torch.cat([_listed(v)[0] for v in every]).to(device)
            else:
                layers = zip(*map(_listed, every), strict=True)
                given[name] = [torch.cat(layer).to(device) for layer in layers]
    positions = rows.positions.to(device)
    return base.get_decoder()(
        inputs_embeds=words,
        attention_mask=rows.mask.to(device),
        position_ids=positions[0] if len(positions) == 1 else positions,
        **given,
        **cache,
    )
