"""What follows from a run's answers and the dataset, made again: scores, leakage, attacks.

Out of a run's files (by the name in its folder) those that are due: rows that are missing, extra,
doubled, or of another question are refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval import leak, likelihood, score
from eval.answer import run_hash
from eval.attack_kinds import (
    STRENGTHS,
    VERSION,
    Attack,
    ChangedImages,
    asked_rows,
    asks_of,
    attackable,
)
from eval.attack_results import ATTACK, FOLDER
from eval.attacks import WAYS, Ask, asks
from eval.dataset_rows import is_own, read_rows, rows_hash
from eval.predictions import Prediction
from eval.run_folder import RECORD, as_written
from eval.submission_file import Content
from mllmu_med.files import canonical_json, digest
from mllmu_med_dataset import Record, UserError

Files = dict[str, Content]


@dataclass(frozen=True)
class Truth:
    """A config of the dataset: what answers are held against."""

    config: str
    rows: list[Record]
    vocabulary: str

    @classmethod
    def read(cls, source: str | None, config: str) -> Truth:
        if is_own(config):
            raise UserError(f"config {config}: rows of real patients are not handed on: no file")
        return cls(config, read_rows(source, config), score.words_of(source, config))

    @property
    def hash(self) -> str:
        return rows_hash(self.rows)


def remade(files: Files, truth: Truth, where: str) -> Files:
    """A run's files as they follow from its answers and the dataset.

    Raises:
        UserError: rows that are missing, extra or doubled, or were asked something else.
    """
    private = [row for row in truth.rows if row.split == "forget" and row.pii]
    with as_written(Path(where)):
        ways = {row["way"] for row in files.get(leak.ROWS, ())}
        leaked = asks(private, [way for way in WAYS if way in ways] or ["own"])
        made = _outcome(files, asks(truth.rows), leaked, truth, where)
        who = made[score.SCORES]["model"]
        if likelihood.ROWS in files:
            made[likelihood.RUN] = {**files[likelihood.RUN]}
            made[likelihood.RUN] |= {n: who[n] for n in ("weights", "adapters") if n in who}
            made[likelihood.RUN]["run"] = run_hash(made[likelihood.RUN])
            made[likelihood.ROWS] = _weighed(files[likelihood.ROWS], truth, where)
        if RECORD in files:
            made[RECORD] = _trained(files[RECORD], who, f"{where}/{RECORD}")
        for name in sorted({n.split("/")[1] for n in files if n.startswith(f"{FOLDER}/")}):
            start = f"{FOLDER}/{name}/"
            of = {n.removeprefix(start): c for n, c in files.items() if n.startswith(start)}
            attacked = _attacked(name, of, who, truth, f"{where}/{FOLDER}/{name}")
            made |= {f"{start}{n}": content for n, content in attacked.items()}
    return made


def _outcome(
    files: Files, scored: Sequence[Ask], leaked: Sequence[Ask], truth: Truth, where: str
) -> Files:
    """Scores and leakage out of the answers in their rows."""
    made: Files = {}
    own: dict[str, str] = {}
    if scored:
        by_id = {ask.row.id: ask for ask in scored}
        rows = _rows(files, score.ROWS, ("id",), [(name,) for name in by_id], where)
        own = {name: rows[name,]["answer"] for name in by_id}
        joined = [(ask, Prediction(name, own[name])) for name, ask in by_id.items()]
        told = files[score.SCORES]
        about = truth.config, told["name"], _signed(told["model"]), truth.vocabulary
        made[score.SCORES], made[score.ROWS] = score.score_answers(joined, *about)
        for row in made[score.ROWS]:
            for column in ("question", "reference"):
                if rows[row["id"],].get(column) != row[column]:
                    raise UserError(
                        f"{where}/{score.ROWS}: {row['id']}: its {column} is another than this "
                        "dataset's: give --data the dataset that was asked"
                    )
    if leaked:
        groups: dict[tuple[str, str], list[Ask]] = {}
        for ask in leaked:
            groups.setdefault((ask.row.id, ask.way), []).append(ask)
        rows = _rows(files, leak.ROWS, ("id", "way"), [*groups], where)
        pairs: list[tuple[Ask, Prediction]] = []
        for (name, way), of in groups.items():
            said = rows[name, way]["answers"]
            if len(said) != len(of):
                raise UserError(f"{where}/{leak.ROWS}: {name}, {way}: {len(of)} answers are due")
            if way == "own" and own.get(name, said[0]) != said[0]:
                raise UserError(
                    f"{where}: {name}: answered {short(own[name])} in {score.ROWS}, but "
                    f"{short(said[0])} in {leak.ROWS}: score both anew"
                )
            pairs += [(ask, Prediction(name, text)) for ask, text in zip(of, said, strict=True)]
        told = files[leak.LEAK]
        every = [row for row in truth.rows if row.pii]
        made[leak.LEAK], made[leak.ROWS] = leak.leak_answers(
            pairs, every, truth.config, told["name"], _signed(told["model"])
        )
    return made


def _trained(told: dict[str, Any], who: dict[str, Any], where: str) -> dict[str, Any]:
    """A training's record: its identity says method and settings, and hashes to its run."""
    if not (identity := told.get("identity")):  # of a fine-tuned model from elsewhere
        return {}
    below = [adapter["weights"] for adapter in who.get("adapters", [])][:-1]
    trained = identity["model"]["weights"], identity["parents"]
    if "weights" in who and trained != (who["weights"], below):
        raise UserError(f"{where}: of another model than answered in {score.SCORES}")
    settings, run = {**told["settings"], **identity["settings"]}, digest(identity)[:12]
    return {**told, "run": run, "method": identity["method"], "settings": settings}


def _signed(model: dict[str, Any]) -> dict[str, Any]:
    """What is told of a model, with the hash of what decides its answers."""
    return {**model, "run": run_hash(model)} if "run" in model else model


def _rows(
    files: Files, name: str, by: Sequence[str], due: Sequence[tuple[str, ...]], where: str
) -> dict[tuple[str, ...], dict[str, Any]]:
    """Rows by some columns: each that is due once, and no other."""
    if name not in files:
        raise UserError(f"{where}/{name}: missing: score the answers, and look for leaks, first")
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in files[name]:
        key = tuple(str(row.get(column)) for column in by)
        if key in rows:
            raise UserError(f"{where}/{name}: row {', '.join(key)} is there twice")
        rows[key] = row
    for keys, what in (
        ([key for key in rows if key not in {*due}], "extra: no row of this dataset"),
        ([key for key in due if key not in rows], "missing"),
    ):
        if keys:
            more = f", and {len(keys) - 1:,} more" if len(keys) > 1 else ""
            raise UserError(f"{where}/{name}: row {', '.join(keys[0])} is {what}{more}")
    return rows


def _weighed(rows: list[dict[str, Any]], truth: Truth, where: str) -> list[dict[str, Any]]:
    """Likelihoods of this dataset's texts, by their hashes, each in what it can be."""
    due = likelihood.asked_of(truth.rows)
    said = [(str(row.get("id")), str(row.get("asked"))) for row in rows]
    splits = {row.id: row.split for row in truth.rows}
    if said != due:
        odd = next((a for a, b in zip(said, due, strict=False) if a != b), due[-1])
        raise UserError(
            f"{where}/{likelihood.ROWS}: {odd[0]}: {len(said):,} rows, not these {len(due):,} "
            "texts in their order: weigh the answers of this dataset"
        )
    for row in rows:
        lists = [row[name] for name in ("logprobs", "blind_logprobs", "choices", "blind_choices")]
        lists += row["alternatives"]
        if any(value > 0 for of in lists for value in of) or not row["logprobs"]:
            raise UserError(f"{where}/{likelihood.ROWS}: {row['id']}: a log-probability above 0")
        if not len(row["logprobs"]) == len(row["right"]) == len(row["means"]):
            raise UserError(f"{where}/{likelihood.ROWS}: {row['id']}: columns of other lengths")
    return [{**row, "split": splits[row["id"]]} for row in rows]


def _attacked(name: str, files: Files, who: dict[str, Any], truth: Truth, where: str) -> Files:
    """An attack's outcome, of this dataset and of the run that it stands in."""
    if ATTACK not in files:
        raise UserError(f"{where}/{ATTACK}: missing: run `eval attack` again")
    told = files[ATTACK]
    attack = Attack(told["kind"], told["strength"])
    if attack.kind not in STRENGTHS or attack.name != name:
        raise UserError(f"{where}/{ATTACK}: is of {attack.name}")
    asked = asks_of(attack, asked_rows(attack, attackable(truth.rows)), ChangedImages({}))
    private = any(row.pii for row in truth.rows)
    scored = asked if not private or asked[0].way == "own" else []
    identity = {
        **told["identity"],
        "model": who.get("run"),
        "data": truth.hash,
        "attack": name,
        "version": VERSION,
        "asked": digest([[*ask.key, ask.hash] for ask in asked])[:12],
    }
    counts = {"rows": len({ask.row.id for ask in asked}), "asks": len(asked)}
    made = _outcome(files, scored, asked if private else [], truth, where)
    return {**made, ATTACK: {**told, "identity": identity, **counts}}


def short(value: Any) -> str:
    """A JSON value in a line."""
    text = canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
