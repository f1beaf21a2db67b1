"""LLaVA-Med's original layout and transformers': names of tensors, configuration, shapes."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eval.chat_format import LLAVA_MED
from mllmu_med.files import parse_json
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: Beginnings of names: in the original, and in transformers' module tree; the first that fits.
NAMES: Final = (
    ("model.vision_tower.vision_tower.vision_model.", "model.vision_tower."),
    ("model.mm_projector.0.", "model.multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "model.multi_modal_projector.linear_2."),
    ("model.", "model.language_model."),
)
TOWER: Final = NAMES[0][1]
WORDS: Final = ("model.language_model.embed_tokens.weight", "lm_head.weight")
#: Buffers that are computed anew, and what LLaVA-Med's loader never reads.
LEFT: Final = ("rotary_emb.inv_freq", "embeddings.position_ids", "model.image_newline")
#: Of Mistral's configuration: all that decides shapes or values.
_NEEDED: Final = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "rms_norm_eps"),
    *("num_attention_heads", "num_key_value_heads", "max_position_embeddings", "hidden_act"),
)


def read_config(src: Path) -> dict[str, Any]:
    path = src / "config.json"
    try:
        config: dict[str, Any] = parse_json(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): is this a model?") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON: fetch it again") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind == "llava":
        raise UserError(f"{src}: in transformers' layout already: use it as it is")
    if kind != "llava_mistral":
        raise UserError(f"{path}: model_type {kind!r}, not llava_mistral: not LLaVA-Med v1.5")
    if lacking := [name for name in _NEEDED if name not in config]:
        raise UserError(f"{path}: does not say {', '.join(lacking)}")
    for name, known in (
        ("mm_projector_type", ("mlp2x_gelu",)),
        ("mm_vision_select_feature", ("patch", "cls_patch", None)),
    ):
        if config.get(name) not in known:
            raise UserError(f"{path}: {name} {config.get(name)!r} cannot be converted")
    return config


def our_name(name: str) -> str:
    """transformers' name of a tensor of the original."""
    return next((new + name[len(old) :] for old, new in NAMES if name.startswith(old)), name)


def original_name(name: str) -> str:
    return next((old + name[len(new) :] for old, new in NAMES if name.startswith(new)), name)


def vision_config_of(weights: Mapping[str, Tensor], src: Path) -> Any:
    """The tower's configuration from its tensors: the original's `config.json` only names it.

    CLIP's heads are 64 wide at every size; its activation is OpenAI's.
    """
    from transformers import CLIPVisionConfig

    def shape_of(name: str, dimensions: int) -> tuple[int, ...]:
        tensor = weights.get(TOWER + name)
        if tensor is None or tensor.ndim != dimensions:
            raise UserError(
                f"{src}: no usable {original_name(TOWER + name)}: fetch the model again"
            )
        return tensor.shape

    hidden, _, _, patch = shape_of("embeddings.patch_embedding.weight", 4)
    positions, _ = shape_of("embeddings.position_embedding.weight", 2)
    wide, _ = shape_of("encoder.layers.0.mlp.fc1.weight", 2)
    layers = {n.split(".")[4] for n in weights if n.startswith(f"{TOWER}encoder.layers.")}
    return CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=wide,
        num_hidden_layers=len(layers),
        num_attention_heads=max(1, hidden // 64),
        image_size=isqrt(positions - 1) * patch,
        patch_size=patch,
    )


def llava_config(config: Mapping[str, Any], vision: Any, src: Path) -> Any:
    from transformers import LlavaConfig, MistralConfig

    text = MistralConfig(
        **{name: config[name] for name in _NEEDED},
        head_dim=config.get("head_dim"),
        sliding_window=config.get("sliding_window"),
        initializer_range=config.get("initializer_range", 0.02),
        rope_parameters={"rope_type": "default", "rope_theta": config.get("rope_theta", 10_000.0)},
        bos_token_id=config.get("bos_token_id", 1),
        eos_token_id=config.get("eos_token_id", 2),
        tie_word_embeddings=False,
    )
    if config.get("rope_scaling"):
        raise UserError(f"{src / 'config.json'}: rope_scaling cannot be converted")
    whole = config.get("mm_vision_select_feature") == "cls_patch"
    patches = (vision.image_size // vision.patch_size) ** 2
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=text.vocab_size,
        image_seq_length=patches + whole,
        vision_feature_layer=config.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy="full" if whole else "default",
        projector_hidden_act="gelu",
    )


def empty_llava(config: Any) -> Any:
    """transformers' LLaVA of a configuration, its weights without values."""
    import torch
    from transformers import LlavaForConditionalGeneration

    with torch.device("meta"):
        return LlavaForConditionalGeneration(config)


def llava_processor(
    splitting: Any,
    vision: Any,
    strategy: str,
    *,
    pad: bool = True,
    longest: int = 2048,
    chat: str = LLAVA_MED,
) -> Any:
    """Tokenizer, image processor and LLaVA-Med's prompt, as transformers' LLaVA takes them.

    Args:
        splitting: a `tokenizers.Tokenizer`; it knows `<unk>`, `<s>`, `</s>`, `<pad>` and `<image>`.
        vision: the vision tower's configuration.
        strategy: which of the tower's tokens are taken (`vision_feature_select_strategy`).
        pad: whether an image is made square by a border before it is cropped.
        longest: most tokens of a prompt.
        chat: the chat template.
    """
    from transformers import LlavaImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=splitting,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        model_max_length=longest,
    )
    side = vision.image_size
    images = LlavaImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, do_pad=pad
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=vision.patch_size,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=1,  # CLS, which the strategy drops
        chat_template=chat,
    )
