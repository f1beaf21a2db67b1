"""The loop: it learns, is cut up at will, survives kills, and stops what has collapsed."""

import json
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import small_training as small
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from baselines.adapters import take_off
from baselines.methods import TRAINED
from baselines.train import train
from baselines.training_loop import learning_rate
from baselines.training_state import Outcome
from eval.attacks import Ask
from eval.load_model import load_model
from eval.model import Model
from mllmu_med_dataset import UsageError, UserError

HERE = Path(__file__).parent


@pytest.fixture
def model(tiny: Path) -> Model:
    return load_model(str(tiny))


def run(model: Model, method: str, out: Path, on_step: Any = None, **how: Any) -> Outcome:
    return train(
        model, method, small.FORGET, small.RETAIN, small.Images(), small.settings(**how), out,
        on_step=on_step,
    )  # fmt: skip


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "adapter" / "adapter_model.safetensors")


def apart(a: Path, b: Path) -> float:
    """The largest difference of any weight of two runs' adapters."""
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    return max((ours[name] - theirs[name]).abs().max().item() for name in ours)


def distance(a: Path, b: Path) -> float:
    """Of two runs' adapters, relative to their size.

    Not the largest difference: Adam divides by a gradient's own size, so that rounding shows in a
    weight whose gradient is next to nothing.
    """
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    squared = sum((ours[name] - theirs[name]).double().square().sum().item() for name in ours)
    size = sum(value.double().square().sum().item() for value in ours.values())
    return float((squared / size) ** 0.5)


def answers(model: Model) -> list[bool]:
    asked = [Ask(row, row.question) for row in [*small.FORGET, *small.RETAIN]]
    found = model.answer(asked, small.Images(), 24)
    return [a.text == ask.row.answer for a, ask in zip(found, asked, strict=True)]


@pytest.mark.slow
def test_fine_tuning_learns_and_unlearning_goes_its_way(model: Model, tmp_path: Path) -> None:
    how: dict[str, Any] = {"rank": 32, "alpha": 64}
    assert sum(answers(model)) == 0
    done = run(model, "finetune", tmp_path / "ft", epochs=20, batch_size=11, **how)
    assert done.status == "finished"
    assert done.steps == 80 == len(small.log_of(tmp_path / "ft"))
    assert sum(answers(model)) > 40  # of 44
    for method in TRAINED:
        out = tmp_path / method
        run(model, method, out, epochs=4, batch_size=6, learning_rate=1e-3,
            retain_sampling="paired", **how)  # fmt: skip
        log = small.log_of(out)
        if "forget" in log[0] and "refused" not in log[0]:
            assert log[-1]["forget"] > log[0]["forget"]
        if "refused" in log[0]:
            assert log[-1]["refused"] < log[0]["refused"] - 0.5
        if "kl" in log[0]:
            assert abs(log[0]["kl"]) < 1e-6 < log[-1]["kl"]
        take_off(model)
    assert sum(answers(model)) > 40  # the fine-tuned model is as it was


@pytest.mark.parametrize("checkpointing", [True, False])
def test_lora_b_alone_moves_first(model: Model, tmp_path: Path, checkpointing: bool) -> None:
    before = {name: p.detach().clone() for name, p in model.model.named_parameters()}
    run(model, "finetune", tmp_path, max_steps=1, checkpointing=checkpointing)
    saved = weights(tmp_path)
    moved = [name for name in saved if "lora_B" in name]
    assert len(moved) == 14
    assert all(bool(saved[name].any()) for name in moved)
    take_off(model)
    after = dict(model.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_checkpointing_is_exact(tiny: Path, model: Model, tmp_path: Path, monkeypatch: Any) -> None:
    again: list[int] = []
    from transformers.models.mistral.modeling_mistral import MistralMLP

    forward = MistralMLP.forward
    monkeypatch.setattr(MistralMLP, "forward", lambda *a: again.append(1) or forward(*a))
    run(model, "llmu", tmp_path / "kept", max_steps=2)
    kept = len(again)
    run(load_model(str(tiny)), "llmu", tmp_path / "again", max_steps=2, checkpointing=True)
    assert len(again) - kept > kept  # it did compute them again
    assert apart(tmp_path / "kept", tmp_path / "again") == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["finetune", "llmu"])
def test_in_bfloat16_the_adapter_stays_float32(tiny: Path, tmp_path: Path, method: str) -> None:
    """As on an accelerator: weights and arithmetic in bfloat16, what is trained in float32."""
    model = load_model(str(tiny), dtype="bfloat16")
    run(model, method, tmp_path, epochs=4, batch_size=11, checkpointing=True)
    assert {value.dtype for value in weights(tmp_path).values()} == {torch.float32}
    log = small.log_of(tmp_path)
    if method == "finetune":
        assert log[-1]["learn"] < log[0]["learn"] - 1
    else:
        assert abs(log[0]["kl"]) < 1e-6 < 1e-3 < log[-1]["kl"]
    reloaded = load_model(str(tiny), [tmp_path / "adapter"], dtype="bfloat16")
    ours, theirs = model.model.state_dict(), reloaded.model.state_dict()
    assert ours.keys() == theirs.keys()
    # Frozen, it is held as the forward pass computes with it.
    assert all(torch.equal(ours[name].to(of.dtype), of) for name, of in theirs.items())


@pytest.mark.parametrize("method", ["finetune", "llmu", "npo"])
def test_how_a_step_is_cut_up_changes_nothing(tiny: Path, tmp_path: Path, method: str) -> None:
    for name, how in (
        ("once", {"micro_batch": 100}),
        ("cut", {"micro_batch": 2}),
        ("plain", {"packing": "none"}),
    ):
        run(load_model(str(tiny)), method, tmp_path / name, max_steps=4, **how)
    once = small.log_of(tmp_path / "once")
    for name in ("cut", "plain"):
        for a, b in zip(once, small.log_of(tmp_path / name), strict=True):
            assert a == pytest.approx(b, rel=1e-4, abs=1e-5)
        assert distance(tmp_path / "once", tmp_path / name) < 2e-3


def test_the_same_run_twice_is_the_same_bit_for_bit(tiny: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(load_model(str(tiny)), "llmu", tmp_path / name, seed=seed)
    assert (tmp_path / "a/log.jsonl").read_bytes() == (tmp_path / "b/log.jsonl").read_bytes()
    assert apart(tmp_path / "a", tmp_path / "b") == 0
    assert apart(tmp_path / "a", tmp_path / "c") > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "how"),
    [
        # Passes of unequal size and number, and in the last step two rows.
        ("llmu", {"batch_size": 7, "micro_batch": 3}),
        ("npo", {"batch_size": 5, "retain_sampling": "paired", "checkpointing": True}),
        ("finetune", {"batch_size": 43, "reduction": "token"}),  # the last step has one row
        ("pdu", {"batch_size": 7, "micro_batch": 3, "multiplier": 0.5}),
    ],
)
def test_two_processes_are_one(tiny: Path, tmp_path: Path, method: str, how: Any) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    given = [str(tiny), str(tmp_path / "two"), method, json.dumps(how)]
    line = [sys.executable, *launch, str(HERE / "small_training.py"), *given]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    with subprocess.Popen(line, env=env, stdout=-3, stderr=subprocess.PIPE, text=True) as two:
        run(load_model(str(tiny)), method, tmp_path / "one", **how)
        _, err = two.communicate(timeout=250)
    assert two.returncode == 0, err
    record = json.loads((tmp_path / "two/record.json").read_text())
    assert record["processes"] == record["outcome"]["compute"]["processes"] == 2
    costs = [small.outcome_of(tmp_path / name)["compute"] for name in ("one", "two")]
    assert costs[0]["forget_exposures"] == costs[1]["forget_exposures"] > 0
    logs = small.log_of(tmp_path / "one"), small.log_of(tmp_path / "two")
    assert len(logs[0]) > 1
    for a, b in zip(*logs, strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-5)
    assert distance(tmp_path / "one", tmp_path / "two") < 1e-5


def test_an_interrupted_epoch_goes_on(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    """Stopped before the second epoch's checkpoint: its steps are taken again, and paid twice."""
    taken: list[int] = []

    def stop(step: int) -> None:
        taken.append(step)
        if taken == [1, 2, 3, 4]:
            raise KeyboardInterrupt

    how: dict[str, Any] = {"epochs": 3, "batch_size": 22}
    with pytest.raises(KeyboardInterrupt):
        run(load_model(str(tiny)), "llmu", tmp_path / "a", stop, **how)
    with (tmp_path / "a/compute.jsonl").open("a") as stream:
        stream.write('{"half')
    run(load_model(str(tiny)), "llmu", tmp_path / "a", stop, **how)
    assert "llmu: goes on after step 2" in capsys.readouterr().err
    assert taken == [1, 2, 3, 4, 3, 4, 5, 6]
    assert not (tmp_path / "a/checkpoint.pt").exists()
    run(load_model(str(tiny)), "llmu", tmp_path / "b", **how)
    assert apart(tmp_path / "a", tmp_path / "b") == 0
    shaken, calm = (small.outcome_of(tmp_path / name)["compute"] for name in "ab")
    assert (calm["steps"], calm["repeated"], calm["forget_exposures"]) == (6, 0, 3 * 12)
    assert (shaken["steps"], shaken["repeated"], shaken["forget_exposures"]) == (8, 2, 3 * 12)
    paid = [json.loads(x) for x in (tmp_path / "a/compute.jsonl").read_text().splitlines()]
    assert shaken["tokens"] == sum(x["tokens"] for x in paid) > 1.2 * calm["tokens"]
    assert shaken["seconds"] == pytest.approx(sum(x["seconds"] for x in paid), abs=0.06)
    assert shaken["signature"] == calm["signature"]
    for word in ("device cpu", "attention sdpa", "batch_size 22", "micro_batch 16", "float32"):
        assert word in calm["signature"]
    # A pack of 4 questions of an image: 16 tokens of it once, and it is read without padding.
    assert 0 < calm["tokens"] < 3 * 2 * 44 * 60
    assert calm["peak_memory"] > 10**8


def test_what_steps_make_of_a_setting_survives_an_interruption(tiny: Path, tmp_path: Path) -> None:
    def stop(step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt

    how: dict[str, Any] = {"epochs": 2, "batch_size": 22, "dual_rate": 0.1, "multiplier": 0.5}
    with pytest.raises(KeyboardInterrupt):
        run(load_model(str(tiny)), "pdu", tmp_path / "a", stop, **how)
    run(load_model(str(tiny)), "pdu", tmp_path / "a", **how)
    run(load_model(str(tiny)), "pdu", tmp_path / "b", **how)
    assert apart(tmp_path / "a", tmp_path / "b") == 0
    lines = small.log_of(tmp_path / "a")
    assert lines == small.log_of(tmp_path / "b")
    weights = [0.5, *(line["multiplier"] for line in lines)]
    for (before, after), line in zip(pairwise(weights), lines, strict=True):
        assert after == pytest.approx(max(0, before + 0.1 * (line["retain"] - 0.1)), abs=1e-6)


def test_a_finished_run_is_not_run_again(tiny: Path, model: Model, tmp_path: Path) -> None:
    first = run(model, "ga", tmp_path)
    stamp = (tmp_path / "adapter/adapter_model.safetensors").stat().st_mtime_ns
    other = load_model(str(tiny))
    assert run(other, "ga", tmp_path) == first
    assert (tmp_path / "adapter/adapter_model.safetensors").stat().st_mtime_ns == stamp
    assert other.identity["adapters"] == model.identity["adapters"]
    assert answers(other) == answers(model)


def test_another_run_s_folder_is_left_alone(tiny: Path, model: Model, tmp_path: Path) -> None:
    run(model, "ga", tmp_path)
    before = (tmp_path / "record.json").read_bytes()
    for method, how, said in (
        ("gd", {}, "method: 'ga' there, 'gd' now"),
        ("ga", {"learning_rate": 1e-4}, "learning_rate: 0.003 there, 0.0001 now"),
    ):
        with pytest.raises(UserError, match=said):
            run(load_model(str(tiny)), method, tmp_path, **how)
    with pytest.raises(UserError, match="rows"):
        train(load_model(str(tiny)), "ga", small.FORGET[1:], [], small.Images(),
              small.settings(), tmp_path)  # fmt: skip
    with pytest.raises(UserError, match="parents"):
        run(model, "ga", tmp_path)  # with the trained adapter on
    assert (tmp_path / "record.json").read_bytes() == before
    # What does not change the result is no other run.
    run(load_model(str(tiny)), "ga", tmp_path, save_every=3)


def test_the_record_holds_what_the_run_was(model: Model, tmp_path: Path) -> None:
    done = train(model, "idk", small.FORGET, small.RETAIN, small.Images(), small.settings(),
                 tmp_path, data={"config": "privacy", "build": "abc"})  # fmt: skip
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["method"] == "idk"
    assert record["settings"]["seed"] == 0
    assert record["settings"]["refusals"][0] == "I don't know."
    assert record["data"]["build"] == "abc"
    assert (record["data"]["forget"], record["data"]["retain"]) == (12, 32)
    assert record["model"]["weights"] == model.identity["weights"]
    assert set(record["versions"]) == {"torch", "transformers", "peft"}
    assert record["outcome"]["status"] == "finished"
    assert record["outcome"]["steps"] == done.steps == 6  # 44 rows by 8
    assert "abc" in (tmp_path / "adapter/README.md").read_text()
    for i, line in enumerate(small.log_of(tmp_path), 1):
        assert line["step"] == i
        assert set(line) == {"step", "loss", "refused", "retain", "grad_norm", "lr"}


def test_a_collapse_stops_the_run_and_is_recorded(model: Model, tmp_path: Path) -> None:
    done = run(model, "ga", tmp_path, learning_rate=0.3, epochs=50, collapse=2, warmup=0)
    assert done.status == "collapsed"
    assert "forget loss of step" in done.reason
    bound = 2 * math.log(model.model.config.text_config.vocab_size)
    log = small.log_of(tmp_path)
    assert log[-1]["forget"] > bound >= max(line["forget"] for line in log[:-1])
    assert done.steps == len(log) < 100
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["outcome"]["reason"] == done.reason
    assert all(bool(value.isfinite().all()) for value in weights(tmp_path).values())
    # Found again as it ended, not tried again.
    take_off(model)
    assert run(model, "ga", tmp_path, learning_rate=0.3, epochs=50, collapse=2, warmup=0) == done


def test_what_is_not_finite_never_reaches_the_weights(model: Model, tmp_path: Path) -> None:
    done = run(model, "finetune", tmp_path, learning_rate=1e30, epochs=3, warmup=0)
    assert done.status == "collapsed"
    assert "is not finite" in done.reason
    assert len(small.log_of(tmp_path)) == done.steps >= 1
    assert all(bool(value.isfinite().all()) for value in weights(tmp_path).values())


def test_the_learning_rate_rises_and_falls() -> None:
    how = small.settings(learning_rate=1.0, warmup=0.1, lr_end=0.1)
    rates = [learning_rate(step, 100, how) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert rates[10] == 1
    assert rates[55] == pytest.approx(0.55)  # half the cosine: half way from 1 to .1
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert 0.1 < rates[-1] < 0.102
    assert learning_rate(0, 1, small.settings(learning_rate=1.0, warmup=0)) == 1


def test_bad_input_is_one_clear_line(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="method forgetting: use finetune, retrain, ga"):
        run(model, "forgetting", tmp_path)
    with pytest.raises(UserError, match="the forget set is empty"):
        train(model, "gd", [], small.RETAIN, small.Images(), small.settings(), tmp_path)
    with pytest.raises(ValidationError):
        small.settings(learning_rate=-1)
    with pytest.raises(UsageError, match=r"^gd has no setting gama$"):
        run(model, "gd", tmp_path / "other", gama=1)


def test_no_memory_names_a_way(model: Model, tmp_path: Path, monkeypatch: Any) -> None:
    from baselines.forward import AnswerLogits

    def full(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("no")

    monkeypatch.setattr(AnswerLogits, "forward", full)
    with pytest.raises(UserError, match="lower micro_batch"):
        run(model, "ga", tmp_path)
