"""The tiny LLaVA: made from a config, an ordinary checkpoint."""

from pathlib import Path

import pytest

from baselines.tiny import TinySettings, make_tiny
from eval.load_model import load_model
from mllmu_med_dataset import UserError

TEXTS = ["What is shown? The lesion is in the left lung."] * 5


def test_it_is_an_ordinary_checkpoint(tmp_path: Path) -> None:
    model = load_model(str(make_tiny(tmp_path / "tiny", TEXTS)))
    weights = model.model.num_parameters()
    assert 300_000 < weights < 800_000
    assert model.sharing.packing
    assert model.sharing.prefill
    tokenizer = model.processor.tokenizer
    text = "Patient Zoë Núñez, MRN 00-17\n"  # letters that its texts never had
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
    with pytest.raises(UserError, match="tiny: exists already"):
        make_tiny(tmp_path / "tiny", TEXTS)


def test_a_seed_decides_the_weights(tmp_path: Path) -> None:
    hashes = [
        load_model(
            str(make_tiny(tmp_path / name, TEXTS, TinySettings(seed=seed, vocabulary=400)))
        ).identity["weights"]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]
