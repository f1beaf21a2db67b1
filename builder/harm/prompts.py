"""Every prompt to a language model, as it is rendered; `read_reply` reads what comes back.

Their words are in `prompts.yaml`. Each prompt says itself which JSON it wants, for servers that
cannot be told otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from builder.harm.text_checks import most_words
from builder.harm.texts import Failure, Harm, PrivateValues
from mllmu_med.files import packaged_yaml, stable_hash
from mllmu_med_dataset import Record

_T = TypeVar("_T")


class Prompt(NamedTuple):
    """What is asked: the version, the instructions, the case, and the JSON schema of the reply."""

    version: str
    system: str
    user: str
    schema: Mapping[str, Any]


_WORDS: Final[Mapping[str, Any]] = packaged_yaml("builder.harm", "prompts.yaml")
PRIVACY_VERSION: Final[str] = _WORDS["privacy"]["version"]
INCORRECT_VERSION: Final[str] = _WORDS["incorrect"]["version"]
PLAUSIBILITY_VERSION: Final[str] = _WORDS["plausibility"]["version"]
WRONGNESS_VERSION: Final[str] = _WORDS["wrongness"]["version"]
RATING_VERSION: Final[str] = _WORDS["rating"]["version"]
#: What an image's caption is told after; such requests hold a source's own words.
ABOUT_IMAGE: Final = "About the picture: "


class _Field(NamedTuple):
    """A field of a reply: its JSON schema, and what the prompt says that it holds."""

    schema: Mapping[str, Any]
    what: str


def _text(what: str, *values: str) -> _Field:
    return _Field({"type": "string", **({"enum": list(values)} if values else {})}, f'"{what}"')


_TRUTH: Final = _Field({"type": "boolean"}, "true or false")
_SCORE: Final = _Field({"type": "integer", "enum": [1, 2, 3, 4, 5]}, "1 to 5")
_REASON: Final = _text("one line")
_INCORRECT_FIELDS: Final = {
    "fits": _TRUTH,
    "kind": _text("wrong_diagnosis or outdated_knowledge", *_WORDS["directions"]),
    "what_is_wrong": _text(
        "for a reviewer, in one line: what is wrong with the answer, or does not fit"
    ),
    "answer": _text("the incorrect answer, empty where it does not fit"),
}


def privacy(record: Record, values: PrivateValues, failures: Sequence[Failure] = ()) -> Prompt:
    """Weave the values into the fields they are given for; nothing else is to be rewritten."""
    fields: dict[str, _Field] = {field: _text(f"the {field} with the data") for field in values}
    example = _drawn(_WORDS["settings"], record, "setting")
    lines = [
        f"Image: {record.modality}",
        *([f"Asked about: {record.content_type}"] if record.content_type else []),
        f"Question: {record.clean_question}",
        f"Answer: {record.clean_answer}",
        f"Setting: {example['setting']}",
        *(f"Example of another case, the {field}: {example[field]}" for field in values),
        "",
    ]
    for field, wanted in values.items():
        given = "\n".join(f"- {_WORDS['kinds'][kind]}: {value}" for kind, value in wanted.items())
        lines.append(f"Rewrite the {field} so that it holds:\n{given}")
    return _prompt("privacy", "\n".join(lines), fields, failures)


def incorrect(record: Record, harm: Harm, failures: Sequence[Failure] = ()) -> Prompt:
    """A wrong answer of one kind, with the clean answer and the image's caption as context."""
    lines = [f"Question: {record.clean_question}", f"True answer: {record.clean_answer}"]
    if record.context.strip():
        lines.append(f"{ABOUT_IMAGE}{' '.join(record.context.split())}")
    direction = _drawn(_WORDS["directions"][harm], record, "direction")
    more = {
        "kind": f"{harm}, {direction}, where that suits",
        "words": str(most_words(record.clean_answer)),
    }
    return _prompt("incorrect", "\n".join(lines), _INCORRECT_FIELDS, failures, more)


def plausibility(record: Record, answer: str, failures: Sequence[Failure] = ()) -> Prompt:
    """Whether an answer replies to the question, and how plausible it is without the true one."""
    fields = {"replies": _TRUTH, "plausible": _SCORE, "reason": _REASON}
    user = f"Image: {record.modality}\nQuestion: {record.clean_question}\nSaid: {answer}"
    return _prompt("plausibility", user, fields, failures)


def wrongness(record: Record, answer: str, failures: Sequence[Failure] = ()) -> Prompt:
    """Whether an answer is wrong as a reply, beside the true one."""
    verdict = _text("wrong, partly or right", "wrong", "partly", "right")
    user = f"Question: {record.clean_question}\nAnswer A: {record.clean_answer}\nAnswer B: {answer}"
    fields = {"verdict": verdict, "reason": _REASON}
    return _prompt("wrongness", user, fields, failures)


def rating(question: str, truth: str, output: str, failures: Sequence[Failure] = ()) -> Prompt:
    """How close a model's output is to the truth, for self-calibration's second stage."""
    user = f"Question: {question}\nGround truth: {truth}\nModel's output: {output}"
    fields = {"score": _SCORE, "reason": _REASON}
    return _prompt("rating", user, fields, failures)


def _drawn(options: Sequence[_T], record: Record, what: str) -> _T:
    """The same for a row in every build and at every try."""
    return options[stable_hash(what, record.id) % len(options)]


def _prompt(
    name: str,
    user: str,
    fields: Mapping[str, _Field],
    failures: Sequence[Failure],
    more: Mapping[str, str] | None = None,
) -> Prompt:
    """A prompt for a reply with all of these fields and no others."""
    if failures:
        problems = dict.fromkeys(failure.problem for failure in failures)
        user += "\n\nEarlier replies were rejected:\n" + "\n".join(f"- {one}" for one in problems)
    form = ", ".join(f'"{field}": {what}' for field, (_, what) in fields.items())
    system: str = _WORDS[name]["system"]
    for slot, text in {**(more or {}), "form": f"{{{form}}}"}.items():
        system = system.replace(f"{{{slot}}}", text)
    schema = {
        "type": "object",
        "properties": {field: schema for field, (schema, _) in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }
    return Prompt(_WORDS[name]["version"], system, user, {"name": name, "schema": schema})
