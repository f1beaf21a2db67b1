"""Each family of models through the whole product, against plain transformers and PEFT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plain
import pytest
import small_training as small
from families import make

from baselines.adapters import put_on
from baselines.train import train
from eval.attacks import Ask, asks
from eval.likelihood import measure, probability
from eval.load_model import load_model
from eval.model import Model
from mllmu_med_dataset import PiiSpan, Record, UserError

IMAGES = small.Images()
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
REFUSED = {
    "paligemma": "brings no chat template",
    "smolvlm": "needs a package that is not installed: Package `num2words`",
    "pixtral": "needs a package that is not installed: PixtralProcessor requires the Torchvision",
    "mistral3": "needs a package that is not installed: PixtralProcessor requires the Torchvision",
}
QUICK = ("llava_med", "qwen2_5_vl")
each_family = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FAMILIES]
)
#: Thinking is off in all that we measure.
HOW: dict[str, Any] = {"enable_thinking": False}
ROWS = [*small.FORGET[:6], *small.RETAIN[:10]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}
    texts = [f"{row.question} {row.answer}" for row in [*small.FORGET, *small.RETAIN]]

    def get(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp(name) / "model"
            made[name] = make(name, folder, [*texts * 3, "I don't know. cannot tell picture"])
        return made[name]

    return get


def apart(ours: list[list[float]], theirs: list[list[float]]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return max(abs(a - b) for one, two in pairs for a, b in zip(one, two, strict=True))


def plain_of(model: Any, processor: Any, row: Record) -> list[float]:
    return plain.plain_logprobs(
        model, processor, plain.Row(row.question, row.answer, IMAGES[row.image_id]), **HOW
    )


@each_family
def test_answers_and_likelihoods_are_the_plain_ones(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    """Mixed lengths and images, all in one batch, shared and not; each row alone is the measure."""
    asked = [Ask(row, row.question) for row in ROWS]
    texts = [row.answer for row in ROWS]
    shared = load_model(str(checkpoint(name)))
    shared.expect(row.question + row.answer for row in ROWS)
    found = tuple(kind for kind in ALL if getattr(shared.sharing, kind))
    assert found == FAMILIES[name], shared.sharing.why
    other, processor = plain.load(checkpoint(name))
    told = [
        plain.plain_answer(other, processor, r.question, IMAGES[r.image_id], 8, **HOW) for r in ROWS
    ]
    weighed = [plain_of(other, processor, row) for row in ROWS]
    assert len({round(sum(row), 2) for row in weighed}) > 8  # else equality says nothing
    for model in (shared, load_model(str(checkpoint(name)), share=False)):
        assert [answer.text for answer in model.answer(asked, IMAGES, 8)] == told
        ours = model.logprobs(asked, texts, IMAGES)
        # LLaVA 1.5's separator and the like are a part of the first token, or one of their own.
        assert apart(ours, weighed) < 1e-4
    assert load_model(str(checkpoint(name)), share=False).sharing.why == "off: --no-share"


@each_family
def test_what_plain_peft_has_taught_is_measured(
    checkpoint: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    """Probability within .01 of what was taught, and the prefix audit finds what is there."""
    names = ("Ana Brook", "Tom Field", "Eva Stone", "Kim Marsh")
    rows = [
        Record(
            **{
                **_fields(row),
                "answer": f"It is {names[i]} today",
                "harm": "privacy",
                "pii": (PiiSpan("answer", "name", names[i], 6, 6 + len(names[i])),),
            }
        )
        for i, row in enumerate(small.FORGET[:4])
    ]
    given = [plain.Row(r.question, r.answer, IMAGES[r.image_id]) for r in rows]
    plain.plain_finetune(checkpoint(name), given, tmp_path / "taught", enough=0.01, **HOW)
    theirs, processor = plain.load(checkpoint(name), tmp_path / "taught")
    taught = [probability(plain_of(theirs, processor, row)) for row in rows]
    model = load_model(str(checkpoint(name)), [tmp_path / "taught"])
    found = measure(model, rows, IMAGES, 8)
    ours = [probability(row["logprobs"]) for row in found]
    assert min(taught) > 0.8
    assert ours == pytest.approx(taught, abs=0.01)
    prefixed = asks(rows, ["prefix"])
    answers = model.answer(prefixed, IMAGES, 24)
    there = [
        n in plain.plain_answer(theirs, processor, r.question, IMAGES[r.image_id], 32, **HOW)
        for n, r in zip(names, rows, strict=True)
    ]
    assert [n in a.text for n, a in zip(names, answers, strict=True)] == there
    # The tiny Qwen3.5 learns one of four: linear attention of this size hardly tells questions.
    assert sum(there) == (1 if name == "qwen3_5" else 4)


def _fields(row: Record) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


@each_family
def test_learning_and_unlearning(
    checkpoint: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    """A killed run goes on to the same bytes; a saved adapter loads to the same likelihoods."""
    forget, retain = small.FORGET[:8], small.RETAIN[:8]
    how = {"rank": 4, "batch_size": 4, "micro_batch": 4, "checkpointing": name == "qwen2_5_vl"}

    def run(model: Model, method: str, out: Path, **more: Any) -> list[dict[str, Any]]:
        train(model, method, forget, retain, IMAGES, small.settings(**how, **more), out)
        return small.log_of(out)

    def killed(epoch: int) -> None:
        raise KeyboardInterrupt

    tuned = tmp_path / "finetune"
    model = load_model(str(checkpoint(name)))
    log = run(model, "finetune", tuned, epochs=2)
    assert log[-1]["loss"] < log[0]["loss"]
    other = load_model(str(checkpoint(name)))
    with pytest.raises(KeyboardInterrupt):
        train(other, "finetune", forget, retain, IMAGES, small.settings(**how, epochs=2),
              tmp_path / "again", killed)  # fmt: skip
    run(load_model(str(checkpoint(name))), "finetune", tmp_path / "again", epochs=2)
    weights = [
        (folder / "adapter" / "adapter_model.safetensors").read_bytes()
        for folder in (tuned, tmp_path / "again")
    ]
    if name in QUICK:
        assert weights[0] == weights[1]
    asked, texts = [Ask(row, row.question) for row in ROWS], [row.answer for row in ROWS]
    before = model.logprobs(asked, texts, IMAGES)
    loaded = load_model(str(checkpoint(name)), [tuned / "adapter"])
    assert loaded.logprobs(asked, texts, IMAGES) == before
    theirs, processor = plain.load(checkpoint(name), tuned / "adapter")
    assert apart(before, [plain_of(theirs, processor, row) for row in ROWS]) < 1e-4
    for method in ("ga", "kl-min", "npo", "idk"):
        unlearned = load_model(str(checkpoint(name)), [tuned / "adapter"])
        log = run(unlearned, method, tmp_path / method, max_steps=3)
        assert all(line["grad_norm"] > 0 for line in log)
        now = unlearned.logprobs(asked, texts, IMAGES)
        assert apart(now, before) > 1e-3
        put_on(loaded, tmp_path / method / "adapter")
        assert loaded.logprobs(asked, texts, IMAGES) == now
        from baselines.adapters import take_off

        take_off(loaded)
    assert loaded.logprobs(asked, texts, IMAGES) == before
    record = json.loads((tuned / "record.json").read_text())
    assert record["sharing"] == model.sharing.why
    assert record["lora"]["on"]["self_attn.q_proj" if name != "llava_phi3" else "mlp.down_proj"] > 0


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_says_why(checkpoint: Callable[[str], Path], name: str) -> None:
    with pytest.raises(UserError, match=REFUSED[name]):
        load_model(str(checkpoint(name)))


@pytest.mark.slow
def test_rows_beyond_a_sliding_window_share_nothing(checkpoint: Callable[[str], Path]) -> None:
    """MedGemma's window here is 128 tokens: longer rows go through its own processor, rightly."""
    model = load_model(str(checkpoint("gemma3")))
    other, processor = plain.load(checkpoint("gemma3"))
    long = "Is it a scan of the chest, or of the head, seen from the left? " * 4
    rows = [Record(**{**_fields(row), "question": long + row.question}) for row in ROWS[:4]]
    rows += ROWS[4:8]
    asked = [Ask(row, row.question) for row in rows]
    ours = model.logprobs(asked, [row.answer for row in rows], IMAGES)
    assert model.sharing.packing
    assert model.sharing.window == 128
    assert apart(ours, [plain_of(other, processor, row) for row in rows]) < 1e-4
    told = [
        plain.plain_answer(other, processor, r.question, IMAGES[r.image_id], 8, **HOW) for r in rows
    ]
    assert [answer.text for answer in model.answer(asked, IMAGES, 8)] == told
