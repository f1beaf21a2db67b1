"""A stack of adapters as one adapter, and in the model's weights: the same model, or nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import small_training as small
import torch
from corpora import command
from test_baselines_adapters import logits
from test_eval_checkpoints import net_of, save

from baselines.merge import merge
from baselines.train import train
from eval.load_model import load_model
from mllmu_med_dataset import UsageError, UserError

#: peft calls what transformers deprecates
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def plain(model: Path, folder: Path, seed: int, **how: Any) -> Path:
    """An adapter with random weights, made by PEFT alone."""
    return save(net_of(model), folder, seed, **{"lora_alpha": 4, **how})


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, of the largest logit."""
    return float((one - other).abs().max() / other.abs().max())


STACKS: dict[str, list[dict[str, Any]]] = {
    "two, of other rank, alpha and places": [
        {"r": 4, "lora_alpha": 8},
        {"r": 6, "lora_alpha": 3, "target_modules": ["gate_proj", "language_model.layers.1"
                                                      ".self_attn.q_proj"]},
    ],
    "three, rsLoRA first, rank patterns": [
        {"r": 4, "use_rslora": True, "target_modules": ["up_proj"], "lora_dropout": 0.1},
        {"r": 2, "rank_pattern": {"q_proj": 5}, "alpha_pattern": {"q_proj": 20}},
        {"r": 8, "lora_alpha": 1, "layers_to_transform": [1], "target_modules": ["up_proj"]},
    ],
}  # fmt: skip


@pytest.fixture(params=STACKS.values(), ids=STACKS)
def stack(request: pytest.FixtureRequest, tiny: Path, tmp_path: Path) -> list[Path]:
    made = enumerate(request.param)
    return [plain(tiny, tmp_path / f"a{i}", i, **how) for i, how in made]


def test_one_adapter_is_the_stack(tiny: Path, stack: list[Path], tmp_path: Path) -> None:
    whole = logits(load_model(str(tiny), stack))
    said = merge(None, str(tiny), stack, tmp_path / "one")
    one = logits(load_model(str(tiny), [tmp_path / "one"]))
    assert apart(one, whole) < 1e-5
    assert apart(logits(load_model(str(tiny), stack[:-1])), whole) > 1e-2
    card = (tmp_path / "one" / "README.md").read_text()
    assert said.partition(": ")[2] in card
    assert "gives the data back" in card
    assert "at most" in said
    config = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])
    assert config["r"] == config["lora_alpha"]
    assert not config["use_rslora"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(p.name for p in stack), "one"]


def test_merged_weights_are_the_stack(tiny: Path, stack: list[Path], tmp_path: Path) -> None:
    whole = logits(load_model(str(tiny), stack))
    merge(None, str(tiny), stack, tmp_path / "w", True, "float32")
    assert apart(logits(load_model(str(tmp_path / "w"))), whole) < 1e-5
    said = merge(None, str(tiny), stack, tmp_path / "half", True)
    assert "merged weights in bfloat16" in said
    rounded = load_model(str(tmp_path / "half"), dtype="float32")
    assert 1e-4 < apart(logits(rounded), whole) < 0.1
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"
    beside = {path.name for path in tiny.iterdir()} | {"README.md"}
    assert {path.name for path in (tmp_path / "w").iterdir()} == beside
    assert "gives the data back" not in (tmp_path / "w" / "README.md").read_text()


REFUSED: dict[str, dict[str, Any]] = {
    "has use_dora": {"use_dora": True},
    "has modules_to_save": {"modules_to_save": ["multi_modal_projector"]},
    "has bias": {"bias": "lora_only"},
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_no_one_adapter_holds(tiny: Path, tmp_path: Path, why: str) -> None:
    """But the weights do."""
    odd = plain(tiny, tmp_path / "odd", 0, **REFUSED[why])
    both = [odd, plain(tiny, tmp_path / "more", 1, target_modules=["up_proj"])]
    with pytest.raises(UserError, match=f"odd: {why}, .*--into-weights"):
        merge(None, str(tiny), both, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    whole = logits(load_model(str(tiny), both))
    merge(None, str(tiny), both, tmp_path / "w", True, "float32")
    assert apart(logits(load_model(str(tmp_path / "w"))), whole) < 1e-5


def test_another_model_is_not_kept(tiny: Path, tmp_path: Path) -> None:
    """PiSSA's adapter has taken its part out of the base model, which one adapter finds whole."""
    how = ({"init_lora_weights": "pissa"}, {})
    both = [plain(tiny, tmp_path / f"a{i}", i, **more) for i, more in enumerate(how)]
    with pytest.raises(UserError, match=r"is not the stack: .* nothing is kept: try --into-weig"):
        merge(None, str(tiny), both, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a0", "a1"]


def test_unlearning_that_rounding_undoes_is_said(tiny: Path, tmp_path: Path) -> None:
    both = [plain(tiny, tmp_path / f"a{i}", i, lora_alpha=a) for i, a in enumerate((8, 1e-4))]
    said = merge(None, str(tiny), both, tmp_path / "half", True)
    assert "Rounding to bfloat16 outweighs the last adapter here" in said
    assert "outweighs" not in merge(None, str(tiny), both, tmp_path / "w", True, "float32")


def test_a_run_is_merged_by_its_record(tiny: Path, tmp_path: Path) -> None:
    rows = small.FORGET, small.RETAIN, small.Images(), small.settings()
    model = load_model(str(tiny))
    for method in ("finetune", "gd"):
        train(model, method, *rows, tmp_path / method)
    done = command("baselines", "merge", "gd", "--out", "one", cwd=tmp_path)
    assert "one adapter of rank 16 on 14 modules (adapters: 14, 14)" in done.stdout
    one = load_model(str(tiny), [tmp_path / "one"])
    assert apart(logits(one), logits(model)) < 1e-5
    cases = {
        "one: exists already: name a new folder": ("gd",),
        "finetune/adapter: is one adapter already": ("finetune", "--out=new"),
        "give either RUN, or --model": ("gd", "--model", str(tiny), "--out=new"),
        "--dtype: is that of merged weights": ("gd", "--dtype=float32", "--out=new"),
        "--dtype nf4: use": ("gd", "--dtype=nf4", "--into-weights", "--out=new"),
        "nothing to merge": ("--model", str(tiny), "--out=new"),
        "no run of baselines here": ("nothing", "--out=new"),
    }
    for wanted, words in cases.items():
        failed = command("baselines", "merge", "--out", "one", *words, cwd=tmp_path, code=None)
        assert failed.returncode
        assert wanted in failed.stderr
        assert failed.stderr.count("\n") == 1
    other = small.make(tmp_path / "other", seed=1)
    adapters = [tmp_path / name / "adapter" for name in ("finetune", "gd")]
    with pytest.raises(UserError, match="was trained on"):
        merge(None, str(other), adapters, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(UsageError):
        merge(None, None, adapters, tmp_path / "new")
