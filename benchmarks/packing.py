"""One copy of a picture for all its questions, beside one copy for each: training and answering.

    python benchmarks/packing.py --data mllmu-med
    python benchmarks/packing.py --data mllmu-med --families all

A small LLaVA with LLaVA-Med's 576 picture tokens, on the privacy retain set of a built dataset. The
same steps are trained both ways (losses agree to rounding: `tests/test_baselines_batches.py`), and
the same questions answered both ways (the same texts: `tests/test_eval_answers.py`), in turn. With
`--families`, the tiny random checkpoints of the tests instead (their results are compared in
`tests/test_model_families.py`): what is shared, batches padded on the left, and one row at a time.
Seconds of CPU, on one thread.
"""

import argparse
import json
import sys
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
    parser.add_argument("--families", default="", help="all, or names, comma-separated")
    options = parser.parse_args()
    if options.families:
        return all_families(options)
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


def all_families(options: argparse.Namespace) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from families import WHOLE

    rows = [row for row in read_rows(options.data, "privacy") if row.split == "retain"]
    images = DatasetImages(options.data, "privacy", [])
    print("| family | shared | answering | left-padded | likelihoods | training |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for name in WHOLE if options.families == "all" else options.families.split(","):
        with tempfile.TemporaryDirectory() as folder:
            kinds, ratios = of_family(name, Path(folder), rows, images, options.steps)
        print(f"| {name} | {', '.join(kinds)} | {' | '.join(f'{r:.1f}' for r in ratios)} |")


def of_family(
    name: str, place: Path, rows: Any, images: Any, steps: int
) -> tuple[list[str], list[float]]:
    """What is shared, and how many times faster it is than a row at a time, without sharing."""
    from families import make

    texts = [f"{row.question} {row.answer}" for row in rows]
    path = str(make(name, place / "model", texts))
    shared, plain = (load_model(path, device="cpu", share=share) for share in (True, False))
    shared.expect(texts)
    some = [ask for cut in batches(asks(rows), 32) for ask in cut][:96]
    for model in (shared, plain):  # imports, and the trial of what may be shared
        model.answer(some[:2], images, 2)

    def answered(model: Any, size: int) -> float:
        return seconds(
            lambda: [model.answer(some[i : i + size], images, 8) for i in range(0, 96, size)]
        )

    def weighed(model: Any, size: int) -> float:
        cuts = [some[i : i + size] for i in range(0, 96, size)]
        return seconds(
            lambda: [model.weigh(cut, [a.row.answer for a in cut], images) for cut in cuts]
        )

    def trained(model: Any, packing: Any) -> float:
        settings = TrainSettings(
            rank=8, alpha=8, batch_size=32, micro_batch=32, packing=packing,
            max_steps=steps, learning_rate=1e-4,
        )  # fmt: skip
        return seconds(
            lambda: train(model, "finetune", rows, rows, images, settings, place / packing)
        )

    alone = answered(plain, 1)
    ratios = [alone / answered(shared, 32), alone / answered(plain, 32)]
    ratios.append(weighed(plain, 1) / weighed(shared, 32))
    packed = trained(shared, "image")
    ratios.append(trained(plain, "none") / packed)
    return [k for k in ("rows", "packing", "prefill") if getattr(shared.sharing, k)], ratios


def seconds(work: Any) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


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
            model.answer_plainly([ask], images, 8)
    return {"image": between - started, "none": time.process_time() - between}


def say(what: str, each: float, seconds: dict[str, float]) -> None:
    found = {name: round(value, 3) for name, value in seconds.items()}
    ratio = round(seconds["none"] / seconds["image"], 2)
    print(
        json.dumps({"what": what, "questions a picture": round(each, 1), **found, "times": ratio})
    )


if __name__ == "__main__":
    main()
