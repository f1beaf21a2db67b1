"""Tiny random checkpoints of the families of vision-language models that users bring.

`make("gemma3", folder, texts)` writes what `from_pretrained` finds in a folder of the Hub:
configuration, weights, generation settings, tokenizer, chat template and the parts of the
processor, made from the library's own classes at 0.2 to 1 million weights. Nothing is downloaded.
Chat templates are ours, from the turn markers and separators that each family's model card states.

The weights are as wide as those of `baselines.tiny`: with the usual 0.02 a random model says one
thing whatever it is shown, and LoRA over it learns nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import family_configs as configs
from family_configs import PATCH, PIXELS, WIDTH, Ids

from baselines.tiny import TinySettings, make_tiny


@dataclass(frozen=True)
class Family:
    """How a family's checkpoint is made.

    config: of the special tokens' ids and the vocabulary's size.
    special: special tokens, in their order; last: one behind all words; plain: added tokens that
        are no special ones.
    named: the tokenizer's names for tokens, with `eos_token` at least.
    chat: the chat template; "" where the family has none.
    processor: class and settings; images, videos: their processors' class and settings.
    generation: generation_config.json beside the ids; stops: more tokens that end an answer.
    """

    config: Callable[[Ids, int], Any]
    special: str
    named: dict[str, str]
    chat: str
    processor: dict[str, Any]
    images: dict[str, Any]
    videos: dict[str, Any] = field(default_factory=dict)
    plain: str = ""
    last: str = ""
    generation: dict[str, Any] = field(default_factory=dict)
    stops: tuple[str, ...] = ()


def chat(
    user: str, image: str, close: str, assistant: str, end: str, prompt: str, before: str = ""
) -> str:
    """A chat template of turn markers: `user` TEXT `close`, `assistant` TEXT `end`; `prompt` asks.

    Contents are parts or a string, as most families' own take them. Texts are given as Jinja's
    string literals take them: a line's end as \\n.
    """
    return (
        f"{before}{{% for m in messages %}}"
        f"{{{{ '{user}' if m.role == 'user' else '{assistant}' }}}}"
        "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
        f"{{{{ '{image}' if part.type == 'image' else part.text }}}}"
        "{% endfor %}{% endif %}"
        f"{{{{ '{close}' if m.role == 'user' else '{end}' }}}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{prompt}{{% endif %}}"
    )


_ML = ("<|im_start|>user\\n", "<|im_end|>\\n", "<|im_start|>assistant\\n", "<|im_end|>\\n")
_SYSTEM = "<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n"


def chatml(image: str, before: str = "", prompt: str = "<|im_start|>assistant\\n") -> str:
    user, close, assistant, end = _ML
    before = f"{{{{ '{before}' }}}}" if before else ""
    return chat(user, image, close, assistant, end, f"{{{{ '{prompt}' }}}}", before)


#: LLaVA's over Qwen2: a space and a line's end before each text, but the generation prompt has the
#: line's end alone, so that it is not how an answered turn begins.
SPACED: Final = chat(
    "<|im_start|>user ", "<image>\\n", "<|im_end|>", "<|im_start|>assistant \\n", "<|im_end|>",
    "{{ '<|im_start|>assistant\\n' }}",
)  # fmt: skip
#: Thinks unless told not to; an answered turn shows that nothing was thought.
THINKS: Final = chat(
    *("<|im_start|>user\\n", "<|vision_start|><|image_pad|><|vision_end|>", "<|im_end|>\\n"),
    *("<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n", "<|im_end|>\\n"),
    "{{ '<|im_start|>assistant\\n<think>\\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '\\n</think>\\n\\n' }}{% endif %}",
)
IDEFICS: Final = (
    "START{% for m in messages %}{{ m.role | capitalize }}"
    "{% if m.content[0].type == 'image' %}:{% else %}: {% endif %}"
    "{% for part in m.content %}{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}"
    "<end_of_utterance>{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
QWEN: Final = (
    "<|endoftext|> <|im_start|> <|im_end|> <|vision_start|> <|vision_end|> "
    "<|image_pad|> <|video_pad|>"
)
QWEN_NAMED: Final = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
LLAMA: Final = "<unk> <s> </s> <pad> <image>"
LLAMA_NAMED: Final = {
    "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>",
    "image_token": "<image>",
}  # fmt: skip
LLAMA3: Final = (
    "<|begin_of_text|> <|end_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|> "
    "<|finetune_right_pad_id|> <|python_tag|>"
)
SQUARE: Final = {"height": PIXELS, "width": PIXELS}


def _clip(**more: Any) -> dict[str, Any]:
    crop = {"size": {"shortest_edge": PIXELS}, "crop_size": SQUARE}
    return {"image_processor_type": "CLIPImageProcessor", **crop, **more}


def _grid(kind: str, patch: int = 8, **more: Any) -> dict[str, Any]:
    sizes = {"min_pixels": 32 * 32, "max_pixels": 96 * 96}
    return {"image_processor_type": kind, **sizes, "patch_size": patch, "merge_size": 2, **more}


_CLIP_PARTS: Final = {
    "patch_size": PATCH,
    "vision_feature_select_strategy": "default",
    "num_additional_image_tokens": 1,
}
#: How today's tokenizers cut a text before they merge bytes: words with the space before them,
#: single digits, signs with the ends of lines behind them, ends of lines, other space.
_WORDS: Final = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_IDEFICS_IMAGES: Final = {
    "size": {"longest_edge": 2 * PIXELS},
    "max_image_size": {"longest_edge": PIXELS},
    "do_image_splitting": True,
}
_MISTRAL_IMAGES: Final = {
    "image_processor_type": "PixtralImageProcessor",
    "patch_size": {"height": PATCH, "width": PATCH},
    "size": {"longest_edge": 96},
}
_MISTRAL: Final = chat("[INST]", "[IMG]", "[/INST]", "", "</s>", "", "<s>")
_ROWS: Final = " ".join(f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7))
_QWEN_IMAGE: Final = "<|vision_start|><|image_pad|><|vision_end|>"

#: Each family by the name that tests use.
FAMILIES: Final[dict[str, Family]] = {
    "llava_llama": Family(
        configs.llava("llama", "<s>", "</s>", "<pad>"),
        LLAMA,
        LLAMA_NAMED,
        chat("USER: ", "<image>\\n", " ", "ASSISTANT: ", " ", "ASSISTANT:"),
        {"processor_class": "LlavaProcessor", **_CLIP_PARTS},
        _clip(),
    ),
    "llava_qwen2": Family(
        configs.llava("qwen2", "", "<|im_end|>", "<|endoftext|>"),
        "<|endoftext|> <|im_start|> <|im_end|> <image>",
        {**QWEN_NAMED, "image_token": "<image>"},
        SPACED,
        {"processor_class": "LlavaProcessor", **_CLIP_PARTS},
        _clip(),
    ),
    "llava_phi3": Family(
        configs.llava("phi3", "<s>", "<|endoftext|>", "<pad>"),
        "<unk> <s> <|endoftext|> <pad> <image> <|user|> <|assistant|> <|end|>",
        {**LLAMA_NAMED, "eos_token": "<|endoftext|>"},
        chat(
            "<|user|>\\n",
            "<image>\\n",
            "<|end|>\\n",
            "<|assistant|>\\n",
            "<|end|>\\n",
            "{{ '<|assistant|>\\n' }}",
        ),
        {"processor_class": "LlavaProcessor", **_CLIP_PARTS},
        _clip(),
        stops=("<|end|>",),
    ),
    "llava_next": Family(
        configs.llava_next,
        LLAMA,
        LLAMA_NAMED,
        chat("[INST] ", "<image>\\n", " [/INST]", " ", "</s>", ""),
        {"processor_class": "LlavaNextProcessor", **_CLIP_PARTS},
        _clip(image_processor_type="LlavaNextImageProcessor", image_grid_pinpoints=configs.TILES),
    ),
    "llava_onevision": Family(
        configs.onevision,
        "<|endoftext|> <|im_start|> <|im_end|> <image> <video>",
        {**QWEN_NAMED, "image_token": "<image>", "video_token": "<video>"},
        SPACED,
        {
            "processor_class": "LlavaOnevisionProcessor",
            "num_image_tokens": (PIXELS // PATCH) ** 2,
            "vision_feature_select_strategy": "full",
        },
        {
            "image_processor_type": "LlavaOnevisionImageProcessor",
            "size": SQUARE,
            "image_grid_pinpoints": [[PIXELS, PIXELS], *configs.TILES],
        },
        {"video_processor_type": "LlavaOnevisionVideoProcessor", "size": SQUARE},
    ),
    "gemma3": Family(
        configs.gemma3,
        "<pad> <eos> <bos> <unk> <start_of_image> <end_of_image> <start_of_turn> <end_of_turn> "
        "<image_soft_token>",
        {
            **{f"{name}_token": f"<{name}>" for name in ("eos", "bos", "pad", "unk")},
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
        chat(
            "<start_of_turn>user\\n",
            "<start_of_image>",
            "<end_of_turn>\\n",
            "<start_of_turn>model\\n",
            "<end_of_turn>\\n",
            "{{ '<start_of_turn>model\\n' }}",
            "{{ bos_token }}",
        ),
        {"processor_class": "Gemma3Processor", "image_seq_length": 16},
        {"image_processor_type": "Gemma3ImageProcessor", "size": SQUARE},
        generation={"do_sample": True, "top_k": 64, "top_p": 0.95},
        stops=("<end_of_turn>",),
    ),
    "qwen2_5_vl": Family(
        configs.qwen(
            "qwen2_5_vl",
            {"window_size": 32, "fullatt_block_indexes": [1]},
            {"rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6]}},
        ),
        QWEN,
        QWEN_NAMED,
        chatml(_QWEN_IMAGE, _SYSTEM),
        {"processor_class": "Qwen2_5_VLProcessor"},
        _grid("Qwen2VLImageProcessor"),
        {"video_processor_type": "Qwen2VLVideoProcessor", "patch_size": 8},
        generation={"do_sample": True, "temperature": 0.1, "repetition_penalty": 1.3},
        stops=("<|endoftext|>",),
    ),
    "qwen3_vl": Family(
        configs.qwen(
            "qwen3_vl",
            {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
            {
                "head_dim": 32,
                "rope_parameters": {
                    "rope_type": "default",
                    "mrope_section": [6, 5, 5],
                    "mrope_interleaved": True,
                },
            },
        ),
        QWEN,
        QWEN_NAMED,
        chatml(_QWEN_IMAGE),
        {"processor_class": "Qwen3VLProcessor"},
        _grid("Qwen2VLImageProcessorFast"),
        {"video_processor_type": "Qwen3VLVideoProcessor", "patch_size": 8},
        generation={"do_sample": True, "top_k": 20, "top_p": 0.8, "temperature": 0.7},
        stops=("<|endoftext|>",),
    ),
    "qwen3_5": Family(
        configs.qwen(
            "qwen3_5",
            {"num_position_embeddings": 64},
            {
                "head_dim": 32,
                "layer_types": ["linear_attention", "full_attention"],
                "linear_key_head_dim": 32,
                "linear_value_head_dim": 32,
                "linear_num_key_heads": 2,
                "linear_num_value_heads": 4,
                "rope_parameters": {
                    "rope_type": "default",
                    "mrope_section": [2, 1, 1],
                    "mrope_interleaved": True,
                    "partial_rotary_factor": 0.25,
                },
            },
        ),
        QWEN,
        QWEN_NAMED,
        THINKS,
        {"processor_class": "Qwen3VLProcessor"},
        _grid("Qwen2VLImageProcessorFast"),
        {"video_processor_type": "Qwen3VLVideoProcessor", "patch_size": 8},
        plain="<think> </think>",
        stops=("<|endoftext|>",),
    ),
    "internvl": Family(
        configs.internvl,
        "<|endoftext|> <|im_start|> <|im_end|> <img> </img> <IMG_CONTEXT> <video>",
        {
            **QWEN_NAMED,
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        chatml("<IMG_CONTEXT>\\n"),
        {"processor_class": "InternVLProcessor", "image_seq_length": 16},
        {
            "image_processor_type": "GotOcr2ImageProcessorFast",
            "size": SQUARE,
            "max_patches": 4,
        },
        {"video_processor_type": "InternVLVideoProcessor", "size": SQUARE},
    ),
    "mllama": Family(
        configs.mllama,
        LLAMA3,
        {
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|eot_id|>",
            "pad_token": "<|finetune_right_pad_id|>",
        },
        chat(
            "<|start_header_id|>user<|end_header_id|>\\n\\n",
            "<|image|>",
            "<|eot_id|>",
            "<|start_header_id|>assistant<|end_header_id|>\\n\\n",
            "<|eot_id|>",
            "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}",
            "{{ bos_token }}",
        ),
        {"processor_class": "MllamaProcessor"},
        {"image_processor_type": "MllamaImageProcessor", "size": SQUARE, "max_image_tiles": 4},
        generation={"do_sample": True, "temperature": 0.6, "top_p": 0.9},
        last="<|image|>",
        stops=("<|end_of_text|>",),
    ),
    "idefics3": Family(
        configs.idefics("idefics3", "<|end_of_text|>", "<|begin_of_text|>", "<pad>"),
        "<|begin_of_text|> <|end_of_text|> <pad> <fake_token_around_image> <image> "
        f"<end_of_utterance> <global-img> {_ROWS}",
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>", "pad_token": "<pad>"},
        IDEFICS.replace("START", "<|begin_of_text|>"),
        {"processor_class": "Idefics3Processor", "image_seq_len": 4},
        {"image_processor_type": "Idefics3ImageProcessor", **_IDEFICS_IMAGES},
        stops=("<end_of_utterance>",),
    ),
    "smolvlm": Family(
        configs.idefics("smolvlm", "<end_of_utterance>", "<|im_start|>", "<|im_end|>"),
        "<|endoftext|> <|im_start|> <|im_end|> <fake_token_around_image> <image> "
        f"<end_of_utterance> <global-img> {_ROWS}",
        {
            "bos_token": "<|im_start|>",
            "eos_token": "<end_of_utterance>",
            "pad_token": "<|im_end|>",
        },
        IDEFICS.replace("START", "<|im_start|>"),
        {"processor_class": "SmolVLMProcessor", "image_seq_len": 4},
        {"image_processor_type": "SmolVLMImageProcessor", **_IDEFICS_IMAGES},
        {"video_processor_type": "SmolVLMVideoProcessor", "num_frames": 8, "fps": 1},
    ),
    "paligemma": Family(
        configs.paligemma,
        "<pad> <eos> <bos> <unk> <image>",
        {
            **{f"{name}_token": f"<{name}>" for name in ("eos", "bos", "pad", "unk")},
            "image_token": "<image>",
        },
        "",
        {"processor_class": "PaliGemmaProcessor"},
        {
            "image_processor_type": "SiglipImageProcessor",
            "size": SQUARE,
            "image_seq_length": (PIXELS // PATCH) ** 2,
        },
    ),
    "pixtral": Family(
        configs.pixtral("llava", vision_feature_select_strategy="full"),
        "<unk> <s> </s> <pad> [INST] [/INST] [IMG] [IMG_BREAK] [IMG_END]",
        {key: value for key, value in LLAMA_NAMED.items() if key != "image_token"},
        _MISTRAL,
        {"processor_class": "PixtralProcessor", "patch_size": PATCH},
        _MISTRAL_IMAGES,
    ),
    "mistral3": Family(
        configs.pixtral("mistral3", spatial_merge_size=2),
        "<unk> <s> </s> <pad> [INST] [/INST] [IMG] [IMG_BREAK] [IMG_END]",
        {key: value for key, value in LLAMA_NAMED.items() if key != "image_token"},
        _MISTRAL,
        {"processor_class": "PixtralProcessor", "patch_size": PATCH, "spatial_merge_size": 2},
        _MISTRAL_IMAGES,
    ),
    "glm4v": Family(
        configs.glm4v,
        "<|endoftext|> [gMASK] <sop> <|user|> <|assistant|> <|begin_of_image|> <|end_of_image|> "
        "<|image|> <|begin_of_video|> <|end_of_video|> <|video|>",
        {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
        chat(
            "<|user|>\\n",
            "<|begin_of_image|><|image|><|end_of_image|>",
            "",
            "<|assistant|>\\n",
            "",
            "{{ '<|assistant|>\\n' }}",
            "[gMASK]<sop>",
        ),
        {"processor_class": "Glm4vProcessor"},
        _grid("Glm4vImageProcessor"),
        {"video_processor_type": "Glm4vVideoProcessor", "patch_size": 8},
        stops=("<|user|>",),
    ),
}


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
    tokenizer = _tokenizer(family, texts)
    ids = tokenizer.get_vocab()
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(family.config(ids, len(tokenizer)))
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
    tokenizer.save_pretrained(folder)
    kind = {"processor_class": family.processor["processor_class"]}
    parts = {"processor_config": family.processor, "preprocessor_config": family.images | kind}
    if family.videos:
        parts["video_preprocessor_config"] = family.videos | kind
    for file, values in parts.items():
        (folder / f"{file}.json").write_text(json.dumps(values, indent=2), "utf-8")
    if family.chat:
        (folder / "chat_template.jinja").write_text(family.chat, "utf-8")
    return folder


def _tokenizer(family: Family, texts: Iterable[str]) -> Any:
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
            vocab_size=395 + len(special),
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

    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            across = weight[0].numel()
            torch.nn.init.normal_(weight, std=0.2 * (WIDTH / across) ** 0.5)
        elif "gate" in name and weight.numel() == 1:
            torch.nn.init.constant_(weight, 0.5)
        elif "post_" in name and name.endswith("layernorm.weight") and not weight.any():
            # Gemma's, on what each layer adds: else its tied words only say the last one again.
            torch.nn.init.constant_(weight, 15.0)
