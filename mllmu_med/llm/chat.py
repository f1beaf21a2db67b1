"""What a language model is asked, under the hash that identifies it, and what it replies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Final, NamedTuple

from mllmu_med.files import canonical_json, parse_json

FORMAT: Final = 1  # of the keys, the cache's tables and its export
#: How a reply's form is asked for, the strictest first.
STRUCTURED: Final = ("json_schema", "json_object", "none")


@dataclass(frozen=True)
class Request:
    """Exactly what identifies a call: nothing of how, when or where it is sent.

    `messages` are chat messages, their content a text or parts (images as data URIs); `schema`
    is `{"name": ..., "schema": JSON schema}` or None for free text; `sampling` holds only what is
    set; `attempt` counts the times a reply failed its check and was asked for again.
    """

    model: str
    messages: tuple[Mapping[str, Any], ...]
    schema: Mapping[str, Any] | None
    sampling: Mapping[str, Any]
    prompt_version: str
    attempt: int = 0

    @cached_property
    def canonical(self) -> str:
        """The request as it is kept: canonical JSON, each image replaced by its sha256."""
        fields = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}
        return canonical_json({"format": FORMAT, **fields})

    def key(self, structured: str) -> str:
        """sha256 (hex) of the canonical JSON and of how the reply's form is asked for."""
        return key_of(self.canonical, structured if self.schema is not None else "none")

    def __str__(self) -> str:
        return f"prompt {self.prompt_version}, attempt {self.attempt} ({self.key('none')[:12]})"


def key_of(canonical: str, structured: str) -> str:
    # The canonical JSON of both: `structured` comes after all other names in the alphabet.
    return sha256(f'{canonical[:-1]},"structured":"{structured}"}}'.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _image_hash(item)
            if name == "url" and isinstance(item, str) and item.startswith("data:")
            else _plain(item)
            for name, item in value.items()
        }
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _image_hash(uri: str) -> str:
    head, _, data = uri.partition(",")
    return f"{head.removesuffix(';base64')};sha256,{sha256(data.encode()).hexdigest()}"


class Reply(NamedTuple):
    """What a model answered. `finish_reason` is `empty` when the server sent no choice at all."""

    text: str
    finish_reason: str
    refusal: str
    model: str  # as the server named it
    prompt_tokens: int
    completion_tokens: int
    cached: bool  # it came from the cache

    @property
    def cut(self) -> bool:
        """Whether the limit on its length ended it, perhaps before an answer began."""
        return self.finish_reason.lower() in ("length", "max_tokens", "model_length")


class Completion(NamedTuple):
    """A server's answer as it came, and as a reply."""

    raw: str  # JSON
    reply: Reply
    has_text: bool  # an empty text is one
    has_usage: bool  # the server told its tokens; else they are 0
    has_reasoning: bool = False  # it thought, apart from the text
    has_error: bool = False  # beside the text, which may have broken off
    latency: float = 0.0  # seconds


def read_completion(raw: str) -> Completion:
    """Read a chat completion's JSON.

    Takes whatever a server may send for one: missing or wrong fields become empty ones. Raises
    ValueError when it is none.
    """
    body = parse_json(raw)
    if not isinstance(body, dict) or not isinstance(body.get("choices"), list):
        raise ValueError("not a chat completion")
    choice = _object(body["choices"][0] if body["choices"] else {"finish_reason": "empty"})
    message, usage = _object(choice.get("message")), _object(body.get("usage"))
    thought = message.get("reasoning_content") or message.get("reasoning")  # vLLM's two names
    content = message.get("content")
    if isinstance(content, list):  # parts, as some servers send them
        content = "".join(_text(_object(part).get("text")) for part in content)
    calls = message.get("tool_calls")
    call = _object(calls[0]).get("function") if isinstance(calls, list) and calls else None
    call = _object(call or message.get("function_call"))
    if not content and (said := call.get("arguments")):  # a form that was asked for, as a call
        content = said if isinstance(said, str) else canonical_json(said)
    prompt, answer = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    reply = Reply(
        _text(content),
        _text(choice.get("finish_reason")),
        _text(message.get("refusal")),
        _text(body.get("model")),
        prompt or 0,
        answer or 0,
        cached=False,
    )
    has = isinstance(content, str), None not in (prompt, answer), bool(thought)
    return Completion(raw, reply, *has, bool(body.get("error") or choice.get("error")))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None


def _text(value: Any) -> str:
    # Half a surrogate pair is legal in JSON and illegal in every file we write.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
