"""Configurations of the tiny models of `families`, from the library's own classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Ids = dict[str, int]

PIXELS: Final = 64
PATCH: Final = 16
WIDTH: Final = 128
#: Language model and vision tower, in the names that nearly all configurations share.
TEXT: Final[dict[str, Any]] = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
VISION: Final[dict[str, Any]] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": PIXELS,
    "patch_size": PATCH,
}
#: Towers of the Qwen kind: patches of 8 pixels, four of which make a token.
GRID: Final[dict[str, Any]] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "depth": 2,
    "num_heads": 4,
    "patch_size": 8,
    "out_hidden_size": WIDTH,
}
TILES: Final = [[PIXELS, 2 * PIXELS], [2 * PIXELS, PIXELS], [2 * PIXELS, 2 * PIXELS]]


def _ends(ids: Ids, eos: str, bos: str = "", pad: str = "") -> dict[str, Any]:
    return {
        "bos_token_id": ids.get(bos), "eos_token_id": ids[eos], "pad_token_id": ids.get(pad)
    }  # fmt: skip


def llava(text: str, bos: str, eos: str, pad: str, **more: Any) -> Callable[[Ids, int], Any]:
    """LLaVA of CLIP and a language model of a kind: `llama`, `qwen2`, `phi3`."""

    def config(ids: Ids, size: int) -> Any:
        from transformers import AutoConfig, CLIPVisionConfig, LlavaConfig

        ends = _ends(ids, eos, bos, pad)
        return LlavaConfig(
            vision_config=CLIPVisionConfig(**VISION, projection_dim=64),
            text_config=AutoConfig.for_model(text, **TEXT, **more, **ends, vocab_size=size),
            image_token_index=ids["<image>"],
            image_seq_length=(PIXELS // PATCH) ** 2,
        )

    return config


def llava_next(ids: Ids, size: int) -> Any:
    from transformers import CLIPVisionConfig, LlavaNextConfig, MistralConfig

    ends = _ends(ids, "</s>", "<s>", "<pad>")
    return LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VISION, projection_dim=64),
        text_config=MistralConfig(**TEXT, **ends, vocab_size=size, sliding_window=None),
        image_token_index=ids["<image>"],
        image_grid_pinpoints=TILES,
        image_seq_length=(PIXELS // PATCH) ** 2,
    )


def onevision(ids: Ids, size: int) -> Any:
    from transformers import LlavaOnevisionConfig, Qwen2Config, SiglipVisionConfig

    ends = _ends(ids, "<|im_end|>", pad="<|endoftext|>")
    return LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=Qwen2Config(**TEXT, **ends, vocab_size=size, tie_word_embeddings=True),
        image_token_index=ids["<image>"],
        video_token_index=ids["<video>"],
        image_grid_pinpoints=[[PIXELS, PIXELS], *TILES],
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )


def gemma3(ids: Ids, size: int) -> Any:
    from transformers import Gemma3Config, Gemma3TextConfig, SiglipVisionConfig

    text = Gemma3TextConfig(
        **TEXT,
        **_ends(ids, "<eos>", "<bos>", "<pad>"),
        vocab_size=size,
        head_dim=32,
        query_pre_attn_scalar=32,
        sliding_window=128,
        layer_types=["sliding_attention", "full_attention"],
    )
    return Gemma3Config(
        text_config=text,
        vision_config=SiglipVisionConfig(**VISION, vision_use_head=False),
        mm_tokens_per_image=16,
        boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"],
        image_token_index=ids["<image_soft_token>"],
        eos_token_id=[ids["<eos>"], ids["<end_of_turn>"]],
    )


def qwen(name: str, vision: dict[str, Any], text: dict[str, Any]) -> Callable[[Ids, int], Any]:
    """A model of the Qwen kind: `qwen2_5_vl`, `qwen3_vl`, `qwen3_5`."""

    def config(ids: Ids, size: int) -> Any:
        from transformers import AutoConfig

        ends = _ends(ids, "<|im_end|>", pad="<|endoftext|>")
        return AutoConfig.for_model(
            name,
            vision_config={**GRID, **vision},
            text_config={**TEXT, **text, **ends, "vocab_size": size},
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
        )

    return config


def internvl(ids: Ids, size: int) -> Any:
    from transformers import InternVLConfig, InternVLVisionConfig, Qwen2Config

    ends = _ends(ids, "<|im_end|>", pad="<|endoftext|>")
    return InternVLConfig(
        vision_config=InternVLVisionConfig(**{**VISION, "patch_size": 8}),
        text_config=Qwen2Config(**TEXT, **ends, vocab_size=size),
        image_token_id=ids["<IMG_CONTEXT>"],
        image_seq_length=16,
        tie_word_embeddings=False,
    )


def mllama(ids: Ids, size: int) -> Any:
    from transformers import MllamaConfig
    from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

    ends = _ends(ids, "<|eot_id|>", "<|begin_of_text|>", "<|finetune_right_pad_id|>")
    text = MllamaTextConfig(
        **{**TEXT, "num_hidden_layers": 3},
        **ends,
        vocab_size=size - 1,  # the image's token has an embedding, but none is predicted
        cross_attention_layers=[1],
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
    )
    vision = MllamaVisionConfig(
        **{key: value for key, value in VISION.items() if key != "num_attention_heads"},
        attention_heads=4,
        num_global_layers=1,
        intermediate_layers_indices=[0],
        vision_output_dim=128,
    )
    return MllamaConfig(vision_config=vision, text_config=text, image_token_index=ids["<|image|>"])


def idefics(name: str, eos: str, bos: str, pad: str) -> Callable[[Ids, int], Any]:
    def config(ids: Ids, size: int) -> Any:
        from transformers import AutoConfig, LlamaConfig

        return AutoConfig.for_model(
            name,
            vision_config=VISION,
            text_config=LlamaConfig(**TEXT, **_ends(ids, eos, bos, pad), vocab_size=size),
            image_token_id=ids["<image>"],
            pad_token_id=ids[pad],
            scale_factor=2,
        )

    return config


def glm4v(ids: Ids, size: int) -> Any:
    from transformers import Glm4vConfig
    from transformers.models.glm4v.configuration_glm4v import Glm4vTextConfig, Glm4vVisionConfig

    text = Glm4vTextConfig(
        **TEXT,
        **_ends(ids, "<|endoftext|>", pad="<|endoftext|>"),
        vocab_size=size,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5,
                         "mrope_section": [2, 3, 3]},
    )  # fmt: skip
    return Glm4vConfig(
        vision_config=Glm4vVisionConfig(**GRID, image_size=PIXELS),
        text_config=text,
        **{f"{part}_token_id": ids[f"<|{part}|>"] for part in ("image", "video")},
        **{
            f"{part}_{edge}_token_id": ids[f"<|{word}_of_{part}|>"]
            for part in ("image", "video")
            for edge, word in (("start", "begin"), ("end", "end"))
        },
    )
