"""Loading an image-text model of a folder or the Hub, with LoRA adapters on top."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from eval.adapter_files import misplaced
from eval.chat_format import chat_format
from eval.checkpoint_faults import check_processor, check_weights, not_loaded, outside_decoder
from eval.load_processor import load_processor
from eval.model import Model
from eval.weights import (
    adapter_hash,
    check_named,
    hub_commit,
    pick_device,
    weights_hash,
    with_adapter,
)
from mllmu_med.progress import say
from mllmu_med_dataset import UsageError

DTYPES: Final = ("float32", "bfloat16", "float16", "nf4")
#: What decides an answer besides model and prompt: a checkpoint's own settings do not.
GREEDY: Final = "greedy, no penalties"
#: Weights below which a model gets one thread of a CPU.
SMALL: Final = 20_000_000


def load_model(
    name: str,
    adapters: Sequence[str | Path] = (),
    device: str = "",
    dtype: str = "",
    revision: str | None = None,
    share: bool = True,
) -> Model:
    """Load a model from a folder or the Hub, with LoRA adapters on top, all active together.

    Args:
        name: a local folder in transformers' layout, or a Hub id.
        adapters: PEFT adapters, in the order in which they were trained.
        device: e.g. `cuda`, `cpu`; default: an accelerator where there is one.
        dtype: e.g. `bfloat16`; default: bfloat16 on an accelerator, float32 on a CPU. `nf4`: the
            language model's weights in 4 bits (bitsandbytes), computed with in bfloat16.
        revision: of a Hub id, the commit; default: the one that it stands for now.
        share: let rows of one image share what is read of it, where that is right.

    Raises:
        UserError: nothing there, no image-text model, an adapter of another model.
        UsageError: no such device here, or an unknown dtype.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    where = pick_device(device)
    kind = pick_dtype(dtype, where)
    folder = Path(name).expanduser()
    check_named(name)
    source = str(folder) if folder.is_dir() else name
    if not folder.is_dir():  # so that weights and processor are of one commit
        revision = revision or hub_commit(name, fetch=True)
    stacked = [{"path": str(adapter), "weights": adapter_hash(adapter)} for adapter in adapters]
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            source,
            revision=revision,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # which are told below
            **_precision(kind, where, source, revision),
        )
        processor = load_processor(source, revision, name)
    except (OSError, ValueError, SafetensorError) as error:
        raise not_loaded(name, error) from error
    check_weights(name, report["missing_keys"], report["mismatched_keys"])
    check_processor(processor, model.config, name)
    set_arithmetic(model)
    for adapter in adapters:
        model = with_adapter(model, adapter, processor)
    model = model.eval()
    if kind != "nf4":  # which is put in its place as it is loaded
        model = model.to(where)
    if where == "cpu" and model.num_parameters() < SMALL:
        # Its operations are too small to be shared: a second thread mostly waits, and where others
        # use the cores it waits long. One thread also gives the same sums on every machine.
        torch.set_num_threads(1)
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    spoken = chat_format(processor, name)
    commit = getattr(model.config, "_commit_hash", None)
    loaded = Model(model, processor, {}, spoken, share)
    decode_greedily(loaded)
    loaded.identity.update(
        {
            "model": name,
            "weights": weights_hash(folder) if folder.is_dir() else commit or name,
            "adapters": stacked,
            "prompt": loaded.prompt("{question}"),
            "format": spoken.to_json(),
            "decoding": GREEDY,
            "dtype": kind,
            "device": where,
            "attention": model.config.get_text_config()._attn_implementation,
            "versions": {p: version(p) for p in ("torch", "transformers")},
        }
    )
    return loaded


def load_given(
    name: str, adapters: Sequence[Path] | None, device: str, dtype: str, no_share: bool
) -> Model:
    """`load_model` of a command's options; what an adapter lacks below it is told."""
    loaded = load_model(name, adapters or (), device, dtype, share=not no_share)
    if why := misplaced(loaded.identity):
        say(f"warning: {why}")
    return loaded


def set_arithmetic(net: Any) -> None:
    """What a model without adapters computes with, a benchmark's own one, too."""
    import torch

    from eval.output_layer import widen_output

    # cuDNN's attention plans each new length anew, milliseconds a layer: half of a step, and at
    # every token of an answer.
    torch.backends.cuda.enable_cudnn_sdp(False)
    widen_output(net)


def decode_greedily(loaded: Model) -> None:
    """Leave nothing of the checkpoint's generation_config but the tokens that end an answer."""
    from transformers import GenerationConfig

    tokenizer = loaded.processor.tokenizer
    loaded.base.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=sorted(loaded.end_tokens()),
    )


def pick_dtype(name: str, where: str) -> str:
    """The named type of weights; without a name bfloat16, on a CPU float32."""
    kind = name or ("float32" if where == "cpu" else "bfloat16")
    if kind not in DTYPES:
        raise UsageError(f"--dtype {kind}: use {', '.join(DTYPES)}")
    if kind == "nf4" and not find_spec("bitsandbytes"):
        raise UsageError("--dtype nf4: needs bitsandbytes: pip install bitsandbytes")
    return kind


def _precision(kind: str, where: str, source: str, revision: str | None) -> dict[str, Any]:
    """What `from_pretrained` is told of the type of the weights."""
    import torch

    if kind != "nf4":
        return {"dtype": getattr(torch, kind)}
    from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

    with torch.device("meta"):
        plan = AutoModelForImageTextToText.from_config(
            AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
        )
    quantized = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        # Images and the choice of a token keep their precision.
        llm_int8_skip_modules=outside_decoder(plan),
    )
    return {"dtype": torch.bfloat16, "quantization_config": quantized, "device_map": {"": where}}
