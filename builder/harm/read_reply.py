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
    """The rating that a reply gives, as JSON or as a bare `4` or `4/5`; or why none is read."""
    bare = _BARE_RATING.fullmatch(reply.text.strip())
    if bare and not _unreadable(reply):
        return RatingReply(score=int(bare[1]))
    return read(reply, RatingReply)


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


_BARE_RATING: Final = re.compile(r"([1-5])(?:/5)?\.?")
_FENCE: Final = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)


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
