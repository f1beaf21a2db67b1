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
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
Shapes = Mapping[str, tuple[int, ...]]


class Source(NamedTuple):
    """A tensor of the original checkpoint (or of a stock CLIP), and its name there."""

    name: str
    tensor: Tensor


#: By a tensor's name in transformers.
Sources = dict[str, Source]


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
    from huggingface_hub import save_torch_state_dict

    with new_folder(dst, "the converted model") as temporary:
        config = layout.read_config(src)
        sources, left, tower = _sources(src, vision)
        llava = layout.llava_config(config, tower, src)
        expected = layout.shapes_of(llava)
        _check(expected, sources, src)
        kind = sources[layout.WORDS[1]].tensor.dtype
        report = Conversion(
            source=str(src),
            tensors=len(expected),
            parameters=sum(map(prod, expected.values())),
            vocabulary=llava.text_config.vocab_size,
            vision=str(vision),
            dtype=str(kind).removeprefix("torch."),
            left=sorted(left),
        )
        processor = _processor(src, config, llava)

        rows = -(-len(processor.tokenizer) // _ROWS) * _ROWS
        weights = {}
        for name in expected:
            value = sources[name].tensor.to(kind)
            weights[layout.name_on_disk(name)] = (
                _grown(value, rows) if name in layout.WORDS else value
            )
        size = sum(value.nbytes for value in weights.values())
        _check_room(temporary, size)
        say(f"writing {readable(size)}")
        with writing(dst, size):
            save_torch_state_dict(weights, temporary, max_shard_size=_SHARD)
            _write_config(temporary, llava, processor, rows, report.dtype)
            processor.save_pretrained(temporary)
        write_atomic(temporary / "conversion.json", json.dumps(asdict(report), indent=2) + "\n")
    return report


def _sources(src: Path, vision: str | Path) -> tuple[Sources, list[str], Any]:
    """Where each tensor comes from, which are left out, and the vision tower's configuration."""
    weights = read_checkpoint(src)
    originals, left = layout.sort_names(weights)
    sources = {ours: Source(name, weights[name]) for ours, name in originals.items()}
    own = [name for name in sources if name.startswith(layout.TOWER)]
    if vision != "checkpoint":
        left += [sources.pop(name).name for name in own]
        stock, tower = _stock_tower(Path(vision).expanduser())
        return sources | stock, left, tower
    if not own:
        raise UserError(f"{src}: holds no vision tower: name the folder of a stock CLIP instead")
    shapes = {name: tuple(sources[name].tensor.shape) for name in own}
    return sources, left, layout.vision_config_of(shapes, src)


def _stock_tower(folder: Path) -> tuple[Sources, Any]:
    """The vision tower of a CLIP in transformers' layout, and its configuration."""
    from transformers import CLIPVisionConfig

    weights = read_checkpoint(folder)
    try:
        config = CLIPVisionConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: not a CLIP: {first_line(error)}") from error
    sources = {
        layout.TOWER + name.removeprefix("vision_model."): Source(name, tensor)
        for name, tensor in weights.items()
        if not name.startswith(_TEXT_SIDE) and not name.endswith(layout.LEFT)
    }
    return sources, config


def _check(expected: Shapes, sources: Sources, src: Path) -> None:
    misshapen = [
        f"{original} is {list(tensor.shape)}, not {list(expected[name])}"
        for name, (original, tensor) in sources.items()
        if name in expected and tuple(tensor.shape) != expected[name]
    ]
    wrong = [
        (f"{len(names)} {what} (first: {names[0]})")
        for what, names in (
            ("missing", [layout.original_name(n) for n in expected if n not in sources]),
            ("unknown", [sources[n].name for n in sources if n not in expected]),
            ("of another shape", misshapen),
        )
        if names
    ]
    if wrong:
        raise UserError(f"{src}: tensors {'; '.join(wrong)}: not a whole LLaVA-Med v1.5")


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


def _write_config(folder: Path, llava: Any, processor: Any, rows: int, dtype: str) -> None:
    from transformers import GenerationConfig

    tokenizer = processor.tokenizer
    llava.text_config.vocab_size = rows
    llava.text_config.pad_token_id = tokenizer.pad_token_id
    llava.architectures = ["LlavaForConditionalGeneration"]
    llava.dtype = dtype
    llava.save_pretrained(folder)
    GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    ).save_pretrained(folder)


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
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise UserError(f"{file}: cannot be read ({first_line(error)}): fetch it again") from error
    named = isinstance(tensors, dict) and all(isinstance(v, torch.Tensor) for v in tensors.values())
    if not named:
        raise UserError(f"{file}: holds other things than tensors by name")
    return dict(tensors)
