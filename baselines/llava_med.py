"""Convert LLaVA-Med's original checkpoint into transformers' LLaVA layout.

transformers does not know `llava_mistral`, and fills weights whose names it misses with random
numbers. Here every tensor is accounted for by name and shape before anything is written, and the
tokenizer is written so that a plain reload splits LLaVA-Med's prompt as LLaVA-Med does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines.checkpoint import Checkpoint
from baselines.llava_layout import (
    LEFT,
    TOWER,
    WORDS,
    llava_config,
    name_on_disk,
    original_name,
    read_config,
    shapes_of,
    sort_names,
    vision_config_of,
)
from mllmu_med.disk import readable, writing
from mllmu_med.files import new_folder, write_atomic
from mllmu_med.progress import progress
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: LLaVA-Med's prompt as a chat template, for programs that ask the processor for one.
CHAT: Final = (
    "{% for message in messages %}{% if message.role == 'user' %}[INST] "
    "{% for part in message.content %}{% if part.type == 'image' %}<image>\n"
    "{% else %}{{ part.text }}{% endif %}{% endfor %} [/INST]"
    "{% else %} {{ message.content[0].text }}</s>{% endif %}{% endfor %}"
)
#: What a stock CLIP holds besides its vision tower.
_TEXT_SIDE: Final = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
_ROWS: Final = 64
_SHARD: Final = 2_000_000_000
#: A tensor's checkpoint and its name there, by its name in transformers.
Sources = dict[str, tuple[Checkpoint, str]]


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
    the new rows are the mean of the old (our choice; the picture's features replace the first, and
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
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    with new_folder(dst, "the converted model") as made:
        config = read_config(src)
        sources, left, tower = _sources(src, vision)
        llava = llava_config(config, tower, src)
        expected = shapes_of(llava)
        _check(expected, sources, src)
        checkpoint, original = sources[WORDS[1]]
        head = checkpoint.read(original)
        report = Conversion(
            source=str(src),
            tensors=len(expected),
            parameters=sum(map(prod, expected.values())),
            vocabulary=llava.text_config.vocab_size,
            vision=str(vision),
            dtype=str(head.dtype).removeprefix("torch."),
            left=sorted(left),
        )
        processor = _processor(src, config, llava)

        rows = -(-len(processor.tokenizer) // _ROWS) * _ROWS
        new = {n: (rows, *shape[1:]) if n in WORDS else shape for n, shape in expected.items()}
        written = {
            name_on_disk(n): torch.empty(s, dtype=head.dtype, device="meta") for n, s in new.items()
        }
        _check_room(made, sum(value.nbytes for value in written.values()))
        plan = split_torch_state_dict_into_shards(
            written, filename_pattern="model{suffix}.safetensors", max_shard_size=_SHARD
        )
        inside = {name_on_disk(name): name for name in expected}
        with progress("convert", len(written)) as advance:
            for file, names in plan.filename_to_tensors.items():
                shard = {}
                for name in names:
                    checkpoint, original = sources[inside[name]]
                    value = checkpoint.read(original).to(head.dtype)
                    shard[name] = _grown(value, written[name].shape[0]).contiguous()
                    advance()
                with writing(dst / file, sum(value.nbytes for value in shard.values())):
                    save_file(shard, made / file, metadata={"format": "pt"})
        if plan.is_sharded:
            index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
            write_atomic(made / "model.safetensors.index.json", json.dumps(index, indent=2))
        with writing(dst):
            _write_config(made, llava, processor, rows, report.dtype)
            processor.save_pretrained(made)
        write_atomic(made / "conversion.json", json.dumps(asdict(report), indent=2) + "\n")
    return report


def _sources(src: Path, vision: str | Path) -> tuple[Sources, list[str], Any]:
    """Where each tensor comes from, which are left out, and the vision tower's configuration."""
    weights = Checkpoint(src)
    found, left = sort_names(weights.shapes)
    own = [name for name in found if name.startswith(TOWER)]
    sources = {name: (weights, original) for name, original in found.items()}
    if vision != "checkpoint":
        for name in own:
            left.append(sources.pop(name)[1])
        stock, tower = _stock_tower(Path(vision).expanduser())
        return sources | stock, left, tower
    if not own:
        raise UserError(f"{src}: holds no vision tower: name the folder of a stock CLIP instead")
    return sources, left, vision_config_of({n: weights.shapes[found[n]] for n in own}, src)


def _stock_tower(folder: Path) -> tuple[Sources, Any]:
    """The vision tower of a CLIP in transformers' layout, and its configuration."""
    from transformers import CLIPVisionConfig

    weights = Checkpoint(folder)
    try:
        config = CLIPVisionConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{folder}: not a CLIP: {reason}") from error
    found = {
        TOWER + name.removeprefix("vision_model."): (weights, name)
        for name in weights.shapes
        if not name.startswith(_TEXT_SIDE) and not name.endswith(LEFT)
    }
    return found, config


def _check(
    expected: Mapping[str, tuple[int, ...]],
    sources: Sources,
    src: Path,
) -> None:
    wrong = [
        (f"{len(names)} {what} (first: {names[0]})")
        for what, names in (
            ("missing", [original_name(n) for n in expected if n not in sources]),
            ("unknown", [original for n, (_, original) in sources.items() if n not in expected]),
            ("of another shape", list(_misshapen(expected, sources))),
        )
        if names
    ]
    if wrong:
        raise UserError(f"{src}: tensors {'; '.join(wrong)}: not a whole LLaVA-Med v1.5")


def _misshapen(expected: Mapping[str, tuple[int, ...]], sources: Sources) -> Iterable[str]:
    for name, (checkpoint, original) in sources.items():
        shape = checkpoint.shapes[original]
        if name in expected and shape != expected[name]:
            yield f"{original} is {list(shape)}, not {list(expected[name])}"


def _grown(value: Tensor, rows: int) -> Tensor:
    """With rows added up to a number, each the mean of those that were there."""
    import torch

    if not value.ndim or value.shape[0] == rows:
        return value
    mean = value.float().mean(0, keepdim=True).to(value.dtype)
    return torch.cat([value, mean.expand(rows - value.shape[0], -1)])


def read_pieces(path: Path) -> list[str]:
    """The texts of a SentencePiece model's pieces in the order of their ids.

    Raises:
        UserError: no such file, or not a SentencePiece model.
    """
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
    from transformers import (
        AddedToken,
        LlamaTokenizer,
        LlavaImageProcessorPil,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )
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
    for token in ("<image>", "<pad>"):  # in this order: LLaVA-Med's 32000 is the picture
        split.add_tokens([AddedToken(token, special=True, normalized=False)])
    # `legacy` and `add_bos_token` of a LlamaTokenizer are lost when it is saved; what they made of
    # the splitting itself is not.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=split.backend_tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        model_max_length=config.get("tokenizer_model_max_length", 2048),
    )
    side = llava.vision_config.image_size
    images = LlavaImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        do_pad=config.get("image_aspect_ratio") == "pad",
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=llava.vision_config.patch_size,
        vision_feature_select_strategy=llava.vision_feature_select_strategy,
        num_additional_image_tokens=1,  # CLS, which the strategy drops
        chat_template=CHAT,
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
