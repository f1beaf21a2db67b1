"""Where LoRA goes, and that the reference model is the fine-tuned one, bit for bit."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
import small_training as small
import torch

from baselines.adapters import add_adapter, card, put_on, take_off
from baselines.lora_places import lora_places
from baselines.train import train
from eval.load_model import load_given, load_model
from eval.model import Model
from mllmu_med_dataset import UserError

Logits = list[torch.Tensor]


@pytest.fixture(scope="module")
def tuned(tiny: Path) -> Path:
    """The adapter of a short fine-tuning."""
    out = tiny.parent / "tuned"
    train(load_model(str(tiny)), "finetune", small.FORGET, small.RETAIN, small.Images(),
          small.settings(), out)  # fmt: skip
    return out / "adapter"


def logits(model: Model) -> torch.Tensor:
    """Of one question, through the library's own processor: a path that training does not take."""
    row = small.FORGET[0]
    image = small.Images()[row.image_id]
    read = model.processor(text=[model.prompt(row.question)], images=[image], return_tensors="pt")
    with torch.no_grad():
        return model.model(**read).logits


@pytest.mark.parametrize("projector", [False, True])
def test_lora_is_on_the_language_model_and_the_projector_on_request(
    tiny: Path, projector: bool
) -> None:
    model = load_model(str(tiny))
    adapter = add_adapter(model, 4, 8, projector=projector)
    names = [name for name, _ in model.model.named_modules() if name.endswith("lora_A.adapter_0")]
    assert len(names) == 7 * 2 + 2 * projector  # seven maps in each of two layers
    assert sum("language_model.layers" in name for name in names) == 7 * 2
    assert sum("multi_modal_projector" in name for name in names) == 2 * projector
    trains = [name for name, p in model.model.named_parameters() if p.requires_grad]
    assert trains == list(adapter.weights())
    scaling = {m.scaling["adapter_0"] for m in model.model.modules() if hasattr(m, "lora_A")}
    assert scaling == {2.0}


def test_lora_is_on_all_linear_maps_of_the_decoder(tiny: Path) -> None:
    """Of a decoder that holds more than maps, what is left out is named."""
    base = load_model(str(tiny)).base
    places = lora_places(base, False, "tiny")
    maps = [n for n, m in base.get_decoder().named_modules() if isinstance(m, torch.nn.Linear)]
    assert places.taken == Counter(name.partition(".")[2].partition(".")[2] for name in maps)
    assert not places.left_out
    found = [n for n, _ in base.named_modules() if re.fullmatch(places.pattern, n)]
    assert len(found) == len(maps) == 14
    base.get_decoder().layers[0].conv = torch.nn.Conv1d(2, 2, 1)
    assert str(lora_places(base, False, "tiny")).endswith("left out: conv.weight (1)")
    for layer in base.get_decoder().layers:
        layer.self_attn = layer.mlp = torch.nn.Identity()
    with pytest.raises(UserError, match="no place for LoRA"):
        lora_places(base, False, "tiny")


def test_what_an_adapter_below_brings_is_not_left_out(tiny: Path, tmp_path: Path) -> None:
    """But a layer that it has replaced whole is, which PEFT puts no other adapter on."""
    from peft import LoHaConfig, LoraConfig, get_peft_model

    whole = LoraConfig(target_modules=["q_proj"], modules_to_save=["embed_tokens", "up_proj"])
    configs = {"loha": LoHaConfig(r=2, target_modules=["layers.0.self_attn.q_proj"])}
    for name, config in {**configs, "whole": whole}.items():
        get_peft_model(load_model(str(tiny)).model, config).save_pretrained(tmp_path / name)
    model = load_model(str(tiny), [tmp_path / "loha"])
    assert not lora_places(model.base, False, "").left_out
    model = load_model(str(tiny), [tmp_path / "whole"])
    assert lora_places(model.base, False, "").left_out == {"mlp.up_proj.weight": 2}
    assert sum("lora_A" in name for name in add_adapter(model, 4, 8).weights()) == 12


def test_a_new_adapter_changes_nothing_until_it_is_trained(tiny: Path, tuned: Path) -> None:
    before = logits(load_model(str(tiny), [tuned]))
    model = load_model(str(tiny), [tuned])
    add_adapter(model, 4, 8)
    assert torch.equal(logits(model), before)


def test_a_second_adapter_starts_elsewhere_than_the_first_did(tiny: Path, tmp_path: Path) -> None:
    def start(seed: int, depth: int) -> torch.Tensor:
        model = load_model(str(tiny))
        for _ in range(depth + 1):
            adapter = add_adapter(model, 4, 8, seed)
        return next(w for name, w in adapter.weights().items() if "lora_A" in name)

    starts = [start(seed, depth) for seed in (0, 1) for depth in (0, 1, 2)]
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in combinations(starts, 2))
    assert torch.equal(start(1, 2), starts[-1])


def test_the_reference_is_the_fine_tuned_model_bit_for_bit(tiny: Path, tuned: Path) -> None:
    base = logits(load_model(str(tiny)))
    fine = logits(load_model(str(tiny), [tuned]))
    assert not torch.allclose(base, fine, atol=0.1)
    model = load_model(str(tiny), [tuned])
    adapter = add_adapter(model, 4, 8)
    with adapter.reference():
        assert torch.equal(logits(model), fine)  # before
    optimizer = torch.optim.SGD(adapter.weights().values(), 0.5)
    row = small.FORGET[0]
    read = model.processor(
        text=[model.prompt(row.question)],
        images=[small.Images()[row.image_id]],
        return_tensors="pt",
    )
    for _ in range(3):
        with adapter.reference():
            assert torch.equal(logits(model), fine)  # during
        assert [p for p in model.model.parameters() if p.requires_grad] == list(
            adapter.weights().values()
        )
        model.model(**read).logits.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not torch.allclose(logits(model), fine, atol=0.1)
    with adapter.reference():
        assert torch.equal(logits(model), fine)  # after
    # The trap: with every adapter off, the model is the base and no reference.
    with model.model.disable_adapter():
        assert torch.equal(logits(model), base)


def test_without_adapters_below_the_reference_is_the_base(tiny: Path) -> None:
    base = logits(load_model(str(tiny)))
    model = load_model(str(tiny))
    adapter = add_adapter(model, 4, 8)
    with torch.no_grad():
        for weight in adapter.weights().values():
            weight.add_(0.1)
    assert not torch.allclose(logits(model), base, atol=0.1)
    with adapter.reference():
        assert torch.equal(logits(model), base)


def test_saved_apart_and_loaded_together_is_one(tiny: Path, tuned: Path, tmp_path: Path) -> None:
    """Three adapters deep, as in a second round of unlearning."""
    model = load_model(str(tiny), [tuned])
    first, second = tmp_path / "first", tmp_path / "second"
    for out, method in ((first, "gd"), (second, "idk")):
        train(model, method, small.FORGET, small.RETAIN, small.Images(), small.settings(), out)
    alive = logits(model)
    stack = [tuned, first / "adapter", second / "adapter"]
    reloaded = load_model(str(tiny), stack)
    assert torch.equal(logits(reloaded), alive)
    assert model.identity["adapters"] == reloaded.identity["adapters"]
    assert not torch.equal(logits(load_model(str(tiny), stack[:2])), alive)
    record = json.loads((second / "record.json").read_text())
    assert record["identity"]["parents"] == [a["weights"] for a in model.identity["adapters"][:2]]
    take_off(model)
    assert torch.equal(logits(model), logits(load_model(str(tiny), stack[:2])))
    put_on(model, second / "adapter")
    assert torch.equal(logits(model), alive)
    for _ in range(3):
        take_off(model)
    assert torch.equal(logits(model), logits(load_model(str(tiny))))
    assert model.identity["adapters"] == []
    put_on(model, tuned)
    assert torch.equal(logits(model), logits(load_model(str(tiny), [tuned])))


def test_an_adapter_of_another_base_or_on_others(
    tiny: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the same shape, so that PEFT takes it."""
    first = tmp_path / "first"
    model = load_model(str(tiny), [tuned])
    train(model, "gd", small.FORGET, small.RETAIN, small.Images(), small.settings(), first)
    rows = small.FORGET, small.RETAIN, small.Images(), small.settings()
    other = str(small.make(tmp_path / "other", seed=1))
    with pytest.raises(UserError, match=r"was trained on .*tiny.*, and not on .*other"):
        put_on(load_model(other), tuned)
    with pytest.raises(UserError, match=r"was trained on .*tiny.*, and not on .*other"):
        train(load_model(other, [tuned]), "ga", *rows, tmp_path / "out")
    with pytest.raises(UserError, match=r"was trained on top of \S+adapter, otherwise"):
        put_on(load_model(str(tiny)), first / "adapter")
    load_given(str(tiny), [tuned, first / "adapter"], "", "", False)
    assert "warning" not in capsys.readouterr().err
    load_given(str(tiny), [first / "adapter"], "", "", False)
    assert f"`--adapter {tuned} --adapter {first / 'adapter'}`" in capsys.readouterr().err
    with pytest.raises(UserError, match="was trained on top of no adapter, otherwise"):
        train(load_model(str(tiny), [tuned, tuned]), "ga", *rows, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no PEFT adapter here"):
        put_on(model, tmp_path)
    with pytest.raises(UserError, match=f"no PEFT adapter here .*: give {first / 'adapter'}"):
        put_on(model, first)
    (first / "record.json").unlink()  # an adapter from elsewhere: nothing is known of it
    put_on(load_model(str(tiny)), first / "adapter")


def test_the_model_card_names_base_parents_and_method(tiny: Path, tuned: Path) -> None:
    model = load_model(str(tiny), [tuned])
    text = card(model, "npo", {"Data": "mllmu-med, build 123"})
    for word in ("npo", str(tiny), model.identity["weights"], "build 123", "not for clinical use"):
        assert word in text
    assert f"`{tuned}` (weights {model.identity['adapters'][0]['weights']})" in text
    assert "LoRA adapter: finetune" in (tuned / "README.md").read_text()
    files = {path.name for path in tuned.iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
