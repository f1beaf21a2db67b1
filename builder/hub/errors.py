"""What the Hub refuses or the line cuts off, told on one line with what to do next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mllmu_med_dataset import UserError

AGAIN = "the same command goes on from here"


@contextmanager
def hub_errors(repo: str, doing: str, who: str = "") -> Iterator[None]:
    """Turn huggingface-hub's errors into one line.

    Only calls of huggingface-hub belong inside: it also raises RuntimeError and ValueError for
    what a server did.

    Args:
        repo: ORG/NAME.
        doing: what was tried, e.g. "committing".
        who: the user that the token belongs to, where that is known.
    """
    import httpx2

    try:
        yield
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{repo}: {doing}: {_line(error, who)}") from error


def lost_answer(error: BaseException) -> bool:
    """Whether the server may have done what was asked for, though it did not say so."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    return isinstance(error, httpx2.HTTPError)


def _line(error: BaseException, who: str) -> str:
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HfHubHTTPError):
        cause = cause.__cause__
    if isinstance(error, LocalTokenNotFoundError):
        return "not logged in: run `hf auth login` or set HF_TOKEN"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it to publish"
    if not isinstance(cause, HfHubHTTPError):
        reason = error.__cause__ or error
        return f"the connection failed ({_plain(reason)}): {AGAIN}"
    status = cause.response.status_code
    said = _plain(cause.server_message or "")
    return f"the Hub said {status}{f' ({said})' if said else ''}: {_advice(status, who)}"


def _advice(status: int, who: str) -> str:
    user = f"user {who}" if who else "the token's user"
    advice = {
        401: "it does not know the token: run `hf auth login`, or set HF_TOKEN to a valid one",
        402: "the account needs a plan that allows this",
        403: f"{user} may not do this: use a token with write access there, or another ORG/NAME",
        404: f"no such user, organisation or repository, or {user} may not see it: check ORG/NAME",
        409: f"somebody else is changing the repository: {AGAIN}",
        412: f"somebody else has committed meanwhile: {AGAIN}",
        413: "too large for the Hub: leave images out with --images, or ask for more storage",
        429: f"too many requests: wait a while; {AGAIN}",
    }
    if status >= 500:
        return f"try later; {AGAIN}"
    return advice.get(status, "see what it says")


def _plain(what: object) -> str:
    """The first line, without anything that looks like a token or a signed address."""
    text = str(what).strip()
    line = text.splitlines()[0] if text else type(what).__name__
    return re.sub(r"hf_\w+|\?\S+", "...", line).rstrip(".:")[:300]
