"""A deletion request from its file to its evidence: log, unlearn, check, report.

OUT/requests.jsonl   the log (`baselines.request_log`)
OUT/request-N/       a round, of what was new in a file: recipe.json and run folders, of
  finetune           the model as it was, asked about all rows asked for so far
  METHOD             what was unlearned: one adapter, which goes on with that of round N-1
  retrain            a model that was never trained on these rows, where there is one
OUT/evidence.html    of the last round (`baselines.evidence`)

The same command goes on after a kill, and does nothing that is done already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.adapters import Start
from baselines.attack import Work, attack_run
from baselines.attack_target import target_of
from baselines.evidence import check, write_evidence
from baselines.measure import Data, measure
from baselines.request_log import Entry, Log, rows_of
from baselines.run import FINETUNED, Part, Stack, do, identity_of, is_done
from baselines.training_state import ended
from eval.attack_kinds import Attack, attackable
from eval.run_folder import RECORD
from eval.weights import adapter_hash
from mllmu_med.files import file_digest, write_atomic, write_json
from mllmu_med.folders import make_folder
from mllmu_med.locks import held
from mllmu_med.progress import say
from mllmu_med_dataset import Record, UserError

if TYPE_CHECKING:
    from baselines.recipe import Recipe


@dataclass
class Job:
    """What all rounds need; `data`: the whole dataset, `below`: the fine-tuned model's adapters.

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

    def part(self, number: int) -> Part:
        """A round's training: on its own rows, from the adapter of the round before."""
        done = [entry for entry in self.log.of("unlearned") if entry["round"] == number]
        method, place = done[0]["method"] if done else self.method, self.out / f"request-{number}"
        asked = [rows for request, rows in self.asked(number) if request["round"] == number]
        start = Start(self.part(number - 1).adapter) if number > 1 else None
        ids = tuple(row.id for rows in asked for row in rows)
        return Part(method, place / method, self.below, place / "finetune", start, ids)

    def asked(self, number: int | None = None) -> list[tuple[Entry, list[Record]]]:
        """What was asked for up to a round, each with its rows."""
        return [(one, rows_of(one, self.data.all)) for one in self.log.requests(number)]

    def seen(self, number: int) -> Data:
        """The dataset as of a round: its forget set is what was asked for so far.

        No row of these patients is in retain or test. What was to be forgotten and is not asked
        for is neither trained on nor asked about.
        """
        asked = self.asked(number)
        ids = {row.id for _, rows in asked for row in rows}
        patients = {request["id"] for request, _ in asked if request["of"] == "patient"}
        left = [
            row
            for row in self.data.all
            if row.id not in ids and not patients & {row.patient_id, row.profile_id}
        ]
        rows = {split: [r for r in left if r.split == split] for split in ("retain", "test")}
        rows["forget"] = [_forgotten(row) for row in self.data.all if row.id in ids]
        return replace(self.data, rows=rows, others=tuple(r for r in left if r.split == "forget"))


def _forgotten(row: Record) -> Record:
    """A row as one of the forget set; of one that was retained no clean text is known."""
    if row.split == "forget":
        return row
    harm = "privacy" if row.pii else row.harm
    return replace(row, split="forget", harm=harm, clean_question="", clean_answer="")


def fulfil(job: Job) -> dict[str, Any]:
    """Do all rounds that are not done, and write the evidence of the last: what was checked."""
    _check_model(job)
    _check_files(job)
    terms = {"attacks": [attack.name for attack in job.attacks]}
    terms["retrained"] = [adapter_hash(a) for a in ended(job.retrained)[1]] if job.retrained else []
    last = len(job.log.of("received"))
    checked = None
    for number in range(1, last + 1):
        before = [e["terms"] for e in job.log.of("checked") if e["round"] == number]
        due = not before or (number == last and before[-1] != terms)
        checked = _round(job, number, terms) if due else None
    place = job.part(last).folder
    checked = checked or check(place, job.asked())
    write_evidence(job.out / "evidence.html", job.log, checked, place)
    return checked


def _round(job: Job, number: int, terms: dict[str, Any]) -> dict[str, Any]:
    """Unlearn, ask and log a round; what was checked."""
    data, part = job.seen(number), job.part(number)
    place = part.folder.parent
    tuned = Part(FINETUNED, place / "finetune", job.below)
    identity = identity_of(part, job.recipe, data, job.stack)
    is_done(part, identity)  # another recipe is refused before any work
    say(f"round {number}: {len(part.forget):,} rows to unlearn")
    make_folder(tuned.folder, "a run")
    write_json(place / "recipe.json", job.recipe.to_json())
    for name in ("answers.jsonl", "answers.run.json", "leak.jsonl", "leak.run.json"):
        answered = job.out / f"request-{number - 1}" / "finetune" / name
        if answered.is_file() and not (tuned.folder / name).exists():  # asked again but for new
            write_atomic(tuned.folder / name, answered.read_bytes())
    do(tuned, job.recipe, data, job.stack)
    do(part, job.recipe, data, job.stack)
    if all(entry["round"] != number for entry in job.log.of("unlearned")):
        outcome = ended(part.folder)[0]["outcome"]
        about = {name: outcome[name] for name in ("status", "reason", "steps", "seconds")}
        about |= {name: identity[name] for name in ("method", "settings", "model", "parents")}
        about |= {"data": job.data.hash, "rows": len(part.forget)}
        job.log.add("unlearned", number, **about, adapter=adapter_hash(part.adapter))
    runs = [(tuned.folder, job.stack), (part.folder, job.stack)]
    if job.retrained:
        record, adapters = ended(job.retrained)
        stack = replace(job.stack, name=record["model"]["model"], _model=None, _on=[])
        runs.append((place / "retrain", stack))
        with held(runs[-1][0]):
            measure(stack.at(adapters), data, runs[-1][0], job.recipe.answers)
    try:
        attackable(data.rows["forget"])
    except UserError as error:
        say(f"round {number}: not attacked: {error}")
    else:
        for run, stack in runs:
            attack_run(Work(target_of(run), data, stack), job.attacks)
    checked = check(part.folder, job.asked(number))
    people = [
        {"id": request["id"], **{name: [s.out, s.n] for name, s in cells.items() if s}}
        for request, cells in checked["people"]
    ]
    told = [path for run, _ in runs for path in sorted(run.rglob("*.json*")) if path.is_file()]
    files = {str(path.relative_to(job.out)): file_digest(path) for path in told}
    job.log.add("checked", number, terms=terms, people=people, files=files)
    return checked


def _check_model(job: Job) -> None:
    """Raise UserError where the log tells of other models, or the retrained one has seen rows."""
    now = identity_of(Part(FINETUNED, job.out, job.below), job.recipe, job.data, job.stack)
    for entry in job.log.of("unlearned"):
        adapter, where = job.part(entry["round"]).adapter, f"entry {entry['number']} of the log"
        if (now["model"], now["parents"]) != (entry["model"], entry["parents"]):
            raise UserError(f"{where}: is of another --model or --adapter: give that one")
        if adapter_hash(adapter) != entry["adapter"]:
            raise UserError(f"{adapter}: is not that of {where}: put it back from a copy")
    if job.retrained and (why := seen_by(job, job.retrained)):
        raise UserError(f"--retrained {job.retrained}: {why}")


def _check_files(job: Job) -> None:
    """Raise UserError where what was checked is no longer what the log says was checked."""
    last = {entry["round"]: entry for entry in job.log.of("checked")}
    for entry in last.values():
        for name, said in entry["files"].items():
            path = job.out / name
            if not path.is_file() or file_digest(path) != said:
                raise UserError(
                    f"{path}: is not as entry {entry['number']} of the log says: put it back from "
                    "a copy"
                )


def seen_by(job: Job, retrained: Path) -> str:
    """Why a run is no model that was never trained on what is asked for; empty if it is one."""
    record, _ = ended(retrained)
    if record["method"] != "retrain" or record["data"].get("hash") != job.data.hash:
        return "is no run of `baselines retrain` on this dataset"
    if any(row.split != "forget" for _, rows in job.asked() for row in rows):
        return "was trained on the retain set, and rows of it are asked for: leave it out"
    return ""


def beside(job: Job) -> Path | None:
    """The run `retrain` beside that of the fine-tuned adapter, where it can be the reference."""
    run = job.below[0].parent.parent / "retrain" if job.below else job.out / "retrain"
    if not (run / RECORD).is_file():
        return None
    if why := seen_by(job, run):
        say(f"not compared with {run}: {why}")
    return None if why else run
