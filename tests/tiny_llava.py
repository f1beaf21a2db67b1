"""The tiny LLaVA of the demo with its random weights: it talks, at random."""

from collections.abc import Iterable
from pathlib import Path

from baselines.tiny import TinySettings, make_tiny


def make(folder: Path, texts: Iterable[str], *, seed: int = 0) -> Path:
    """Write one into a new folder."""
    return make_tiny(folder, texts, TinySettings(seed=seed, vocabulary=400))


def lora(model: Path, folder: Path, seed: int) -> Path:
    """An adapter with random weights on the language model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(seed)
    base = AutoModelForImageTextToText.from_pretrained(model)
    targets = r".*language_model\.layers\.\d+\.self_attn\.(q|v)_proj"
    wrapped = get_peft_model(base, LoraConfig(r=8, target_modules=targets))
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    wrapped.save_pretrained(folder)
    return folder
