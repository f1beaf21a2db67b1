"""What models of some billions of weights need, seen on tiny ones: precision, memory, the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_training as small
import torch
from families import Pictures

from baselines.adapters import add_adapter
from baselines.batches import Encoder
from baselines.forward import AnswerLogits
from baselines.schedule import Sample
from baselines.train import train
from baselines.training_state import RunFolder
from eval.attacks import Ask, asks
from eval.load_model import load_model
from eval.model import Model
from eval.sharing import Sharing
from mllmu_med_dataset import UserError

Make = Callable[[str], Path]
IMAGES = Pictures()
ROWS = [*small.FORGET[:6], *small.RETAIN[:10]]


def halved(folder: Path, share: bool) -> Model:
    """In bfloat16, with an adapter in float32 that changes much."""
    model = load_model(str(folder), dtype="bfloat16", share=share)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in add_adapter(model, 8, 16).weights().items():
            if "lora_B" in name:
                weight.normal_(0, 0.1)
    return model


def trained_on(model: Model) -> list[float]:
    """Each row's loss as training has it: the mean of its answer's tokens."""
    samples = [Sample(r.id, r.image_id, r.question, r.answer, "learn") for r in ROWS]
    batch = Encoder(model, IMAGES).collate(samples, "image")
    logits = AnswerLogits(model, IMAGES)(batch)
    assert logits.dtype == torch.float32
    each = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none")
    sums = torch.zeros(len(samples)).index_add(0, batch.of, each.detach())
    return (sums / batch.counts).tolist()


def weighed(model: Model) -> list[float]:
    """The same as evaluation has it."""
    asked, texts = [Ask(row, row.question) for row in ROWS], [row.answer for row in ROWS]
    return [-sum(values) / len(values) for values in small.logprobs(model, asked, texts, IMAGES)]


@pytest.mark.parametrize("name", ["llava_med", "qwen2_5_vl"])
def test_training_and_evaluation_have_one_precision(checkpoint: Make, name: str) -> None:
    plain = halved(checkpoint(name), share=False)
    assert weighed(plain) == pytest.approx(trained_on(plain), abs=1e-3)
    shared = halved(checkpoint(name), share=True)
    assert shared.sharing.packing
    assert weighed(shared) == pytest.approx(trained_on(shared), abs=1e-3)
    apart = [abs(a - b) for a, b in zip(weighed(shared), weighed(plain), strict=True)]
    assert sum(apart) / len(apart) < 1e-2 < 3e-2 > max(apart)


def test_what_is_frozen_is_held_as_it_is_used(checkpoint: Make, tmp_path: Path) -> None:
    """An adapter of a bfloat16 model, in which it is computed with anyway: the same numbers."""
    folder = str(checkpoint("llava_med"))
    model = load_model(folder, dtype="bfloat16")
    adapter = add_adapter(model, 8, 16)
    for name, weight in adapter.weights().items():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, 0, 0.1)
    first = weighed(model), model.answer(asks(ROWS), IMAGES, 8)
    assert {w.dtype for w in adapter.weights().values()} == {torch.float32}
    adapter.save(tmp_path / "adapter", "")
    loaded = load_model(folder, [tmp_path / "adapter"], dtype="bfloat16")
    trained = [add_adapter(each, 8, 16) for each in (model, loaded)]
    for each, new in zip((model, loaded), trained, strict=True):
        below = [p for name, p in each.model.named_parameters() if f".{adapter.name}." in name]
        assert {w.dtype for w in below} == {torch.bfloat16}
        assert {w.dtype for w in new.weights().values()} == {torch.float32}
        assert (weighed(each), each.answer(asks(ROWS), IMAGES, 8)) == first


def test_logits_of_halves_are_summed_in_float32(checkpoint: Make) -> None:
    """In bfloat16 those above 8 would be multiples of 1/16."""
    model = load_model(str(checkpoint("llava_med")), dtype="bfloat16")
    head = model.base.get_output_embeddings()
    hidden = torch.randn(3, head.in_features).bfloat16() * 4
    with model.precision():
        logits = head(hidden)
    assert torch.equal(logits, hidden.float() @ head.weight.float().T)
    assert logits.abs().max() > 8
    whole = load_model(str(checkpoint("llava_med"))).base.get_output_embeddings()
    assert "forward" not in vars(whole)


def test_float16_is_not_trained(checkpoint: Make, tmp_path: Path) -> None:
    model = load_model(str(checkpoint("llava_med")), dtype="float16")
    with pytest.raises(UserError, match=r"float16: .*loss scaling.*bfloat16 or float32"):
        train(model, "ga", ROWS, ROWS, IMAGES, small.settings(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_attention_that_reads_no_mask_packs_nothing(checkpoint: Make) -> None:
    """Known by its name: it cannot be tried out in float32."""
    model = load_model(str(checkpoint("llava_med")))
    assert model.identity["attention"] == "sdpa"
    model.identity["attention"] = model.base.config._attn_implementation = "flash_attention_2"
    assert model.sharing == Sharing("nothing: flash_attention_2 reads no mask of packed rows")


def test_checkpoints_take_a_fiftieth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 30 s and writes of 3 s: every 150 s at most."""
    now, saved = [0.0], []
    run = RunFolder(tmp_path, lambda: now[0])
    monkeypatch.setattr(torch, "save", lambda *_: now.append(now.pop() + 3))
    for step in range(1, 20):
        now[0] += 30
        if run.due():
            run.save({})
            saved.append(step)
    assert saved == [1, 6, 11, 16]


def test_what_shares_nothing_is_said_once(
    checkpoint: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [Ask(row, row.question) for row in ROWS]
    model = load_model(str(checkpoint("llava_med")), share=False)
    for _ in range(2):
        model.answer(asked, IMAGES, 2)
        weighed(model)
        trained_on(model)
    assert capsys.readouterr().err == "  rows of one image: off: --no-share\n"
    model = load_model(str(checkpoint("llava_med")))
    whole = weighed(model)
    model.__dict__["sharing"] = replace(model.sharing, window=10)
    for _ in range(2):
        model.answer(asked, IMAGES, 2)
        assert weighed(model) == pytest.approx(whole, abs=1e-4)
        trained_on(model)
    line = "  longer than the sliding window of 10 tokens: shares nothing\n"
    assert capsys.readouterr().err == line


def test_what_did_not_fit_is_not_tried_again(
    checkpoint: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """16 do not fit, nor do 8: from then on 4 at a time, for each kind of work by itself."""
    from eval import greedy

    model = load_model(str(checkpoint("llava_med")))
    asked = [Ask(row, row.question) for row in ROWS]
    whole = model.answer(asked, IMAGES, 4)
    tried, real = [], greedy.greedy

    def small_memory(model: Model, batch: Any, *how: Any) -> Any:
        tried.append(len(batch))
        if len(batch) > room:
            raise torch.cuda.OutOfMemoryError
        return real(model, batch, *how)

    monkeypatch.setattr(greedy, "greedy", small_memory)
    room = 4
    assert model.answer(asked, IMAGES, 4) == whole
    assert model.answer(asked[:6], IMAGES, 4) == whole[:6]
    assert tried == [16, 8, 4, 4, 4, 4, 4, 2]
    assert "answering: 8 at once do not fit into memory, now 4" in capsys.readouterr().err
    room = 0
    with pytest.raises(UserError, match="one question alone does not fit"):
        model.answer(asked, IMAGES, 4)
