"""The tiny LLaVA: made from a config, an ordinary checkpoint, trained in all its parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from baselines.tiny import make_tiny, pretrain
from eval.model import load_model
from mllmu_med_dataset import Record, UserError

COLOURS = ("red", "green", "blue", "white")
ROWS = [
    Record(f"{colour}/{i}", colour, "", "", question, answer, "open", "CT", "slake", "", "")
    for colour in COLOURS
    for i, (question, answer) in enumerate(
        [("Which colour is shown?", colour), ("Is it red?", "Yes" if colour == "red" else "No")]
    )
]
PICTURES = {colour: Image.new("RGB", (80, 80), colour) for colour in COLOURS}
TEXTS = ["What is shown? The lesion is in the left lung."] * 5


def test_it_is_an_ordinary_checkpoint(tmp_path: Path) -> None:
    model = load_model(str(make_tiny(tmp_path / "tiny", TEXTS)))
    weights = model.model.num_parameters()
    assert 300_000 < weights < 800_000
    assert model.shares
    assert model.picture_tokens() == 16
    tokenizer = model.processor.tokenizer
    text = "Patient Zoë Núñez, MRN 00-17\n"  # letters that its texts never had
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
    with pytest.raises(UserError, match="tiny: exists already"):
        make_tiny(tmp_path / "tiny", TEXTS)


def test_a_seed_decides_the_weights(tmp_path: Path) -> None:
    hashes = [
        load_model(str(make_tiny(tmp_path / name, TEXTS, seed=seed))).identity["weights"]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        make_tiny(tmp_path / "tiny", [None])  # type: ignore[list-item]
    assert not list(tmp_path.iterdir())


def test_pretraining_trains_every_part(tmp_path: Path) -> None:
    """Loss falls, on the pictures too: tower, projector and language model move; twice alike."""
    import torch

    make_tiny(tmp_path / "tiny", [f"{row.question} {row.answer}" for row in ROWS])
    trained = []
    for _ in range(2):
        model = load_model(str(tmp_path / "tiny"), device="cpu")
        before = {name: value.clone() for name, value in model.model.named_parameters()}
        loss = pretrain(model, ROWS, PICTURES, steps=60, batch_size=8)
        trained.append(dict(model.model.named_parameters()))
    assert loss < 0.5
    still = {name for name, value in trained[0].items() if torch.equal(value, before[name])}
    # CLIP's last layer and norm come after the layer that LLaVA looks at.
    assert {name for name in still if "layers.1." not in name} <= {
        "model.vision_tower.post_layernorm.weight",
        "model.vision_tower.post_layernorm.bias",
    }
    assert not any("language_model" in name for name in still)
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())


def test_pretraining_on_nothing_is_refused(tmp_path: Path) -> None:
    model = load_model(str(make_tiny(tmp_path / "tiny", TEXTS)))
    with pytest.raises(UserError, match="nothing to pretrain"):
        pretrain(model, [], PICTURES)
