"""Review in Label Studio: the labelling config, the tasks, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any, Final

from builder.review.records import REASONS, Given, Item, SubmittedRow
from mllmu_med_dataset import UserError

_CHOICES: Final = "\n        ".join(
    f'<Choice value="{text}" alias="{key}" hotkey="{number}"/>'
    for number, (key, text) in enumerate(REASONS.items(), start=1)
)
#: The labelling config. No name in it is also a task's key: JSON_MIN puts both in one object.
CONFIG: Final = (
    files("builder.review")
    .joinpath("labelstudio.xml")
    .read_text("utf-8")
    .replace("<!-- reasons -->", _CHOICES)
)
_FIELDS: Final = (
    "sample_id", "content", "scenario", "harm", "answer_type", "modality", "rating", "kind",
    "picture", "clean_question", "clean_answer", "question", "answer",
)  # fmt: skip
_CONTROLS: Final = ("decision", "reasons", "edited_question", "edited_answer", "note")
#: What JSON_MIN mixes with the controls' values.
_OTHERS: Final = {
    *(*_FIELDS, "id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
}


def tasks(items: Iterable[Item], image_uri: Callable[[Item], str]) -> list[dict[str, Any]]:
    """One task an item, for `CONFIG`; `image_uri` gives an image that Label Studio can show."""
    return [{"data": _data(item, image_uri(item))} for item in items]


def _data(item: Item, image: str) -> dict[str, Any]:
    kind = [item.scenario, item.harm, item.answer_type, item.modality]
    if item.rating:
        kind.append(f"rated {item.rating} of 5")
    values = item._asdict() | {
        "sample_id": item.id,  # `id` would be overwritten in JSON_MIN
        "kind": " · ".join(dict.fromkeys(kind)),
        "picture": image,
    }
    return {field: values[field] for field in _FIELDS}


def read_export(data: Any, where: str) -> Given:
    """The decisions in an export: Label Studio's JSON, a snapshot, or JSON_MIN.

    Several annotations of a task are several reviewers' (or one's second thoughts). A reviewer is
    named by e-mail address where the export has it, else by the user's number on that server.
    What is skipped, empty or a draft decides nothing; JSON_MIN has no drafts. Predictions are not
    read. What cannot be read of a task or an annotation is a row that is `broken`; where no task
    is one of ours, a UserError names the file as `where`.
    """
    if not isinstance(data, list):
        raise UserError(
            f"{where}: not an export of Label Studio, which is a list of tasks: "
            "export the project as JSON"
        )
    if not data:
        raise UserError(f"{where}: holds no task: export the project's annotated tasks as JSON")
    rows: list[SubmittedRow] = []
    undecided = foreign = 0
    for number, task in enumerate(data, start=1):
        row = f"task {task.get('id', number) if isinstance(task, dict) else number}"
        try:
            named, annotations = _parts(task)
            undecided += len(task.get("drafts") or ())
        except _UNREADABLE as error:
            rows.append(SubmittedRow(row, "", broken=_why(error)))
            foreign += 1
            continue
        for annotation in annotations:
            decided = _read(annotation, named, row)
            rows += [decided] if decided else []
            undecided += not decided
    if foreign and foreign == len(data):
        raise UserError(f"{where}, {rows[0].row}: {rows[0].broken}")
    return Given(rows, undecided)


class _Broken(ValueError):
    """What is wrong with a task or an annotation, and what to do."""


_UNREADABLE: Final = (_Broken, AttributeError, KeyError, TypeError)


def _why(error: Exception) -> str:
    if isinstance(error, _Broken):
        return str(error)
    return f"not as Label Studio writes it ({error!r}): export the project again, as JSON"


def _parts(task: dict[str, Any]) -> tuple[tuple[str, str], list[Any]]:
    """The sample's id and content, and a task's annotations: of JSON_MIN, itself or none."""
    minimal = "annotation_id" in task
    data = task if minimal else task["data"]
    id, content = data.get("sample_id"), data.get("content")
    if not (isinstance(id, str) and isinstance(content, str)):
        raise _Broken(
            "no sample_id and content in its data: is this the export of another project?"
        )
    if minimal:
        return (id, content), [task] if _given(task["annotation_id"]) else []
    annotations = task.get("annotations", task.get("completions", ...))  # before version 1.0
    if annotations is ...:
        raise _Broken("it has no annotations: these are the tasks, not an export of them")
    return (id, content), list(annotations or ())


def _read(annotation: Any, named: tuple[str, str], row: str) -> SubmittedRow | None:
    """An annotation's decision; None where it is skipped or empty."""
    place = row
    try:
        minimal = "annotation_id" in annotation
        place = f"{row}, annotation {annotation.get('annotation_id' if minimal else 'id')}"
        values: dict[str, list[str]] = {}
        if minimal:  # a task's data and its controls' values, mixed
            given = {name: value for name, value in annotation.items() if name not in _OTHERS}
            values = {n: _texts(v) if n in _CONTROLS else [] for n, v in given.items() if _given(v)}
        else:
            for result in () if annotation.get("was_cancelled") else annotation["result"]:
                name, value = result.get("from_name"), result.get("value", {})
                if name:  # a relation has none
                    texts = _texts(value) if name in _CONTROLS else []
                    values.setdefault(name, []).extend(texts)
        other = sorted(set(values).difference(_CONTROLS))
        values = {name: texts for name, texts in values.items() if texts}
        if other and "decision" not in values:
            raise _Broken(
                f"holds no decision of ours but {', '.join(other)}: its controls were renamed: "
                f"name them {', '.join(_CONTROLS)} in that project and export it again"
            )
        return _decision(annotation, place, named, values) if values else None
    except _UNREADABLE as error:
        return SubmittedRow(place, *named, broken=_why(error))


def _given(value: Any) -> bool:
    """Whether a cell of JSON_MIN holds anything; pandas leaves NaN of what is not there."""
    return value not in (None, "", []) and value == value


def _texts(value: Any) -> list[str]:
    """What a control holds, as a list; JSON_MIN gives a single one bare."""
    if isinstance(value, dict):
        value = value.get("choices", value.get("text", []))
    texts = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{value!r} in place of text")
    return texts


def _decision(
    annotation: dict[str, Any], row: str, named: tuple[str, str], values: dict[str, list[str]]
) -> SubmittedRow:
    """named: the sample's id and content; values: by the control's name."""

    def single(control: str) -> str | None:
        texts = values.get(control, [])
        if len(texts) > 1:
            raise _Broken(f"{len(texts)} values of {control}: leave one of them")
        return texts[0] if texts else None

    verdict = single("decision") or ""
    by = annotation.get("completed_by", annotation.get("annotator"))  # or an object about the user
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    if by is not None and not isinstance(by, str):
        by = f"label-studio-{int(by)}"
    edited = verdict == "edit"  # a control that is hidden again may keep what it held
    return SubmittedRow(
        row,
        *named,
        reviewer=by or "",
        verdict=verdict,
        reasons=tuple(values.get("reasons", ())) if verdict == "reject" else (),
        note=single("note") or "",
        question=single("edited_question") if edited else None,
        answer=single("edited_answer") if edited else None,
        decided_at=str(annotation.get("updated_at") or annotation.get("created_at") or ""),
    )
