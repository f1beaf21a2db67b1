"""Answers of a model to the dataset's rows: batched, appended as they come, resumed after a kill.

Batches are cut from everything that is to be asked, whatever is answered already: a run that was
killed and goes on computes the same batches, and so writes the same file, as one that was not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final

from eval.attacks import Ask
from eval.dataset_rows import ImageStore
from eval.model import Answer, Model
from eval.predictions import Prediction, parse_predictions, write_predictions
from eval.run_folder import describe, identity_path
from eval.spread import is_first, shown, spread, tell
from mllmu_med.disk import writing
from mllmu_med.files import canonical_json, digest, write_json
from mllmu_med.folders import check_out
from mllmu_med.locks import lock
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

MAX_NEW_TOKENS: Final = 128
BATCH: Final = 32
#: What of a run's identity decides an answer, beside the adapters; the last four are a server's.
COUNTS: Final[tuple[str, ...]] = (
    *("weights", "prompt", "format", "decoding", "dtype", "max_new_tokens"),
    *("server_model", "served", "sampling", "chat_template_kwargs"),
)


def run_hash(identity: dict[str, Any]) -> str:
    """12 hex digits of what decides an answer: not the place it was computed, nor versions."""
    chosen = {name: identity[name] for name in COUNTS if name in identity}
    chosen["adapters"] = [adapter["weights"] for adapter in identity.get("adapters", [])]
    return digest(chosen)[:12]


def answer_with_model(
    model: Model,
    asked: Sequence[Ask],
    images: ImageStore,
    out: Path,
    max_new_tokens: int = MAX_NEW_TOKENS,
    batch: int = BATCH,
) -> list[Prediction]:
    """Ask a loaded model everything, append each batch's answers to `out`, and return them all.

    Of several processes the first one writes and returns them, see `eval.spread`.
    Raises UserError where `out` holds another model's, prompt's or dataset's answers.
    """
    model.expect(ask.question + ask.start for ask in asked)
    identity = {**model.identity, "sharing": model.sharing.why, "max_new_tokens": max_new_tokens}
    cuts = list(batches(asked, batch))
    with AnswerFile(out, asked, identity) if is_first() else nullcontext() as file:
        left = tell(file and [i for i, cut in enumerate(cuts) if not all(map(file.has, cut))]) or []
        with shown("answering", len(asked)) as advance:
            advance(len(asked) - sum(len(cuts[i]) for i in left))
            for i, answers in spread(left, lambda i: model.answer(cuts[i], images, max_new_tokens)):
                if file:
                    file.add(cuts[i], answers)
                advance(len(cuts[i]))
        return file.finish() if file else []


def batches(asked: Sequence[Ask], size: int) -> Iterator[list[Ask]]:
    """Batches of questions of like length; those of one image stay together.

    One batch has either images or none: without an image there is nothing to share.
    """
    groups: dict[str, list[Ask]] = {}
    for ask in asked:
        groups.setdefault(ask.row.image_id if ask.image else "", []).append(ask)
    without = groups.pop("", [])
    batch: list[Ask] = []
    for group in sorted(groups.values(), key=lambda of: max(len(a.question + a.start) for a in of)):
        if batch and len(batch) + len(group) > size:
            yield batch
            batch = []
        batch = batch + group
        while len(batch) > size:
            yield batch[:size]
            batch = batch[size:]
    if batch:
        yield batch
    yield from (without[start : start + size] for start in range(0, len(without), size))


class AnswerFile:
    """A predictions file under way: holds what is answered, appends what comes."""

    def __init__(self, path: Path, asked: Sequence[Ask], identity: dict[str, Any]) -> None:
        self.path, self.asked = path, asked
        self.run = run_hash(identity)
        self._known: dict[tuple[str, str, str], Prediction] = {}
        check_out(path, "answers")
        with writing(path):
            self._stream = path.open("a", encoding="utf-8", newline="\n")
        try:
            lock(self._stream, path)
            before = describe(path)
            self._resume(identity, before)
            #: What was learnt of the model in this run or before, and decides no answer.
            self.notes: dict[str, Any] = {}
            if before.get("run") == self.run and "refused" in before:
                self.notes = {"refused": before["refused"]}
            self._identity = {"run": self.run, **identity}
            write_json(identity_path(path), {**self._identity, **self.notes})
        except BaseException:
            self._close()
            raise

    def note(self, **notes: Any) -> None:
        """Write down what is learnt as the answers come, beside the identity."""
        if notes != self.notes:
            self.notes = notes
            write_json(identity_path(self.path), {**self._identity, **notes})

    def _resume(self, identity: dict[str, Any], before: dict[str, Any]) -> None:
        """Take over what is there; a last line that a kill has left half-written is cut off."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if _half_written(content[whole:]):
            content = content[:whole]
        asks = {ask.key: ask for ask in self.asked}
        for prediction in parse_predictions(content, self.path):
            if prediction.run != self.run:
                raise UserError(
                    f"{self.path}: holds answers of {_other(identity, before)}: give --out another "
                    "file, or remove this one"
                )
            ask = asks.get(prediction.key)
            if ask and prediction.asked != ask.hash:
                raise UserError(
                    f"{self.path}: {prediction.id} was answered for another text or image than "
                    "the dataset has now: give --out another file, or remove this one"
                )
            self._known[prediction.key] = prediction
        # Only now: somebody else's file is refused as it was.
        with writing(self.path):
            self._stream.truncate(len(content))
            if content and not content.endswith(b"\n"):
                self._stream.write("\n")
                self._stream.flush()
        done = sum(ask.key in self._known for ask in self.asked)
        if done:
            say(f"  {self.path}: {done:,} of {len(self.asked):,} are answered already")

    def __enter__(self) -> AnswerFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _close(self) -> None:
        """After a failure: what the stream still holds may fail to be written once more."""
        with suppress(OSError):
            self._stream.close()

    def has(self, ask: Ask) -> bool:
        return ask.key in self._known

    def add(self, asked: Sequence[Ask], answers: Sequence[Answer]) -> None:
        """Append the answers that are not there yet, all or none of them on the disk."""
        new = [
            Prediction(
                id=ask.row.id,
                answer=answer.text,
                way=ask.way,
                kind=ask.kind,
                asked=ask.hash,
                run=self.run,
                tokens=answer.tokens,
                end=answer.end,
            )
            for ask, answer in zip(asked, answers, strict=True)
            if not self.has(ask)
        ]
        lines = "".join(canonical_json(prediction.to_json()) + "\n" for prediction in new)
        # Closed when it fails: what a stream still holds it would write, and fail, once more.
        with writing(self.path, len(lines.encode())):
            try:
                self._stream.write(lines)
                self._stream.flush()
                os.fsync(self._stream.fileno())
            except OSError:
                self._close()
                raise
        self._known.update((prediction.key, prediction) for prediction in new)

    def finish(self) -> list[Prediction]:
        """Put the file into the dataset's order; answers to other rows of the same run stay.

        Returns the answers to what was asked, without those that there are none to.
        """
        self._stream.close()
        mine = [self._known[ask.key] for ask in self.asked if self.has(ask)]
        keys = {ask.key for ask in self.asked}
        others = [prediction for key, prediction in self._known.items() if key not in keys]
        write_predictions(self.path, [*others, *mine])
        return mine


def is_complete(path: Path, asked: Sequence[Ask], identity: dict[str, Any]) -> bool:
    """Whether the file holds this very model's answers to everything that is asked."""
    if describe(path).get("run") != run_hash(identity) or not path.is_file():
        return False
    known = {prediction.key for prediction in parse_predictions(path.read_bytes(), path)}
    return known.issuperset(ask.key for ask in asked)


def _other(identity: dict[str, Any], before: dict[str, Any]) -> str:
    """In which way the model of the file, described `before`, is another one."""
    for name in ("model", "adapters", *COUNTS):
        there, now = before.get(name), identity.get(name)
        if before and there != now:
            return f"another run ({name}: {there!r} there, {now!r} now)"
    return "another model, prompt or adapter"


def _half_written(line: bytes) -> bool:
    """Whether a last line without its end is the beginning of one of ours."""
    ours = b'{"answer":"'
    try:
        json.loads(line)
    except ValueError:
        return bool(line) and line[: len(ours)] == ours[: len(line)]
    return False
