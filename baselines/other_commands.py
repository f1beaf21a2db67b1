"""The commands of baselines that train nothing: merge, recipe, method, convert-llava-med."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from baselines.command_options import told
from eval.command_options import Adapters, Device


def merge(
    out: Annotated[Path, told("merge.out")],
    run: Annotated[Path | None, told("merge.run", argument=True)] = None,
    model: Annotated[str | None, told("merge.model")] = None,
    adapter: Adapters = None,
    into_weights: Annotated[bool, told("merge.into_weights")] = False,
    dtype: Annotated[str, told("merge.dtype")] = "",
    device: Device = "",
) -> None:
    """Make one adapter of stacked ones, or merged weights, as vLLM and SGLang serve them.

    What is written is loaded again, and its logits are compared with the stack's.
    """
    from baselines.merge import merge as merged

    print(merged(run, model, adapter or [], out, into_weights, dtype, device))


def recipe(name: Annotated[str, told("recipe.name", argument=True)] = "demo") -> None:
    """Print a recipe with its comments, as a template for your own."""
    from mllmu_med.recipe_files import recipe_text

    print(recipe_text("baselines", name), end="")


def method(own: Annotated[str, told("method.own", argument=True)] = "") -> None:
    """Print a loss with its comments, as a template for your own; or check yours.

    What a loss is given, and what it has to give, stands in the template.
    """
    from baselines.own_methods import TEMPLATE, name_own, read_own, tried

    if not own:
        print(TEMPLATE, end="")
        return
    name, text = name_own(own)
    checked = tried(read_own(text), read_own(text).options)
    settings = ", ".join(f"{key}={value}" for key, value in checked.options.items())
    print(f"{name}: trains on {', '.join(checked.parts)}")
    print(f"settings: {settings or 'none'}")
    print(f"the fine-tuned model is asked about: {', '.join(checked.reference) or 'nothing'}")


def convert_llava_med(
    source: Annotated[Path, told("convert_llava_med.source", argument=True)],
    target: Annotated[Path, told("convert_llava_med.target", argument=True)],
) -> None:
    """Convert LLaVA-Med v1.5's original checkpoint to transformers' LLaVA format."""
    from baselines.llava_med import convert

    print(convert(source, target))
