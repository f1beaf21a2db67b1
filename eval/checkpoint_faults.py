"""What is wrong with a model from elsewhere, in one line; what can be mended is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eval.weights import is_hub_id
from mllmu_med.errors import first_line
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    import torch

#: Model types of the original LLaVA program, which transformers does not read.
_ORIGINAL: Final = ("llava_mistral", "llava_llama")
#: Rows of Mistral's and Llama's own vocabulary: LLaVA-Med's `<image>` comes after them.
_PLAIN: Final = 32_000


def not_loaded(name: str, error: Exception) -> UserError:
    """Of a model that transformers cannot read, and what to do where that is known."""
    said = first_line(error)
    if kind := next((kind for kind in _ORIGINAL if f"`{kind}`" in said), None):
        fetch, where = f"`hf download {name} --local-dir SRC`, then ", "SRC"
        if not is_hub_id(name):
            fetch, where = "", name
        convert = f"`python -m baselines convert-llava-med {where} NEW`"
        todo = f"convert it first ({fetch}{convert}) and give NEW as --model"
        if kind != "llava_mistral":
            todo = "use the same model in transformers' layout (on the Hub: llava-hf/...)"
        return UserError(f"{name}: in the layout of the original LLaVA program ({kind}): {todo}")
    if "custom code" in said or "`internvl_chat`" in said:
        return UserError(
            f"{name}: comes with code of its own, which is not run: use the same model in "
            "transformers' layout (on the Hub often the one whose name ends in -hf)"
        )
    folder = Path(name).expanduser()
    if (folder / "adapter_config.json").is_file():
        return UserError(f"{name}: is an adapter: give it as --adapter, and its model as --model")
    if any(folder.glob("*.gguf")):
        return UserError(f"{name}: holds GGUF: serve it (llama.cpp, Ollama) and give --server")
    return UserError(f"{name}: cannot be loaded as an image-text model: {said}")


def check_weights(name: str, missing: Iterable[str], mismatched: Iterable[Any]) -> None:
    """Raise UserError where a checkpoint lacks weights: the library would make up random ones.

    Args:
        mismatched: (name, shape in the checkpoint, shape in the model) of each.
    """
    lacking = sorted(missing)
    other = [(key, f"{list(there)}, not {list(here)}") for key, there, here in sorted(mismatched)]
    if lacking or other:
        first = lacking[0] if lacking else " is ".join(other[0])
        also = f"; {' is '.join(other[0])}" if lacking and other else ""
        raise UserError(
            f"{name}: {len(lacking) + len(other)} weights are missing or of another shape (first: "
            f"{first}{also}): the checkpoint is damaged or of another layout"
        )


def check_processor(processor: Any, config: Any, name: str) -> None:
    """Mend what a processor does not say and the model's configuration does; else a UserError.

    A processor made before transformers 4.46 says nothing of patches; then prompts and pictures
    would not match. Without a chat template only LLaVA-Med's prompt is known, that of its converted
    layout.
    """
    vision = getattr(config, "vision_config", None)
    strategy = getattr(config, "vision_feature_select_strategy", None)
    wanted = {
        "patch_size": getattr(vision, "patch_size", None),
        "vision_feature_select_strategy": strategy,
    }
    mended = []
    for key, value in wanted.items():
        if hasattr(processor, key) and getattr(processor, key) is None:
            if value is None:
                raise UserError(
                    f"{name}: its processor has no {key}, and its config.json does not tell it: "
                    f"add {key} to processor_config.json"
                )
            setattr(processor, key, value)
            mended.append(f"{key} {value}")
    clip = getattr(vision, "model_type", "").startswith("clip")
    if clip and getattr(processor, "num_additional_image_tokens", None) == 0:
        processor.num_additional_image_tokens = 1  # CLIP's CLS
        mended.append("num_additional_image_tokens 1")
    if mended:
        say(f"{name}: its processor does not say it, config.json does: {', '.join(mended)}")
    if getattr(processor, "chat_template", None) or is_llava_med(config):
        return
    raise UserError(
        f"{name}: its processor has no chat template, so that nobody knows the prompt that it was "
        "trained with: add chat_template.jinja to its folder (of the model that it was made from, "
        "or its tokenizer's where that shows the image)"
    )


def is_llava_med(config: Any) -> bool:
    """Whether a model is in the layout of a converted LLaVA-Med: LLaVA over Mistral, with tokens
    for the image after Mistral's own."""
    return bool(
        config.model_type == "llava"
        and config.text_config.model_type == "mistral"
        and config.text_config.vocab_size >= _PLAIN
        and config.image_token_index >= _PLAIN
    )


def outside_decoder(model: torch.nn.Module) -> list[str]:
    """Names of the parts of a model that hold linear layers and no part of its language model.

    What keeps its precision in four bits; each name stands for all layers under it.

    Raises:
        UserError: the language model cannot be told from the rest.
    """
    import torch

    def linear(part: torch.nn.Module) -> bool:
        return any(isinstance(one, torch.nn.Linear) for one in part.modules())

    decoder = model.get_decoder()  # type: ignore[operator]
    path = next(name for name, part in model.named_modules() if part is decoder)
    if not path:
        raise UserError("--dtype nf4: this model's language model is no part of its own")
    found, steps = [], path.split(".")
    for depth, step in enumerate(steps):
        parent = ".".join(steps[:depth])
        for child, part in model.get_submodule(parent).named_children():
            if child != step and linear(part):
                found.append(f"{parent}.{child}".lstrip("."))
    return found
