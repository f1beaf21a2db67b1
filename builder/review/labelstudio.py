"""Review in Label Studio: the labelling config, the tasks, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
    read. `where` names the file in the `UserError` about anything that is no export of our tasks.
    """
    annotations = list(_annotations(data, where))
    decided = [annotation for annotation in annotations if annotation is not None]
    drafts = sum(len(task.get("drafts") or ()) for task in data)
    return Given(decided, len(annotations) - len(decided) + drafts)


def _annotations(data: Any, where: str) -> Iterator[SubmittedRow | None]:
    """Every annotation; None for one that is skipped or empty."""
    if not isinstance(data, list):
        raise UserError(
            f"{where}: not an export of Label Studio, which is a list of tasks: "
            "export the project as JSON"
        )
    for number, task in enumerate(data, start=1):
        row = f"task {task.get('id', number) if isinstance(task, dict) else number}"
        try:
            read = _minimal if "annotation_id" in task else _full
            yield from read(task, row, where)
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(
                f"{where}, {row}: not as Label Studio writes it ({error!r}): "
                "export the project again, as JSON"
            ) from error


def _full(task: dict[str, Any], row: str, where: str) -> Iterator[SubmittedRow | None]:
    """A task of the JSON export or of a snapshot: annotations inside."""
    named = _named(task["data"], f"{where}, {row}")
    if "annotations" not in task:
        raise UserError(
            f"{where}, {row}: it has no annotations: these are the tasks, not an export of them"
        )
    for annotation in task["annotations"]:
        values: dict[str, list[str]] = {}
        for result in () if annotation.get("was_cancelled") else annotation["result"]:
            value = result.get("value", {})  # a relation has none
            values.setdefault(result.get("from_name", ""), []).extend(_texts(value))
        values = {name: texts for name, texts in values.items() if name in _CONTROLS and texts}
        place = f"{row}, annotation {annotation.get('id')}"
        by = annotation.get("completed_by")
        yield _decision(annotation, place, named, by, values, where) if values else None


def _minimal(record: dict[str, Any], row: str, where: str) -> Iterator[SubmittedRow | None]:
    """A record of JSON_MIN: one annotation, or a task without any, its data and values mixed."""
    named = _named(record, f"{where}, {row}")
    if record["annotation_id"] is not None:
        values = {name: _texts(record[name]) for name in _CONTROLS if record.get(name)}
        place = f"{row}, annotation {record['annotation_id']}"
        by = record.get("annotator")
        yield _decision(record, place, named, by, values, where) if values else None


def _named(data: dict[str, Any], where: str) -> tuple[str, str]:
    id, content = data.get("sample_id"), data.get("content")
    if not (isinstance(id, str) and isinstance(content, str)):
        raise UserError(
            f"{where}: no sample_id and content in its data: is this the export of another project?"
        )
    return id, content


def _texts(value: Any) -> list[str]:
    """What a control holds, as a list; JSON_MIN gives a single one bare."""
    if isinstance(value, dict):
        value = value.get("choices", value.get("text", []))
    texts = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{value!r} in place of text")
    return texts


def _decision(
    annotation: dict[str, Any],
    row: str,
    named: tuple[str, str],
    by: Any,
    values: dict[str, list[str]],
    where: str,
) -> SubmittedRow:
    """named: the sample's id and content; by: a user's number, or an object about the user;
    values: by the control's name."""

    def single(control: str) -> str | None:
        texts = values.get(control, [])
        if len(texts) > 1:
            raise UserError(f"{where}, {row}: {len(texts)} values of {control}: leave one of them")
        return texts[0] if texts else None

    verdict = single("decision") or ""
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    edited = verdict == "edit"  # a control that is hidden again may keep what it held
    return SubmittedRow(
        row,
        *named,
        reviewer=by if isinstance(by, str) else "" if by is None else f"label-studio-{by}",
        verdict=verdict,
        reasons=tuple(values.get("reasons", ())) if verdict == "reject" else (),
        note=single("note") or "",
        question=single("edited_question") if edited else None,
        answer=single("edited_answer") if edited else None,
        decided_at=annotation.get("updated_at") or annotation.get("created_at") or "",
    )
