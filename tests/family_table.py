"""What each family's checkpoint consists of; `families.make` writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import family_configs as configs
from family_configs import PATCH, PIXELS, Ids


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


_ML = ("<|im_start|>user\\n", "<|im_end|>\\n", "<|im_start|>assistant\\n", "<|im_end|>\\n")
_SYSTEM = "<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n"


def chatml(image: str, before: str = "", prompt: str = "<|im_start|>assistant\\n") -> str:
    user, close, assistant, end = _ML
    before = f"{{{{ '{before}' }}}}" if before else ""
    return chat(user, image, close, assistant, end, f"{{{{ '{prompt}' }}}}", before)


#: LLaVA's over Qwen2: a space and a line's end before each text, but the generation prompt has the
#: line's end alone, so that it is not how an answered turn begins.
SPACED: Final = chat(
    "<|im_start|>user ", "<image>", "<|im_end|>", "<|im_start|>assistant ", "<|im_end|>",
    "{{ '<|im_start|>assistant\\n' }}", lead="\\n",
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
_IDEFICS_IMAGES: Final = {
    "size": {"longest_edge": 2 * PIXELS},
    "max_image_size": {"longest_edge": PIXELS},
    "do_image_splitting": True,
}
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
