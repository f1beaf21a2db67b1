"""What rows of one image may share, found out by trying.

On random weights of the model's own configuration, cut to one period of its kinds of layers, in
float32, the family's own forward pass reads a few questions about two images one by one, as long
as the longest that will be read. What gives the same log-probabilities is used for the model
itself; what does not is read in batches through the model's own processor.

Imports torch: import this module late.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from eval.attacks import Ask
from mllmu_med.errors import first_line
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

    from eval.model import Model

#: Largest difference of a token's log-probability, in float32.
BOUND: Final = 1e-4
#: What a family's code raises where it cannot be used in our way.
_FAILS: Final = (
    *(UserError, RuntimeError, ValueError, TypeError),
    *(AttributeError, LookupError, NotImplementedError),
)
#: Implementations of attention that read a mask of which token sees which.
_MASKED: Final = ("sdpa", "eager")
_TOO_SHORT: Final = "its sliding window is too short"
_WORDS: Final = "Which part of the body does this image show, and is anything wrong with it? "


@dataclass(frozen=True, slots=True)
class Sharing:
    """What was found.

    rows: rows of an image's kept features equal the model's own. packing: several questions behind
    one image do. prefill: a cache repeated for the questions of an image does. window: the most
    tokens a row may have for that (0: any number).
    """

    why: str
    rows: bool = False
    packing: bool = False
    prefill: bool = False
    window: int = 0


def probe(model: Model) -> Sharing:
    """Try out what may be shared; the model itself is not touched."""
    from eval.model import Model

    attention = model.identity["attention"]
    if attention not in _MASKED:
        return Sharing(f"nothing: {attention} reads no mask of packed rows")
    config = _cut(model.base.config)
    window = window_of(config.get_text_config())
    devices = [model.device] if model.device.type == "cuda" else []
    single = torch.autocast(model.device.type, enabled=False)
    with torch.random.fork_rng(devices), torch.inference_mode(False), torch.no_grad(), single:
        for device in (*devices, torch.device("cpu")):  # where there is room
            torch.manual_seed(0)
            try:
                with torch.device(device):
                    net = type(model.base)(config).float().eval()
                _spread(net)
                tried = Model(net, model.processor, model.identity, model.format)
                return _tried(tried, window, model.longest)
            except torch.cuda.OutOfMemoryError as error:
                why = first_line(error)
            except _FAILS as error:
                why = first_line(error)
                break
    return Sharing(f"nothing: {why}")


def _tried(model: Model, window: int, longest: int) -> Sharing:
    from eval.greedy import begin
    from eval.packed_rows import chosen, weigh

    images = _Images()
    text = _WORDS * (1 + longest // len(_WORDS))
    text = text[: max(longest, 60)]
    while window and len(model.text_ids(text)) > window // 4:  # longer rows share nothing anyway
        text = text[: len(text) // 2]
    asked = [made_ask(str(i % 2), part) for i, part in enumerate((text, text[:25], text[:41]))]
    pairs = list(zip(asked, ("Yes", "The left lung, it seems", "CT of it"), strict=True))
    plain = [model.weigh_plainly([pair], images)[0].logprobs for pair in pairs]
    found, lacks = {}, []

    def compare(name: str, what: str, weigh: Any) -> None:
        try:
            other = weigh()
        except torch.OutOfMemoryError:  # tried again in main memory
            raise
        except _FAILS as error:
            found[name] = False
            lacks.append(f"{what} ({first_line(error)})")
            return
        apart = max(
            abs(a - b)
            for one, two in zip(plain, other, strict=True)
            for a, b in zip(one, two, strict=True)
        )
        found[name] = apart < BOUND
        if apart >= BOUND:
            lacks.append(f"{what} (log-probabilities differ by {apart:.1g})")

    def weighed(**shared: bool) -> Any:
        model.__dict__["sharing"] = Sharing("", rows=True, window=window, **shared)
        found = weigh(model, pairs, images)
        if found is None:
            raise UserError(_TOO_SHORT)
        return [one.logprobs for one in found]

    def prefilled() -> list[list[float]]:
        model.__dict__["sharing"] = Sharing("", prefill=True, window=window)
        answers = [model.answer_ids(answer) for _, answer in pairs]
        begun = begin(model, asked, images, [tokens[:-1] for tokens in answers])
        if begun is None:
            raise UserError(_TOO_SHORT)
        from eval.image_prefix import CACHE, read_rows

        out = read_rows(model, begun[1], images, use_cache=True, **{CACHE: begun[0]})
        logits = model.logits(out.last_hidden_state)
        return [chosen(row[-len(t) :], t) for row, t in zip(logits, answers, strict=True)]

    compare("rows", "kept features", weighed)
    if found["rows"]:
        compare("packing", "packing", lambda: weighed(packing=True))
        compare("prefill", "one prefill an image", prefilled)
    shares = [n for n, ok in found.items() if ok]
    why = f"shared: {', '.join(shares) or 'nothing'}"
    why += f"; not: {'; '.join(lacks)}" if lacks else ""
    return Sharing(why, window=window, **found)


def window_of(text: Any) -> int:
    """The most tokens that a language model's layers all see; 0: any number."""
    kinds = getattr(text, "layer_types", None)
    if kinds is not None and not any("sliding" in k or "chunked" in k for k in kinds):
        return 0
    if getattr(text, "use_sliding_window", True) is False:
        return 0
    sizes = [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((size for size in sizes if size), default=0)


def _cut(config: Any) -> Any:
    """A configuration with so many layers that each kind of its language model's is there."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    layers = text.num_hidden_layers
    crossing = getattr(text, "cross_attention_layers", None)
    kinds: Sequence[Any] = getattr(text, "layer_types", None) or [None] * layers
    if crossing is not None:
        kinds = [i in crossing for i in range(layers)]
    kept = max(2, *(list(kinds).index(kind) + 1 for kind in {*kinds}))
    for name, value in vars(text).copy().items():
        if isinstance(value, list) and len(value) == layers:
            setattr(text, name, value[:kept])
    if crossing is not None:
        text.cross_attention_layers = [i for i in crossing if i < kept]
    text.num_hidden_layers = min(kept, layers)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return config


def _spread(net: Any) -> None:
    """Weights so wide that a wrong mask or position shows; gates that are shut at first open."""
    for parameter in net.parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5)
        elif parameter.numel() == 1:
            parameter.fill_(1.0)


class _Images:
    """Noise of two sizes."""

    def __getitem__(self, image_id: str) -> Image:
        import random

        from PIL import Image as images

        size = (70, 50) if image_id == "0" else (48, 96)
        noise = random.Random(image_id).randbytes(3 * size[0] * size[1])
        return images.frombytes("RGB", size, noise)


def made_ask(image_id: str, question: str, image: bool = True) -> Ask:
    """A question of no dataset's row, to try a model out with."""
    from types import SimpleNamespace

    row: Any = SimpleNamespace(image_id=image_id)
    return Ask(row, question, image=image)
