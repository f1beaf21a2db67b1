"""Predictions as other programs write them, brought to rows with an `id` and an `answer`.

JSON lines, an array, pandas' orients, objects by id (open-unlearning) or under a name (`results`),
and tables. Which field is which is decided once for a file, and said: beside an output (VLMEvalKit
has `prediction`) an `answer` is the reference, and must never be scored.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mllmu_med.errors import UserError
from mllmu_med.files import LineError, json_lines
from mllmu_med.progress import say
from mllmu_med.table_files import read_file

Placed = tuple[str, Any]  # where, for messages, and what stands there

_IDS: Final = ("id", "question_id", "index", "idx", "qid", "sample_id", "doc_id")
_OUTPUTS: Final = (
    *("prediction", "predictions", "pred", "predicted_answer", "model_answer", "model_output"),
    *("model_response", "response", "generation", "generated_text", "generated_answer"),
    *("output", "completion", "hypothesis"),
)
#: `text` is LLaVA's, the last two are lmms-eval's.
_ANSWERS: Final = (*_OUTPUTS, "answer", "text", "resps", "filtered_resps")


def laid_out(content: bytes, path: Path) -> list[Placed]:
    """The rows of a file that holds `content`: JSON whatever its name is, else a table."""
    if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"", b"{", b"["):
        return read_json(content, path)
    rows = []
    for where, cells in read_file(path).rows:
        # An empty cell is an empty text; in JSON null is no answer.
        rows.append((where, _small({k: "" if v is None else v for k, v in cells.items()})))
    if path.suffix.lower() in (".csv", ".tsv", ".txt") and not content.endswith((b"\n", b"\r")):
        say(f"{path}: the last line has no end: is the file whole, and its last answer?")
    return _named(rows, path)


def read_json(content: bytes, path: Path) -> list[Placed]:
    """The rows of JSON: a value a line, or values over many lines."""
    try:
        text = content.decode("utf-8-sig")  # some editors put a mark before the first line
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text (byte {error.start}): save it as UTF-8 and run again"
        ) from error
    lines = text.split("\n")
    try:
        try:
            values = [(f"{path}:{number}", one) for number, one in json_lines(lines, blank=True)]
        except LineError:
            values = list(_values(text, path))
        return _named([row for where, one in values for row in _rows(one, where)], path)
    except RecursionError as error:
        raise UserError(f"{path}: not JSON of predictions (nested too deeply)") from error


def _values(text: str, path: Path) -> Iterator[Placed]:
    """Values that stand over many lines; a UserError for what is none."""
    decoder, at, number = json.JSONDecoder(), 0, 0
    while (at := len(text) - len(text[at:].lstrip())) < len(text):
        number += 1
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError as error:
            line = getattr(error, "lineno", text.count("\n", 0, at) + 1)
            reason = f"not JSON ({getattr(error, 'msg', error)}): correct it, or write it again"
            before, _, last = text.rstrip().rpartition("\n")
            if last.startswith("{") and line == before.count("\n") + 1 + bool(before):
                reason = (
                    "the last line is half-written: run the command that writes this file again "
                    "(`eval answer` goes on from here)"
                )
            raise UserError(f"{path}:{line}: {reason}") from error
        yield f"{path}, value {number}", value


def _rows(value: Any, where: str, key: str = "") -> Iterator[Placed]:
    """The predictions in a value; `key` is the name that it stands under.

    Of settings and sums beside them nothing is taken: a row without an answer is missed later on.
    """
    if isinstance(value, list):
        for number, item in enumerate(value, 1):
            if isinstance(item, dict | list) or not key:
                yield from _rows(item, f"{where}, item {number}")
        return
    row = _small(value) if isinstance(value, dict) else {}
    ids = row.keys() & _IDS
    flat = not any(isinstance(cell, dict | list) for cell in row.values())
    if any(name in row and not _holds_rows(row[name]) for name in _ANSWERS) or (
        flat and (ids or not (key or "/" in "".join(row)))
    ):
        if key and ("/" in key or not ids):
            row["id"] = key
        yield where, row or value
    elif _is_table(row):  # pandas' orient="split"
        for number, cells in enumerate(row["data"], 1):
            named = dict(zip(row["columns"], cells, strict=False))
            yield f"{where}, item {number}", _small(named)
    elif ids and all(isinstance(cell, dict) for cell in row.values()):  # pandas' own
        for at in row[min(ids)]:
            yield f"{where}, {at}", {name: cells.get(at) for name, cells in row.items()}
    else:
        for name, cell in value.items():
            if isinstance(cell, dict | list):
                yield from _rows(cell, f"{where}, {name}", name)
            elif "/" in name:
                yield f"{where}, {name}", {"id": name, "answer": cell}


def _holds_rows(cell: Any) -> bool:
    return isinstance(cell, dict) or (
        isinstance(cell, list) and any(isinstance(one, dict) for one in cell)
    )


def _is_table(row: dict[str, Any]) -> bool:
    columns, data = row.get("columns"), row.get("data")
    return (
        isinstance(columns, list)
        and isinstance(data, list)
        and all(isinstance(cells, list) for cells in data)
    )


def _small(cells: dict[str, Any]) -> dict[str, Any]:
    """Names in small letters too, and lmms-eval's number of a row as the id that it has."""
    row = {name.strip().lower(): cell for name, cell in cells.items()} | cells
    doc = row.get("doc")
    return {**({"id": doc["id"]} if isinstance(doc, dict) and "id" in doc else {}), **row}


def _named(rows: list[Placed], path: Path) -> list[Placed]:
    """The rows with their id and answer under our names; what is none stays as it is."""
    names = {name: None for _, row in rows if isinstance(row, dict) for name in row}
    outputs = [name for name in _OUTPUTS if name in names]
    if len(outputs) > 1:
        raise UserError(
            f"{path}: holds {' and '.join(outputs)}: keep the one that the model answered"
        )
    if "text" in names and "image" in names and not {"prompt", "answer", *outputs} & names.keys():
        raise UserError(f"{path}: holds questions (image, text): give the file of the answers")
    key = next((name for name in _IDS if name in names), "id")
    answer = next((name for name in _ANSWERS if name in names), "answer")
    if names and not {key, answer} <= names.keys():
        lacks = "answer" if key in names else "id"
        raise UserError(
            f"{path}: has no {lacks}, but {', '.join(names):.99}: a prediction is "
            '{"id": "...", "answer": "..."}'
        )
    if (key, answer) != ("id", "answer"):
        reference = ", `answer` as the reference" if "answer" in names else ""
        say(f"{path}: `{key}` is read as the id, `{answer}` as the answer{reference}")
    return [
        (where, {**row, "id": row.get(key), "answer": row.get(answer)})
        if isinstance(row, dict)
        else (where, row)
        for where, row in rows
    ]
