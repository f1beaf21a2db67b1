"""A small LLaVA-Med in its original layout, made from a config, and its Mistral tokenizer."""

import json
import re
import struct
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

#: transformers' module names from the original ones, as regular expressions for `key_mapping`.
KEY_MAPPING = {
    r"^model\.vision_tower\.vision_tower\.vision_model\.": "model.vision_tower.",
    r"^model\.mm_projector\.0\.": "model.multi_modal_projector.linear_1.",
    r"^model\.mm_projector\.2\.": "model.multi_modal_projector.linear_2.",
    r"^model\.(embed_tokens|layers|norm)\.": r"model.language_model.\1.",
}
#: The way back.
_ORIGINAL = (
    (r"^model\.vision_tower\.", "model.vision_tower.vision_tower.vision_model."),
    (r"^model\.multi_modal_projector\.linear_1\.", "model.mm_projector.0."),
    (r"^model\.multi_modal_projector\.linear_2\.", "model.mm_projector.2."),
    (r"^model\.language_model\.", "model."),
)
#: LLaVA-Med v1.5's own configuration in what decides shapes and values.
REAL: dict[str, Any] = {
    "architectures": ["LlavaMistralForCausalLM"],
    "model_type": "llava_mistral",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000.0,
    "max_position_embeddings": 32768,
    "sliding_window": None,
    "hidden_act": "silu",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "image_aspect_ratio": "pad",
    "mm_hidden_size": 1024,
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "openai/clip-vit-large-patch14-336",
    "tokenizer_model_max_length": 2048,
    "torch_dtype": "bfloat16",
}
SMALL = REAL | {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "mm_hidden_size": 128,
    "max_position_embeddings": 512,
}


def pieces() -> list[str]:
    """A Llama-like vocabulary: control tokens, bytes, characters and a few longer pieces."""
    letters = [chr(i) for i in range(33, 127)]
    longer = ["IN", "ST", "INST", "th", "the", "▁the", "▁W", "is", "▁is", "an", "▁an", "▁["]
    return ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁", *letters, *longer]


def write_tokenizer(path: Path, texts: list[str]) -> None:
    """A SentencePiece model file: a list of pieces, then how it was trained: with bytes."""

    def field(number: int, value: bytes) -> bytes:
        size, head = len(value), bytes([number << 3 | 2])
        return (
            head + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + value
        )

    def piece(i: int, text: str) -> bytes:
        kind = 2 if i == 0 else 3 if i < 3 else 6 if text.startswith("<0x") else 1
        return (
            field(1, text.encode()) + b"\x15" + struct.pack("<f", -float(i)) + bytes([0x18, kind])
        )

    listed = b"".join(field(1, piece(i, text)) for i, text in enumerate(texts))
    path.write_bytes(listed + field(2, b"\x98\x02\x01" * 80))


def small_config() -> Any:
    """The same model as transformers names it, written down apart from the converter."""
    from transformers import CLIPVisionConfig, LlavaConfig, MistralConfig

    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=64,
        patch_size=16,
    )
    text = MistralConfig(
        vocab_size=len(pieces()),
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        sliding_window=None,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=len(pieces()) - 1,
        image_seq_length=16,
    )


def original_weights(seed: int = 0) -> dict[str, Any]:
    """Random bfloat16 weights under their original names, with the buffers that old files hold."""
    import torch
    from transformers import LlavaForConditionalGeneration

    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(small_config())
    weights = {}
    for name, value in model.state_dict().items():
        for ours, theirs in _ORIGINAL:
            name = re.sub(ours, theirs, name) if re.match(ours, name) else name
        weights[name] = (torch.randn(value.shape) * 0.1).to(torch.bfloat16)
    tower = "model.vision_tower.vision_tower.vision_model."
    weights[f"{tower}embeddings.position_ids"] = torch.arange(17)[None]
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(16)
    weights["model.image_newline"] = torch.ones(128)
    return weights


def write(folder: Path, weights: dict[str, Any], shards: int = 1) -> Path:
    """Write a checkpoint in the original layout, in one file or several with an index."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config = SMALL | {"vocab_size": len(pieces())}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    write_tokenizer(folder / "tokenizer.model", pieces())
    names = sorted(weights)
    index = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}" if shards > 1 else "model"
        file += ".safetensors"
        part = {name: weights[name] for name in names[i::shards]}
        index |= dict.fromkeys(part, file)
        save_file(part, folder / file, metadata={"format": "pt"})
    if shards > 1:
        whole = {"metadata": {"total_size": 0}, "weight_map": index}
        (folder / "model.safetensors.index.json").write_text(json.dumps(whole))
    return folder


def mistral_tokenizer() -> bytes | None:
    """Mistral's real 32k SentencePiece model, where the wheel that carries it is at hand.

    `make venv` lays the wheel into the virtual environment without installing it: installed without
    its dependencies it breaks transformers' processors, and with them it wants an older numpy.
    """
    inside = "mistral_common/data/tokenizer.model.v1"
    for wheel in sorted((Path(sys.prefix) / "wheels").glob("mistral_common-*.whl")):
        return ZipFile(wheel).read(inside)
    spec = find_spec("mistral_common")
    if spec and spec.submodule_search_locations:
        found = Path(spec.submodule_search_locations[0]).parent / inside
        return found.read_bytes() if found.is_file() else None
    return None
