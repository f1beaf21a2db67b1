"""Predictions files, from `eval answer` or from anybody else (`eval.prediction_layouts`).

    {"id": "slake/xmlab102/1043", "answer": "CT"}

is enough. `eval answer` also writes `way` and `kind` (how the row was asked, see `eval.attacks`),
`asked` (a hash of what the model was shown), `run` (a hash of model, adapters, prompt and
settings), `tokens` and `end` (`eos`, or `length` where the answer was cut off).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.attacks import Ask, asks
from eval.dataset_rows import check_splits, read_rows
from eval.prediction_layouts import laid_out, read_json
from mllmu_med.files import write_jsonl
from mllmu_med_dataset import SPLITS, UserError


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered when a row was asked in one way."""

    id: str
    answer: str
    way: str = "own"
    kind: str = ""
    asked: str = ""
    run: str = ""
    tokens: int = 0
    end: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.id, self.way, self.kind

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def read_predictions(path: Path) -> list[Prediction]:
    """All predictions of a file, in its order; a UserError for a row that is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot read predictions ({error.strerror})") from error
    predictions = _predictions(laid_out(content, path))
    if not predictions:
        raise UserError(f"{path}: holds no predictions")
    return predictions


def parse_predictions(content: bytes, path: Path) -> list[Prediction]:
    """The predictions in JSON, perhaps none; raises as `read_predictions` does."""
    return _predictions(read_json(content, path))


def _predictions(rows: Iterable[tuple[str, Any]]) -> list[Prediction]:
    seen: dict[tuple[str, str, str], str] = {}
    predictions: list[Prediction] = []
    for where, row in rows:
        prediction = _prediction(row, where)
        if prediction.key in seen:
            raise UserError(
                f"{where}: id {prediction.id} is there twice (first in {seen[prediction.key]}): "
                "keep one of them"
            )
        if predictions and prediction.run != predictions[0].run:
            raise UserError(
                f"{where}: answers of two models in one file (run {predictions[0].run or '-'}, "
                f"then {prediction.run or '-'}): keep each model's answers in a file of its own"
            )
        seen[prediction.key] = where
        predictions.append(prediction)
    return predictions


def _prediction(row: Any, where: str) -> Prediction:
    key = row.get("id") if isinstance(row, dict) else None
    key = str(key).strip() if isinstance(key, str | int | float) else ""
    if not key:
        raise UserError(f'{where}: no id: a prediction is {{"id": "...", "answer": "..."}}')
    answer = row["answer"]
    while isinstance(answer, list) and len(answer) == 1:  # as lmms-eval keeps one of several
        answer = answer[0]
    if not isinstance(answer, str | int) or isinstance(answer, bool):
        raise UserError(
            f'{where}: {key} has no answer (a text; an empty one is "") but {answer!r:.60}: answer '
            "it, or take the line out and the row will be named as missing"
        )
    known = {name: row[name] for name in Prediction.__slots__ if row.get(name) is not None}
    known |= {"id": key, "answer": str(answer).encode("utf-8", "replace").decode()}
    if str(known.get("tokens")).isdecimal():  # a table's cell
        known["tokens"] = int(known["tokens"])
    for name, value in known.items():
        kind = int if name == "tokens" else str
        if not isinstance(value, kind):
            raise UserError(f"{where}: {name} is {value!r}: use {kind.__name__}")
    return Prediction(**known)


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    write_jsonl(path, (prediction.to_json() for prediction in predictions))


def gather(
    paths: Sequence[Path],
    data: str | Path | None,
    config: str,
    ways: Sequence[str] = ("own",),
    splits: Sequence[str] = (),
) -> list[tuple[Ask, Prediction]]:
    """Join predictions with what was asked: every row of every split that they touch, once.

    Args:
        paths: predictions of one model, in one or more files.
        data, config: the dataset they answer.
        ways: only these ways of asking are taken.
        splits: these must be there whole; default: each of which the files hold a row.

    Raises:
        UserError: unknown, missing or doubled ids, another dataset's answers, two models.
    """
    check_splits(splits)
    rows = read_rows(data, config)
    split_of = {row.id: row.split for row in rows}
    by_key: dict[tuple[str, str, str], Prediction] = {}
    run: tuple[Path, str] | None = None
    for path in paths:
        predictions = read_predictions(path)
        if run and predictions[0].run != run[1]:
            raise UserError(
                f"{path}: answers of another model (run {predictions[0].run or '-'}) than {run[0]} "
                f"(run {run[1] or '-'}): score them apart"
            )
        run = run or (path, predictions[0].run)
        _check_known(path, predictions, split_of, config)
        for answer in predictions:
            if answer.key in by_key:
                raise UserError(f"{path}: id {answer.id} is also in another of the files: keep one")
            by_key[answer.key] = answer
    touched = {split_of[prediction.id] for prediction in by_key.values() if prediction.way in ways}
    chosen = [split for split in SPLITS if split in (splits or touched)]
    where = ", ".join(str(path) for path in paths)
    joined = []
    for split in chosen:
        asked = asks([row for row in rows if row.split == split], ways)
        missing = [ask for ask in asked if ask.key not in by_key]
        if missing:
            names = ", ".join(ask.row.id for ask in missing[:3])
            raise UserError(
                f"{where}: {len(missing):,} of {len(asked):,} answers of {config}/{split} are "
                f"missing (first: {names}): answer them; a missing answer is not a wrong one"
            )
        joined += [(ask, by_key[ask.key]) for ask in asked]
    if not joined:
        raise UserError(
            f"{where}: no answers asked in the way {', '.join(ways)}: see `eval answer --way`"
        )
    for ask, prediction in joined:
        if prediction.asked and prediction.asked != ask.hash:
            raise UserError(
                f"{where}: {prediction.id} was answered for another text or image than this "
                "dataset has: give --data the dataset that was asked, or answer again"
            )
    return joined


def _check_known(
    path: Path, predictions: list[Prediction], split_of: dict[str, str], config: str
) -> None:
    unknown = [prediction.id for prediction in predictions if prediction.id not in split_of]
    if not unknown:
        return
    raise UserError(
        f"{path}: {len(unknown):,} of {len(predictions):,} ids are not in config {config} "
        f"(first: {unknown[0]}): are --data and --config what was asked? Their ids are like "
        f"{next(iter(split_of), 'none')}"
    )
