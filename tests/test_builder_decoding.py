"""A calibration decodes each picture once, however often it is trained on and asked about."""

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import small_training as small
from corpora import image_data

from baselines.train import train
from builder.calibrate.fine_tune import images_of
from builder.core.job import Job, image_reader
from builder.core.load_recipe import load_recipe
from builder.core.stage_cache import Chain
from eval.answer import answer_with_model
from eval.attacks import asks
from eval.dataset_rows import Decoded
from eval.load_model import load_model
from mllmu_med.files import stable_hash
from mllmu_med_dataset import Record, UserError


def stored(row: Record) -> bytes:
    return image_data(stable_hash(row.image_id) % 1000)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often each picture is opened, by its bytes."""
    counts: Counter[bytes] = Counter()
    real = PIL.Image.open

    def opened(file: Any, *given: Any, **named: Any) -> Any:
        counts[file.getvalue() if isinstance(file, io.BytesIO) else file] += 1
        return real(file, *given, **named)

    monkeypatch.setattr(PIL.Image, "open", opened)
    return counts


@pytest.mark.parametrize("share", [True, False])
def test_an_image_is_decoded_once(share: bool, tmp_path: Path, decoded: Counter[bytes]) -> None:
    model = load_model(str(small.make(tmp_path / "tiny")))
    model.share = share
    rows = [*small.FORGET, *small.RETAIN]
    images = images_of(stored, rows)
    decoded.clear()
    how = small.settings(epochs=2, rank=2)
    train(model, "finetune", small.FORGET, small.RETAIN, images, how, tmp_path / "run")
    answer_with_model(model, asks(rows), images, tmp_path / "a.jsonl", 2, 4)
    assert len(decoded) == len({row.image_id for row in rows})
    assert set(decoded.values()) == {1}


def test_images_beyond_the_bound_are_decoded_again(decoded: Counter[bytes]) -> None:
    data = {name: image_data(number) for number, name in enumerate("ab")}
    # 4 bytes a pixel of RGB, as Pillow keeps it: room for one, not for two.
    images = Decoded(lambda name: data[name], most=7 * 48 * 48)
    decoded.clear()
    seen = [images[name].tobytes() for name in "abab"]
    assert seen[:2] == seen[2:]
    assert [decoded[data[name]] for name in "ab"] == [1, 2]


def test_an_image_as_it_was_is_not_decoded(tmp_path: Path, decoded: Counter[bytes]) -> None:
    from hashlib import sha256

    folder = tmp_path / "privacy" / "ingest" / "pictures"
    folder.mkdir(parents=True)
    data = image_data(1)
    (folder / "a.jpg").write_bytes(data)
    (folder / "b.jpg").write_bytes(image_data(2))
    job = Job(load_recipe("demo"), tmp_path / "out", tmp_path)
    read = image_reader(job, Chain(tmp_path / "privacy"), "privacy")
    row = small.FORGET[0]
    digest = sha256(data).hexdigest()
    decoded.clear()
    assert read(replace(row, image_path="a.jpg", image_sha256=digest)) == data
    assert not decoded
    with pytest.raises(UserError, match=r"b.jpg: was changed while the dataset was built"):
        read(replace(row, image_path="b.jpg", image_sha256=digest))
