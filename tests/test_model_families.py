"""Each family of models through the whole product, against plain transformers and PEFT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plain
import pytest
import small_training as small
import torch
from families import Pictures

from baselines.adapters import put_on, take_off
from baselines.train import train
from baselines.training_settings import MethodSettings
from eval.attacks import Ask
from eval.load_model import load_model
from eval.model import Model
from mllmu_med_dataset import Record, UserError

Make = Callable[[str], Path]
IMAGES = Pictures()
#: What may be shared, as the probe should find; "rows" alone: kept features, no more.
ALL = ("rows", "packing", "prefill")
FAMILIES = {
    "llava_med": ALL,
    "qwen2_5_vl": ALL,
    "llava_llama": ALL,
    "llava_qwen2": ALL,
    "llava_phi3": ALL,
    "llava_next": ALL,
    "llava_onevision": ALL,
    "gemma3": ALL,
    "qwen3_vl": ALL,
    "qwen3_5": ("rows",),
    "internvl": ALL,
    "mllama": ALL,
    "idefics3": ALL,
    "glm4v": ALL,
}
QUICK = ("llava_med", "qwen2_5_vl")
each_family = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FAMILIES]
)
ROWS = [*small.FORGET[:6], *small.RETAIN[:10]]


def apart(ours: list[list[float]], theirs: list[list[float]]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return max(abs(a - b) for one, two in pairs for a, b in zip(one, two, strict=True))


def plain_of(model: Any, processor: Any, row: Record) -> list[float]:
    return plain.plain_logprobs(model, processor, asked_plainly(row), enable_thinking=False)


def asked_plainly(row: Record) -> plain.Row:
    return plain.Row(row.question, row.answer, IMAGES[row.image_id])


def told_by(model: Any, processor: Any, row: Record, tokens: int) -> str:
    return plain.plain_answer(
        model, processor, row.question, IMAGES[row.image_id], tokens, enable_thinking=False
    )


@each_family
def test_answers_and_likelihoods_are_the_plain_ones(checkpoint: Make, name: str) -> None:
    """Mixed lengths and images, all in one batch, shared and not; each row alone is the measure."""
    asked = [Ask(row, row.question) for row in ROWS]
    texts = [row.answer for row in ROWS]
    shared = load_model(str(checkpoint(name)))
    shared.expect(row.question + row.answer for row in ROWS)
    found = tuple(kind for kind in ALL if getattr(shared.sharing, kind))
    assert found == FAMILIES[name], shared.sharing.why
    other, processor = plain.load(checkpoint(name))
    told = [told_by(other, processor, row, 8) for row in ROWS]
    weighed = [plain_of(other, processor, row) for row in ROWS]
    assert len({round(sum(row), 2) for row in weighed}) > 8  # else equality says nothing
    for model in (shared, load_model(str(checkpoint(name)), share=False)):
        assert [answer.text for answer in model.answer(asked, IMAGES, 8)] == told
        ours = small.logprobs(model, asked, texts, IMAGES)
        # LLaVA 1.5's separator and the like are a part of the first token, or one of their own.
        assert apart(ours, weighed) < 1e-4
    assert load_model(str(checkpoint(name)), share=False).sharing.why == "off: --no-share"


def _fields(row: Record) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


@each_family
def test_learning_and_unlearning(checkpoint: Make, name: str, tmp_path: Path) -> None:
    """A killed run goes on to the same bytes; a saved adapter loads to the same likelihoods."""
    forget, retain = small.FORGET[:8], small.RETAIN[:8]
    how = {"rank": 4, "batch_size": 4, "micro_batch": 4, "checkpointing": name == "qwen2_5_vl"}

    def run(model: Model, method: str, out: Path, **more: Any) -> list[dict[str, Any]]:
        train(model, method, forget, retain, IMAGES, small.settings(**how, **more), out)
        return small.log_of(out)

    def killed(step: int) -> None:
        if step == 5:  # behind the first epoch, whose end is saved
            raise KeyboardInterrupt

    tuned = tmp_path / "finetune"
    model = load_model(str(checkpoint(name)))
    log = run(model, "finetune", tuned, epochs=2)
    assert log[-1]["loss"] < log[0]["loss"]
    other = load_model(str(checkpoint(name)))
    with pytest.raises(KeyboardInterrupt):
        train(other, "finetune", forget, retain, IMAGES, small.settings(**how, epochs=2),
              tmp_path / "again", on_step=killed)  # fmt: skip
    run(load_model(str(checkpoint(name))), "finetune", tmp_path / "again", epochs=2)
    weights = [
        (folder / "adapter" / "adapter_model.safetensors").read_bytes()
        for folder in (tuned, tmp_path / "again")
    ]
    assert weights[0] == weights[1]
    asked, texts = [Ask(row, row.question) for row in ROWS], [row.answer for row in ROWS]
    before = small.logprobs(model, asked, texts, IMAGES)
    loaded = load_model(str(checkpoint(name)), [tuned / "adapter"])
    assert small.logprobs(loaded, asked, texts, IMAGES) == before
    theirs, processor = plain.load(checkpoint(name), tuned / "adapter")
    assert apart(before, [plain_of(theirs, processor, row) for row in ROWS]) < 1e-4
    for method in ("ga", "kl-min", "npo", "idk"):
        unlearned = load_model(str(checkpoint(name)), [tuned / "adapter"])
        log = run(unlearned, method, tmp_path / method, max_steps=3)
        assert all(line["grad_norm"] > 0 for line in log)
        now = small.logprobs(unlearned, asked, texts, IMAGES)
        assert apart(now, before) > 1e-3
        put_on(loaded, tmp_path / method / "adapter")
        assert small.logprobs(loaded, asked, texts, IMAGES) == now
        take_off(loaded)
    assert small.logprobs(loaded, asked, texts, IMAGES) == before
    record = json.loads((tuned / "record.json").read_text())
    assert record["sharing"] == model.sharing.why
    assert record["lora"]["on"]["self_attn.q_proj" if name != "llava_phi3" else "mlp.down_proj"] > 0


def test_what_needs_another_package_says_so(checkpoint: Make) -> None:
    with pytest.raises(UserError, match="needs a package that is not installed: Package `num2"):
        load_model(str(checkpoint("smolvlm")))


@pytest.mark.slow
def test_rows_beyond_a_sliding_window_share_nothing(checkpoint: Make) -> None:
    """MedGemma's window here is 128 tokens: longer rows go through its own processor, rightly."""
    model = load_model(str(checkpoint("gemma3")))
    other, processor = plain.load(checkpoint("gemma3"))
    long = "Is it a scan of the chest, or of the head, seen from the left? " * 4
    rows = [Record(**{**_fields(row), "question": long + row.question}) for row in ROWS[:4]]
    rows += ROWS[4:8]
    asked = [Ask(row, row.question) for row in rows]
    ours = small.logprobs(model, asked, [row.answer for row in rows], IMAGES)
    assert model.sharing.packing
    assert model.sharing.window == 128
    assert apart(ours, [plain_of(other, processor, row) for row in rows]) < 1e-4
    told = [told_by(other, processor, row, 8) for row in rows]
    assert [answer.text for answer in model.answer(asked, IMAGES, 8)] == told


@each_family
def test_methods_without_steps_find_each_layer_s_neurons(
    name: str, checkpoint: Make, tmp_path: Path
) -> None:
    """On a model without an adapter below: what is silent is 0, what is projected gone."""
    from baselines.editing import columns, down_projections, neurons_in

    model = load_model(str(checkpoint(name)))
    layers = down_projections(model)
    given = MethodSettings(micro_batch=5, neurons=0.2)
    train(model, "manu", small.FORGET, small.RETAIN, IMAGES, given, tmp_path / "manu")
    silent = sum(int((columns(model, layer).abs().amax(1) < 1e-5).sum()) for layer in layers)
    assert silent == int(0.2 * sum(len(columns(model, layer)) for layer in layers))
    take_off(model)
    before = {at: columns(model, at) for layer in layers for at in neurons_in(model, layer)}
    train(model, "chip", small.FORGET, small.RETAIN, IMAGES, given, tmp_path / "chip")
    for layer, matrix in before.items():
        gone = torch.linalg.matrix_rank(columns(model, layer) - matrix, atol=1e-4)
        assert 1 <= gone <= len({row.image_id for row in small.FORGET})
