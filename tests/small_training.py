"""Rows, pictures and a tiny random LLaVA to train in seconds."""

import json
import sys
from pathlib import Path
from typing import Any

import tiny_llava
from corpora import record

from baselines.training_settings import MethodSettings
from mllmu_med.files import stable_hash
from mllmu_med_dataset import Record

QUESTIONS = ("Who is this?", "What is shown here?", "When is the next visit?", "Is it a scan?")
ANSWERS = ("Mr {} of {} Street", "organ {}", "on day {} at {} o'clock, room {}", "yes")


def rows(split: str, images: int, each: int = 4) -> list[Record]:
    """Rows about some pictures, with answers of 1 to some 20 tokens that follow no rule."""
    found = []
    for i in range(images):
        for k in range(each):
            answer = ANSWERS[k].format(*(stable_hash(split, i, k, n) % 90 for n in range(3)))
            key, image = f"{split}/{i}/{k}", f"{split}-{i}"
            how = {"split": split, "clean_answer": f"clean {answer}"}
            found.append(record(QUESTIONS[k], answer, key, image, **how))
    return found


class Images:
    """Coloured squares, a different pattern for each id."""

    def __getitem__(self, image_id: str, /) -> Any:
        import numpy
        from PIL import Image

        drawn = numpy.random.default_rng(stable_hash(image_id)).integers(0, 255, (8, 8, 3))
        return Image.fromarray(drawn.astype(numpy.uint8)).resize((64, 64), 0)


def logprobs(model: Any, asked: list[Any], answers: list[str], images: Any) -> list[list[float]]:
    """Of each answer's tokens and its end."""
    return [weighed.logprobs for weighed in model.weigh(asked, answers, images)]


FORGET = rows("forget", 3)
RETAIN = rows("retain", 8)


def settings(**changed: Any) -> MethodSettings:
    """A few steps of what the tiny model learns with."""
    usual: dict[str, Any] = {"rank": 8, "alpha": 16, "learning_rate": 3e-3, "epochs": 1}
    return MethodSettings(**{**usual, "batch_size": 8, "micro_batch": 16, **changed})


def make(folder: Path, **how: Any) -> Path:
    import torch

    torch.set_num_threads(1)  # tiny tensors: threads only wait for each other
    texts = [f"{row.question} {row.answer}" for row in [*FORGET, *RETAIN]] * 3
    return tiny_llava.make(folder, [*texts, "I don't know. cannot tell picture"], **how)


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def outcome_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "record.json").read_text())["outcome"]


if __name__ == "__main__":  # in processes that tests start: MODEL OUT METHOD SETTINGS ADAPTERS...
    import torch

    from baselines.train import process_device, train
    from eval.load_model import load_model

    torch.set_num_threads(1)
    name, out, method, given, *adapters = sys.argv[1:]
    model = load_model(name, adapters, device=process_device())
    train(model, method, FORGET, RETAIN, Images(), settings(**json.loads(given)), Path(out))
