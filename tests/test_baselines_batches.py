"""What a step trains on, and that packing, padding and cutting it up change nothing."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import small_training as small
import torch

from baselines.adapters import Adapter, add_adapter
from baselines.batches import Encoder
from baselines.forward import AnswerLogits
from baselines.losses import mean_nll
from baselines.methods import METHODS, TRAINED
from baselines.schedule import (
    Pass,
    Sample,
    Step,
    _step,
    check_rows,
    epoch_steps,
    passes,
    refusal,
    retain_rows,
    samples,
    shuffled,
    spread,
)
from baselines.step import parts_of, run_pass
from baselines.training_settings import REFUSALS
from eval.attacks import Ask
from eval.image_prefix import KEPT, Rows, most_kept
from eval.load_model import load_model
from eval.model import Model
from eval.sharing import probe
from mllmu_med_dataset import UserError

FORGET, RETAIN = samples(small.FORGET), samples(small.RETAIN)  # 12 and 32 rows


class World:
    """A tiny model with a trained-looking adapter on a random one."""

    def __init__(self, tiny: Path, **how: Any) -> None:
        self.model: Model = load_model(str(tiny))
        add_adapter(self.model, 4, 8, seed=1)
        self.adapter: Adapter = add_adapter(self.model, 4, 8, seed=2)
        made = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, weight in self.model.model.named_parameters():
                if "lora_B" in name:
                    weight.copy_(torch.randn(weight.shape, generator=made) * 0.05)
        for name, value in how.items():
            setattr(self.model, name, value)
        self.encoder = Encoder(self.model, small.Images())
        self.logits = AnswerLogits(self.model, small.Images())

    def run(self, name: str, step: Step, size: int, **how: Any) -> tuple[float, list[Any]]:
        """Loss and gradients of a step in passes of some samples."""
        weights = list(self.adapter.weights().values())
        for weight in weights:
            weight.grad = None
        total = 0.0
        for one in passes(step, size):
            tally = run_pass(
                one,
                step,
                METHODS[name],
                small.settings(**how),
                self.encoder,
                self.logits,
                self.logits,
                self.adapter,
            )
            tally.loss.backward()
            total += tally.loss.item()
        return total, [weight.grad for weight in weights]


@pytest.fixture(scope="module")
def world(tiny: Path) -> World:
    return World(tiny)


def steps(name: str, epoch: int = 0, **how: Any) -> list[Step]:
    chosen = small.settings(**how)
    return epoch_steps(METHODS[name], FORGET, RETAIN, chosen, epoch, lambda text: len(text.split()))


def ids(step: Step, part: str) -> list[str]:
    return [sample.id for sample in step.samples if sample.part == part]


@pytest.mark.parametrize("shuffle", ["image", "row"])
@pytest.mark.parametrize("name", ["gd", "kl-min", "idk", "llmu", "dpo"])
def test_a_union_epoch_is_every_row_once(name: str, shuffle: str) -> None:
    made = steps(name, shuffle=shuffle, retain_sampling="union", batch_size=10)
    assert [len(step.units) for step in made] == [10, 10, 10, 10, 4]
    for part in METHODS[name].forget:
        assert sorted(i for s in made for i in ids(s, part)) == sorted(row.id for row in FORGET)
    assert sorted(i for s in made for i in ids(s, "retain")) == sorted(row.id for row in RETAIN)
    # The forget rows are spread: 12 of 44, so 2 or 3 of each 10.
    assert {len(ids(s, METHODS[name].forget[0])) for s in made[:4]} <= {2, 3}


def test_a_union_epoch_averages_to_the_equation() -> None:
    """Steps weighted by their rows: each mean is over its whole set, Eq. 5 and 7 as they stand."""
    values = {row.id: float(i) for i, row in enumerate([*FORGET, *RETAIN])}
    for name, part, rows in (("gd", "forget", FORGET), ("gd", "retain", RETAIN)):
        made = steps(name, retain_sampling="union", batch_size=10)
        shares = [
            sum(values[i] for i in ids(s, part)) / s.size[part] * len(s.units) / 44 for s in made
        ]
        assert sum(shares) == pytest.approx(sum(values[row.id] for row in rows) / len(rows))
    for step in steps("idk", retain_sampling="union", batch_size=10):
        # One mean over the rows of the step: some 27 % of them refused here, 8 % in the paper.
        assert sum(step.size.values()) == pytest.approx(len(step.units))


@pytest.mark.parametrize("name", ["gd", "kl-min", "idk", "llmu", "npo", "simnpo", "dpo"])
def test_a_paired_epoch_is_the_forget_rows_each_with_a_retain_row(name: str) -> None:
    made = steps(name, retain_sampling="paired", batch_size=5)
    assert [step.size["retain"] for step in made] == [5, 5, 2]
    for part in METHODS[name].forget:
        assert [step.size[part] for step in made] == [5, 5, 2]
        assert sorted(i for s in made for i in ids(s, part)) == sorted(row.id for row in FORGET)
    words = sum(len(row.answer.split()) for step in made for row in step.samples)
    assert words == sum(sum(step.tokens.values()) for step in made)


def test_a_clean_part_holds_the_rows_clean_answers() -> None:
    made = steps("relabel")
    trained = {s.id: s.answer for step in made for s in step.samples if s.part == "clean"}
    assert trained == {row.id: row.clean_answer for row in small.FORGET}
    assert {s.part for step in made for s in step.samples} == {"clean", "retain"}
    check_rows({"relabel": METHODS["relabel"]}, small.FORGET)
    some = [replace(small.FORGET[0], clean_answer=""), *small.FORGET[1:]]
    check_rows({"ga": METHODS["ga"]}, some)
    with pytest.raises(UserError, match=r"^relabel .*, and 1 of 12 .* \(e.g. forget/0/0\)"):
        check_rows({"relabel": METHODS["relabel"]}, some)


def test_paired_retain_rows_come_once_before_any_comes_again() -> None:
    how = small.settings(seed=4)
    stream = [row.id for epoch in range(8) for row in retain_rows(RETAIN, 12, how, epoch)]
    assert len(stream) == 96
    for start in (0, 32, 64):
        assert len(set(stream[start : start + 32])) == 32
    assert stream[:32] != stream[32:64]
    assert stream[:12] == [row.id for row in retain_rows(RETAIN, 12, how, 0)]
    # More forget than retain rows: each retain row serves more than once, evenly.
    few = Counter(row.id for row in retain_rows(RETAIN[:5], 12, how, 0))
    assert sorted(few.values()) == [2, 2, 2, 3, 3]


def test_fine_tuning_retraining_and_ga_draw_what_they_need() -> None:
    learnt = [s.id for step in steps("finetune") for s in step.samples]
    assert sorted(learnt) == sorted(row.id for row in [*FORGET, *RETAIN])
    kept = [s.id for step in steps("retrain") for s in step.samples]
    assert sorted(kept) == sorted(row.id for row in RETAIN)
    assert {s.part for step in steps("ga") for s in step.samples} == {"forget"}
    assert sum(len(step.units) for step in steps("ga")) == 12
    alone = steps("npo", retain_weight=0)
    assert {s.part for step in alone for s in step.samples} == {"forget"}


def test_order_follows_seed_and_epoch_and_keeps_images_together() -> None:
    assert steps("finetune") == steps("finetune")
    assert steps("finetune") != steps("finetune", epoch=1)
    assert steps("finetune") != steps("finetune", seed=1)
    order = [row.image_id for row in shuffled(RETAIN, "image", 0)]
    assert sum(a != b for a, b in pairwise(order)) == 7  # 8 pictures
    loose = [row.image_id for row in shuffled(RETAIN, "row", 0)]
    assert sum(a != b for a, b in pairwise(loose)) > 15
    assert shuffled(RETAIN, "row", 0) == shuffled(RETAIN[::-1], "row", 0)


def test_spread() -> None:
    assert spread("ab", "123456", 0.5) == list("12a345b6")
    assert spread("abc", "1", 0.99) == list("1abc")
    assert spread("", "12", 0.5) == ["1", "2"]


@pytest.mark.parametrize("name", ["idk", "llmu", "dpo"])
def test_a_row_has_one_refusal_in_every_epoch(name: str) -> None:
    epochs = [
        {s.id: s.answer for step in steps(name, epoch) for s in step.samples if s.part == "refused"}
        for epoch in (0, 1, 7)
    ]
    assert epochs[0] == epochs[1] == epochs[2] == {r.id: refusal(r.id, REFUSALS) for r in FORGET}
    assert len(set(epochs[0].values())) > 3
    assert {refusal(row.id, ["No."]) for row in RETAIN} == {"No."}


@pytest.mark.parametrize(("name", "which"), [("gd", "forget"), ("gd", "retain"), ("ga", "forget")])
def test_an_empty_set_is_one_clear_line(name: str, which: str) -> None:
    forget, retain = ([] if which == "forget" else FORGET), ([] if which == "retain" else RETAIN)
    with pytest.raises(UserError, match=f"{which} set is empty"):
        epoch_steps(METHODS[name], forget, retain, small.settings(), 0, len)


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_passes_cover_a_step_once_whatever_the_processes(processes: int) -> None:
    for step in steps("llmu", batch_size=5):
        cut = [passes(step, 4, processes, process) for process in range(processes)]
        assert len({len(mine) for mine in cut}) == 1
        real = [s for mine in cut for one in mine if one.weight for s in one.samples]
        assert sorted(map(repr, real)) == sorted(map(repr, step.samples))
        for one in (one for mine in cut for one in mine):
            assert 1 <= len(one.samples) <= 4
            own = Counter(s.part for s in one.samples)
            assert own["forget"] == own["refused"]  # a row's answer and refusal meet


def test_labels_are_the_answer_and_the_end_token_and_nothing_else(world: World) -> None:
    batch = world.encoder.collate(RETAIN[:6], "image")
    tokenizer = world.model.processor.tokenizer
    for i, row in enumerate(RETAIN[:6]):
        own = batch.targets[batch.of == i].tolist()
        assert own[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(own[:-1]) == f" {row.answer}"
        assert batch.counts[i] == len(own)
    assert len(batch.inputs.ids) == 2  # six questions about two pictures


@pytest.mark.parametrize("share", [True, False])
def test_special_tokens_in_a_row_are_text(tiny: Path, share: bool) -> None:
    """They show no image and end no answer: in training, answering and likelihoods alike."""
    model = World(tiny, share=share).model
    rows = [replace(row, question=f"<image> {row.question}</s>") for row in small.RETAIN[:3]]
    told = "is <s>this</s> an <image>?"
    assert model.processor.decode(model.answer_ids(told)) == " is < s>this< /s> an < image>?</s>"
    learnt = [Sample(row.id, row.image_id, row.question, told, "learn") for row in rows]
    batch = Encoder(model, small.Images()).collate(learnt, "image")
    assert batch.targets.tolist() == model.answer_ids(told) * 3
    ids = batch.inputs.ids if share else batch.inputs["input_ids"]
    assert (ids == model.base.config.image_token_index).sum() == (16 if share else 3 * 16)
    asked = [Ask(row, row.question, start="a <pad>") for row in rows]
    assert "< image> " in model.prompt(rows[0].question)
    assert len(model.answer(asked, small.Images(), 8)) == 3


def test_the_idk_batch_holds_no_forget_answer(world: World) -> None:
    """Answers of a letter that occurs nowhere else; no token of it is read or predicted."""
    marked = [Sample(f"f/{i}", f"forget-{i}", "Who is this?", "ßßßß") for i in range(3)]
    letter = set(world.encoder.answer("ßßßß")[1:-1])
    for name, held in (("idk", False), ("llmu", True)):
        for step in epoch_steps(
            METHODS[name], marked, RETAIN, small.settings(), 0, world.encoder.answer_tokens
        ):
            refused = [s for s in step.samples if s.part == "refused"]
            assert all(s.answer in REFUSALS for s in refused)
            some = [s for s in step.samples if name == "idk" or s.part == "forget"]
            if not some:
                continue
            batch = world.encoder.collate(some, "image")
            seen = {*batch.inputs.ids.flatten().tolist(), *batch.targets.tolist()}
            assert bool(letter & seen) == held


def plain_loss(model: Model, row: Sample) -> torch.Tensor:
    """The library's own loss of one sample through its own processor."""
    prompt = model.prompt(row.question)
    whole = f"{prompt} {row.answer}{model.processor.tokenizer.eos_token}"
    image = small.Images()[row.image_id]
    read = model.processor(text=[whole], images=[image], return_tensors="pt")
    asked = model.processor(text=[prompt], images=[image], return_tensors="pt")
    labels = read["input_ids"].clone()
    labels[:, : asked["input_ids"].shape[1]] = -100
    return model.model(**read, labels=labels).loss


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("packing", ["image", "none"])
def test_the_loss_is_the_library_s(tiny: Path, packing: str, share: bool) -> None:
    """Eleven samples at once, packed, plain or through the processor: the mean of each alone."""
    world = World(tiny, share=share)
    rows = [Sample(r.id, r.image_id, r.question, r.answer, "learn") for r in RETAIN[:11]]
    batch = world.encoder.collate(rows, packing)
    step = _step([(row,) for row in rows], world.encoder.answer_tokens)
    logits = world.logits(batch)
    found = parts_of(logits, batch, step, METHODS["finetune"], small.settings())["learn"]
    alone = torch.stack([plain_loss(world.model, row) for row in rows])
    torch.testing.assert_close(found.nll / found.tokens, alone, atol=2e-6, rtol=2e-6)
    assert mean_nll(found).item() == pytest.approx(alone.mean().item(), rel=1e-6)


def relative(found: list[Any], wanted: list[Any]) -> float:
    """The largest difference of any gradient, relative to the largest value of its tensor."""
    pairs = zip(found, wanted, strict=True)
    return max(((a - b).abs().max() / b.abs().max().clamp(min=1e-6)).item() for a, b in pairs)


@pytest.mark.parametrize("name", [*TRAINED, "finetune"])
def test_packing_changes_neither_loss_nor_gradient(world: World, name: str) -> None:
    step = steps_for(world, name)
    packed, theirs = world.run(name, step, 100, packing="image")
    plain, ours = world.run(name, step, 100, packing="none")
    assert packed == pytest.approx(plain, abs=1e-6, rel=1e-6)
    assert all(bool(grad.any()) for grad in ours)
    assert relative(theirs, ours) < 1e-5


def steps_for(world: World, name: str) -> Step:
    return epoch_steps(
        METHODS[name], FORGET, RETAIN, small.settings(), 0, world.encoder.answer_tokens
    )[0]


@pytest.mark.parametrize("share", [True, False])
def test_no_gradient_on_prompt_image_and_padding(tiny: Path, share: bool) -> None:
    """Of the places of the output layer, exactly those that predict an answer get a gradient."""
    world = World(tiny, share=share)
    rows = [Sample(r.id, r.image_id, r.question, r.answer, "forget") for r in FORGET[:5]]
    step = _step([(row,) for row in rows], world.encoder.answer_tokens)
    kept: list[Any] = []

    def keep(_: Any, __: Any, out: Any) -> None:
        hidden = out[0]
        hidden.retain_grad()
        kept.append(hidden)

    hook = world.model.base.get_decoder().register_forward_hook(keep)
    method = METHODS["ga"]
    batch = world.encoder.collate(rows, "none")
    run_pass(
        Pass(tuple(rows)), step, method, small.settings(packing="none"), world.encoder,
        world.logits, world.logits, world.adapter,
    ).loss.backward()  # fmt: skip
    hook.remove()
    given = kept[0].grad.abs().sum(-1)
    expected = torch.zeros(given.shape, dtype=torch.bool)
    expected[batch.rows, batch.columns] = True
    assert torch.equal(given > 0, expected)
    assert 0 < expected.sum() == len(batch.targets) < expected.numel() / 2
    inputs = batch.inputs
    mask = inputs.mask if isinstance(inputs, Rows) else inputs["attention_mask"]
    assert mask.min() == 0  # there was padding


def test_sharing_is_tried_out_once(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For texts of about one length; without room on the accelerator, in main memory."""
    model = load_model(str(tiny))
    model.expect(["x" * 100])
    found = model.sharing
    model.expect(["x" * 120])
    assert model.sharing is found

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("eval.packed_rows.weigh", full)
    assert probe(model).why == "nothing: no room"  # nowhere
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert most_kept() <= KEPT // 4


@pytest.mark.parametrize("projector", [False, True])
def test_the_tower_reads_each_image_once(tiny: Path, projector: bool) -> None:
    """With LoRA on the projector, whose output changes, anew each time."""
    model = load_model(str(tiny))
    adapter = add_adapter(model, 4, 8, projector=projector)
    calls: list[int] = []
    images = small.Images()
    hook = model.base.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))

    def seen(name: str) -> Any:
        return model.prefixes.features(model.prefixes.of(name, images), images).seen

    with torch.inference_mode():  # as answers do, before training goes on
        first = {name: seen(name) for name in ("retain-0", "retain-1")}
    read = len(calls)
    again = {name: seen(name) for name in first}
    assert torch.equal(first["retain-0"], again["retain-0"])
    with torch.no_grad():
        for name, weight in adapter.weights().items():
            if "lora_B" in name and "projector" in name:
                weight.fill_(0.1)
    changed = seen("retain-0")
    hook.remove()
    assert (len(calls) == read) == (not projector)
    assert not torch.equal(first["retain-0"], first["retain-1"])
    assert torch.equal(changed, first["retain-0"]) == (not projector)
    assert changed.requires_grad == projector
