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

#: Parameters a server may refuse by name, and how its complaint names them. The reply's form comes
#: last: a server that complains about another one may well quote the whole request.
_NAMED: Final = {
    "max_completion_tokens": r"max_completion_tokens",
    "temperature": r"\btemperature\b",
    "seed": r"\bseed\b",
    "json_schema": r"response_?format|json_?schema|structured.?output|guided|grammar",
    "json_object": r"response_?format|json_?object|structured.?output|guided|grammar",
}
_FILTERED: Final = ("content_filter", "content_policy_violation")
_OUT_OF_MONEY: Final = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")


class Again(Exception):
    """Nothing was answered and the next try may be."""

    def __init__(
        self, reason: str, retry_after: float | None = None, throttled: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after = retry_after  # seconds, as the server asked
        self.throttled = throttled  # we ask for too much at once


class Unreachable(Again):
    """No connection: nobody listens there, or nobody knows the name."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot be reached ({reason})")


class Refused(Exception):
    """The server does not take one parameter of the request: its name."""


class Filtered(Exception):
    """The server's filter rejected the prompt: the raw reply that says so."""


class Rejected(UserError):
    """The server answered that it will not: a line that says so, its status, its own words."""

    def __str__(self) -> str:
        return str(self.args[0])


class GaveUp(UserError):
    """One call failed as often as it may; another one may still work."""


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
        return _refusal(error, wants, where, model)
    # No whole HTTP response came.
    causes = list(_causes(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    last = _line(str(causes[-1]))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UserError(
                f"{where}: TLS: {cause.verify_message}: mend the server's certificate, or name its "
                "authority in SSL_CERT_FILE"
            )
    if caused_by(httpx2.ConnectError, httpx2.ConnectTimeout):
        if caused_by(ssl.SSLError):
            return UserError(f"{where}: TLS failed ({last}): is it http:// rather than https://?")
        if caused_by(ConnectionRefusedError):
            return Unreachable("nobody listens there")
        return Unreachable("the name is not known" if caused_by(socket.gaierror) else last)
    if caused_by(TimeoutError, httpx2.TimeoutException):
        return Again(patience)
    return Again(f"connection lost ({last})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what lies under it, outermost first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _refusal(error: Any, wants: Set[str], where: str, model: str) -> Exception:
    """The server answered with a status of 4xx or 5xx."""
    status, headers = error.status_code, error.response.headers
    complaint = _complaint(error.body)

    def stop(what_to_do: str) -> Rejected:
        line = f"{where} ({status}): {complaint.message}: {what_to_do}"
        return Rejected(line, status, complaint.message)

    if complaint.code in _OUT_OF_MONEY or status == 402:
        return stop("add credit, then run again: all that was answered is kept")
    if status == 429:
        return Again("429: too many requests", _retry_after(headers), throttled=True)
    if status in (408, 409) or status >= 500:
        return Again(f"{status}: {complaint.message}", _retry_after(headers))
    if status in (401, 403):
        return stop("check OPENAI_API_KEY and what it may use, then run again")
    if complaint.code in _FILTERED:
        return Filtered(_filtered(complaint))
    name = _named(wants, complaint)
    if name and status in (400, 404, 422):
        return Refused(name)
    if status == 404 and (complaint.code == "model_not_found" or model in complaint.message):
        return stop(f"the server has no model {model!r}: name one that it has")
    if status == 404:
        return stop("no chat completions there: does the base URL end in /v1?")
    return stop("the server does not take this request")


def _named(wants: Set[str], complaint: _Complaint) -> str | None:
    for text in (complaint.param, complaint.message):
        for name, pattern in _NAMED.items():
            if name in wants and re.search(pattern, text, re.IGNORECASE):
                return name
    return None


def _complaint(detail: Any) -> _Complaint:
    """Out of an error's body, as OpenAI, vLLM, llama.cpp, Ollama or FastAPI has it."""
    if not isinstance(detail, dict):
        return _Complaint(_line(str(detail)), "", "")
    message = detail.get("message") or detail.get("detail") or ""
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


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:300] + " ..."
