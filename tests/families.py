"""Tiny random checkpoints of the families of vision-language models that users bring.

`make("gemma3", folder, texts)` writes what `from_pretrained` finds in a folder of the Hub:
configuration, weights, generation settings, tokenizer, chat template and the parts of the
processor, made from the library's own classes at 0.2 to 1 million weights. Nothing is downloaded.
What each consists of is in families.yaml. Chat templates are ours, from the turn markers and
separators that each family's model card states.

The weights are as wide as those of `baselines.tiny`: with the usual 0.02 a random model says one
thing whatever it is shown, and LoRA over it learns nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from baselines.tiny import TinySettings, make_tiny
from mllmu_med.files import stable_hash

#: How today's tokenizers cut a text before they merge bytes: words with the space before them,
#: single digits, signs with the ends of lines behind them, ends of lines, other space.
_WORDS: Final = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ROWS: Final = " ".join(f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7))


@dataclass(frozen=True)
class Family:
    """How a family's checkpoint is made, as families.yaml has it."""

    config: dict[str, Any]
    special: str
    named: dict[str, str]
    chat: dict[str, str] | list[str]
    processor: dict[str, Any]
    images: dict[str, Any]
    videos: dict[str, Any] = field(default_factory=dict)
    plain: str = ""
    last: str = ""
    generation: dict[str, Any] = field(default_factory=dict)
    stops: tuple[str, ...] = ()

    def configuration(self, ids: dict[str, int], size: int) -> Any:
        """Of the special tokens' ids and the vocabulary's size."""
        from transformers import AutoConfig

        values = _with_ids(self.config, ids)
        values["text_config"]["vocab_size"] = size - len(self.last.split())
        return AutoConfig.for_model(values.pop("model_type"), **values)


#: Each family by the name that tests use.
FAMILIES: Final = {
    name: Family(**parts)
    for name, parts in yaml.safe_load(
        Path(__file__).with_suffix(".yaml").read_text("utf-8").replace("ROWS", _ROWS)
    )["families"].items()
}


def _with_ids(values: Any, ids: dict[str, int], key: str = "") -> Any:
    if isinstance(values, dict):
        return {key: _with_ids(value, ids, key) for key, value in values.items()}
    if isinstance(values, list):
        return [_with_ids(value, ids, key) for value in values]
    return ids[values] if isinstance(values, str) and key.endswith(("_id", "_index")) else values


def chat(
    user: str,
    image: str,
    close: str,
    assistant: str,
    end: str,
    prompt: str,
    before: str = "",
    lead: str = "",
) -> str:
    """A chat template of turn markers: `user` TEXT `close`, `assistant` TEXT `end`; `prompt` asks.

    `before` stands before all turns, `lead` before each text. Contents are parts or a string, as
    most families' own take them. All are given as Jinja's string literals take them: a line's end
    as \\n.
    """
    return (
        f"{before}{{% for m in messages %}}"
        f"{{{{ '{user}' if m.role == 'user' else '{assistant}' }}}}"
        f"{{% if m.content is string %}}{{{{ '{lead}' + m.content }}}}"
        "{% else %}{% for part in m.content %}"
        f"{{{{ '{image}' if part.type == 'image' else '{lead}' + part.text }}}}"
        "{% endfor %}{% endif %}"
        f"{{{{ '{close}' if m.role == 'user' else '{end}' }}}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{prompt}{{% endif %}}"
    )


class Pictures:
    """Coloured squares in five sizes, a different pattern for each id, as RGB."""

    sizes = ((64, 64), (96, 64), (64, 128), (40, 40), (150, 60))

    def __getitem__(self, image_id: str, /) -> Any:
        import numpy
        from PIL import Image

        number = stable_hash(image_id)
        drawn = numpy.random.default_rng(number).integers(0, 255, (8, 8, 3))
        return Image.fromarray(drawn.astype(numpy.uint8)).resize(self.sizes[number % 5], 0)


def make(name: str, folder: Path, texts: Iterable[str], seed: int = 0) -> Path:
    """Write a family's checkpoint into a new folder; its byte-level BPE is trained on the texts."""
    if name == "llava_med":
        return make_tiny(folder, texts, TinySettings(seed=seed, vocabulary=400))
    import torch
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    family = FAMILIES[name]
    folder.mkdir(parents=True)
    tokenizer = tokenizer_of(family, texts)
    ids = tokenizer.get_vocab()
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(family.configuration(ids, len(tokenizer)))
    _widen(model)
    settings = model.generation_config
    ends = [ids[tokenizer.eos_token], *(ids[token] for token in family.stops)]
    settings.update(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends if family.stops else ends[0],
        pad_token_id=tokenizer.pad_token_id,
        **family.generation,
    )
    model.save_pretrained(folder)
    write_processor(folder, family, tokenizer)
    return folder


def write_processor(folder: Path, family: Family, tokenizer: Any) -> None:
    """Tokenizer, chat template and the parts of the processor, into a folder that is there."""
    tokenizer.save_pretrained(folder)
    kind = {"processor_class": family.processor["processor_class"]}
    parts = {"processor_config": family.processor, "preprocessor_config": family.images | kind}
    if family.videos:
        parts["video_preprocessor_config"] = family.videos | kind
    for file, values in parts.items():
        (folder / f"{file}.json").write_text(json.dumps(values, indent=2), "utf-8")
    template = chat(**family.chat) if isinstance(family.chat, dict) else "".join(family.chat)
    (folder / "chat_template.jinja").write_text(template, "utf-8")


def tokenizer_of(family: Family, texts: Iterable[str], words: int = 395) -> Any:
    """A byte-level BPE of at most so many words, and the family's special tokens."""
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    special = family.special.split()
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        [*texts, *["one\n\ntwo"] * 99],  # two ends of lines are one token, as they are in all
        trainers.BpeTrainer(
            vocab_size=words + len(special),
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bpe.add_tokens(family.plain.split())
    bpe.add_special_tokens(family.last.split())
    if bos := family.named.get("bos_token"):
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, special.index(bos))]
        )
    usual = ("unk_token", "bos_token", "eos_token", "pad_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        **{key: value for key, value in family.named.items() if key in usual},
        extra_special_tokens={k: v for k, v in family.named.items() if k not in usual},
        padding_side="left",
        model_max_length=4096,
    )


def _widen(model: Any) -> None:
    """Weights as wide as the tiny LLaVA's; gates that begin closed are opened."""
    import torch

    width = model.config.get_text_config().hidden_size
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            across = weight[0].numel()
            torch.nn.init.normal_(weight, std=0.2 * (width / across) ** 0.5)
        elif "gate" in name and weight.numel() == 1:
            torch.nn.init.constant_(weight, 0.5)
        elif name.endswith("A_log"):  # linear attention: remember a picture behind many tokens
            torch.nn.init.uniform_(weight, -5.0, -2.0)
        elif name.endswith("q_norm.weight"):  # attention that looks at few places
            torch.nn.init.constant_(weight, 3.0)
        elif "post_" in name and name.endswith("layernorm.weight") and not weight.any():
            # Gemma's, on what each layer adds: else its tied words only say the last one again.
            torch.nn.init.constant_(weight, 15.0)
