"""Converting LLaVA-Med's original checkpoint: every form of it, and every way it can be broken."""

import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest
from original_llava_med import (
    KEY_MAPPING,
    REAL,
    mistral_tokenizer,
    original_weights,
    pieces,
    small_config,
    write,
    write_tokenizer,
)

from baselines.llava_layout import empty_llava, llava_config
from baselines.llava_med import _processor, convert, read_pieces
from eval.load_model import load_model
from mllmu_med_dataset import UserError

TOWER = "model.vision_tower.vision_tower.vision_model."


@pytest.fixture(scope="module")
def weights() -> dict[str, Any]:
    return original_weights()


def logits(model: Any, image_token: int, vocabulary: int) -> Any:
    """Of one sequence with a picture in it, over the old part of the vocabulary."""
    import torch

    torch.manual_seed(1)
    ids = torch.tensor([[1, *[image_token] * 16, *range(300, 330)]])
    with torch.no_grad():
        out = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=torch.randn(1, 3, 64, 64),
        )
    return out.logits[..., :vocabulary]


def mapped_by_the_library(folder: Path) -> Any:
    import torch
    from transformers import LlavaForConditionalGeneration

    model, report = LlavaForConditionalGeneration.from_pretrained(
        folder,
        config=small_config(),
        key_mapping=KEY_MAPPING,
        dtype=torch.float32,
        output_loading_info=True,
    )
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]
    return model.eval()


@pytest.mark.parametrize("shards", [1, 3])
def test_a_converted_model_is_the_original(
    weights: dict[str, Any], tmp_path: Path, shards: int, monkeypatch: Any
) -> None:
    """Logits equal those of the library's own renaming on load, to the last bit."""
    import torch

    monkeypatch.setattr("baselines.llava_med._SHARD", 200_000 if shards > 1 else 2_000_000_000)
    old = len(pieces())
    src, dst = write(tmp_path / "src", weights, shards), tmp_path / "dst"
    said = convert(src, dst)
    assert said.startswith(f"{len(weights) - 3} tensors, ")
    assert said.endswith("B parameters (bfloat16), 3 tensors left out")
    assert (dst / "model.safetensors").is_file() == (shards == 1)
    assert json.loads((dst / "config.json").read_text())["dtype"] == "bfloat16"

    made = load_model(str(dst), device="cpu", dtype="float32")
    ours = logits(made.model, old, old)
    theirs = logits(mapped_by_the_library(src), old - 1, old)
    assert torch.equal(ours, theirs)
    assert ours.std() > 0.1

    rows = made.model.lm_head.weight
    assert rows.shape[0] % 64 == 0
    assert rows.shape[0] > old + 1
    mean = weights["lm_head.weight"].float().mean(0).bfloat16().float()
    assert all(torch.equal(row, mean) for row in rows[old:])
    assert made.processor.tokenizer.convert_tokens_to_ids(["<image>", "<pad>"]) == [old, old + 1]
    assert made.model.config.image_token_index == old
    assert made.end_tokens() == {2}


def drop(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda weights: weights.pop(name)


def put(name: str, *shape: int) -> Callable[[dict[str, Any]], None]:
    def change(weights: dict[str, Any]) -> None:
        import torch

        weights[name] = torch.zeros(shape)

    return change


NORM = "model.layers.1.input_layernorm.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop(NORM), f"1 missing \\(first: {NORM}"),
        (drop("lm_head.weight"), "1 missing \\(first: lm_head.weight"),
        (drop(f"{TOWER}embeddings.patch_embedding.weight"), "embeddings.patch_embedding.weight"),
        (drop(f"{TOWER}encoder.layers.2.mlp.fc1.bias"), "1 missing .*layers.2.mlp.fc1.bias"),
        (put("model.layers.2.mlp.up_proj.weight", 8, 8), "1 unknown .*model.layers.2.mlp.up_proj"),
        (put("speech.weight", 3), "1 unknown \\(first: speech.weight"),
        (put(NORM, 64), f"{NORM} is \\[64\\], not \\[128\\]"),
        (put("model.mm_projector.0.weight", 128, 64), r"mm_projector.0.weight is \[128, 64\]"),
    ],
)
def test_misfit_tensors_are_named(weights: Any, tmp_path: Path, change: Any, said: str) -> None:
    changed = dict(weights)
    change(changed)
    src = write(tmp_path / "src", changed)
    with pytest.raises(UserError, match=said) as error:
        convert(src, tmp_path / "dst")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def configure(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda src: (src / "tokenizer.model").unlink(), "tokenizer.model: cannot be read"),
        (lambda src: (src / "tokenizer.model").write_bytes(b"PK\x03 a page"), "not a Sentence"),
        (lambda src: cut(src / "tokenizer.model"), "not a SentencePiece model"),
        (lambda src: write_tokenizer(src / "tokenizer.model", pieces()[:-1]), "not this model's"),
        (lambda src: (src / "config.json").unlink(), "config.json: cannot be read"),
        (configure(model_type="llava_llama"), "model_type 'llava_llama', not llava_mistral"),
        (configure(model_type="llava"), "in transformers' layout already"),
        (configure(mm_projector_type="linear"), "mm_projector_type 'linear'"),
        (lambda src: cut(src / "model.safetensors"), "model.safetensors: cannot be read"),
        (lambda src: (src / "model.safetensors").unlink(), "no weights here"),
    ],
)
def test_damaged_folders_are_refused(weights: Any, tmp_path: Path, damage: Any, said: str) -> None:
    src = write(tmp_path / "src", weights)
    damage(src)
    with pytest.raises(UserError, match=said) as error:
        convert(src, tmp_path / "dst")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def test_a_shard_that_lacks_or_is_cut_is_named(weights: Any, tmp_path: Path) -> None:
    src = write(tmp_path / "src", weights, 3)
    second = sorted(src.glob("*-of-*.safetensors"))[1]
    cut(second)
    with pytest.raises(UserError, match=f"{second.name}: cannot be read"):
        convert(src, tmp_path / "dst")
    second.unlink()
    with pytest.raises(UserError, match=f"{second.name}: not there"):
        convert(src, tmp_path / "dst")


def test_nothing_is_written_over(weights: dict[str, Any], tmp_path: Path) -> None:
    src = write(tmp_path / "src", weights)
    (tmp_path / "dst").mkdir()
    with pytest.raises(UserError, match="dst: exists already"):
        convert(src, tmp_path / "dst")


def real_config() -> Any:
    from transformers import CLIPVisionConfig

    tower = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
    )
    return llava_config(REAL, tower, Path("src"))


def test_the_real_model_has_686_tensors() -> None:
    shapes = {n: t.shape for n, t in empty_llava(real_config()).state_dict().items()}
    assert len(shapes) == 686
    assert sum(map(prod, shapes.values())) == pytest.approx(7.566e9, abs=5e5)
    vision = [name for name in shapes if name.startswith("model.vision_tower.")]
    assert len(vision) == 391


def test_golden_token_ids(tmp_path: Path) -> None:
    """LLaVA-Med splits the text around its picture in two: a lone `▁` (28705) follows it."""
    from transformers import AutoProcessor

    tokenizer = mistral_tokenizer()
    if tokenizer is None:
        pytest.skip("no mistral-common wheel in the virtual environment: `make venv` fetches it")
    (tmp_path / "tokenizer.model").write_bytes(tokenizer)
    processor = _processor(tmp_path, REAL, real_config())
    processor.save_pretrained(tmp_path / "saved")
    again = AutoProcessor.from_pretrained(tmp_path / "saved", backend="pil")
    prompt = "[INST] <image>\nWhat modality is used to take this image? [/INST]"
    golden = [1, 733, 16289, 28793, 28705, 32000, 28705, 13, 3195, 968, 2045, 349, 1307, 298]
    golden += [1388, 456, 3469, 28804, 733, 28748, 16289, 28793]
    for one in (processor, again):
        assert one.tokenizer(prompt)["input_ids"] == golden
        assert one.tokenizer.convert_tokens_to_ids(["<image>", "<pad>"]) == [32000, 32001]
        assert one.tokenizer(" Yes </s>", add_special_tokens=False)["input_ids"][-1] == 2
    assert again.tokenizer.padding_side == "left"
    assert again.tokenizer.decode([5592, 2]) == "Yes</s>"


def test_pieces_of_a_written_file(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "m", texts := [*pieces(), "▁" + "long" * 40])
    assert read_pieces(tmp_path / "m") == texts
