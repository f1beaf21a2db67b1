"""Rounds of unlearning that go on from each other, forget ratios, and what is shown of both."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import small_training as small
import torch
from safetensors.torch import load_file

from baselines.adapters import Start, add_adapter
from baselines.train import train
from eval.attacks import Ask
from eval.load_model import load_model
from eval.model import Model
from mllmu_med_dataset import UsageError, UserError

ROUNDS = small.FORGET[:6], small.FORGET[6:]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.make(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def tuned(tiny: Path) -> Path:
    """The adapter of a short fine-tuning."""
    out = tiny.parent / "tuned"
    how = small.settings(rank=16, alpha=32)  # another rank than unlearning's
    train(load_model(str(tiny)), "finetune", small.FORGET, small.RETAIN, small.Images(), how, out)
    return out / "adapter"


def unlearn(model: Model, method: str, number: int, out: Path, **how: Any) -> None:
    start, on_step = how.pop("start", None), how.pop("on_step", None)
    more: dict[str, Any] = {"start": start, "on_step": on_step}
    more["settings"] = small.settings(retain_sampling="paired", batch_size=3, **how)
    train(model, method, ROUNDS[number], small.RETAIN, small.Images(), out=out, **more)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def logprobs(model: Model) -> list[list[float]]:
    asked = [Ask(row, row.question) for row in small.FORGET]
    return model.logprobs(asked, [row.answer for row in small.FORGET], small.Images())


@pytest.fixture(scope="module")
def first(tiny: Path, tuned: Path) -> Path:
    """A first round of KL-Min."""
    out = tiny.parent / "round-1"
    unlearn(load_model(str(tiny), [tuned]), "kl-min", 0, out)
    return out


def test_a_round_starts_from_the_last_ones_adapter(tiny: Path, tuned: Path, first: Path) -> None:
    """Its weights are the first ones, its model the reference; there are three adapters at most."""
    before = logprobs(load_model(str(tiny), [tuned, first / "adapter"]))
    fine = logprobs(load_model(str(tiny), [tuned]))
    assert before != fine
    start = {n.replace(".weight", ""): w for n, w in weights(first).items()}
    for reference, wanted in (("previous", before), ("finetuned", fine)):
        for compares in (True, False):
            model = load_model(str(tiny), [tuned])
            going = Start(first / "adapter", reference)  # type: ignore[arg-type]
            adapter = add_adapter(model, 8, 16, 0, False, going, compares)
            kept = compares and reference == "previous"
            assert len(model.model.peft_config) == 2 + kept
            own = adapter.weights()
            assert len(own) == len(start)
            for name, weight in own.items():
                plain = name.replace(f".{adapter.name}.weight", "")
                assert torch.equal(weight, start[plain]), name
                assert weight.requires_grad
            assert sum(p.requires_grad for p in model.model.parameters()) == len(own)
            assert logprobs(model) == before
            with torch.no_grad():
                next(iter(own.values())).add_(1.0)
            assert logprobs(model) != before
            if compares:
                with adapter.reference():
                    assert logprobs(model) == wanted
            adapter.let_go()
            assert len(model.model.peft_config) == 2


def test_a_second_round_is_recorded_and_loads_as_two_adapters(
    tiny: Path, tuned: Path, first: Path, tmp_path: Path
) -> None:
    model = load_model(str(tiny), [tuned])
    start = Start(first / "adapter")
    unlearn(model, "kl-min", 1, tmp_path / "two", start=start)
    assert [*model.model.peft_config] == ["adapter_0", "adapter_2"]
    stack = [tuned, tmp_path / "two" / "adapter"]
    assert logprobs(load_model(str(tiny), stack)) == logprobs(model)
    record = json.loads((tmp_path / "two" / "record.json").read_text())
    wanted = {"path": str(first / "adapter"), **start.identity(True)}
    assert record["start"] == wanted
    assert record["identity"]["start"] == start.identity(True)
    assert len(record["identity"]["parents"]) == 1
    assert "Goes on from" in (tmp_path / "two" / "adapter" / "README.md").read_text()
    log = small.log_of(tmp_path / "two")
    assert abs(log[0]["kl"]) < 1e-6 < log[-1]["kl"]  # compared with where it begins
    other = tmp_path / "other"
    how: dict[str, Any] = {"start": start._replace(reference="finetuned")}
    unlearn(load_model(str(tiny), [tuned]), "kl-min", 1, other, **how)
    assert small.log_of(other)[0]["kl"] > 1e-4  # with what the first round has changed
    with pytest.raises(UserError, match="holds another run .start.reference: 'previous' there"):
        unlearn(load_model(str(tiny), [tuned]), "kl-min", 1, tmp_path / "two", **how)
    assert start.identity(False) == {"weights": record["start"]["weights"]}


def test_a_killed_round_goes_on_bit_for_bit(
    tiny: Path, tuned: Path, first: Path, tmp_path: Path
) -> None:
    start = Start(first / "adapter")
    how: dict[str, Any] = {"start": start, "epochs": 3, "save_every": 1}
    unlearn(load_model(str(tiny), [tuned]), "kl-min", 1, tmp_path / "calm", **how)

    def stop(step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unlearn(load_model(str(tiny), [tuned]), "kl-min", 1, tmp_path / "cut", on_step=stop, **how)
    assert (tmp_path / "cut" / "checkpoint.pt").is_file()
    unlearn(load_model(str(tiny), [tuned]), "kl-min", 1, tmp_path / "cut", **how)
    ours, theirs = weights(tmp_path / "calm"), weights(tmp_path / "cut")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert small.log_of(tmp_path / "calm") == small.log_of(tmp_path / "cut")


def test_what_cannot_be_gone_on_with_is_refused(
    tiny: Path, tuned: Path, first: Path, tmp_path: Path
) -> None:
    start = Start(first / "adapter")
    for changed in ({"rank": 4}, {"alpha": 8}, {"projector": True}):
        with pytest.raises(UserError, match="cannot be gone on with: its layers, rank or alpha"):
            unlearn(load_model(str(tiny), [tuned]), "ga", 1, tmp_path / "x", start=start, **changed)
        shutil.rmtree(tmp_path / "x")
    with pytest.raises(UserError, match="was trained on top of 1 adapters"):
        unlearn(load_model(str(tiny)), "ga", 1, tmp_path / "x", start=start)
    with pytest.raises(UserError, match="no PEFT adapter here"):
        unlearn(load_model(str(tiny), [tuned]), "ga", 1, tmp_path / "x", start=Start(tmp_path))
    for method in ("negation", "manu", "chip"):
        with pytest.raises(UsageError, match=f"^{method}: takes no training steps, so it cannot"):
            unlearn(load_model(str(tiny), [tuned]), method, 1, tmp_path / "x", start=start)
    assert not (tmp_path / "x").exists()
