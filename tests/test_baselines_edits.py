"""Methods without gradients, against float64 hand arithmetic on a small fine-tuned model."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import small_training as small
import torch

from baselines import edits
from baselines.adapters import take_off
from baselines.batches import Encoder
from baselines.editing import RowsRead, down_projections, neurons_in
from baselines.forward import AnswerLogits
from baselines.methods import METHODS
from baselines.recipe import load_recipe
from baselines.schedule import samples
from baselines.train import train
from baselines.training_settings import MethodSettings
from baselines.training_state import RunFolder
from eval.load_model import load_model
from eval.model import Model
from mllmu_med.recipe_files import Choice
from mllmu_med_dataset import UsageError, UserError


@pytest.fixture(scope="module")
def tuned(tiny: Path) -> Path:
    """A fine-tuned model's adapter, whose scaling is not 1."""
    out = tiny.parent / "edited"
    train(load_model(str(tiny)), "finetune", small.FORGET, small.RETAIN, small.Images(),
          small.settings(alpha=24), out)  # fmt: skip
    return out / "adapter"


def given(model: Model, rows: Any, size: int = 5) -> RowsRead:
    images = small.Images()
    return RowsRead(samples(rows), Encoder(model, images), AnswerLogits(model, images), size)


def logits(model: Model) -> torch.Tensor:
    """At the answers of all rows, through the model's own processor."""
    images = small.Images()
    texts = [(row.question, row.answer, True) for row in small.FORGET]
    read, spots = model.read_answered(texts, [images[row.image_id] for row in small.FORGET])
    with torch.no_grad():
        return model.plain_logits(read, [s.row for s in spots], [s.column for s in spots])


def edited(tiny: Path, tuned: Path, method: str, out: Path, **own: Any) -> Model:
    model = load_model(str(tiny), [tuned])
    train(model, method, small.FORGET, small.RETAIN, small.Images(),
          MethodSettings(micro_batch=8, **own), out)  # fmt: skip
    return model


def matrix(model: Model, layer: str) -> torch.Tensor:
    """A map's matrix with all its adapters, in float64, by LoRA's equation."""
    module = model.base.get_submodule(layer)
    whole = module.base_layer.weight.double()
    for name in module.lora_A:
        a, b = module.lora_A[name].weight.double(), module.lora_B[name].weight.double()
        whole = whole + module.scaling[name] * (b @ a)
    return whole.detach()


def seen(model: Model, layer: str, rows: Any, out: bool) -> list[tuple[Any, torch.Tensor]]:
    """What a map is given (or gives) for each row alone, with the row's inputs."""
    found: list[torch.Tensor] = []
    hook = model.base.get_submodule(layer).register_forward_hook(
        lambda _, args, gave: found.append((gave if out else args[0])[0].double())
    )
    images, read_all = small.Images(), []
    for row in rows:
        read, spots = model.read_answered(
            [(row.question, row.answer, True)], [images[row.image_id]]
        )
        with torch.no_grad():
            model.model(**read)
        read_all.append((read["input_ids"][0], [spot.column for spot in spots]))
    hook.remove()
    return list(zip(read_all, found, strict=True))


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_negation_is_a_step_back_to_the_base_model(
    tiny: Path, tuned: Path, tmp_path: Path, share: float
) -> None:
    base, whole = logits(load_model(str(tiny))), logits(load_model(str(tiny), [tuned]))
    model = edited(tiny, tuned, "negation", tmp_path / "out", strength=share)
    assert (whole - base).abs().max() > 0.1
    if share == 1:
        assert torch.allclose(logits(model), base, atol=1e-5)
    tuned_only, before = load_model(str(tiny), [tuned]), load_model(str(tiny))
    for layer in down_projections(tuned_only):
        start = before.base.get_submodule(layer).weight.double()
        expected = start + (1 - share) * (matrix(tuned_only, layer) - start)
        assert torch.allclose(matrix(model, layer), expected, atol=1e-6)
    take_off(model)
    assert torch.equal(logits(model), whole)


def test_negation_takes_all_adapters_below_away(tiny: Path, tuned: Path, tmp_path: Path) -> None:
    model = load_model(str(tiny), [tuned])
    train(model, "ga", small.FORGET, small.RETAIN, small.Images(), small.settings(), tmp_path / "g")
    train(model, "negation", small.FORGET, small.RETAIN, small.Images(),
          MethodSettings(strength=1.0), tmp_path / "n")  # fmt: skip
    assert torch.allclose(logits(model), logits(load_model(str(tiny))), atol=1e-4)
    with pytest.raises(UserError, match="has no adapter on it"):
        edits.negation(load_model(str(tiny)))


def test_manu_silences_the_neurons_of_the_highest_score(
    tiny: Path, tuned: Path, tmp_path: Path
) -> None:
    plain = load_model(str(tiny), [tuned])
    layers, scores = down_projections(plain), []
    for layer in layers:
        three = []
        for rows in (small.FORGET, small.RETAIN):
            z = torch.cat([v[at] for (_, at), v in seen(plain, layer, rows, False)])
            spread = ((z - z.mean(0)) ** 2).mean(0) ** 0.5
            three.append([z.abs().mean(0), spread, (z**2).mean(0) ** 0.5])
        scores.append(sum(f / (r + 1e-5) for f, r in zip(*three, strict=True)))
    every = torch.cat(scores)
    count = int(0.1 * len(every))
    chosen = (every >= every.sort(descending=True).values[count - 1]).view(len(layers), -1)
    model = edited(tiny, tuned, "manu", tmp_path / "out", neurons=0.1)
    for layer, own in zip(layers, chosen, strict=True):
        pruned = matrix(plain, layer)
        pruned[:, own] = 0
        assert torch.allclose(matrix(model, layer), pruned, atol=1e-6)
        with torch.no_grad():  # whatever a silent neuron's value: nothing of it comes through
            loud = own.float()[None] * 100
            assert model.base.get_submodule(layer)(loud).abs().max() < 1e-4
        plain.base.get_submodule(layer).base_layer.weight.data[:, own] = 0
        for a in plain.base.get_submodule(layer).lora_A.values():
            a.weight.data[:, own] = 0
    assert chosen.sum() == count
    assert torch.allclose(logits(model), logits(plain), atol=1e-4)


def test_chip_takes_the_directions_between_siblings_out(
    tiny: Path, tuned: Path, tmp_path: Path
) -> None:
    plain = load_model(str(tiny), [tuned])
    layers = [at for down in down_projections(plain)[-1:] for at in neurons_in(plain, down)]
    assert [layer.rpartition(".")[2] for layer in layers] == ["gate_proj", "up_proj", "down_proj"]
    model = edited(tiny, tuned, "chip", tmp_path / "out", layers=1, neurons=0.5, variance=1.0)
    token = plain.prefixes.image_token
    for layer in layers:
        means: dict[str, list[tuple[str, torch.Tensor]]] = {}
        for name, rows in (("forget", small.FORGET), ("retain", small.RETAIN)):
            means[name] = []
            for row, ((ids, at), out) in zip(rows, seen(plain, layer, rows, True), strict=True):
                ids, out = ids[: at[-1] + 1], out[: at[-1] + 1]
                image = ids == token
                pooled = 0.3 * out[image].mean(0) + 0.7 * out[~image].mean(0)
                means[name].append((row.image_id, pooled))
        f = torch.stack([value for _, value in means["forget"]])
        r = torch.stack([value for _, value in means["retain"]])
        apart = f.abs().mean(0) - r.abs().mean(0)
        own = apart >= apart.sort(descending=True).values[int(0.5 * len(apart)) - 1]
        spans = []
        for image in dict.fromkeys(row.image_id for row in small.FORGET):
            here = torch.stack([v for name, v in means["forget"] if name == image]).mean(0)
            spans.append(torch.where(own, here - r.mean(0), 0.0))
        before, after = matrix(plain, layer), matrix(model, layer)
        q, _ = torch.linalg.qr(torch.stack(spans).T)
        assert torch.allclose(after, before - q @ (q.T @ before), atol=1e-5)
        x = torch.randn(9, before.shape[1])
        with torch.no_grad():
            gave = model.base.get_submodule(layer)(x)
        assert (torch.stack(spans).float() @ gave.T).abs().max() < 1e-3 * gave.norm()
    untouched = down_projections(plain)[0]
    assert torch.equal(matrix(model, untouched), matrix(plain, untouched))


def test_siblings_are_the_patients_own_images_where_there_are_some() -> None:
    def by_image(images: list[tuple[str, str]], *totals: list[float]) -> edits.ByImage:
        total = torch.tensor(totals, dtype=torch.float64)
        return edits.ByImage(images, torch.tensor([2.0, 1.0, 1.0][: len(images)]), {"x": total}, {})

    ours = by_image([("ann", "a1"), ("bob", "b1")], [2.0, 4.0], [1.0, 1.0])
    theirs = by_image([("ann", "a1"), ("ann", "a2"), ("eve", "e1")], [9.0, 9], [0.0, 1], [4.0, 3])
    found = edits.directions(ours, theirs, "x")
    assert found.tolist() == [[1.0, 1.0], [1 - 13 / 4, 1 - 13 / 4]]


def test_an_edit_is_a_run_like_any_other(tiny: Path, tuned: Path, tmp_path: Path) -> None:
    """Its record, its cost, done once only, and another strength is another run."""
    out = tmp_path / "out"
    first = logits(edited(tiny, tuned, "manu", out, neurons=0.1))
    record = json.loads((out / "record.json").read_text())
    assert record["outcome"]["status"] == "finished"
    assert record["outcome"]["steps"] == 0
    assert record["outcome"]["compute"]["forget_exposures"] == len(small.FORGET)
    assert record["identity"]["settings"]["neurons"] == 0.1
    assert "- LoRA on: mlp.down_proj (2); rank " in (out / "adapter/README.md").read_text()
    stamp = (out / "adapter/adapter_model.safetensors").stat().st_mtime_ns
    assert torch.equal(logits(edited(tiny, tuned, "manu", out, neurons=0.1)), first)
    assert (out / "adapter/adapter_model.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match=r"settings\.neurons: 0\.1 there, 0\.2 now"):
        edited(tiny, tuned, "manu", out, neurons=0.2)
    assert torch.equal(logits(load_model(str(tiny), [tuned, out / "adapter"])), first)


def test_an_edit_that_was_killed_is_done_again(
    tiny: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its outcome stands in its record, it is not done; the adapter is the same."""

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "end", killed)
        with pytest.raises(KeyboardInterrupt):
            edited(tiny, tuned, "chip", tmp_path / "out", layers=1)
    first = (tmp_path / "out/adapter/adapter_model.safetensors").read_bytes()
    edited(tiny, tuned, "chip", tmp_path / "out", layers=1)
    assert (tmp_path / "out/adapter/adapter_model.safetensors").read_bytes() == first
    outcome = json.loads((tmp_path / "out/record.json").read_text())["outcome"]
    assert outcome["compute"]["repeated"] == 1


def test_settings_of_training_are_not_taken_and_leave_a_run_as_it_is() -> None:
    recipe = load_recipe("demo", [Choice("unlearn.epochs", "3"), Choice("unlearn.rank", "9")])
    for method in ("negation", "manu", "chip"):
        assert recipe.settings(method).identity() == load_recipe("demo").settings(method).identity()
    with pytest.raises(UsageError, match=r"methods\.chip\.epochs: chip takes no training steps"):
        load_recipe("demo", [Choice("methods.chip.epochs", "3")])
    for key, value in (("manu.neurons", "0"), ("chip.variance", "1.1"), ("negation.strength", "0")):
        with pytest.raises(UsageError, match=rf"methods\.{key}: input should be"):
            load_recipe("demo", [Choice(f"methods.{key}", value)])


def test_trials_draw_a_methods_own_strength() -> None:
    space = load_recipe("demo").tune
    for name, method in METHODS.items():
        if method.edits:
            drawn = [space.draw(i, method.options, steps=False) for i in range(space.trials)]
            assert {*drawn[0]} == {*method.options} & {"strength", "neurons", "variance"}
            assert len({tuple(one.values()) for one in drawn}) == space.trials
            for one in drawn:
                load_recipe("demo", [Choice(f"methods.{name}.{k}", str(v)) for k, v in one.items()])


def test_a_layer_without_a_map_from_its_neurons_is_refused(tiny: Path) -> None:
    model = load_model(str(tiny))
    model.model = copy.deepcopy(model.model)
    model.base.get_decoder().layers[0].mlp = torch.nn.Identity()
    with pytest.raises(UserError, match=r"1 of its language model's 2 layers have .*down_proj"):
        down_projections(model)
