"""Stacked adapters as one adapter, or merged into the model's weights: what a server can load.

An unlearned model is a base model with two adapters or more; vLLM and SGLang put one on a model.

- One adapter: the adapters' matrices side by side, their scaling multiplied in. It is exact:
  B1 A1 + B2 A2 = [B1 B2] [A1; A2].
- Merged weights: a checkpoint without adapters. Before they are rounded to 16 bits they are the
  same model; rounding can undo part of what unlearning has changed, so that is measured.

Either is written, loaded again from the disk and compared with the stack in float32: its logits at
the tokens that the stack itself answers, to a drawn picture and without one. One model is in memory
at a time.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines.adapters import Adapter, check_stack, not_plain, page
from baselines.training_settings import WORDS
from baselines.training_state import ended
from eval.load_model import load_model
from eval.weights import active, is_hub_id, next_name
from mllmu_med.disk import writing
from mllmu_med.errors import first_line
from mllmu_med.files import write_atomic
from mllmu_med.folders import new_folder
from mllmu_med.progress import say
from mllmu_med_dataset import UsageError, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from eval.model import Model

#: Asked to see whether two models are one, each with the drawn picture and without.
QUESTIONS: Final = ("What is shown in this image?", "Whose image is this, and of which day?")
_TOKENS: Final = 24
#: A question, the stack's own answer to it, and whether it has the drawn picture.
Probe = tuple[str, str, bool]
#: Logits of one function in float32, summed in another order, are nearer than this share of the
#: largest.
EQUAL: Final = 1e-4
#: Where rounding changes so much of what the last adapter changes, that is said: our choice.
ROUNDED: Final = 0.5
#: Of a checkpoint, besides its weights.
_BESIDE: Final = (".json", ".jinja", ".model", ".txt")


@dataclass(frozen=True, slots=True)
class Distance:
    """How far what was merged is from the stack, over the answers' tokens."""

    largest: float  # difference of a logit
    change: float  # the largest that the last adapter makes
    scale: float  # the largest logit
    same: int  # tokens whose most likely next one is the same
    tokens: int

    def __str__(self) -> str:
        return (
            f"its logits differ from the stack's by at most {self.largest:.1e} (the last adapter "
            f"changes them by up to {self.change:.1e}), and the most likely token is the same at "
            f"{self.same} of {self.tokens} places"
        )


def merge(
    run: Path | None,
    name: str | None,
    adapters: Sequence[Path],
    out: Path,
    into_weights: bool = False,
    dtype: str = "",
    device: str = "",
) -> str:
    """Write a stack as one adapter, or as merged weights, into a new folder; says how near it is.

    Args:
        run: a run folder of a model that was trained here; else `name` with `adapters`.
        dtype: of merged weights; default bfloat16.

    Raises:
        UsageError: not one stack is named, or a type that is none.
        UserError: adapters that cannot be merged so, or what was merged is another model.
    """
    import torch

    if bool(run) == bool(name) or (run and adapters):
        raise UsageError("give either RUN, or --model with each --adapter in its order")
    if dtype and not into_weights:
        raise UsageError("--dtype: is that of merged weights: add --into-weights")
    if dtype not in ("", "bfloat16", "float16", "float32"):
        raise UsageError(f"--dtype {dtype}: use bfloat16, float16 or float32")
    if run:
        record, adapters = ended(run)
        name = record["model"]["model"]
    if not adapters:
        raise UsageError("nothing to merge: no --adapter is given")
    kind = (dtype or "bfloat16") if into_weights else ""
    with new_folder(out, "what is merged") as new:
        try:
            return f"{out}: {_merge(str(name), adapters, new, out, kind, device)}"
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"{name}: does not fit into the accelerator's memory in float32: use --device cpu"
            ) from error


def _merge(
    name: str, adapters: Sequence[Path], new: Path, out: Path, kind: str, device: str
) -> str:
    """Write what will stand at `out` into `new`; `kind`: of merged weights, else one adapter."""
    stack = load_model(name, adapters, device, "float32")
    check_stack(stack)
    if not kind:
        _check_alike(stack, adapters)
    probes = _probes(stack)
    names, whole = active(stack.model), _logits(stack, probes)
    with Adapter(stack.model, names[-1], names[:-1]).reference():
        without = _logits(stack, probes)
    counts = ", ".join(str(len(_places(stack.model, one))) for one in names)
    places: list[str] = []
    if kind:
        what = f"merged weights in {kind}, of adapters on {counts} modules"
        try:
            stack.model = stack.model.merge_and_unload(safe_merge=True)
        except (ValueError, AttributeError, NotImplementedError) as error:
            raise UserError(f"{out}: cannot be merged into weights: {first_line(error)}") from error
        _check_equal(_distance(whole, without, _logits(stack, probes)), out, "one adapter")
        _write_weights(stack, new, kind, out)
    else:
        one = _side_by_side(stack)
        places, rank = _places(one.net, one.name), one.net.peft_config[one.name].r
        what = f"one adapter of rank {rank} on {len(places)} modules (adapters: {counts})"
        one.write(new, "", out)
        del one
    of_stack = replace(stack, model=None)
    del stack
    gc.collect()
    say("  written; loaded again, to be compared with the stack ...")
    merged = load_model(str(new) if kind else name, [] if kind else [new], device, "float32")
    found = _distance(whole, without, _logits(merged, probes))
    if not kind:
        if _places(merged.model, active(merged.model)[0]) != places:
            raise UserError(f"{out}: loaded again, not all {len(places)} modules are there")
        _check_equal(found, out, "--into-weights")
    said = f"{what}; loaded again, {found}"
    if found.largest > max(EQUAL * found.scale, ROUNDED * found.change):
        said += (
            f". Rounding to {kind} outweighs the last adapter here: ask for the forgotten values "
            "(`python -m eval leak`), or merge with --dtype float32"
        )
    title, text = ("Merged weights", "merged") if kind else ("Stacked adapters as one", "stacked")
    facts, library = [f"This folder: {said}"], "transformers" if kind else "peft"
    card = page(of_stack, title, facts, WORDS[text].format(len(names)), library)
    write_atomic(new / "README.md", card)
    return said


def _check_alike(stack: Model, adapters: Sequence[Path]) -> None:
    if len(adapters) == 1:
        raise UserError(
            f"{adapters[0]}: is one adapter already, which a server takes as it is; for a model "
            "without adapters: --into-weights"
        )
    for path, name in zip(adapters, active(stack.model), strict=True):
        if why := not_plain(stack.model.peft_config[name]):
            raise UserError(
                f"{path}: {why}, which one adapter cannot hold for all: use --into-weights"
            )


def _places(net: Any, name: str) -> list[str]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [
        place
        for place, module in net.base_model.model.named_modules()
        if isinstance(module, BaseTunerLayer)
        and any(name in getattr(module, part) for part in module.adapter_layer_names)
    ]


def _side_by_side(stack: Model) -> Adapter:
    """A new adapter that is all those on a model together; the stack stays on it."""
    net = stack.model
    names, above = active(net), next_name(net)
    for name in names:  # regular expressions and lists of names do not mix
        net.peft_config[name].target_modules = {*_places(net, name)}
    # The new one is made like the first, but its scaling is 1: that of each is in its matrices.
    net.peft_config[names[0]] = replace(
        net.peft_config[names[0]],
        base_model_name_or_path=str(stack.identity.get("model")),
        use_rslora=False,
        exclude_modules=None,
        layers_to_transform=None,
        layers_pattern=None,
        init_lora_weights=True,
        lora_dropout=0.0,
    )
    net.add_weighted_adapter(names, [1.0] * len(names), above, combination_type="cat")
    return Adapter(net, above, [])


def _write_weights(stack: Model, new: Path, kind: str, out: Path) -> None:
    import torch

    net = stack.model.to(getattr(torch, kind))
    name = str(stack.identity["model"])
    source = Path(name).expanduser()
    if is_hub_id(name):
        from huggingface_hub import snapshot_download

        wanted = [f"*{suffix}" for suffix in _BESIDE]
        commit = stack.identity["weights"]
        source = Path(snapshot_download(name, revision=commit, allow_patterns=wanted))
    with writing(out, sum(weight.nbytes for weight in net.state_dict().values())):
        # Processor and chat template as they are: what reads them may be another library.
        for path in sorted(source.iterdir()):
            if path.suffix in _BESIDE and not path.name.endswith(".index.json"):
                shutil.copyfile(path, new / path.name)
        net.save_pretrained(new)


def _probes(stack: Model) -> list[Probe]:
    import torch

    from eval.sharing import made_ask

    probes = []
    for image in (True, False):
        for question in QUESTIONS:
            ask = made_ask("", question, image)
            with torch.inference_mode(), stack.precision():
                (answer,) = stack.answer_plainly([ask], _Pictures(), _TOKENS)
            probes.append((question, answer.text, image))
    return probes


class _Pictures:
    """One drawn picture: the same on every machine."""

    def __getitem__(self, image_id: str, /) -> Any:
        from PIL import Image

        return Image.radial_gradient("L").resize((336, 336)).convert("RGB")


def _logits(model: Model, probes: Sequence[Probe]) -> list[Tensor]:
    """Of each probe, [its answer's tokens, vocabulary], in float32 on the CPU."""
    import torch

    found = []
    with torch.inference_mode(), model.precision():
        for probe in probes:
            read, spots = model.read_answered([probe], [_Pictures()[""]] if probe[2] else [])
            columns = [spot.column for spot in spots]
            found.append(model.plain_logits(read, [0] * len(spots), columns).float().cpu())
    return found


def _distance(
    stack: Sequence[Tensor], without: Sequence[Tensor], merged: Sequence[Tensor]
) -> Distance:
    def largest(others: Sequence[Tensor]) -> float:
        return max(float((a - b).abs().max()) for a, b in zip(stack, others, strict=True))

    same = [a.argmax(-1) == b.argmax(-1) for a, b in zip(stack, merged, strict=True)]
    agree, tokens = sum(int(of.sum()) for of in same), sum(map(len, same))
    scale = max(float(of.abs().max()) for of in stack)
    return Distance(largest(merged), largest(without), scale, agree, tokens)


def _check_equal(found: Distance, out: Path, instead: str) -> None:
    """Raise UserError where what was merged, in float32, is no sum in another order."""
    if not found.largest <= EQUAL * found.scale:  # nor where it is no number
        raise UserError(
            f"{out}: is not the stack: {found}; more than {EQUAL * found.scale:.1e} is another "
            f"model, so nothing is kept: try {instead}"
        )
