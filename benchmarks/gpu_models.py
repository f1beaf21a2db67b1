"""Models of the families' real shapes with random weights, and rows like SLAKE's, for `gpu.py`.

Nothing is downloaded: shapes are those of the published configurations, tokenizers are trained on
the made texts, and processors are those of the tests' families (`tests/families.yaml`).
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from families import FAMILIES, tokenizer_of, write_processor

from baselines import tiny
from eval.chat_format import chat_format
from eval.load_model import decode_greedily, set_arithmetic
from eval.load_processor import load_processor
from eval.model import Model
from mllmu_med_dataset import Record

TITLES = {
    "llava_med": "LLaVA-Med 7B",
    "gemma3": "MedGemma 4B",
    "qwen2_5_vl": "Qwen2.5-VL 7B",
}
#: Questions of an image, as in SLAKE's privacy rows; one row of so many is to be forgotten.
EACH, FORGOTTEN = 10, 12


@dataclass(frozen=True)
class Rows:
    forget: Sequence[Record]
    retain: Sequence[Record]

    @property
    def all(self) -> list[Record]:
        return [*self.forget, *self.retain]


class Noise:
    """Images of noise, 512 pixels square, each made when it is asked for."""

    def __init__(self, side: int = 512) -> None:
        self.side = side

    def __getitem__(self, image_id: str, /) -> Any:
        from PIL import Image

        noise = random.Random(image_id).randbytes(3 * 64 * 64)
        return Image.frombytes("RGB", (64, 64), noise).resize((self.side, self.side))


def made_rows(images: int) -> Rows:
    """Questions of 8 to 30 words; answers of 1 to 3 words, half of them of 6 to 35."""
    chance = random.Random(0)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = sorted({"".join(chance.choices(syllables, k=2)) for _ in range(200)})

    def text(least: int, most: int) -> str:
        return " ".join(chance.choices(words, k=chance.randint(least, most)))

    rows = []
    for number in range(images * EACH):
        question = text(8, 30) + "?"
        answer = text(1, 3) if chance.random() < 0.5 else text(6, 35)
        image_id = f"image{number // EACH}"
        rows.append(
            Record(
                id=f"row{number}", image_id=image_id, image_path="", image_sha256=image_id,
                question=question, answer=answer, answer_type="open", modality="CT", source="made",
                clean_question=question, clean_answer=answer,
            )
        )  # fmt: skip
    forget = [row for i, row in enumerate(rows) if i % FORGOTTEN == FORGOTTEN // 2]
    return Rows(forget, [row for row in rows if row not in forget])


def build(name: str, texts: Sequence[str], device: str, small: bool) -> Model:
    """A model with random weights, made on the device; `small`: a shape for a CPU."""
    import torch
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.set_verbosity_error()
    words = 395 if small else 3000
    if name == "llava_med":
        if not small:
            tiny.PIXELS, tiny.PATCH = 336, 14  # type: ignore[misc]
        processor = tiny._processor(texts, words + len(tiny.SPECIAL))
        tokenizer = processor.tokenizer
    else:
        family = FAMILIES[name] if small else replace(FAMILIES[name], **_PROCESSORS[name])
        tokenizer = tokenizer_of(family, texts, words)
        with tempfile.TemporaryDirectory() as folder:
            write_processor(Path(folder), family, tokenizer)
            processor = load_processor(folder, None, name)
    ids = tokenizer.get_vocab()
    if not small:
        config = _CONFIGS[name](ids)
    elif name == "llava_med":
        config = tiny.config_of_tiny(tiny.SMALLEST, len(tokenizer))
    else:
        config = FAMILIES[name].configuration(ids, len(tokenizer))
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    torch.manual_seed(0)
    with torch.device(device):
        net = AutoModelForImageTextToText.from_config(config, dtype=dtype).eval()
    set_arithmetic(net)
    identity = {
        "model": TITLES[name],
        "weights": "random",
        "dtype": str(dtype).split(".")[1],
        "attention": net.config.get_text_config()._attn_implementation,
    }
    model = Model(net, processor, identity, chat_format(processor, name))
    decode_greedily(model)
    model.expect(texts)
    return model


#: What an image becomes at the real size, where the tests' own is smaller.
_PROCESSORS: dict[str, dict[str, Any]] = {
    "gemma3": {
        "processor": {"processor_class": "Gemma3Processor", "image_seq_length": 256},
        "images": {
            "image_processor_type": "Gemma3ImageProcessor",
            "size": {"height": 896, "width": 896},
        },
    },
    "qwen2_5_vl": {
        "images": {
            "image_processor_type": "Qwen2VLImageProcessor",
            "min_pixels": 56 * 56,
            "max_pixels": 1280 * 28 * 28,
            "patch_size": 14,
            "merge_size": 2,
        },
        "videos": {"video_processor_type": "Qwen2VLVideoProcessor", "patch_size": 14},
    },
}


def _llava_med(ids: dict[str, int]) -> Any:
    """LLaVA-Med v1.5: CLIP ViT-L/14 at 336 pixels, two layers, Mistral 7B v0.2."""
    from transformers import CLIPVisionConfig, LlavaConfig, MistralConfig

    return LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
            num_attention_heads=16, image_size=336, patch_size=14, projection_dim=768,
        ),
        text_config=MistralConfig(
            vocab_size=32064, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
            num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=32768,
            sliding_window=None, tie_word_embeddings=False, **_ends(ids, "</s>", "<s>", "<pad>"),
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        ),
        image_token_index=ids["<image>"],
        image_seq_length=576,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )  # fmt: skip


def _medgemma(ids: dict[str, int]) -> Any:
    """Gemma 3 4B: SigLIP at 896 pixels, 256 tokens an image; five sliding layers to a full one."""
    from transformers import Gemma3Config, Gemma3TextConfig, SiglipVisionConfig

    layers = 34
    return Gemma3Config(
        text_config=Gemma3TextConfig(
            vocab_size=262208, hidden_size=2560, intermediate_size=10240, num_hidden_layers=layers,
            num_attention_heads=8, num_key_value_heads=4, head_dim=256, query_pre_attn_scalar=256,
            sliding_window=1024, max_position_embeddings=131072,
            layer_types=[
                "sliding_attention" if (i + 1) % 6 else "full_attention" for i in range(layers)
            ],
            **_ends(ids, "<eos>", "<bos>", "<pad>"),
        ),
        vision_config=SiglipVisionConfig(
            hidden_size=1152, intermediate_size=4304, num_hidden_layers=27,
            num_attention_heads=16, image_size=896, patch_size=14, vision_use_head=False,
        ),
        mm_tokens_per_image=256,
        boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"],
        image_token_index=ids["<image_soft_token>"],
        eos_token_id=[ids["<eos>"], ids["<end_of_turn>"]],
    )  # fmt: skip


def _qwen(ids: dict[str, int]) -> Any:
    """Qwen2.5-VL 7B: its own tower, four patches to a token (324 for 512 pixels square)."""
    from transformers import AutoConfig

    return AutoConfig.for_model(
        "qwen2_5_vl",
        vision_config={
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
            "patch_size": 14, "spatial_merge_size": 2, "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31], "out_hidden_size": 3584,
        },
        text_config={
            "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
            "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
            "max_position_embeddings": 128000, "tie_word_embeddings": False,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]
            },
            **_ends(ids, "<|im_end|>", pad="<|endoftext|>"),
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )  # fmt: skip


def _ends(ids: dict[str, int], eos: str, bos: str = "", pad: str = "") -> dict[str, Any]:
    return {
        "bos_token_id": ids.get(bos), "eos_token_id": ids[eos], "pad_token_id": ids.get(pad)
    }  # fmt: skip


_CONFIGS = {"llava_med": _llava_med, "gemma3": _medgemma, "qwen2_5_vl": _qwen}


def sizes(model: Model) -> tuple[int, int, int]:
    """Weights in the language model's matrices, frozen and trained, and in the output layer."""
    output = model.base.get_output_embeddings().weight
    words = {id(output), id(model.base.get_input_embeddings().weight)}
    frozen = trained = 0
    for weight in model.base.get_decoder().parameters():
        if weight.ndim > 1 and id(weight) not in words:
            packed = getattr(weight, "quant_state", None)
            size = packed.shape.numel() if packed else weight.numel()
            trained += size if weight.requires_grad else 0
            frozen += 0 if weight.requires_grad else size
    return frozen, trained, output.numel()


def in_four_bits(model: Model) -> None:
    """The language model's linear maps as nf4 has them, as `load_model` loads them."""
    import bitsandbytes as bnb
    import torch

    decoder = model.base.get_decoder()
    for place, module in list(decoder.named_modules()):
        if type(module) is torch.nn.Linear:
            new = bnb.nn.Linear4bit(
                module.in_features, module.out_features, module.bias is not None,
                compute_dtype=torch.bfloat16, quant_type="nf4", device="meta",
            )  # fmt: skip
            new.weight = bnb.nn.Params4bit(
                module.weight.data, requires_grad=False, quant_type="nf4"
            ).to(model.device)
            if module.bias is not None:
                new.bias = module.bias
            parent, _, name = place.rpartition(".")
            setattr(decoder.get_submodule(parent), name, new)
            module.weight = None
    model.base.is_loaded_in_4bit = True  # as peft asks
