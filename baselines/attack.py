"""Attacks on the models of a run: what comes back of what was unlearned.

RUN/attacks/KIND-STRENGTH/    a run folder each (`eval.run_folder`), of the rows that were asked
  answers.jsonl               what was answered, with answers.run.json
  leak.json | scores.json     what came out of it (privacy and own | incorrect), with its rows
  likelihood.jsonl            of the rows asked, where the attack changes the model
  attack.json                 what was done, to which model, on which rows: the mark that it is done

An outcome takes its place whole, so the same command goes on with the first that is not there.

Relearning trains a new adapter on top of all that a model has, with the recipe's settings of
fine-tuning but at a part of its learning rate (`RATE`), held constant: so 30 steps begin with what
5 steps are, and one training gives all strengths. The adapter is not kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from baselines.attack_target import Target, target_of
from baselines.measure import Data
from baselines.run import Stack
from baselines.training_settings import TrainSettings
from baselines.training_state import difference
from eval import likelihood
from eval.answer import answer_with_model, run_hash
from eval.attack_kinds import (
    RELEARNT,
    VERSION,
    Attack,
    ChangedImages,
    asked_rows,
    asks_of,
    attackable,
    relearnt,
)
from eval.attack_results import ATTACK, FOLDER
from eval.attacks import Ask
from eval.collect_results import check_names
from eval.leak import leak_answers, write_leak
from eval.model import Model
from eval.run_folder import ANSWERS, describe, read_json
from eval.score import score_answers, write_scores
from mllmu_med.disk import remove
from mllmu_med.files import digest, write_json
from mllmu_med.folders import atomic_folder
from mllmu_med.locks import held
from mllmu_med.processes import side_by_side
from mllmu_med.progress import say
from mllmu_med_dataset import Record, UsageError, UserError

#: Of fine-tuning's learning rate: at all of it, without a rise and a fall, a fine-tuned model
#: itself loses what it knows in so few steps, and the attack hides what it looks for. Ours.
RATE: Final = 0.3


@dataclass
class Work:
    """A run under attack: everything that its outcomes need."""

    target: Target
    data: Data
    stack: Stack
    images: ChangedImages = field(init=False)

    def __post_init__(self) -> None:
        self.images = ChangedImages(self.data.images)

    @property
    def rows(self) -> list[Record]:
        return attackable(self.data.rows["forget"])

    def takes(self, attack: Attack) -> bool:
        """Whether there is what an attack needs: an unlearning adapter, values, patients."""
        if attack.kind == "prefix":  # a value alone has no beginning
            return bool(asks_of(attack, self.rows, self.images))
        patients = len({row.whose for row in self.rows})
        needed = {
            "adapter": self.target.unlearned,
            "relearn-forget": patients > RELEARNT,
            "other-image": patients > 1,
        }
        return needed.get(attack.kind, True)

    def asked(self, attack: Attack) -> list[Record]:
        """The rows that are asked about."""
        return asked_rows(attack, self.rows)

    def trained_on(self, attack: Attack) -> list[Record]:
        """The rows that a relearning trains on."""
        split = {"relearn-retain": "retain", "relearn-outside": "test"}.get(attack.kind)
        return self.data.rows[split] if split else relearnt(self.rows)

    def settings(self, attack: Attack, most: int) -> TrainSettings:
        """Of a relearning of so many steps."""
        base = self.target.settings()
        rows = self.trained_on(attack)
        changed = {
            "epochs": most,  # of a step at least each
            "max_steps": most,
            "batch_size": min(base.batch_size, len(rows)),
            "learning_rate": base.learning_rate * RATE,
            "warmup": 0.0,
            "lr_end": 1.0,
        }
        return base.model_copy(update=changed)

    def identity(self, attack: Attack) -> dict[str, Any]:
        """What decides an outcome; of relearning, each strength is of the same first steps."""
        asks = asks_of(attack, self.asked(attack), self.images)
        settings: dict[str, Any] = {}
        if attack.group == "relearn":
            settings = self.settings(attack, 1).identity()
            settings["rows"] = digest([row.id for row in self.trained_on(attack)])[:12]
        return {
            "model": self.target.who["run"],
            "data": self.data.hash,
            "attack": attack.name,
            "version": VERSION,
            "asked": digest([[*ask.key, ask.hash] for ask in asks])[:12],
            "settings": settings,
        }

    def place(self, attack: Attack) -> Path:
        return self.target.folder / FOLDER / attack.name

    def is_done(self, attack: Attack) -> bool:
        """Whether this very outcome is there; a UserError where it is of another model or data."""
        path = self.place(attack) / ATTACK
        if not path.is_file():
            return False
        before, now = read_json(path).get("identity", {}), self.identity(attack)
        for name in ("model", "data"):
            if before.get(name) != now[name]:
                raise UserError(
                    f"{path.parent}: is of another {name} ({difference(before, now)}): remove "
                    f"{path.parent.parent}, or attack a run in a folder of its own"
                )
        return bool(before == now)

    def write(self, model: Model, attack: Attack, began: float, spent: float = 0.0) -> None:
        """Ask a model that is under attack, and put the outcome in its place.

        began: when the attack began, of `time.monotonic`; spent: seconds before that.
        """
        rows = self.asked(attack)
        asks = asks_of(attack, rows, self.images)
        with atomic_folder(self.place(attack)) as new:
            out = new / ANSWERS
            target, images = self.target, self.images
            given = answer_with_model(model, asks, images, out, target.longest, target.batch)
            self._measure(list(zip(asks, given, strict=True)), new)
            if attack.group in ("weights", "relearn"):
                weighed = likelihood.measure(model, rows, images, target.batch, self.data.all)
                likelihood.write_rows(new, weighed, likelihood.identity_of(model))
            steps = attack.strength if attack.group == "relearn" else 0
            seconds = round(spent + time.monotonic() - began, 2)
            about: dict[str, Any] = {"identity": self.identity(attack), "kind": attack.kind}
            about |= {
                "strength": attack.strength,
                "rows": len({ask.row.id for ask in asks}),
                "asks": len(asks),
            }
            write_json(new / ATTACK, {**about, "steps": steps, "seconds": seconds})

    def _measure(self, joined: list[tuple[Ask, Any]], new: Path) -> None:
        name, who = self.target.folder.resolve().name, describe(new / ANSWERS)
        private = self.data.private
        if private:
            write_leak(new, *leak_answers(joined, private, self.target.config, name, who))
        if not private or joined[0][0].way == "own":
            words = self.data.vocabulary
            write_scores(new, *score_answers(joined, self.target.config, name, who, words))


def attack_run(work: Work, attacks: Sequence[Attack]) -> None:
    """Every attack on one run that is not done."""
    folder = work.target.folder
    chosen = [attack for attack in attacks if work.takes(attack)]
    left = [attack for attack in chosen if not work.is_done(attack)]
    no = ", ".join(dict.fromkeys(attack.kind for attack in attacks if attack not in chosen))
    lacks = f"; not here, see docs/attacks.md: {no}" if no else ""
    say(f"{folder.name}: {len(left)} of {len(chosen)} attacks to do{lacks}")
    if not left:
        return
    with held(folder / FOLDER):
        for training in (folder / FOLDER).glob(".relearn-*"):  # of a run that was killed
            remove(training)
        model = work.stack.at(work.target.adapters)
        identity = {**model.identity, "max_new_tokens": work.target.longest}
        if run_hash(identity) != work.target.who["run"]:
            raise UserError(
                f"{folder}: its model or an adapter has changed since it was measured: measure it "
                "anew first"
            )
        model.expect(row.question + row.answer for row in work.rows)
        for attack in left:
            if attack.group != "relearn":
                began = time.monotonic()
                with _under(work, attack) as changed:
                    work.write(changed, attack, began)
        for kind in dict.fromkeys(attack.kind for attack in left if attack.group == "relearn"):
            _relearn(work, [attack for attack in left if attack.kind == kind])


@contextmanager
def _under(work: Work, attack: Attack) -> Iterator[Model]:
    """The model as an attack leaves it; afterwards as it was."""
    target, stack = work.target, work.stack
    if attack.kind == "adapter":
        try:
            yield stack.at(target.adapters[:-1])
        finally:
            stack.at(target.adapters)
    elif attack.kind == "quantise":
        from eval.quantise import quantised

        with quantised(stack.at(target.adapters), attack.strength):
            yield stack.at(target.adapters)
    else:
        yield stack.at(target.adapters)


def _relearn(work: Work, attacks: Sequence[Attack]) -> None:
    """Train once, and ask after each strength's number of steps."""
    from baselines.train import train

    stack, target = work.stack, work.target
    model, most = stack.at(target.adapters), max(attack.strength for attack in attacks)
    key = digest([work.identity(attacks[0])["settings"], target.who["run"], most])[:8]
    place = target.folder / FOLDER / f".{attacks[0].kind}-{key}"
    below, began, asking = list(model.identity.get("adapters", [])), time.monotonic(), 0.0

    def look(step: int) -> None:
        nonlocal asking
        for attack in (attack for attack in attacks if attack.strength == step):
            now = time.monotonic()
            named = {"path": f"{place.name}, step {step}", "weights": f"{place.name} {step}"}
            model.identity["adapters"] = [*below, named]
            try:
                work.write(model, attack, now, now - began - asking)
            finally:
                model.identity["adapters"] = below
            asking += time.monotonic() - now

    rows = work.trained_on(attacks[0])
    settings = work.settings(attacks[0], most)
    say(f"{target.folder.name}: {attacks[0].kind}: {most} steps on {len(rows)} rows")
    ended = train(model, "retrain", [], rows, work.images, settings, place, on_step=look)
    if ended.reason:
        say(f"{target.folder.name}: {attacks[0].kind}: stopped, nothing from there: {ended.reason}")
    stack.trained(place / "adapter")
    stack.at(target.adapters)
    remove(place)


def attack_all(
    runs: Sequence[Path],
    attacks: Sequence[Attack],
    source: str | None = None,
    jobs: int = 0,
    device: str = "",
    share: bool = True,
) -> None:
    """Attack runs of one dataset, `jobs` at once (0: one, or a core each for the tiny model)."""
    from baselines.run_parts import jobs_for

    if not runs:
        raise UsageError("no runs: give the folders that `baselines run` or `eval score` wrote")
    check_names(runs)
    targets = [target_of(run) for run in runs]
    configs = list(dict.fromkeys(target.config for target in targets))
    if len(configs) > 1:
        raise UsageError(f"runs of {', '.join(configs)}: attack those of one config at a time")
    told = (target.record.get("data", {}).get("source") for target in targets)
    data = Data.read(source or next(filter(None, told), None), configs[0])
    for target in targets:
        if target.done.get("data", data.hash) != data.hash:
            raise UserError(
                f"{target.folder}: was measured on another dataset (hash {target.done['data']}, "
                f"that of {data.about()['source']} is {data.hash}): give --data the one it was "
                "measured on"
            )
    stacks: dict[tuple[str, str], Stack] = {}
    works = []
    for target in targets:
        named = target.who["model"], target.who["dtype"]
        stack = stacks.setdefault(named, Stack(named[0], device, named[1], share))
        works.append(Work(target, data, stack))
    for work in works:  # refused before any work
        for attack in filter(work.takes, attacks):
            work.is_done(attack)
    at_once = jobs_for(jobs, targets[0].who["model"], device)
    if at_once == 1 or len(works) == 1:
        for work in works:
            attack_run(work, attacks)
        return
    for work in works:
        work.stack = replace(work.stack, _model=None, _on=[])
    calls = [(work, attacks) for work in works]
    for _ in side_by_side(attack_run, calls, at_once, [work.target.folder for work in works]):
        pass
