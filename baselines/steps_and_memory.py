"""What a run would do: steps, samples and memory, before anything is trained.

Steps and samples are counted, memory is estimated: weights, adapters with AdamW's state, logits at
the answers' tokens in float32 (three of them: logits, their softmax, its gradient) with the output
layer that they come from, and activations by the rule of 34 bytes a token, layer and hidden unit in
16 bits (Korthikanti et al. 2022, without the attention matrix, which is never stored), or with
checkpointing what one layer needs and 2 bytes for each of the others. What the library keeps
besides is not in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from baselines.schedule import epoch_steps, samples
from eval.chat_format import chat_format
from eval.load_processor import load_processor
from eval.run_folder import read_json
from mllmu_med.disk import readable

if TYPE_CHECKING:
    from baselines.measure import Data
    from baselines.recipe import Recipe
    from baselines.run import Elsewhere
    from baselines.tiny import TinySettings
    from baselines.training_settings import TrainSettings

#: A question with its answer, in tokens, beside the image: SLAKE's are about 60; the answer's own.
TEXT_TOKENS: Final = 60
ANSWER_TOKENS: Final = 20
#: Images of the dataset of which the one with most tokens is planned with.
LOOKED_AT: Final = 20


class Size(NamedTuple):
    """Of a model: weights, LoRA weights by rank, layers, hidden units, words, image tokens."""

    weights: int
    lora_per_rank: int
    layers: int
    hidden: int
    vocabulary: int
    image_tokens: int


class Planned(NamedTuple):
    part: str
    epochs: int
    samples: int  # trained on in an epoch, a forget answer and its refusal counted both
    steps: int
    memory: float  # GB, of the largest moment
    buckets: float  # GB more where there are several processes: DDP holds gradients once more


def size_of(name: str, tiny: TinySettings, data: Data) -> Size:
    """From a model's configuration and processor; `tiny` is the tiny LLaVA before it is made."""
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForImageTextToText

    from baselines.lora_places import lora_places
    from baselines.tiny import TINY, config_of_tiny
    from eval.checkpoint_faults import check_processor, not_loaded
    from eval.weights import check_named

    source = str(Path(name).expanduser())
    if name != TINY:
        check_named(name)
    try:
        config: Any = (
            config_of_tiny(tiny, tiny.vocabulary)
            if name == TINY
            else AutoConfig.from_pretrained(source, trust_remote_code=False)
        )
        with init_empty_weights():
            model = AutoModelForImageTextToText.from_config(config)
        processor = None if name == TINY else load_processor(source, None, name)
    except (OSError, ValueError) as error:
        raise not_loaded(name, error) from error
    places = lora_places(model, False, name)
    per_rank = sum(
        sum(module.weight.shape)
        for place, module in model.named_modules()
        if re.fullmatch(places.pattern, place)
    )
    tokens = config.image_seq_length if name == TINY else 0
    if processor:
        check_processor(processor, config, name)
        prompt = chat_format(processor, name).prompt
        shown = list(dict.fromkeys(row.image_id for row in data.all))[:LOOKED_AT]
        text = len(processor.tokenizer(prompt("", False))["input_ids"])
        for image_id in shown:
            read = processor(text=[prompt("", True)], images=[[data.images[image_id]]])
            tokens = max(tokens, len(read["input_ids"][0]) - text)
    words = config.get_text_config()
    weights = sum(p.numel() for p in model.parameters())
    sizes = words.num_hidden_layers, words.hidden_size, words.vocab_size
    return Size(weights, per_rank, *sizes, tokens)


def plan(
    recipe: Recipe,
    data: Data,
    size: Size,
    methods: Sequence[str],
    elsewhere: Elsewhere | None = None,
) -> list[Planned]:
    """Each part that trains, with what an epoch is for it; `elsewhere`: nothing is fine-tuned."""
    planned, below, learnt = [], recipe.finetune.rank, ["retrain", "finetune"]
    if elsewhere:
        below = sum(map(_rank, elsewhere.adapters))
        learnt = ["retrain"] * elsewhere.retrain
    forget, retain = (samples(data.rows[split]) for split in ("forget", "retain"))
    for part in (*learnt, *methods):
        settings = recipe.settings(part)
        chosen = recipe.known[part]
        if chosen.edits:  # its rows are read once, and nothing is kept for gradients
            read = len(forget) * bool(chosen.forget) + len(retain) * bool(chosen.retain)
            once = settings.model_copy(update={"rank": 0, "checkpointing": True})
            planned.append(Planned(part, 0, read, 0, gigabytes(size, once, below), 0.0))
            continue
        steps = epoch_steps(chosen, forget, retain, settings, 0, len)
        counted = sum(len(step.samples) for step in steps)
        total = len(steps) * settings.epochs
        if settings.max_steps:
            total = min(total, settings.max_steps)
        under = below if part in methods else 0
        memory = gigabytes(size, settings, under)
        buckets = size.lora_per_rank * settings.rank * 4 / 1e9
        planned.append(Planned(part, settings.epochs, counted, total, memory, buckets))
    return planned


def _rank(adapter: Path) -> int:
    """Of a LoRA adapter; 0 of another kind, which is small."""
    return int(read_json(adapter / "adapter_config.json").get("r") or 0)


def gigabytes(size: Size, settings: TrainSettings, rank_below: int = 0) -> float:
    """Memory of training on an accelerator; `rank_below`: of the frozen adapter beneath."""
    width = 2  # bytes of a weight in bfloat16
    fixed = (size.weights + size.lora_per_rank * rank_below) * width
    trained = size.lora_per_rank * settings.rank * (4 + 4 + 8)  # weight, gradient, AdamW's moments
    tokens = settings.micro_batch * (size.image_tokens + TEXT_TOKENS)
    layer = tokens * size.hidden * 17 * width
    kept = tokens * size.hidden * width
    active = layer + size.layers * kept if settings.checkpointing else size.layers * layer
    answers = settings.micro_batch * ANSWER_TOKENS
    logits = (answers * 3 + size.hidden) * size.vocabulary * 4
    return (fixed + trained + active + logits) / 1e9


def print_plan(
    recipe: Recipe,
    data: Data,
    name: str,
    methods: Sequence[str],
    out: Path,
    elsewhere: Elsewhere | None = None,
) -> None:
    """The plan as a table."""
    from eval.attacks import WAYS, asks
    from mllmu_med.console import make_console, make_table

    size = size_of(name, recipe.tiny, data)
    table = make_table("part", "#epochs", "#samples an epoch", "#steps", "#memory", "#DDP")
    for part in plan(recipe, data, size, methods, elsewhere):
        cells = (f"{part.epochs}", f"{part.samples:,}", f"{part.steps:,}")
        memory = readable(part.memory * 1e9), f"+{readable(part.buckets * 1e9)}"
        table.add_row(part.part, *cells, *memory)
    said = make_console()
    said.print(
        f"recipe {recipe.name}, {data.config}, model {name}: {size.weights / 1e6:,.1f} M weights, "
        f"{size.lora_per_rank * recipe.finetune.rank / 1e6:,.2f} M trained at rank "
        f"{recipe.finetune.rank}",
        markup=False,
    )
    said.print(table)
    # base, fine-tuned, retrained
    others = 1 + bool(elsewhere.adapters) + elsewhere.retrain if elsewhere else 3
    private = [row for row in data.rows["forget"] if row.pii]
    asked = len(data.all) + len(asks(private, [way for way in WAYS if way != "own"]))
    said.print(
        f"\n{len(methods) + others} models answer {asked:,} questions each; results in {out}",
        markup=False,
    )
    said.print(
        "[dim]memory: an estimate for bf16 on one accelerator; DDP: more on each of several; each "
        f"process holds {readable(size.weights * 2)} of main memory while it loads[/dim]"
    )
