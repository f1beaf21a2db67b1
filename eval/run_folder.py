"""A run folder holds what is known of one model: answers, scores, leakage, likelihoods.

RUN/answers.jsonl       what it answered              (eval answer)
RUN/answers.run.json    which model, adapters, prompt and versions answered
RUN/scores.json         scores, and scores.rows.jsonl (eval score)
RUN/leak.json           leakage, and leak.rows.jsonl  (eval leak)
RUN/likelihood.jsonl    log-probabilities of answers  (eval likelihood)
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mllmu_med.files import json_text, jsonl_text, parse_json, read_jsonl, write_together
from mllmu_med_dataset import UserError

ANSWERS: Final = "answers.jsonl"
#: What `baselines` writes beside a run that it has trained; what it writes last.
RECORD: Final = "record.json"
DONE: Final = "done.json"


def identity_path(predictions: Path) -> Path:
    """Beside `answers.jsonl`: `answers.run.json`."""
    return predictions.with_suffix(".run.json")


def describe(predictions: Path) -> dict[str, Any]:
    """What `eval answer` has written about the model; empty for somebody else's predictions."""
    path = identity_path(predictions)
    return read_json(path) if path.is_file() else {}


def read_json(path: Path, made_by: str = "") -> dict[str, Any]:
    """A JSON object from a run folder, which `made_by` writes; a UserError where there is none."""
    with _reading(path, made_by):
        content = parse_json(path.read_text("utf-8"))
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no JSON object: make it again")
    return content


@contextmanager
def as_written(path: Path) -> Iterator[None]:
    """A file of another shape than eval writes is the user's to mend, in one line."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: not as eval writes it ({reason}): make it again") from error


def write_measured(
    folder: Path, names: tuple[str, str], summary: dict[str, Any], rows: Iterable[dict[str, Any]]
) -> None:
    """A summary and its rows under two names; a kill leaves no summary of other rows."""
    files = {folder / names[1]: jsonl_text(rows), folder / names[0]: json_text(summary)}
    write_together(files, vouches=True)


def read_rows_file(path: Path, made_by: str) -> list[dict[str, Any]]:
    """The rows beside a summary, e.g. `scores.rows.jsonl`."""
    with _reading(path, made_by):
        return list(read_jsonl(path, blank=True))


@contextmanager
def _reading(path: Path, made_by: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        hint = f": make it with `python -m eval {made_by}`" if made_by else ""
        raise UserError(f"{path}: no such file{hint}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}): make it again") from error
