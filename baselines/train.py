"""A training run: from a model and rows to an adapter in a run folder; the loop is beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines.adapters import Start, card, check_stack, named, put_on
from baselines.editing import edit
from baselines.lora_places import lora_places
from baselines.methods import METHODS, Method
from baselines.schedule import check_rows
from baselines.schedule import samples as samples_of
from baselines.training_loop import Loop, OnStep
from baselines.training_settings import TrainSettings
from baselines.training_state import Outcome, RunFolder, from_elsewhere, run_identity
from eval.dataset_rows import ImageStore
from eval.model import Model
from eval.spread import tell
from mllmu_med.files import digest
from mllmu_med.folders import make_folder
from mllmu_med.progress import say
from mllmu_med_dataset import Record, UsageError, UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

#: How long processes wait for each other: the main one alone writes and reports.
_PATIENCE: Final = timedelta(hours=12)


def train(
    model: Model,
    method: str,
    forget: Sequence[Record],
    retain: Sequence[Record],
    images: ImageStore,
    settings: TrainSettings,
    out: Path,
    data: dict[str, Any] | None = None,
    measured: Path | None = None,
    on_step: OnStep | None = None,
    own: Method | None = None,
    start: Start | None = None,
) -> Outcome:
    """Train a new adapter on top of a model, into a run folder.

    The model is changed in place: at the end it answers with the trained adapter on
    (`adapters.take_off` takes it off again). What it was given as is the reference model. A run
    that has ended is not run again; one that was killed goes on from its checkpoint.

    Args:
        model: from `load_model`, with the adapters that this one goes on top of; in a run of
            several processes, loaded to `process_device()`.
        method: of `METHODS`, or the name of one's own, given as `own`.
        forget, retain: the rows; a set that the method does not use is left alone.
        images: looked up by `image_id`.
        data: what the rows are of (folder, config, build), for the record and the model card.
        measured: the run of the fine-tuned model, if it is one from elsewhere.
        start: the adapter of the last round, with which this one goes on.

    Raises:
        UserError: an empty set, float16, another run's folder, an adapter of another base, no
            memory for a pass.
        UsageError: an unknown method, or setting of it.
    """
    if not own and method not in METHODS:
        raise UsageError(f"method {method}: use {', '.join(METHODS)}")
    check_trainable(str(model.identity.get("dtype")))
    check_stack(model, start)
    model.expect(row.question + row.answer for row in [*forget, *retain])
    chosen = own or METHODS[method]
    if unknown := {*(settings.model_extra or {})} - {*chosen.options}:
        raise UsageError(f"{method} has no setting {', '.join(sorted(unknown))}")
    check_rows({method: chosen}, forget)
    if start:
        check_goes_on({method: chosen})
    used = samples_of(forget) if chosen.forget else [], samples_of(retain) if chosen.retain else []
    hashes = {row.id: row.image_sha256 for row in [*forget, *retain]}
    idle = {"clean", "patient"} - {*chosen.parts} - ({"patient"} if chosen.edits else set())
    told = [
        [[{k: v for k, v in asdict(s).items() if k not in idle}, hashes[s.id]] for s in part]
        for part in used
    ]
    rows = digest(told)[:12]
    identity = run_identity(method, dict(settings.identity()), model.identity, rows)
    identity |= {"loss": dict(chosen.source)} if chosen.source else {}
    goes_on = start.identity(bool(chosen.reference)) if start else {}
    identity |= {"start": goes_on} if start else {}
    run = digest(identity)[:12]
    places = lora_places(model.base, settings.projector, str(model.identity.get("model")))
    lora = {"on": places.taken, "left_out": places.left_out}
    accelerator = _accelerator(model)
    folder = RunFolder(out)
    about = {
        "run": run,
        "method": method,
        "settings": settings.model_dump(mode="json"),
        "data": {**(data or {}), "forget": len(used[0]), "retain": len(used[1]), "rows": rows},
        "model": model.identity,
        "identity": identity,
        "processes": accelerator.num_processes,
        "packing": settings.packing if model.sharing.packing else "none",
        "sharing": model.sharing.why,
        **({} if chosen.edits else {"lora": lora}),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        **({"start": {"path": str(start.adapter), **goes_on}} if start else {}),
        **from_elsewhere(measured),
        "outcome": None,
    }
    ended: Outcome | None = None
    if accelerator.is_main_process:
        make_folder(out, "a training run")
        ended = folder.begin(about)
    ended = tell(ended)
    if ended:
        if accelerator.is_main_process:
            say(f"  {method}: {ended.status} already, after {ended.steps:,} steps ({out})")
        put_on(model, folder.adapter)
        return ended
    dataset = ", ".join(f"{name} {value}" for name, value in about["data"].items())
    more = {"Fine-tuned": "elsewhere, data and settings not known"} if measured else {}
    more |= {"Goes on from": f"{start.adapter} (weights {goes_on['weights']})"} if start else {}

    def text(on: str) -> str:
        return card(model, method, {"Data": dataset, "Run": run, "LoRA on": on, **more})

    if chosen.edits:
        rows_of = {name: used[name == "retain"] for name in chosen.parts}
        return edit(model, method, chosen, rows_of, images, settings, folder, text, accelerator)
    if accelerator.is_main_process:
        model.say_once(f"  LoRA on {places}")
        model.say_once(f"  rows of one image: {model.sharing.why}")
    who = run, text(str(places))
    loop = Loop(model, chosen, method, *used, settings, folder, *who, accelerator, start)
    outcome = loop.run_all(images, on_step)
    named(model, folder.adapter)
    return outcome


def check_goes_on(methods: Mapping[str, Method]) -> None:
    """Raise UsageError where a method cannot go on with an adapter of the last round."""
    for name, method in methods.items():
        if method.edits:
            raise UsageError(
                f"{name}: takes no training steps, so it cannot go on from a round to the next: "
                "take methods that train"
            )


def check_trainable(dtype: str) -> None:
    """Raise UserError for weights whose gradients would get lost."""
    if dtype == "float16":
        raise UserError(
            "--dtype float16: gradients underflow in it and there is no loss scaling here: train "
            "in bfloat16 or float32"
        )


def process_device() -> str:
    """Where a process of `accelerate launch` (on CPUs: `torchrun`) should load its model to.

    E.g. `cuda:1`. To be called before anything else of accelerate: it connects the processes.
    """
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
    return "cpu" if state.device.type == "cpu" else str(state.device)


def _accelerator(model: Model) -> Accelerator:
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    accelerator = Accelerator(
        cpu=model.device.type == "cpu",
        mixed_precision="no",  # see forward.AnswerLogits
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    kind = accelerator.distributed_type.value
    if kind not in ("NO", "MULTI_GPU", "MULTI_CPU", "MULTI_XPU", "MULTI_NPU"):
        raise UserError(
            f"accelerate is set up for {kind}, which cuts a model's weights up: only adapters are "
            "trained here, so give each process the model whole (--multi_gpu)"
        )
    return accelerator
