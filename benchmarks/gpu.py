"""Fine-tuning, unlearning, answering and likelihoods on a GPU, at the families' real shapes.

    python benchmarks/gpu.py --out gpu            # writes gpu.jsonl, gpu.json, gpu.md
    python benchmarks/gpu.py --out gpu --profile  # the kernels of a step of fine-tuning
    python benchmarks/gpu.py --out gpu --small    # tiny shapes, on a CPU

Weights are random and texts made (`gpu_models`): what is timed is this project's own code (`Loop`,
`Model.answer`, `Model.logprobs`), beside a plain loop as public code has it: a sample a row, the
tower in each step, the whole vocabulary's logits, a second model for the reference, `generate` row
by row. Each measurement is a line of the .jsonl; a call ends after --minutes, and the next one goes
on. Needs torch 2.11, transformers 5.17, peft 0.21; no `datasets`.

Utilisation is model FLOPs over seconds and the GPU's dense bfloat16 peak. With N the frozen weights
of the language model's matrices (without embeddings; adapters below included), T the trained ones,
H the output layer, V the tower:

    a step:  t (4 N + 6 T) + a 4 H  +  reference: t' 2 N + a' 2 H  +  plain loop: 2 V a patch

t tokens read without padding, a of them answers'. What checkpointing computes again, attention's
products and (ours) features that are kept count nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from gpu_bench import Bench, OutOfTime  # first: it says where the others are
from gpu_models import TITLES, Noise, build, in_four_bits, made_rows, sizes
from gpu_plain import PlainLoop
from gpu_tables import profiled, written

from baselines.adapters import add_adapter, take_off
from baselines.methods import METHODS, TRAINED
from baselines.schedule import passes, samples
from baselines.train import _accelerator
from baselines.training_loop import Loop, _checkpoint_activations
from baselines.training_settings import TrainSettings
from baselines.training_state import RunFolder, peak_memory
from eval.answer import batches
from eval.attacks import Ask
from eval.model import Model
from mllmu_med_dataset import UserError

#: Samples in a pass and whether activations are computed again: the first that fits is measured.
TRIES = [(n, False) for n in (16, 8, 4)] + [(n, True) for n in (16, 8, 4, 2, 1)]
PAPER = ("ga", "gd", "kl-min", "idk", "llmu")
#: Asked at once: as the recipe `paper-privacy` does, and of other code's padded batches.
RANK, ALPHA, ASKED, PADDED, TOKENS = 128, 256, 128, 32, 40


class Family:
    """One model and what is measured of it."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name = bench, name
        self.rows = made_rows(4 if bench.small else 72)
        self.images = Noise()
        self._model: Model | None = None
        self.at: dict[int, int] = {}  # which of TRIES rows of their own came to, by memory

    @property
    def model(self) -> Model:
        """Made when it is first needed: what is measured already needs none."""
        if self._model is None:
            if time.monotonic() + (0 if self.bench.small else 30) > self.bench.deadline:
                raise OutOfTime(self.name)
            started = time.monotonic()
            texts = [text for row in self.rows.all for text in (row.question, row.answer)]
            self._model = build(self.name, texts, self.bench.device, self.bench.small)
            why = self._model.sharing.why
            seconds = time.monotonic() - started
            size = self._model.base.num_parameters() / 1e9
            print(f"{TITLES[self.name]}: {size:.2f} B in {seconds:.0f} s; {why}", flush=True)
        return self._model

    def stack(self, adapters: int) -> None:
        """So many frozen adapters on the model: 1 below unlearning, 2 of an unlearned model."""
        model = self.model
        there = len(getattr(model.model, "peft_config", {}))
        while there > adapters:
            take_off(model)
            there -= 1
        while there < adapters:
            with torch.device(model.device):
                add_adapter(model, RANK, ALPHA, there)
            there += 1
        for weight in model.model.parameters():
            weight.requires_grad_(False)

    def train(self, method: str, packing: str, gib: int = 0, nf4: bool = False) -> dict[str, Any]:
        where = f"{self.name}/train/{method}/{packing}/{gib or 'all'}{'/nf4' if nf4 else ''}"

        def work() -> dict[str, Any]:
            if nf4:
                self.stack(0)
                in_four_bits(self.model)
            self.stack(0 if METHODS[method].learns else 1)
            with self.bench.limited(gib), tempfile.TemporaryDirectory() as folder:
                return self._train(method, packing, -gib if nf4 else gib, Path(folder))

        return self.bench.of(where, work, 25)

    def _train(self, method: str, packing: str, gib: int, folder: Path) -> dict[str, Any]:
        model, bench, chosen = self.model, self.bench, METHODS[method]
        shuffle = "image" if packing == "image" else "row"
        settings = TrainSettings(
            packing=packing, shuffle=shuffle, batch_size=bench.batch,
            rank=8 if bench.small else RANK, alpha=ALPHA, learning_rate=2e-5,
        )  # fmt: skip
        used = [samples(self.rows.forget if chosen.forget else ()), samples(self.rows.retain)]
        accelerator = _accelerator(model)
        loop = Loop(model, chosen, method, *used, settings, RunFolder(folder), "", "", accelerator)
        try:
            with torch.device(model.device):
                total = loop.prepare(self.images)
            for at in range(self.at.get(gib, 0) if packing == "none" else 0, len(TRIES)):
                micro, again = TRIES[at]
                loop.settings = settings.model_copy(
                    update={"micro_batch": micro, "checkpointing": again}
                )
                _checkpoint_activations(model.base, again)
                try:
                    found = self._steps(loop, total)
                except (torch.cuda.OutOfMemoryError, UserError) as error:
                    if "memory" not in str(error):
                        raise
                else:
                    return {"micro_batch": micro, "checkpointing": again, **found}
                finally:
                    if packing == "none":
                        self.at[gib] = at
                loop.optimizer.zero_grad(set_to_none=True)
                bench.clear()
            return {"fits": False}
        finally:
            _checkpoint_activations(model.base, False)
            loop.optimizer = loop.modules = None
            take_off(model)
            bench.clear()

    def _steps(self, loop: Loop, total: int) -> dict[str, Any]:
        """Some steps after a first one; what is read of their images is read before."""
        model, method = self.model, loop.method
        plan = [step for epoch in range(4) for step in loop.plan(epoch)][: 1 + self.bench.steps]
        frozen, trained, output = sizes(model)
        tokens = flops = 0.0
        for i, step in enumerate(plan):
            for part in passes(step, loop.settings.micro_batch):
                compared = [s for s in part.samples if s.part in method.reference]
                for some, n, t, h in ((part.samples, 4, 6, 4), (compared, 2, 0, 2)):
                    if some and i:
                        batch = loop.encoder.collate(some, loop.settings.packing)
                        tokens += batch.read
                        flops += batch.read * (n * frozen + t * trained)
                        flops += h * output * len(batch.targets)
                for sample in part.samples:
                    model.prefixes.of(sample.image_id, self.images)
        reasons = [loop.step(plan[0], total)]
        self.bench.wait()
        started = time.monotonic()
        reasons += [loop.step(step, total) for step in plan[1:]]
        self.bench.wait()
        seconds = time.monotonic() - started
        if bad := next((reason for reason in reasons if "finite" in reason), ""):
            raise RuntimeError(bad)  # a step that is not taken takes less time
        return self.costs(seconds, sum(len(step.units) for step in plan[1:]), tokens, flops)

    def costs(self, seconds: float, rows: int, tokens: float, flops: float) -> dict[str, Any]:
        return {
            "seconds": seconds,
            "samples_a_second": rows / seconds,
            "tokens_a_second": tokens / seconds,
            "utilisation": flops / seconds / self.bench.peak,
            "peak_gib": peak_memory(self.model.device) / 2**30,
        }

    def plain(self, method: str) -> None:
        """The loop of public code."""

        def work() -> dict[str, Any]:
            self.stack(0)
            self.bench.clear()
            plain = PlainLoop(self.model, self.rows, self.images, method, RANK, ALPHA)
            try:
                for micro, again in TRIES:
                    try:
                        seconds, rows, tokens, flops = plain.steps(
                            self.bench.batch, micro, again, self.bench.wait
                        )
                    except torch.cuda.OutOfMemoryError:
                        pass
                    else:
                        costs = self.costs(seconds, rows, tokens, flops)
                        return {"micro_batch": micro, "checkpointing": again, **costs}
                    self.bench.clear()
                return {"fits": False}
            finally:
                plain.end()
                self.bench.clear()

        self.bench.of(f"{self.name}/train/{method}/plain loop/all", work, 40)

    def reading(self) -> None:
        """An image through processor and tower, once."""

        def work() -> dict[str, Any]:
            images = Noise()  # another store: nothing of it is kept
            ids = [f"image{i}" for i in range(8)]
            self.model.prefixes.of("image9", images)
            self.bench.wait()
            started = time.monotonic()
            for image_id in ids:
                self.model.prefixes.of(image_id, images)
            self.bench.wait()
            return {"samples_a_second": len(ids) / (time.monotonic() - started)}

        self.bench.of(f"{self.name}/reading images", work)

    def asking(self, what: str, how: str, tokens: int = TOKENS) -> None:
        """Answers or likelihoods a second, of a model with two adapters on."""

        def work() -> dict[str, Any]:
            self.stack(2)
            self.bench.clear()
            model = self.model
            shared = how == "shared"
            size = 8 if self.bench.small else ASKED if shared else PADDED
            most = 4 if self.bench.small else tokens
            asked = [Ask(row, row.question) for row in self.rows.all]
            cuts = list(batches(asked, size))[:2]
            if how == "row by row":
                size, cuts = 1, [[ask] for ask in cuts[0][:4]]

            def one(cut: Sequence[Ask], most: int) -> int:
                if what == "answers":
                    given = model.answer if shared else model.answer_plainly
                    return sum(answer.tokens for answer in given(cut, self.images, most))
                texts = [ask.row.answer for ask in cut]
                weighed = (
                    model.weigh(cut, texts, self.images)
                    if shared
                    else model.weigh_plainly(list(zip(cut, texts, strict=True)), self.images)
                )
                return sum(len(one.logprobs) for one in weighed)

            with torch.inference_mode(), model.precision():
                sum(one(cut, 2) for cut in cuts)
                self.bench.wait()
                started = time.monotonic()
                count = sum(one(cut, most) for cut in cuts)
                self.bench.wait()
            seconds = time.monotonic() - started
            kind = "answering" if what == "answers" else "weighing"
            return {
                "at_once": model._fitting.get(kind, size) if shared else size,
                "samples_a_second": sum(map(len, cuts)) / seconds,
                "tokens_a_second": count / seconds,
                "peak_gib": peak_memory(model.device) / 2**30,
            }

        self.bench.of(f"{self.name}/{what}/{how}/{tokens if what == 'answers' else 0}", work)

    def nf4(self) -> None:
        if not find_spec("bitsandbytes") or self.bench.device == "cpu":
            key, why = f"{self.name}/train/finetune/none/24/nf4", "bitsandbytes is not installed"
            self.bench.of(key, lambda: {"fits": False, "why": why}, 0)
            return
        for method in ("finetune", "kl-min", "llmu"):
            self.train(method, "none", 24, nf4=True)

    def end(self) -> None:
        self._model = None
        self.bench.clear()


def measure(family: Family) -> None:
    """All of one model, what matters most first."""
    family.train("finetune", "image")
    family.train("finetune", "none")
    family.reading()
    for packing in ("none", "image"):
        for method in PAPER:
            family.train(method, packing)
    for what in ("answers", "likelihoods"):
        family.asking(what, "shared")
    family.asking("answers", "shared", 128)
    family.plain("finetune")
    family.asking("answers", "row by row")
    family.plain("kl-min")
    family.asking("likelihoods", "row by row")
    for gib in (48, 24):
        for method in ("finetune", *TRAINED):
            family.train(method, "none", gib)
    for packing in ("none", "image"):
        for method in TRAINED:
            family.train(method, packing)
    for what in ("answers", "likelihoods"):
        family.asking(what, "padded batch")
    family.nf4()
    family.end()


def profile(bench: Bench, name: str, out: str) -> None:
    """The kernels of a step of fine-tuning, packed and plain, and of some tokens of answers."""
    family = Family(bench, name)
    family.stack(0)
    bench.steps, bench.done, bench.journal = 1, {}, Path(f"{out}.profile.jsonl")
    works: dict[str, Callable[[], Any]] = {
        "fine-tuning, packed": lambda: family.train("finetune", "image"),
        "fine-tuning, a row each": lambda: family.train("finetune", "none"),
        "answers": lambda: family.asking("answers", "shared", 8),
    }
    profiled(works, bench.device == "cuda", Path(f"{out}.profile.txt"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", default="gpu", help="beginning of the files' names")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--models", default=",".join(TITLES))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.small:
        torch.set_num_threads(1)
    bench = Bench(options)
    names = options.models.split(",")
    if options.profile:
        return profile(bench, names[0], options.out)
    try:
        for name in names:
            measure(Family(bench, name))
    except OutOfTime as error:
        print(f"out of time before {error}: the same command goes on", flush=True)
    finally:
        written(options.out, bench.done, TITLES)
    if bench.failed:
        raise SystemExit(f"failed: {', '.join(bench.failed)}")


if __name__ == "__main__":
    main()
