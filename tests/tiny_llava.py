"""The tiny LLaVA of the demo with its random weights: it talks, at random."""

from collections.abc import Iterable
from pathlib import Path

from baselines.tiny import TinySettings, make_tiny

_MISTRAL_ONLY = ("model_type", "architectures", "sliding_window", "transformers_version")


def make(folder: Path, texts: Iterable[str], *, text_model: str = "mistral", seed: int = 0) -> Path:
    """Write one over Mistral, or over `llama`, into a new folder."""
    make_tiny(folder, texts, TinySettings(seed=seed, vocabulary=400))
    if text_model == "llama":
        import torch
        from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

        config = LlavaConfig.from_pretrained(folder)
        mistral = config.text_config.to_dict()
        config.text_config = LlamaConfig(
            **{key: value for key, value in mistral.items() if key not in _MISTRAL_ONLY}
        )
        torch.manual_seed(seed)
        LlavaForConditionalGeneration(config).save_pretrained(folder)
    return folder


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
