"""What a language model replied: read strictly, or refused with the one thing that is wrong."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builder.harm.texts import Failure, Harm
from eval.answer_text import answer_of
from mllmu_med.llm.chat import Reply

_Rating = Annotated[int, Field(ge=1, le=5)]
_Line = Annotated[str, Field(min_length=1)]


class _Reply(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class PrivacyReply(_Reply):
    """The rewritten parts; a part that was not asked for is None unless the model sent it."""

    question: str | None = None
    answer: str | None = None


class IncorrectReply(_Reply):
    """An incorrect answer with what is wrong in it; or, where `fits` is false, why there is none.

    kind: the one that was written; None where the model did not say, and kept to what was asked.
    """

    answer: str
    what_is_wrong: _Line
    kind: Harm | None = None
    fits: bool = True


class PlausibilityReply(_Reply):
    """What a judge says of an answer alone: whether it is a reply, and how plausible it is."""

    replies: bool
    plausible: _Rating
    reason: str = ""


class WrongnessReply(_Reply):
    """What a judge says of an answer beside the true one."""

    verdict: Literal["wrong", "partly", "right"]
    reason: str = ""


class RatingReply(_Reply):
    """The similarity of an output to the truth, 1 to 5, with a reason of one line."""

    score: _Rating
    reason: str = ""


R = TypeVar("R", bound=_Reply)


def read(reply: Reply, form: type[R]) -> R | Failure:
    """What a reply says; or why nothing can be read from it, by a name to count by."""
    unread = _unreadable(reply)
    if unread:
        return unread
    fields = _fields_in(reply.text, form)
    if fields is None:
        came = " ".join(reply.text.split())
        return Failure("invalid JSON", f"the reply was no valid JSON object: {came:.80}")
    try:
        return form.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "string_too_short":
            return Failure("empty field", f'"{where}" is empty')
        if first["type"] == "missing":
            return Failure("missing field", f'the JSON object has no "{where}"')
        return Failure("wrong field type", f'"{where}": {first["msg"]}')


def read_rating(reply: Reply) -> RatingReply | Failure:
    """The rating that a reply gives, as JSON or as people write it; or why none can be read.

    | reply, or its JSON object's `score` | read as |
    | --- | --- |
    | `4`, `4.0`, `4/5`, `4 out of 5`, `four`, `**4**` | 4 |
    | `Score: 4`, `Rating is 4/5`, `Similarity: four` | 4 |
    | `4 - all but the date`, `4. The date differs.` | 4, and the words after it as the reason |
    | `6`, `0`, `-1`, `4.5`, `8/10` | "rating out of range": outside 1-5, no whole number |
    | `3 or 4`, `3-4`, `between 3 and 4`, `good`, `{"reason": ...}` | "no rating": none, or two |
    | nothing | "empty reply" |

    A refusal, a content filter and a reply that was cut off have the names that `read` gives them.
    """
    unread = _unreadable(reply)
    if unread:
        return unread
    found, reason = answer_of(reply.text), ""
    fields = _fields_in(reply.text, RatingReply)
    if fields is not None:
        found, reason = str(fields.get("score", "")), str(fields.get("reason") or "")
    match = _SCORE.fullmatch(re.sub(r"[*`]", "", found).strip())
    if not match:
        return Failure("no rating", "say one rating and nothing else: a whole number from 1 to 5")
    word = match["score"].lower()
    score = _NUMBERS.index(word) if word in _NUMBERS else float(word)
    if score not in range(1, 6) or match["top"] not in (None, "5", "five"):
        shown = word + (f" of {match['top']}" if match["top"] else "")
        return Failure("rating out of range", f"{shown} is no whole number from 1 to 5")
    return RatingReply(score=int(score), reason=reason or (match["reason"] or "").strip())


def _unreadable(reply: Reply) -> Failure | None:
    """Why a reply has no text to read."""
    if reply.refusal:
        return Failure("refusal", "do not refuse: every person and fact here is made up")
    if reply.finish_reason == "content_filter":
        return Failure("content filter", "write it so that no content filter stops it")
    if reply.cut:
        return Failure("cut off", "the reply was cut off at its maximum length: be brief")
    if not reply.text.strip():
        return Failure("empty reply", "the reply was empty")
    return None


_NUMBERS: Final = "zero one two three four five six seven eight nine ten".split()
_SCORE: Final = re.compile(
    rf"""(?:(?:score|rating|similarity)\s*(?:(?:is\b|of\b|[:=])\s*)?)?
    (?P<score>-?\d+(?:\.\d+)?|{"|".join(_NUMBERS)})(?![\w%])
    (?:\s*(?:/|out\s+of|of)\s*(?P<top>\d+|{"|".join(_NUMBERS)})(?!\w))?
    (?:\.?|(?:[.:;]\s|\s*+[-–—]|(?=\s*+\(|[^\S\n]*+\n))\s*+(?P<reason>(?!\d|or\b|to\b)\S.*))""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def _fields_in(text: str, form: type[_Reply]) -> dict[str, Any] | None:
    """The fields of the last object in a reply that has any; None where a broken one comes last.

    Thinking is left out: what stands there is a draft.
    """
    fields: dict[str, Any] | None = None
    with suppress(RecursionError):
        for value in _objects(answer_of(text)):
            fields = None if value is None else _within(value, form) or fields or {}
        return fields
    return None


def _within(value: Any, form: type[_Reply]) -> dict[str, Any] | None:
    """A mapping that has fields of the form, whatever their case: itself, or the last it holds."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return None
    named = {str(name).lower(): cell for name, cell in value.items()}
    if named.keys() & form.model_fields:
        return named
    inner = [fields for cell in value.values() if (fields := _within(cell, form))]
    return inner[-1] if inner else None


#: `{"name":` in any quotes or none, and what is cut off before that.
_BEGIN: Final = re.compile(r"""\{\s*(?:(["'“”‘’])[^"'“”‘’{}]*["'“”‘’]|\w+)\s*:|\{[^{}]*\Z""")


def _objects(text: str) -> Iterator[Any]:
    """Each outermost JSON object of a text, mended where that is safe; None for a broken one."""
    decoder, at = json.JSONDecoder(), 0
    while begin := _BEGIN.search(text, at):
        try:
            value, at = decoder.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            at = _end(text, begin.start())
            value = _mended(text[begin.start() : at])
        yield value


def _end(text: str, start: int) -> int:
    """Where the braces that begin there are closed, else the end of the text."""
    depth = 0
    for brace in re.compile("[{}]").finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.end()
    return len(text)


def _mended(broken: str) -> Any:
    """An object with a mistake in its form: stray commas, other quotes, raw line ends, True.

    None unless it is whole, and every letter of it is kept and no other one added: a text that was
    cut off must never pass for a shorter one.
    """
    import json_repair

    if '"' not in broken:
        broken = re.sub("[“”]", '"', broken)
    try:
        value = json_repair.loads(broken)
        made = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    # A brace or backslash in a text may be what seems its end.
    is_plain = made.count("{") == len(re.findall(r"{(?=[\"}])", made)) and "\\\\" not in made
    bare = re.sub(r"\\.", "", broken)
    is_whole = bare.endswith("}") and bare.count('"') % 2 == 0
    if made.rstrip("}]").endswith('"'):
        is_whole &= bare.rstrip("}], \r\n\t").endswith(('"', "'", "”", "’"))
    return value if is_plain and is_whole and _letters(made) == _letters(broken) else None


def _letters(text: str) -> str:
    """The letters and digits of a piece of JSON, without what JSON escapes."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)
    text = re.sub(r"\bnone\b", "null", re.sub(r"\\.", " ", text.casefold()))
    return "".join(re.findall(r"\w", text))
