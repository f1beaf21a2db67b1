"""What a failed exchange with a language model's server means: again, otherwise, or stop."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator, Set
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

from mllmu_med.errors import UserError
from mllmu_med.files import parse_json
from mllmu_med.llm.dialect import OTHER_NAME

#: Parameters a server may refuse by name, and how its complaint names them. The reply's form comes
#: last: a server that complains about another one may well quote the whole request.
_NAMED: Final = {
    "max_completion_tokens": r"max_completion_tokens",
    "max_tokens": r"\bmax_tokens\b",
    "top_p": r"\btop_p\b",  # before temperature: of two that exclude each other it does less
    "presence_penalty": r"presence_penalty",
    "frequency_penalty": r"frequency_penalty",
    "repetition_penalty": r"repetition_penalty",
    "temperature": r"\btemperature\b",
    "seed": r"\bseed\b",
    "system": r"system.?(?:role|message|prompt)|developer instruct|got system|must alternate",
    "json_schema": r"response_?format|json_?schema|structured.?output|guided|grammar",
    "json_object": r"response_?format|json_?object|structured.?output|guided|grammar",
}
#: A complaint about a long prompt names the limit on the answer, which is no reason to drop it.
_TOO_LONG: Final = re.compile(r"too (large|long|many)|context (length|size|window)|exceed", re.I)
_FILTERED: Final = ("content_filter", "content_policy_violation")
_FLAGGED: Final = re.compile(r"flagged|moderation", re.I)  # OpenRouter says so with a 403
#: Of this one request, not of all: too long, too large, an image that it cannot read.
_DECLINED: Final = (400, 413, 422, 451)
_STARTING: Final = (502, 503, 504)  # what stands before a server that is not there yet says so
#: Errors inside a 200 often have no status of their own.
_RATE: Final = re.compile(r"rate.?limit|too many requests|throttl", re.I)
_PASSING: Final = re.compile(
    r"overload|temporar|try again|unavailable|time.?out|busy|loading", re.I
)
_LONG_LIMIT: Final = re.compile(r"per.?(day|month)|daily|monthly", re.I)
_OUT_OF_MONEY: Final = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")


class Again(Exception):
    """Nothing was answered and the next try may be."""

    def __init__(
        self,
        reason: str,
        retry_after: float | None = None,
        throttled: bool = False,
        starting: bool = False,
    ) -> None:
        super().__init__(reason)
        self.retry_after = retry_after  # seconds, as the server asked
        self.throttled = throttled  # we ask for too much at once
        self.starting = starting  # the server may not be up yet
        self.counts = True  # as one of the tries


class Unreachable(Again):
    """No connection: nobody listens there, or nobody knows the name."""

    def __init__(self, reason: str, starting: bool = True) -> None:
        super().__init__(f"cannot be reached ({reason})", starting=starting)


class Refused(Exception):
    """The server does not take one parameter of the request: its name."""


class Filtered(Exception):
    """The server's filter rejected the prompt: the raw reply that says so."""


class Rejected(UserError):
    """The server answered that it will not: a line that says so, and in short."""

    def __str__(self) -> str:
        return str(self.args[0])


class Declined(Rejected):
    """It will not answer this very request; another one may still work."""


class GaveUp(Rejected):
    """One call failed as often as it may; another one may still work."""


class Strange(Rejected):
    """What came is no chat completion, nor an error: another kind of server, or a page between."""


class Interrupted(Exception):
    """Ctrl-C: nothing new is sent. A `Server` turns it into KeyboardInterrupt when it closes."""


class _Complaint(NamedTuple):
    message: str  # one line
    code: str
    param: str


def meaning(
    error: Exception, wants: Set[str], where: str, model: str, patience: str = "no answer in time"
) -> Exception:
    """Which of the above an error of `openai` is; a UserError when the run must stop.

    `wants` are the parameters in the request that could be done without; `patience` is what to
    say when no answer has come in time.
    """
    import httpx2
    import openai

    if isinstance(error, openai.APIStatusError):
        complaint, headers = _complaint(error.body), error.response.headers
        before = error.response.history
        if before and before[0].request.method != error.response.request.method:  # POST became GET
            moved = str(error.response.url).removesuffix("/chat/completions")
            return Rejected(
                f"{where}: has moved to {moved}: give that URL", f"has moved to {moved}"
            )
        return _refusal(error.status_code, complaint, headers, wants, where, model)
    # No whole HTTP response came.
    causes = list(_causes(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    last = _line(str(causes[-1]))
    if caused_by(httpx2.ConnectError, httpx2.ConnectTimeout):
        if caused_by(ssl.SSLError):
            return UserError(
                f"{where}: TLS failed ({last}): is it http:// rather than https://, or signed by "
                "an authority that SSL_CERT_FILE has to name?"
            )
        if caused_by(ConnectionRefusedError):
            return Unreachable("nobody listens there")
        if caused_by(socket.gaierror):
            return Unreachable("the name is not known", starting=False)
        return Unreachable(last)
    if caused_by(TimeoutError, httpx2.TimeoutException):
        return Again(patience)
    return Again(f"connection lost ({last})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what lies under it, outermost first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def meaning_of_200(raw: bytes, wants: Set[str], where: str, model: str) -> Exception:
    """Likewise of the body of a 200 that is no chat completion."""
    text = raw.decode("utf-8", "replace")
    body: Any = None
    try:
        body = parse_json(text)
    except ValueError:
        if text.startswith("{") and raw == text.encode():
            return Again("a chat completion that breaks off")
    error = _error_in(body)
    if error is not None:
        complaint = _complaint(error)
        code = str(error.get("code") or error.get("status") if isinstance(error, dict) else "")
        if re.fullmatch("[45][0-9]{2}", code):
            status, shown = int(code), f"200, but error {code}"
        else:
            passing = 429 if _RATE.search(complaint.message) else 500
            said = _RATE.search(complaint.message) or _PASSING.search(complaint.message)
            status, shown = passing if said else 400, "200, but an error"
        return _refusal(status, complaint, {}, wants, where, model, shown)
    words, hint = _words(text)[:80], "does the base URL end in /v1?"
    if not text.strip():
        came = "nothing at all"
    elif raw != text.encode():
        came = f"bytes that are no UTF-8 ({words!r})"
    elif text.lstrip().startswith("<"):
        came = f"a web page ({words!r})"
    elif text.lstrip().startswith(("data:", "event:", ":")):
        came, hint = f"a stream of events ({words!r})", "nobody asked for one: turn that off there"
    else:
        came = repr(words)
    came = f"no chat completion but {came}"
    return Strange(f"{where}: sent {came}: {hint}", came)


def _error_in(body: Any) -> Any:
    """The error in a body, as OpenRouter, Ollama, older vLLM or FastAPI has it; None without."""
    if not isinstance(body, dict):
        return None
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for holder in (body, first):
        if isinstance(holder, dict) and holder.get("error"):
            return holder["error"]
    return body if body.get("object") == "error" or "detail" in body else None


def _refusal(
    status: int,
    complaint: _Complaint,
    headers: Any,
    wants: Set[str],
    where: str,
    model: str,
    shown: str = "",
) -> Exception:
    """The server answered with a status of 4xx or 5xx; `shown` tells where it stood, if inside."""
    shown = shown or str(status)
    said = complaint.message or complaint.code or "no reason given"

    def stop(what_to_do: str, kind: type[Rejected] = Rejected) -> Rejected:
        return kind(f"{where} ({shown}): {said}: {what_to_do}", f"{shown}: {said}")

    if complaint.code in _OUT_OF_MONEY or status == 402:
        return stop("add credit, then run again: all that was answered is kept")
    wait = _retry_after(headers)
    if status == 429:
        if _LONG_LIMIT.search(said) and wait is None and "try again in" not in said:
            return stop("run again when that is over: what was answered is kept")
        return Again(f"{shown}: {said}", wait, throttled=True)
    name = _named(wants, complaint)
    by_template = status == 500 and name == "system"  # llama.cpp's
    if status in (408, 409) or (status >= 500 and not by_template):
        starting = status in _STARTING or (status >= 500 and "loading" in said.lower())
        return Again(f"{shown}: {said}", wait, starting=starting)
    if status == 403 and _FLAGGED.search(said):
        return Filtered(_filtered(complaint))
    if status in (401, 403):
        return stop("check OPENAI_API_KEY and what it may use, then run again")
    if complaint.code in _FILTERED:
        return Filtered(_filtered(complaint))
    if name and status in (400, 404, 422, 500):
        return Refused(name)
    if status == 407:
        return stop("put the proxy's name and password into HTTPS_PROXY, or the host into NO_PROXY")
    if status == 404 and "no endpoints" in said.lower():  # OpenRouter: none that can do this
        return stop("ask it for less, or name another model")
    if status == 404 and (complaint.code == "model_not_found" or model in complaint.message):
        return stop(f"the server has no model {model!r}: name one that it has")
    if status == 404:
        return stop("no chat completions there: does the base URL end in /v1?")
    kind = Declined if status in _DECLINED else Rejected
    return stop("the server does not take this request", kind)


def _named(wants: Set[str], complaint: _Complaint) -> str | None:
    for text in (complaint.param, complaint.message):
        for name, pattern in _NAMED.items():
            too_long = name in OTHER_NAME and _TOO_LONG.search(complaint.message)
            if name in wants and not too_long and re.search(pattern, text, re.IGNORECASE):
                return name
    return None


def _complaint(detail: Any) -> _Complaint:
    """Out of an error's body, as OpenAI, vLLM, llama.cpp, Ollama or FastAPI has it."""
    if not isinstance(detail, dict):
        return _Complaint(_words(str(detail)), "", "")
    message = detail.get("message") or detail.get("detail") or ""
    if isinstance(message, dict):  # Mistral's FastAPI one level down
        message = message.get("detail") or message.get("message") or ""
    if isinstance(message, list):  # FastAPI quotes the whole input beside what is wrong with it
        parts = [item for item in message if isinstance(item, dict)]
        message = "; ".join(f"{item.get('loc')}: {item.get('msg')}" for item in parts)
    code = detail.get("code")
    code = code if isinstance(code, str) else detail.get("type")
    return _Complaint(_line(str(message)), str(code or ""), str(detail.get("param") or ""))


def _filtered(complaint: _Complaint) -> str:
    message = {"content": None, "refusal": complaint.message}
    usage = {"prompt_tokens": 0, "completion_tokens": 0}
    choice = {"finish_reason": "content_filter", "message": message}
    return json.dumps({"choices": [choice], "usage": usage, "code": complaint.code})


def _retry_after(headers: Any) -> float | None:
    """Seconds the server asks to wait, from its header in milliseconds, seconds or as a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        with suppress(ValueError):
            seconds = float(headers.get(name, "")) / unit
            if 0 <= seconds < float("inf"):
                return seconds
    with suppress(ValueError):
        date = parsedate_to_datetime(headers.get("retry-after", ""))
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    return None


def _words(text: str) -> str:
    return _line(re.sub(r"<[^>]*>", " ", text))


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:300] + " ..."
