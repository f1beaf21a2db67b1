"""A deletion request from its file to its evidence: log, unlearn, check, report.

OUT/requests.jsonl   the log (`baselines.request_log`)
OUT/request-N/       a round, of what was new in the N-th file, with recipe.json and run folders:
  finetune           the model as it was, measured on all rows asked for so far
  METHOD             what was unlearned: one adapter, which goes on with that of round N-1
  retrain            a model that was never trained on these rows, where there is one
OUT/evidence.html    of the last round (`baselines.evidence`)

The same command goes on after a kill, and does nothing that the log and the folders hold already.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines.adapters import Start
from baselines.attack import Work, attack_run
from baselines.attack_target import target_of
from baselines.evidence import Checked, check, write_evidence
from baselines.measure import Data, measure
from baselines.request_log import Entry, Log, requests, rows_of
from baselines.run import FINETUNED, Part, Stack, do, identity_of, is_done
from baselines.train import check_goes_on
from baselines.training_state import RECORD, ended
from eval.attack_kinds import Attack, attackable
from eval.run_folder import ANSWERS, describe
from eval.weights import adapter_hash
from mllmu_med.files import digest, file_digest, make_folder, write_json
from mllmu_med.locks import held
from mllmu_med.progress import say
from mllmu_med_dataset import Record, UserError

if TYPE_CHECKING:
    from baselines.recipe import Recipe

#: Its loss has a lower bound, so that a request of one row does not destroy the model as gradient
#: ascent may, and no method keeps more at as little leakage (README). Ours.
METHOD: Final = "npo"
#: By default: what takes seconds, changes weights and prompts, and needs no second patient.
ATTACKS: Final = "quantise,relearn-retain,prefix,paraphrase"
_ANSWERED: Final = (ANSWERS, "answers.run.json", "leak.jsonl", "leak.run.json")


@dataclass
class Job:
    """All that a round needs; `data`: the whole dataset, `below`: the fine-tuned model's adapters.

    retrained: the run of a model that was never trained on these rows.
    """

    out: Path
    log: Log
    recipe: Recipe
    method: str
    data: Data
    stack: Stack
    below: tuple[Path, ...]
    attacks: Sequence[Attack]
    retrained: Path | None = None

    def folder(self, number: int) -> Path:
        return self.out / f"request-{number}"

    def unlearned(self, number: int) -> Entry | None:
        return next((e for e in self.log.of("unlearned") if e["round"] == number), None)

    def part(self, number: int) -> Part:
        """A round's training: on its own rows, from the adapter of the round before."""
        done, place = self.unlearned(number), self.folder(number)
        method = done["method"] if done else self.method
        ids = tuple(r.id for q, of in self.rows(number) if q["round"] == number for r in of)
        start = Start(self.part(number - 1).adapter) if number > 1 else None
        return Part(method, place / method, self.below, place / "finetune", start, ids)

    def rows(self, number: int) -> list[tuple[Entry, list[Record]]]:
        """What was asked for up to a round, each with its rows."""
        every = self.data.all
        return [(q, rows_of(q, every, self.log.path)) for q in requests(self.log, number)]

    def asked(self, number: int) -> Data:
        """The dataset as of a round: all rows asked for are its forget set, and no row of these
        patients is in retain or test."""
        told = self.rows(number)
        ids = {row.id for _, rows in told for row in rows}
        patients = {request["id"] for request, _ in told if request["of"] == "patient"}

        def stays(row: Record) -> bool:
            return row.id not in ids and not patients & {row.patient_id, row.profile_id}

        split = {name: [r for r in self.data.rows[name] if stays(r)] for name in ("retain", "test")}
        forget = [_to_forget(row) for row in self.data.all if row.id in ids]
        return replace(self.data, rows={"forget": forget, **split})


def _to_forget(row: Record) -> Record:
    """A row as one of the forget set; of one that was retained no clean text is known."""
    if row.split == "forget":
        return row
    harm = "privacy" if row.pii else row.harm
    return replace(row, split="forget", harm=harm, clean_question="", clean_answer="")


def fulfil(job: Job) -> Checked:
    """Do all rounds that are not done, and write the evidence of the last."""
    last = len(job.log.of("received"))
    check_goes_on({job.method: job.recipe.known[job.method]})
    _check_model(job)
    if job.retrained:
        _check_retrained(job)
    for number in range(1, last + 1):
        before = [e for e in job.log.of("checked") if e["round"] == number]
        if not before or (number == last and before[-1]["terms"] != _terms(job)):
            _round(job, number)
    checked = check(job.folder(last), job.part(last).method, job.rows(last))
    write_evidence(job.out / "evidence.html", job.log, checked, job.folder(last))
    return checked


def _terms(job: Job) -> dict[str, Any]:
    """What a check was made with."""
    seen = digest([adapter_hash(a) for a in ended(job.retrained)[1]]) if job.retrained else ""
    return {"attacks": [attack.name for attack in job.attacks], "retrained": seen[:16]}


def _round(job: Job, number: int) -> None:
    place, data, part = job.folder(number), job.asked(number), job.part(number)
    tuned = Part(FINETUNED, place / "finetune", job.below)
    for one in (tuned, part):  # another recipe is refused before any work
        is_done(one, identity_of(one, job.recipe, data, job.stack))
    make_folder(place, "a request")
    write_json(place / "recipe.json", job.recipe.to_json())
    if number > 1:
        _take_over(job.folder(number - 1) / "finetune", tuned.folder)
    say(f"round {number}: {len(part.forget):,} rows to unlearn")
    do(tuned, job.recipe, data, job.stack)
    do(part, job.recipe, data, job.stack)
    if not job.unlearned(number):
        job.log.add("unlearned", number, **_what_was_done(part, job, data))
    runs = [tuned.folder, part.folder]
    stacks = [job.stack, job.stack]
    if job.retrained:
        record, adapters = ended(job.retrained)
        runs.append(place / "retrain")
        name = record["model"]["model"]
        same = name == job.stack.name
        stacks.append(job.stack if same else replace(job.stack, name=name, _model=None, _on=[]))
        with held(runs[-1]):
            measure(stacks[-1].at(adapters), data, runs[-1], job.recipe.answers)
    try:
        attackable(data.rows["forget"])
    except UserError as error:
        say(f"round {number}: not attacked: {error}")
    else:
        for run, stack in zip(runs, stacks, strict=True):
            attack_run(Work(target_of(run), data, stack), job.attacks)
    checked = check(place, part.method, job.rows(number))
    answers = [path for run in runs for path in sorted(run.glob("*.jsonl"))]
    files = {str(path.relative_to(job.out)): file_digest(path) for path in answers}
    job.log.add("checked", number, terms=_terms(job), files=files, **checked.to_json())


def _take_over(before: Path, now: Path) -> None:
    """The fine-tuned model's answers of the last round: it is asked the same but for new rows."""
    make_folder(now, "a run")
    for name in _ANSWERED:
        if (before / name).is_file() and not (now / name).exists():
            shutil.copy2(before / name, now / f"{name}.part")
            (now / f"{name}.part").rename(now / name)


def _what_was_done(part: Part, job: Job, data: Data) -> dict[str, Any]:
    """Of a round that has been trained: with what, from what, to what."""
    identity = identity_of(part, job.recipe, data, job.stack)
    record, _ = ended(part.folder)
    kept = ("status", "reason", "steps", "seconds")
    return {
        "method": part.method,
        "settings": identity["settings"],
        "model": identity["model"],
        "below": identity["parents"],
        "start": part.start.identity(True)["weights"] if part.start else "",
        "adapter": adapter_hash(part.adapter),
        "run": describe(part.folder / ANSWERS)["run"],
        "data": job.data.hash,
        "rows": len(part.forget),
        **{name: record["outcome"][name] for name in kept},
    }


def _check_model(job: Job) -> None:
    """Raise UserError where the log tells of another model, or an adapter is not its own."""
    tuned = Part(FINETUNED, job.out, job.below)
    now = identity_of(tuned, job.recipe, job.data, job.stack)
    for entry in job.log.of("unlearned"):
        part = job.part(entry["round"])
        where = f"{job.log.path}, entry {entry['number']}"
        if (now["model"], now["parents"]) != (entry["model"], entry["below"]):
            raise UserError(f"{where}: was made of another --model or --adapter: give that one")
        if adapter_hash(part.adapter) != entry["adapter"]:
            raise UserError(
                f"{where}: {part.adapter} is not the adapter of then: put it back from a copy"
            )


def beside(job: Job) -> Path | None:
    """The run `retrain` beside that of the fine-tuned adapter, if it can serve as a reference."""
    place = job.below[0].parent.parent / "retrain" if job.below else None
    if place is None or not (place / RECORD).is_file():
        return None
    try:
        _check_retrained(replace(job, retrained=place))
    except UserError as error:
        say(f"not compared with a retrained model: {error}")
        return None
    return place


def _check_retrained(job: Job) -> None:
    """Raise UserError where the retrained model may have seen what was asked for."""
    record, _ = ended(job.retrained) if job.retrained else ({}, [])
    where = f"--retrained {job.retrained}"
    if record["method"] != "retrain" or record["data"].get("hash") != job.data.hash:
        raise UserError(f"{where}: is no run of `baselines retrain` on this dataset")
    if any(row.split != "forget" for _, rows in job.rows(len(job.log.of("received"))) for row in rows):
        raise UserError(
            f"{where}: was trained on the retain set, and rows of it are asked for: leave it out, "
            "or retrain on a dataset whose forget set they are"
        )
