"""Convert LLaVA-Med's original checkpoint into transformers' LLaVA layout.

transformers does not know `llava_mistral`, and fills weights whose names it misses with random
numbers. Here every tensor is accounted for by name and shape before anything is written, and the
tokenizer is written so that a plain reload splits LLaVA-Med's prompt as LLaVA-Med does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines import llava_layout as layout
from mllmu_med.disk import readable, writing
from mllmu_med.errors import first_line
from mllmu_med.files import parse_json
from mllmu_med.folders import new_folder
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from torch import Tensor

_ROWS: Final = 64
_SHARD: Final = 2_000_000_000
#: By transformers' names.
Weights = dict[str, "Tensor"]


def convert(src: Path, dst: Path) -> str:
    """Write an original LLaVA-Med checkpoint as a folder that `eval.load_model.load_model` reads.

    Weights keep their type and go from file to file, 2 GB at a time in memory. The
    vocabulary gets `<image>` and `<pad>` and is filled up to a multiple of 64 (32,000 to 32,064);
    the new rows are the mean of the old (our choice; the image's features replace the first, and
    no answer holds the others).

    Args:
        src: `config.json`, weights and `tokenizer.model` of e.g. llava-med-v1.5-mistral-7b.
        dst: must not exist; appears when all is written.

    Returns:
        What was converted, in a line: tensors and parameters before the new rows, and what of the
        checkpoint was left out.

    Raises:
        UserError: another model type, missing, unknown or misshapen tensors (named), no tokenizer,
            no room, `dst` exists.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    with new_folder(dst, "the converted model") as temporary:
        config = layout.read_config(src)
        originals = read_checkpoint(src)
        left = [name for name in originals if name.endswith(layout.LEFT)]
        weights = {layout.our_name(n): originals[n] for n in originals if n not in left}
        llava = layout.llava_config(config, layout.vision_config_of(weights, src), src)
        expected = layout.empty_llava(llava).state_dict()
        _check(expected, weights, src)
        kind = weights[layout.WORDS[1]].dtype
        parameters = sum(value.numel() for value in expected.values()) / 1e9
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
        say(f"writing {readable(size)}")
        with writing(dst, size):
            model.save_pretrained(temporary, state_dict=weights, max_shard_size=_SHARD)
            processor.save_pretrained(temporary)
    return (
        f"{len(expected)} tensors, {parameters:.3f} B parameters "
        f"({str(kind).removeprefix('torch.')}), {len(left)} tensors left out"
    )


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
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole], set()
    if not index.is_file():
        raise UserError(f"{folder}: no weights here ({whole.name} or {index.name})")
    try:
        file_of = parse_json(index.read_text("utf-8"))["weight_map"]
        files = [folder / file for file in sorted(set(file_of.values()))]
        lacking = [file for file in files if not file.is_file()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index}: not an index of weights: fetch it again") from error
    if lacking:
        raise UserError(f"{lacking[0]}: not there, but the index names it: fetch it")
    return files, set(file_of)


def _read(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: cannot be read ({first_line(error)}): fetch it again") from error
