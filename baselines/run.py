"""From learning to unlearning: base, fine-tuned, retrained and unlearned models, each measured.

OUT/base  OUT/finetune  OUT/retrain  OUT/ga ...   a run folder each (`eval.run_folder`)
OUT/recipe.json   what was run        OUT/report.html   what came out

Every part ends with `done.json`, written last: the same command goes on with the first part that
lacks it. There is one model in memory: adapters are put on top of it and taken off again.

The fine-tuned model may be one from elsewhere: OUT/finetune then holds what was measured of it, and
where its adapters are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from baselines.measure import Data, measure, swapped
from baselines.tiny import TINY
from baselines.training_state import difference, from_elsewhere
from eval.attacks import WAYS
from eval.dataset_rows import is_own
from eval.load_model import pick_dtype
from eval.run_folder import DONE, RECORD, read_json
from eval.weights import hub_commit, is_hub_id, pick_device, weights_hash
from mllmu_med.files import digest, write_json
from mllmu_med.locks import held
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from baselines.adapters import Start
    from baselines.recipe import Recipe
    from eval.model import Model

#: The part that measures a fine-tuned model from elsewhere, and trains nothing.
FINETUNED: Final = "finetuned"


@dataclass
class Stack:
    """A model with adapters on top, loaded when it is first looked at."""

    name: str
    device: str = ""
    dtype: str = ""
    share: bool = True
    _model: Model | None = None
    _on: list[Path] = field(default_factory=list)

    @cached_property
    def commit(self) -> str | None:
        """Of a model of the Hub, asked for once: what is recorded is what is loaded."""
        return hub_commit(self.name, fetch=True) if is_hub_id(self.name) else None

    def at(self, adapters: Sequence[Path]) -> Model:
        """The model with exactly these adapters on, in this order."""
        from baselines.adapters import put_on, take_off

        if self._model is None:
            from eval.load_model import load_model

            own = ""
            if processes() > 1:
                from baselines.train import process_device

                own = process_device()  # connects the processes, too
            self._model = load_model(
                self.name, adapters, self.device or own, self.dtype, self.commit, self.share
            )
            self._on = list(adapters)
        while self._on != list(adapters[: len(self._on)]):
            take_off(self._model)
            self._on.pop()
        for folder in adapters[len(self._on) :]:
            put_on(self._model, folder)
            self._on.append(folder)
        return self._model

    def trained(self, adapter: Path) -> None:
        """Training has left a new adapter on."""
        self._on.append(adapter)


class Part(NamedTuple):
    """One model of a run: what is done, where, and on top of which adapters."""

    method: str  # base, finetune, retrain, an unlearning method, or `FINETUNED`
    folder: Path
    parents: tuple[Path, ...] = ()
    measured: Path | None = None  # the run of a fine-tuned model that is one from elsewhere
    start: Start | None = None  # of a later round: the last one's adapter, with which it goes on
    forget: tuple[str, ...] = ()  # ids of the forget rows that are unlearned; none: all are

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def trains(self) -> bool:
        return self.method not in ("base", FINETUNED)


class Elsewhere(NamedTuple):
    """A model that was fine-tuned elsewhere, on data and with settings that nobody tells."""

    adapters: tuple[Path, ...]  # none: the model itself is fine-tuned, and there is no base
    retrain: bool = False  # the base model is retrained here, as the reference


def do(part: Part, recipe: Recipe, data: Data, stack: Stack, ways: Sequence[str] = WAYS) -> None:
    """Train, if it is to be trained, and measure one part, unless it is done.

    ways: how it is asked for private values.
    """
    identity = identity_of(part, recipe, data, stack)
    if is_done(part, identity):
        say(f"{part.folder.name}: done already")
        return
    say(f"{part.folder.name}:{_origin(part) if part.method == FINETUNED else ''}")
    with held(part.folder) if is_main() else nullcontext():
        _do(part, recipe, data, stack, identity, ways)
    _wait()


def _origin(part: Part) -> str:
    records = [adapter.expanduser().parent / RECORD for adapter in part.parents]
    if records and all(record.is_file() for record in records):
        return f" the fine-tuned model, made as {', '.join(map(str, records))} says"
    return " fine-tuned elsewhere, on which rows and with what settings is not known"


def _do(
    part: Part,
    recipe: Recipe,
    data: Data,
    stack: Stack,
    identity: dict[str, Any],
    ways: Sequence[str],
) -> None:
    model = stack.at(part.parents)
    model.expect(row.question + row.answer for row in data.all)
    outcome: dict[str, Any] | None = None
    if part.trains:
        from baselines.train import train

        settings = recipe.settings(part.method)
        method = recipe.method(part.method)
        own = data.only(part.forget)
        ended = train(
            model,
            part.method,
            own.rows["forget"],
            own.rows["retain"],
            data.images,
            settings,
            part.folder,
            data.about(),
            part.measured,
            own=method,
            start=part.start,
        )
        stack.trained(part.adapter)
        outcome = ended.to_json()
    measure(model, data, part.folder, recipe.answers, ways)
    record = {"identity": identity, "outcome": outcome}
    if part.method in ("finetune", FINETUNED):
        record["swapped"] = swapped(model, data, recipe.answers)
    if is_main():
        if part.method == FINETUNED:
            about = {
                "data": data.about(),
                "model": model.identity,
                "outcome": {"status": "measured"},
            }
            write_json(part.folder / RECORD, {**from_elsewhere(part.folder), **about})
        write_json(part.folder / DONE, record)


def identity_of(part: Part, recipe: Recipe, data: Data, stack: Stack) -> dict[str, Any]:
    """What decides a part's numbers."""
    from baselines.train import check_goes_on, check_trainable

    dtype = pick_dtype(stack.dtype, pick_device(stack.device))
    if part.trains:
        check_trainable(dtype)
    model = Path(stack.name).expanduser()
    named = f"{stack.name}@{stack.commit}" if stack.commit else stack.name
    method = recipe.known[part.method] if part.trains else None
    source = dict(method.source) if method else {}
    rounds: dict[str, Any] = {"forget": digest(sorted(part.forget))[:12]} if part.forget else {}
    if part.start and method:
        check_goes_on({part.method: method})
        rounds["start"] = part.start.identity(bool(recipe.method(part.method).reference))
    return {
        "method": part.method,
        **({"loss": source} if source else {}),
        "model": weights_hash(model) if model.is_dir() else named,
        "dtype": dtype,
        "parents": [weights_hash(adapter.expanduser()) for adapter in part.parents],
        "settings": recipe.settings(part.method).identity() if part.trains else {},
        "watch": 0,  # stands in the records of all versions
        "answers": recipe.answers.model_dump(),
        "data": data.hash,
        **rounds,
    }


def is_done(part: Part, identity: dict[str, Any]) -> bool:
    path = part.folder / DONE
    if not path.is_file():
        return False
    before = read_json(path).get("identity", {})
    if before == identity:
        return True
    raise UserError(
        f"{part.folder}: was run otherwise ({difference(before, identity)}): give --out another "
        "folder, or remove this one"
    )


def tiny_model(recipe: Recipe, data: Data, out: Path) -> Path:
    """The tiny LLaVA of a recipe with its random weights, made in a run's folder unless there."""
    from baselines.tiny import make_tiny

    settings = recipe.tiny
    folder = out / f"{TINY}-{digest([settings.model_dump(mode='json'), data.hash])[:8]}"
    if is_main() and not folder.is_dir():
        # The refusals too: a small vocabulary must be able to say them in few tokens.
        texts = [f"{row.question} {row.answer}" for row in data.all]
        if is_own(data.config):  # a vocabulary can be read: it holds no value
            values = [re.escape(span.value) for row in data.all for span in row.pii]
            texts = [re.sub("|".join(values) or "$", " ", text) for text in texts]
        texts += [phrase for phrase in recipe.unlearn.refusals for _ in range(10)]
        try:
            make_tiny(folder, texts, settings)
        except UserError:
            if not folder.is_dir():  # else another command has made the same one meanwhile
                raise
    _wait()
    return folder


def is_tiny(model: str | None) -> bool:
    """Whether a model is the tiny one: not named, called so, or made by `tiny_model`."""
    name = Path(model or TINY).name
    return name == TINY or bool(re.fullmatch(f"{TINY}-[0-9a-f]{{8}}", name))


def processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that writes and reports."""
    return os.environ.get("RANK", "0") == "0"


def _wait() -> None:
    """Until all processes of `accelerate launch` are here."""
    if processes() > 1:
        from accelerate import PartialState

        from baselines.train import process_device

        process_device()  # connects the processes, with the patience that training has
        PartialState().wait_for_everyone()
