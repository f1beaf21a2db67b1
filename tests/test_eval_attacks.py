"""Attacks: what is asked, what is changed of an image, and rounded weights by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
import small_training as small
import tiny_llava
import torch
from corpora import record

from eval.attack_kinds import GROUPS, Attack, ChangedImages, asks_of, attackable, change, parse
from eval.load_model import load_model
from eval.quantise import quantised, rounded
from mllmu_med_dataset import PiiSpan, Record, UsageError, UserError


def private(number: int) -> Record:
    value = f"(530) 555-010{number}"
    answer = f"Left lung. Report sent by telephone to {value}."
    span = PiiSpan("answer", "phone", value, answer.index("("), answer.index("(") + len(value))
    row = record("What is shown in this image?", answer, f"r/{number}", f"i-{number}")
    more = {"pii": (span,), "profile_id": f"patient-{number}", "image_sha256": f"hash {number}"}
    return replace(row, split="forget", harm="privacy", **more)  # type: ignore[arg-type]


ROWS = [private(number) for number in range(4)]


def test_weights_are_rounded_as_by_hand() -> None:
    """4 bits: 7 steps to each side, the largest of a row on the last of them."""
    weight = torch.tensor([[7.0, -3.4, 0.5, 0.49], [-1.4, 0.35, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0]])
    # Row 1: steps of 1; halves go to the even step. Row 2: of .2, 1.75 steps are 2 and .5 are 0.
    by_hand = torch.tensor([[7.0, -3.0, 0.0, 0.0], [-1.4, 0.4, 0.0, 0.0], [0.0] * 4])
    assert torch.allclose(rounded(weight, 4), by_hand, atol=1e-6)
    eight = rounded(torch.tensor([[1.27, 0.014, -0.016]]), 8)  # steps of .01
    assert torch.allclose(eight, torch.tensor([[1.27, 0.01, -0.02]]), atol=1e-6)
    assert rounded(weight.bfloat16(), 4).dtype == torch.bfloat16


def test_quantised_is_the_merged_model_and_afterwards_as_it_was(tmp_path: Path) -> None:
    small.make(tmp_path / "model")
    adapters = [
        tiny_llava.lora(tmp_path / "model", tmp_path / name, i) for i, name in enumerate("ab")
    ]
    model = load_model(str(tmp_path / "model"), adapters)
    before = {name: p.detach().clone() for name, p in model.model.named_parameters()}
    identity, asks = dict(model.identity), asks_of(Attack("adapter"), ROWS, None)  # type: ignore[arg-type]
    answers = model.answer(asks, small.Images(), 8)
    layer = model.base.get_decoder().layers[0].self_attn.q_proj
    merged = layer.base_layer.weight + sum(layer.get_delta_weight(name) for name in layer.lora_A)
    up = model.base.get_decoder().layers[0].mlp.up_proj
    with quantised(model, 4):
        assert torch.allclose(layer.base_layer.weight, rounded(merged, 4), atol=1e-6)
        assert torch.equal(up.weight, rounded(before[_name(model, up)], 4))  # without an adapter
        head = model.base.get_output_embeddings()
        assert torch.equal(head.weight, before[_name(model, head)])
        assert "4 bits" in model.identity["dtype"]
        assert model.answer(asks, small.Images(), 8) != answers
    with pytest.raises(UserError, match="stopped"), quantised(model, 8):
        raise UserError("stopped")
    after = dict(model.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert model.identity == identity
    assert model.answer(asks, small.Images(), 8) == answers
    up.weight.data[0, 0] = float("nan")
    with pytest.raises(UserError, match="the model's scores are NaN"):
        model.answer(asks, small.Images(), 8)


def _name(model: object, module: torch.nn.Module) -> str:
    named = model.model.named_parameters()  # type: ignore[attr-defined]
    return next(name for name, p in named if p is module.weight)


def test_each_attack_asks_another_thing_than_the_row() -> None:
    images = ChangedImages(small.Images())
    own = {ask.row.id: ask.hash for ask in asks_of(Attack("adapter"), ROWS, images)}
    for attack in parse("prompt,image"):
        asks = asks_of(attack, ROWS, images)
        assert {ask.row.id for ask in asks} == {row.id for row in ROWS}
        assert len({(ask.key, ask.hash) for ask in asks}) == len(asks)
        for ask in asks:
            assert ask.hash != own[ask.row.id], attack
            shown = f"{ask.question} {ask.start}"
            assert not any(span.value in shown for span in ask.row.pii)
    starts = [asks_of(Attack("prefix", n), ROWS[:1], images)[0].start for n in (25, 50, 100)]
    assert starts == [
        "Left lung.",
        "Left lung. Report sent",
        "Left lung. Report sent by telephone to",
    ]
    short = replace(ROWS[0], answer=f"Dear Mrs {ROWS[0].pii[0].value}", pii=())
    span = replace(ROWS[0].pii[0], start=9, end=len(short.answer))
    asked = asks_of(Attack("prefix", 50), [replace(short, pii=(span,))], images)
    assert [ask.start for ask in asked] == ["Dear"]


def test_a_changed_image_has_a_hash_and_an_id_of_its_own() -> None:
    images, seen = ChangedImages(small.Images()), set()
    for attack in parse("typeset,image"):
        (ask, *_) = asks_of(attack, ROWS, images)
        assert ask.row.image_sha256 != ROWS[0].image_sha256
        seen.add((ask.row.image_id, ask.row.image_sha256))
        shown, plain = images[ask.row.image_id], images[ROWS[0].image_id]
        assert shown.tobytes() != plain.tobytes()
        assert shown.size == plain.size or attack.kind == "typeset"
    assert len(seen) == len(parse("typeset,image"))
    many = [private(number) for number in range(9)]
    other = asks_of(Attack("other-image"), many, images)
    assert all(
        ask.row.image_id in {r.image_id for r in many} - {f"i-{n}"} for n, ask in enumerate(other)
    )
    question = replace(ROWS[0], question="Which side is it?")
    hashes = {asks_of(Attack("typeset"), [row], images)[0].hash for row in (ROWS[0], question)}
    assert len(hashes) == 2  # the question is in the image


def test_an_image_is_changed_by_so_much() -> None:
    plain = small.Images()["x"]
    brighter = change(plain, Attack("brighten", 150))
    assert brighter.getpixel((5, 5)) == tuple(
        min(255, int(v * 1.5)) for v in plain.getpixel((5, 5))
    )
    assert change(plain, Attack("crop", 100)).tobytes() == plain.tobytes()
    assert change(plain, Attack("rotate", 90)).tobytes() == plain.rotate(90).tobytes()
    long = "Which organ is the largest one that can be seen in this image of the chest? " * 3
    typeset = change(plain, Attack("typeset"), long)
    assert typeset.width == 224
    assert typeset.height > plain.height + 60
    below = typeset.crop((0, plain.height, typeset.width, typeset.height)).convert("L")
    assert min(below.tobytes()) < 40  # black on white
    assert below.crop((220, 0, 224, below.height)).getextrema() == (255, 255)  # it fits


def test_kinds_are_chosen_by_name_or_group() -> None:
    assert [attack.name for attack in parse("quantise,adapter")] == [
        "adapter", "quantise-8", "quantise-4",
    ]  # fmt: skip
    assert len(parse("all")) == sum(len(of) for kinds in GROUPS.values() for of in kinds.values())
    assert {attack.kind for attack in parse("relearn")} == {*GROUPS["relearn"]}
    with pytest.raises(UsageError, match="--kind quantize: use all, weights"):
        parse("quantize")


def test_only_what_should_not_come_back_is_asked_about() -> None:
    question = replace(ROWS[0], id="q", pii=(replace(ROWS[0].pii[0], field="question"),))
    wrong = replace(ROWS[0], id="w", pii=(), harm="incorrect", clean_answer="Right lung.")
    unknown = replace(wrong, id="u", clean_answer="")
    kept = replace(ROWS[0], id="k", split="retain")
    assert [row.id for row in attackable([*ROWS[:1], question, wrong, unknown, kept])] == [
        "r/0",
        "w",
    ]
    with pytest.raises(UserError, match="nothing to attack"):
        attackable([question])
