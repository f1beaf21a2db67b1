"""The measurements of `gpu.py`: made once, kept as lines, within a time and a GPU's memory."""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

#: Dense bfloat16, in FLOP a second, of the SXM boards.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "4090": 165e12}
#: Of a GPU's memory, what the CUDA context takes.
CONTEXT = 0.6 * 2**30


class OutOfTime(Exception):
    """The call's minutes are over."""


class Bench:
    """The measurements so far, and the time that is left."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.small, self.journal = options.small, Path(f"{options.out}.jsonl")
        self.deadline = time.monotonic() + 60 * options.minutes
        cuda = torch.cuda.is_available() and not options.small
        self.device = "cuda" if cuda else "cpu"
        self.gpu = torch.cuda.get_device_name() if cuda else "cpu"
        lines = self.journal.read_text("utf-8").splitlines() if self.journal.is_file() else []
        every = [json.loads(line) for line in lines]
        self.done = {line["key"]: line for line in every if line["gpu"] == self.gpu}
        self.failed: list[str] = []
        self.steps, self.batch = (1, 4) if options.small else (3, 16)
        self.peak = self.of("peak", self._peak, 0)["flops"]

    def of(self, key: str, work: Callable[[], dict[str, Any]], least: float = 20) -> dict[str, Any]:
        """A measurement, made now unless it is there; `least`: the seconds that it may take."""
        if key in self.done:
            return self.done[key]
        if time.monotonic() + (0 if self.small else least) > self.deadline:
            raise OutOfTime(key)
        from mllmu_med_dataset import UserError

        started = time.monotonic()
        try:
            line = work()
        except torch.cuda.OutOfMemoryError:
            line = {"fits": False}
        except (UserError, RuntimeError, ValueError, TypeError, AttributeError, LookupError):
            traceback.print_exc()  # others may go; this one is tried anew in the next call
            self.failed.append(key)
            if len(self.failed) == 5:
                raise SystemExit(f"failed: {', '.join(self.failed)}") from None
            return {}
        line = {"key": key, "gpu": self.gpu, **line, "took": round(time.monotonic() - started, 2)}
        with self.journal.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        self.done[key] = line
        return line

    def _peak(self) -> dict[str, Any]:
        known = next((peak for name, peak in PEAKS.items() if name in self.gpu), 0)
        size = 8192 if self.device == "cuda" else 512
        kind = torch.bfloat16 if self.device == "cuda" else torch.float32
        a = torch.randn(size, size, device=self.device, dtype=kind)
        seconds, _ = self.timed(lambda: [a @ a for _ in range(20)])
        measured = 20 * 2 * size**3 / seconds
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        return {"flops": known or measured, "matmul": measured, **versions}

    def timed(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds of the second of two calls, and what it gave."""
        work()
        self.wait()
        started = time.monotonic()
        result = work()
        self.wait()
        return time.monotonic() - started, result

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def clear(self) -> None:
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    @contextmanager
    def limited(self, gib: int) -> Iterator[None]:
        """As on a GPU of so much memory (0: all there is)."""
        self.clear()
        if gib and self.device == "cuda":
            whole = torch.cuda.mem_get_info()[1]
            torch.cuda.set_per_process_memory_fraction(min(1.0, (gib * 2**30 - CONTEXT) / whole))
        try:
            yield
        finally:
            if self.device == "cuda":
                torch.cuda.set_per_process_memory_fraction(1.0)
