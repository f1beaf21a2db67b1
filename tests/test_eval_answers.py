"""Answers of a tiny random LLaVA: one prefill a picture, resume, refusals to mix, a server."""

import base64
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import tiny_llava
from corpora import command
from scripted_server import ScriptedServer, shares

from eval import weights
from eval.answer import answer_with_model, batches
from eval.attacks import WAYS, Ask, asks
from eval.dataset_rows import DatasetImages, read_rows
from eval.load_model import load_model
from eval.model import Model
from eval.predictions import read_predictions
from mllmu_med_dataset import UsageError, UserError


@pytest.fixture(scope="session")
def tiny(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = read_rows(demo / "mllmu-med", "privacy")
    texts = [f"{row.question} {row.answer}" for row in rows]
    return tiny_llava.make(tmp_path_factory.mktemp("tiny") / "model", texts)


@contextmanager
def asking(
    tiny: Path, demo: Path, config: str, ways: Sequence[str] = ("own",)
) -> Iterator[tuple[Model, list[Ask], Any]]:
    data = demo / "mllmu-med"
    images = DatasetImages(data, config, [])
    asked = asks(read_rows(data, config), ways)
    yield load_model(str(tiny)), asked, images


@pytest.mark.slow
@pytest.mark.parametrize(("config", "ways"), [("privacy", WAYS), ("incorrect", ("own",))])
def test_a_shared_prefill_is_one_by_one(tiny: Path, demo: Path, config: str, ways: Any) -> None:
    """Every row of the demo dataset, in every way of asking."""
    import torch

    with asking(tiny, demo, config, ways=ways) as (model, asked, images):
        differ, seen, together = [], set(), 0
        for some in batches(asked, 32):
            together += len(some) - len({ask.row.image_id for ask in some})
            shared = model.answer(some, images, 16)
            with torch.inference_mode():
                alone = [model.answer_plainly([ask], images, 16)[0] for ask in some]
            differ += [ask.key for ask, a, b in zip(some, shared, alone, strict=True) if a != b]
            seen |= {answer.text for answer in alone}
    assert not differ
    assert len(asked) > 400
    assert together > 100  # questions that shared a picture with another
    assert len(seen) > len(asked) / 2  # the texts vary: equality says something


def test_batches_keep_images_together_and_lose_nothing(demo: Path) -> None:
    asked = asks(read_rows(demo / "mllmu-med", "privacy"), WAYS)
    cut = list(batches(asked, 16))
    assert sorted(ask.key for some in cut for ask in some) == sorted(ask.key for ask in asked)
    assert max(map(len, cut)) <= 16
    assert all(len({ask.image for ask in some}) == 1 for some in cut)
    images = sum(len({ask.row.image_id for ask in some}) for some in cut)
    assert images < 1.3 * len({(ask.row.image_id, ask.image) for ask in asked})


def answer(*words: str, cwd: Path, ok: bool = True) -> str:
    done = command("eval", "answer", *words, cwd=cwd, code=None)
    assert (done.returncode == 0) == ok, done.stderr
    if not ok:
        assert done.stderr.count("error:") == 1
        assert "Traceback" not in done.stderr
    return done.stdout if ok else done.stderr


def test_another_model_or_adapter_refuses_to_mix(tiny: Path, demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "forget.jsonl"
    words = ["--split", "forget", "--out", str(out)]
    answer("--model", str(tiny), "--max-new-tokens", "4", *words, cwd=demo)
    kept = out.read_bytes()
    other = tiny_llava.make(tmp_path / "other", ["a b c"] * 20, seed=1)
    said = answer("--model", str(other), "--max-new-tokens", "4", *words, cwd=demo, ok=False)
    assert "holds answers of another run (model:" in said
    said = answer("--model", str(tiny), "--max-new-tokens", "5", *words, cwd=demo, ok=False)
    assert "max_new_tokens: 4 there, 5 now" in said
    adapter = tiny_llava.lora(tiny, tmp_path / "lora", 1)
    said = answer(
        *("--model", str(tiny), "--adapter", str(adapter), "--max-new-tokens", "4"),
        *words,
        cwd=demo,
        ok=False,
    )
    assert "adapters: [] there" in said
    assert out.read_bytes() == kept


def test_an_adapter_that_does_not_fit_is_refused(tiny: Path, tmp_path: Path) -> None:
    """Weights without a place, or places without weights: the library goes on without them."""
    from safetensors.torch import load_file, save_file

    good = tiny_llava.lora(tiny, tmp_path / "good", 1)
    weights = load_file(good / "adapter_model.safetensors")
    first = {name for name in weights if "layers.0." in name}
    assert 0 < len(first) < len(weights)

    def changed(name: str, kept: dict[str, Any]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "adapter_config.json").write_bytes((good / "adapter_config.json").read_bytes())
        save_file(kept, folder / "adapter_model.safetensors", {"format": "pt"})
        return folder

    load_model(str(tiny), [good])
    elsewhere = {name.replace("layers.0.", "layers.7."): one for name, one in weights.items()}
    bad = changed("elsewhere", elsewhere)
    for adapters in ([bad], [good, bad]):
        with pytest.raises(UserError, match=r"elsewhere: .* weights have no place .*layers\.7\."):
            load_model(str(tiny), adapters)
    less = changed("less", {name: one for name, one in weights.items() if name not in first})
    with pytest.raises(UserError, match=f"{len(first)} weights have no place in it, or are miss"):
        load_model(str(tiny), [less])
    cut = changed("cut", weights) / "adapter_model.safetensors"
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"--adapter .*cut: cannot be read"):
        load_model(str(tiny), [cut.parent])


def test_weights_are_hashed_whole_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of more than 1 GiB that differ in the middle alone."""
    read: list[Path] = []
    digest = weights.file_digest
    monkeypatch.setattr(weights, "file_digest", lambda path: read.append(path) or digest(path))
    file = tmp_path / "a.safetensors"
    with file.open("wb") as stream:
        stream.truncate((1 << 30) + 7)  # sparse
    first = weights.weights_hash(tmp_path)
    assert weights.weights_hash(tmp_path) == first
    with file.open("r+b") as stream:
        stream.seek(1 << 29)
        stream.write(b"x")
    assert weights.weights_hash(tmp_path) != first
    assert len(read) == 2


def test_models_that_cannot_be_trusted_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder here"):
        load_model(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="cannot be loaded as an image-text model"):
        load_model(str(tmp_path))
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in tiny.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match="cannot be loaded as an image-text model"):
        load_model(str(damaged))
    with pytest.raises(UsageError, match="--device nowhere: cannot be used here"):
        load_model(str(tiny), device="nowhere")
    with pytest.raises(UsageError, match="--dtype int8: use float32, bfloat16"):
        load_model(str(tiny), dtype="int8")


@pytest.mark.skipif(bool(find_spec("bitsandbytes")), reason="bitsandbytes is installed")
def test_four_bits_need_another_package(tiny: Path) -> None:
    with pytest.raises(UsageError, match="needs bitsandbytes: pip install bitsandbytes"):
        load_model(str(tiny), dtype="nf4")


def test_a_changed_dataset_is_not_mixed_in(tiny: Path, demo: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    with asking(tiny, demo, "privacy") as (model, asked, _):
        images = DatasetImages(demo / "mllmu-med", "privacy", [])
        some = asked[:6]
        out = tmp_path / "some.jsonl"
        answer_with_model(model, some, images, out, 4)
        changed = [replace(some[0], question="Another question?"), *some[1:]]
        with pytest.raises(UserError, match="was answered for another text or image"):
            answer_with_model(model, changed, images, out, 4)


def says(body: dict[str, Any]) -> str:
    """An answer that depends on the picture's size and the question."""
    from PIL import Image

    content = body["messages"][0]["content"]
    size = ""
    if content[0]["type"] == "image_url":
        data = content[0]["image_url"]["url"].removeprefix("data:image/png;base64,")
        size = str(Image.open(BytesIO(base64.b64decode(data))).size)
    return f" {size} {content[-1]['text'][::-1]} "


def test_a_server_answers(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "answers.jsonl"
    fault = shares({"429:0.01": 0.1, "500": 0.1, "cut": 0.05}, most=2)
    monkeypatch.setattr("mllmu_med.progress.PLAIN_EVERY", 0.01)
    with ScriptedServer(says, fault, latency=0.01) as server:
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        words = ["--model", server.model, "--server", server.url, "--split", "forget"]
        words += ["--way", "own", "--way", "no_picture", "--out", str(out), "--concurrency", "8"]
        said = command("eval", "answer", *words, cwd=demo).stderr
        assert re.search(r"answering: .*; \d+ retried \(last: (429|500|connection lost)", said)
        asked = len(server.asked())
        answer(*words, cwd=demo)  # nothing is asked again
        assert len(server.asked()) == asked
        assert server.most_in_flight <= 8
    rows = {row.id: row for row in read_rows(demo / "mllmu-med", "privacy", ["forget"])}
    images = DatasetImages(demo / "mllmu-med", "privacy", ["forget"])
    found = read_predictions(out)
    private = [row for row in rows.values() if any(span.field == "answer" for span in row.pii)]
    assert len(found) == len(rows) + len(private)  # without a picture: only what may leak
    for one in found:
        size = f"{images[rows[one.id].image_id].size} " if one.way == "own" else ""
        assert one.answer == size + rows[one.id].question[::-1].strip()
    assert server.key not in out.read_text() + out.with_suffix(".run.json").read_text()


def test_an_answers_tokens_are_those_after_a_prompt(tiny: Path) -> None:
    """Mistral's own tokenizer puts a space before all it reads: no token may come from that."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    model = load_model(str(tiny))
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    bpe.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    trainer = trainers.BpeTrainer(special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    bpe.train_from_iterator(["[INST] Is it CT ? [/INST] CT scan"] * 9, trainer)
    bpe.pre_tokenizer = None
    like = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    model.processor.tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, **like)
    ids = model.answer_ids("CT scan")
    assert model.text_ids("[INST] Is it CT ? [/INST] CT scan</s>")[-len(ids) :] == ids
    assert len(ids) == 3


def test_log_probabilities_are_those_of_a_plain_pass(tiny: Path, demo: Path) -> None:
    """Shared and one by one agree, without an image too (with the library: the families)."""
    import torch

    with asking(tiny, demo, "privacy") as (model, asked, images):
        some = asked[:40]
        answers = [ask.row.answer for ask in some]
        blind = [replace(ask, image=False) for ask in some[:6]]
        unseen = model.weigh(blind, answers[:6], images)
        for ask, text, packed in zip(blind, answers, unseen, strict=False):
            (alone,) = model.weigh_plainly([(ask, text)], images)
            assert packed.logprobs == pytest.approx(alone.logprobs, abs=2e-4)
        shared = model.weigh(some, answers, images)
        for ask, text, packed in zip(some, answers, shared, strict=True):
            with torch.inference_mode():
                (alone,) = model.weigh_plainly([(ask, text)], images)
            assert packed.right == alone.right
            for one, other in zip(packed, alone, strict=True):
                assert one == pytest.approx(other, abs=2e-4)
            assert len(packed.logprobs) == len(model.answer_ids(text))
