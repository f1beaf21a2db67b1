"""What a language model replied: read strictly, or refused with the one thing that is wrong."""

import json
import re
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builder.harm.texts import Failure, Harm
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
    text = _json_in(reply.text)
    if text is None:
        return Failure("invalid JSON", "the reply was no valid JSON object")
    try:
        return form.model_validate_json(text)
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
    found, reason = reply.text, ""
    text = _json_in(reply.text)
    if text is not None:
        fields = json.loads(text)
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
    if reply.finish_reason == "length":
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


_FENCE: Final = re.compile(r"```(?:json)?\s*+(.*?)```", re.DOTALL | re.IGNORECASE)


def _json_in(text: str) -> str | None:
    """The JSON object in a reply that may be fenced, or stand between words."""
    fenced = _FENCE.search(text)
    for candidate in (text, fenced.group(1) if fenced else "", text[text.find("{") :]):
        candidate = candidate.strip()
        if not candidate.startswith("{"):
            continue
        try:
            _, end = json.JSONDecoder().raw_decode(candidate)
        except (ValueError, RecursionError):
            continue
        return candidate[:end]
    return None
