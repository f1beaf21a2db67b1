"""Predictions as other programs write them, brought to rows with an `id` and an `answer`.

JSON lines, an array, pandas' orients, objects by id (open-unlearning) or under a name (`results`),
and tables. Which field is which is decided once for a file, and said: beside an output (VLMEvalKit
has `prediction`) an `answer` is the reference, and must never be scored.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mllmu_med.errors import UserError
from mllmu_med.progress import say
from mllmu_med.table_files import json_values, read_file, utf8

Placed = tuple[str, Any]  # where, for messages, and what stands there

#: The first is that of a batch of OpenAI's, whose `id` is its own.
_IDS: Final = (
    *("custom_id", "id", "question_id", "index", "idx", "qid", "sample_id", "doc_id"),
    "request_id",
)
_OUTPUTS: Final = (
    *("prediction", "predictions", "pred", "predicted_answer", "model_answer", "model_output"),
    *("model_response", "response", "generation", "generated_text", "generated_answer"),
    *("output", "completion", "hypothesis"),
)
#: `text` is LLaVA's, then come lmms-eval's, a chat completion's and vLLM's.
_ANSWERS: Final = (*_OUTPUTS, "answer", "text", "resps", "filtered_resps", "choices", "outputs")
#: Of one row. Training data has the first two, too, with the reference: they are never an answer.
_PARTS: Final = {"messages", "conversations", "choices", "outputs"}


def laid_out(content: bytes, path: Path) -> list[Placed]:
    """The rows of a file that holds `content`: JSON whatever its name is, else a table."""
    if content.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"", b"{", b"["):
        return read_json(content, path)
    rows = []
    for where, cells in read_file(path).rows:  # an empty cell is an empty text; null no answer
        rows.append((where, _small({k: "" if v is None else v for k, v in cells.items()})))
    if path.suffix.lower() in (".csv", ".tsv", ".txt") and not content.endswith((b"\n", b"\r")):
        say(f"{path}: the last line has no end: is the file whole, and its last answer?")
    return _named(rows, path)


def read_json(content: bytes, path: Path) -> list[Placed]:
    """The rows of JSON, perhaps none."""
    values = json_values(utf8(content, path), path)
    try:
        return _named([row for where, one in values for row in _rows(one, where)], path)
    except RecursionError as error:
        raise UserError(f"{path}: holds no predictions (nested too deeply)") from error


def _rows(value: Any, where: str, key: str = "") -> Iterator[Placed]:
    """The predictions in a value; `key` is the name that it stands under.

    Of settings and sums beside them nothing is taken: a row without an answer is missed later on.
    """
    if not isinstance(value, dict | list):
        yield where, value
        return
    row = _small(value) if isinstance(value, dict) else {}
    ids = row.keys() & _IDS
    is_flat = not any(isinstance(cell, dict | list) for cell in row.values())
    is_row = (is_flat and (ids or not (key or "/" in "".join(row)))) or (
        ids and _PARTS & row.keys()
    )
    if row and (is_row or any(name in row and not _holds_rows(row[name]) for name in _ANSWERS)):
        yield where, {**row, "id": key} if key and ("/" in key or not ids) else row
    elif ids and all(isinstance(cell, dict) for cell in row.values()):  # a column each: pandas
        for at in row[min(ids)]:
            yield f"{where}, {at}", {name: cells.get(at) for name, cells in row.items()}
    else:
        for name, cell in value.items() if isinstance(value, dict) else enumerate(value, 1):
            if isinstance(cell, dict | list) or not (row or key):
                yield from _rows(cell, f"{where}, {name}", str(name) if row else "")
            elif "/" in str(name):
                yield f"{where}, {name}", {"id": name, "answer": cell}


def _holds_rows(cell: Any) -> bool:
    return isinstance(cell, dict) or (isinstance(cell, list) and dict in map(type, cell))


def _small(cells: dict[str, Any]) -> dict[str, Any]:
    """Names in small letters too; the id of what lmms-eval numbers; what a completion says."""
    doc = cells.get("doc")
    row = {"id": doc["id"]} if isinstance(doc, dict) and "id" in doc else {}
    row |= {name.strip().lower(): cell for name, cell in cells.items()} | cells
    if row.keys() & _IDS and all(isinstance(cell, list) for cell in row.values()):
        return {name: dict(enumerate(cell, 1)) for name, cell in row.items()}  # a column each
    return {name: _said(cell) if name in _ANSWERS else cell for name, cell in row.items()}


def _said(cell: Any) -> Any:
    """The one text of a chat completion, of a batch's response or of vLLM's; else the cell."""
    one = cell[0] if isinstance(cell, list) and len(cell) == 1 else cell
    if not isinstance(one, dict):
        return cell
    inner = ("body", "choices", "message", "content", "text")
    return next((_said(one[name]) for name in inner if name in one), cell)


def _named(rows: list[Placed], path: Path) -> list[Placed]:
    """The rows with their id and answer under our names; what is none stays as it is."""
    names = {name: None for _, row in rows if isinstance(row, dict) for name in row}
    outputs = [name for name in _OUTPUTS if name in names]
    if len(outputs) > 1:
        raise UserError(f"{path}: holds {' and '.join(outputs)}: keep what the model answered")
    if {"text", "image"} <= names.keys() and not {"prompt", "answer", *outputs} & names.keys():
        raise UserError(f"{path}: holds questions (image, text): give the file of the answers")
    key = next((name for name in _IDS if name in names), "id")
    answer = next((name for name in _ANSWERS if name in names), "answer")
    if names and not {key, answer} <= names.keys():
        lacks = "answer" if key in names else "id"
        has = f"{', '.join(names):.99}"
        example = '{"id": "...", "answer": "..."}'
        raise UserError(f"{path}: has no {lacks} (it has {has}): a prediction is {example}")
    if (key, answer) != ("id", "answer"):
        reference = ", `answer` as the reference" if "answer" in names else ""
        say(f"{path}: `{key}` is read as the id, `{answer}` as the answer{reference}")
    for _, row in rows:
        if isinstance(row, dict):
            row |= {"id": row.get(key), "answer": row.get(answer)}
    return rows
