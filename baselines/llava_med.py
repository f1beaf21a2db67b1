"""Convert LLaVA-Med's original checkpoint into transformers' LLaVA layout.

transformers does not know `llava_mistral`, and fills weights whose names it misses with random
numbers. Here every tensor is accounted for by name and shape before anything is written, and the
tokenizer is written so that a plain reload splits LLaVA-Med's prompt as LLaVA-Med does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines import llava_layout as layout
from mllmu_med.disk import readable, writing
from mllmu_med.errors import first_line
from mllmu_med.files import new_folder, write_atomic
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: What a stock CLIP holds besides its vision tower.
_TEXT_SIDE: Final = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
_ROWS: Final = 64
_SHARD: Final = 2_000_000_000
#: By transformers' names.
Weights = dict[str, "Tensor"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was converted; written beside the model as `conversion.json`.

    tensors, parameters: of the model, before it got rows for `<image>` and `<pad>`.
    vision: where the vision tower's weights are from.
    left: tensors of the checkpoint that were not used, by name.
    """

    source: str
    tensors: int
    parameters: int
    vocabulary: int
    vision: str
    dtype: str
    left: list[str]

    def __str__(self) -> str:
        return (
            f"{self.tensors} tensors, {self.parameters / 1e9:.3f} B parameters ({self.dtype}), "
            f"vision tower from {self.vision}, {len(self.left)} tensors left out"
        )


def convert(src: Path, dst: Path, vision: str | Path = "checkpoint") -> Conversion:
    """Write an original LLaVA-Med checkpoint as a folder that `eval.load_model.load_model` reads.

    Weights keep their type and go from file to file, 2 GB at a time in memory. The
    vocabulary gets `<image>` and `<pad>` and is filled up to a multiple of 64 (32,000 to 32,064);
    the new rows are the mean of the old (our choice; the image's features replace the first, and
    no answer holds the others).

    Args:
        src: `config.json`, weights and `tokenizer.model` of e.g. llava-med-v1.5-mistral-7b.
        dst: must not exist; appears when all is written.
        vision: `checkpoint` for the vision tower in the checkpoint, or the folder of a stock CLIP,
            whose tower the original program loads whatever the checkpoint holds.

    Raises:
        UserError: another model type, missing, unknown or misshapen tensors (named), no tokenizer,
            no room, `dst` exists.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    with new_folder(dst, "the converted model") as temporary:
        config = layout.read_config(src)
        weights, left, tower = _weights(src, vision)
        llava = layout.llava_config(config, tower, src)
        expected = layout.empty_llava(llava).state_dict()
        _check(expected, weights, src)
        kind = weights[layout.WORDS[1]].dtype
        report = Conversion(
            source=str(src),
            tensors=len(expected),
            parameters=sum(value.numel() for value in expected.values()),
            vocabulary=llava.text_config.vocab_size,
            vision=str(vision),
            dtype=str(kind).removeprefix("torch."),
            left=sorted(left),
        )
        processor = _processor(src, config, llava)
        rows = -(-len(processor.tokenizer) // _ROWS) * _ROWS
        weights = {name: value.to(kind) for name, value in weights.items()}
        weights |= {name: _grown(weights[name], rows) for name in layout.WORDS}
        llava.text_config.vocab_size = rows
        llava.text_config.pad_token_id = processor.tokenizer.pad_token_id
        model = layout.empty_llava(llava)
        model.load_state_dict(weights, assign=True)
        # As LLaVA models on the Hub have it, which old and new versions of transformers read.
        tower = f"{layout.TOWER}vision_model."
        weights = {name.replace(layout.TOWER, tower): value for name, value in weights.items()}
        size = sum(value.nbytes for value in weights.values())
        _check_room(temporary, size)
        say(f"writing {readable(size)}")
        with writing(dst, size):
            model.save_pretrained(temporary, state_dict=weights, max_shard_size=_SHARD)
            processor.save_pretrained(temporary)
        write_atomic(temporary / "conversion.json", json.dumps(asdict(report), indent=2) + "\n")
    return report


def _weights(src: Path, vision: str | Path) -> tuple[Weights, list[str], Any]:
    """The model's tensors, the names of those left out, and the vision tower's configuration."""
    originals = read_checkpoint(src)
    left = [name for name in originals if name.endswith(layout.LEFT)]
    weights = {layout.our_name(n): originals[n] for n in originals if n not in left}
    own = [name for name in weights if name.startswith(layout.TOWER)]
    if vision != "checkpoint":
        left += [layout.original_name(name) for name in own]
        stock, tower = _stock_tower(Path(vision).expanduser())
        return {n: weights[n] for n in weights if n not in own} | stock, left, tower
    if not own:
        raise UserError(f"{src}: holds no vision tower: name the folder of a stock CLIP instead")
    return weights, left, layout.vision_config_of(weights, src)


def _stock_tower(folder: Path) -> tuple[Weights, Any]:
    """The vision tower of a CLIP in transformers' layout, and its configuration."""
    from transformers import CLIPVisionConfig

    weights = read_checkpoint(folder)
    try:
        config = CLIPVisionConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: not a CLIP: {first_line(error)}") from error
    tower = {
        layout.TOWER + name.removeprefix("vision_model."): tensor
        for name, tensor in weights.items()
        if not name.startswith(_TEXT_SIDE) and not name.endswith(layout.LEFT)
    }
    return tower, config


def _check(expected: Weights, weights: Weights, src: Path) -> None:
    """Raise UserError unless the tensors are those of the model, by name and shape."""
    original = layout.original_name
    wrong = {
        "missing": [original(name) for name in expected if name not in weights],
        "unknown": [original(name) for name in weights if name not in expected],
        "of another shape": [
            f"{original(name)} is {[*weights[name].shape]}, not {[*value.shape]}"
            for name, value in expected.items()
            if name in weights and weights[name].shape != value.shape
        ],
    }
    said = [f"{len(names)} {what} (first: {names[0]})" for what, names in wrong.items() if names]
    if said:
        raise UserError(f"{src}: tensors {'; '.join(said)}: not a whole LLaVA-Med v1.5")


def _grown(value: Tensor, rows: int) -> Tensor:
    """With rows added up to a number, each the mean of those that were there."""
    import torch

    mean = value.float().mean(0, keepdim=True).to(value.dtype)
    return torch.cat([value, mean.expand(rows - value.shape[0], -1)])


def read_pieces(path: Path) -> list[str]:
    """The texts of a SentencePiece model's pieces by their ids; a UserError if it is none."""
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor()
    try:
        model.LoadFromSerializedProto(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except RuntimeError as error:
        raise UserError(f"{path}: not a SentencePiece model: fetch it again") from error
    return [model.id_to_piece(number) for number in range(model.get_piece_size())]


def _processor(src: Path, config: Mapping[str, Any], llava: Any) -> Any:
    from transformers import AddedToken, LlamaTokenizer
    from transformers.tokenization_utils_base import generate_merges

    pieces = read_pieces(src / "tokenizer.model")
    if len(pieces) != llava.text_config.vocab_size:
        raise UserError(
            f"{src / 'tokenizer.model'}: {len(pieces)} tokens, but the model has "
            f"{llava.text_config.vocab_size}: not this model's tokenizer"
        )
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    split = LlamaTokenizer(
        vocab=vocabulary, merges=generate_merges(vocabulary), legacy=True, add_bos_token=True
    )
    for token in ("<image>", "<pad>"):  # in this order: LLaVA-Med's 32000 is the image
        split.add_tokens([AddedToken(token, special=True, normalized=False)])
    # `legacy` and `add_bos_token` of a LlamaTokenizer are lost when it is saved; what they made of
    # the splitting itself is not.
    return layout.llava_processor(
        split.backend_tokenizer,
        llava.vision_config,
        llava.vision_feature_select_strategy,
        pad=config.get("image_aspect_ratio") == "pad",
        longest=config.get("tokenizer_model_max_length", 2048),
    )


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder.parent.parent}: the model needs {readable(needed)}, {readable(free)} are "
            "free: make room or name another folder"
        )


#: As transformers has it: safetensors before pickles, one file before shards.
_FORMS = ("model.safetensors", "pytorch_model.bin")


def read_checkpoint(folder: Path) -> dict[str, Tensor]:
    """Weights in one file or in shards, mapped into memory; a UserError if they are not whole."""
    tensors: dict[str, Tensor] = {}
    files, indexed = _files(folder)
    for file in files:
        shard = _read(file)
        if doubled := tensors.keys() & shard.keys():
            raise UserError(f"{file}: {min(doubled)} is in another file too: fetch the model again")
        tensors |= shard
    if indexed and (differ := sorted(indexed ^ tensors.keys())):
        raise UserError(
            f"{folder}: index and weight files disagree about {len(differ)} tensors (first: "
            f"{differ[0]}): fetch the model again"
        )
    return tensors


def _files(folder: Path) -> tuple[list[Path], set[str]]:
    """A folder's weight files, and the tensors that its index names (none without an index)."""
    for name in _FORMS:
        if (folder / name).is_file():
            return [folder / name], set()
        index = folder / f"{name}.index.json"
        if not index.is_file():
            continue
        try:
            file_of = json.loads(index.read_text("utf-8"))["weight_map"]
            files = [folder / file for file in sorted(set(file_of.values()))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{index}: not an index of weights: fetch it again") from error
        if lacking := [file for file in files if not file.is_file()]:
            raise UserError(f"{lacking[0]}: not there, but the index names it: fetch it")
        return files, set(file_of)
    raise UserError(f"{folder}: no weights here ({' or '.join(_FORMS)}, or their index.json)")


def _read(file: Path) -> dict[str, Tensor]:
    import pickle

    import torch
    from huggingface_hub import load_state_dict_from_file
    from safetensors import SafetensorError

    try:
        tensors = load_state_dict_from_file(file, "cpu", weights_only=True, mmap=True, safe=False)
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise UserError(f"{file}: cannot be read ({first_line(error)}): fetch it again") from error
    if not (isinstance(tensors, dict) and {*map(type, tensors.values())} <= {torch.Tensor}):
        raise UserError(f"{file}: holds other things than tensors by name")
    return dict(tensors)
