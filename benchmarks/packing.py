"""One copy of a picture for all its questions, beside one copy for each: training and answering.

    python benchmarks/packing.py --data mllmu-med

A small LLaVA with LLaVA-Med's 576 picture tokens, on the privacy retain set of a built dataset. The
same steps are trained both ways (losses agree to rounding: `tests/test_baselines_batches.py`), and
the same questions answered both ways (the same texts: `tests/test_eval_answers.py`), in turn.
Seconds of CPU, on one thread.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from baselines import tiny
from baselines.adapters import take_off
from baselines.train import train
from baselines.training_settings import TrainSettings
from eval.answer import batches
from eval.attacks import asks
from eval.dataset_rows import DatasetImages, read_rows
from eval.load_model import load_model

METHODS = ("finetune", "kl-min", "llmu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="mllmu-med")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    tiny.PIXELS, tiny.PATCH = 336, 14  # 576 picture tokens
    rows = read_rows(options.data, "privacy")
    retain = [row for row in rows if row.split == "retain"]
    forget = [row for row in rows if row.split == "forget"]
    images = DatasetImages(options.data, "privacy", [])
    each = len(retain) / len({row.image_id for row in retain})
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tiny.make_tiny(place / "model", [row.question for row in rows], tiny.TinySettings())
        model = load_model(str(place / "model"), device="cpu")
        number = 0
        for _ in range(options.runs):
            for method in METHODS:
                seconds: dict[str, float] = {}
                for packing in ("image", "none"):
                    number += 1
                    settings = TrainSettings(
                        rank=8, alpha=8, batch_size=32, micro_batch=32, packing=packing,
                        max_steps=options.steps, learning_rate=1e-4,
                    )  # fmt: skip
                    out = place / str(number)
                    started = time.process_time()
                    train(model, method, forget, retain, images, settings, out)
                    seconds[packing] = (time.process_time() - started) / options.steps
                    take_off(model)
                say(method, each, seconds)
            say("answering", each, answering(model, retain, images))


def answering(model: Any, rows: Any, images: Any) -> dict[str, float]:
    """CPU seconds for 96 questions with answers of at most 8 tokens."""
    import torch

    some = [ask for cut in batches(asks(rows), 32) for ask in cut][:96]

    started = time.process_time()
    for cut in batches(some, 32):
        model.answer(cut, images, 8)
    between = time.process_time()
    with torch.inference_mode():
        for ask in some:
            model.answer_one(ask, images, 8)
    return {"image": between - started, "none": time.process_time() - between}


def say(what: str, each: float, seconds: dict[str, float]) -> None:
    found = {name: round(value, 3) for name, value in seconds.items()}
    ratio = round(seconds["none"] / seconds["image"], 2)
    print(
        json.dumps({"what": what, "questions a picture": round(each, 1), **found, "times": ratio})
    )


if __name__ == "__main__":
    main()
