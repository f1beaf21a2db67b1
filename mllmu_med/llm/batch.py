"""The same requests through OpenAI's Batch API: half the price, an answer within 24 hours.

    async with Client(settings, ledger) as client:
        outcome = await run_batch(client, requests)     # then `client.ask` finds them in the ledger

What is submitted is noted in the ledger before it is waited for: a killed run finds its batches
again and submits nothing twice. Replies end in the ledger as those of `Client.ask` do.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple

from mllmu_med.errors import UsageError, UserError
from mllmu_med.files import canonical_json, digest
from mllmu_med.llm.client import Client
from mllmu_med.llm.errors import Again, Unreachable
from mllmu_med.llm.reply_cache import Request, read_reply
from mllmu_med.progress import say

#: The Batch API's own limits.
MOST_REQUESTS: Final = 50_000
MOST_BYTES: Final = 200_000_000
_META: Final = "batches:"  # the ledger's name for what is under way, by model
_WAITING: Final = ("validating", "in_progress", "finalizing", "cancelling")
_WHAT: Final = "the Batch API"
_OURS: Final = "mllmu_med"  # the batch's metadata that says which requests it holds


class BatchOutcome(NamedTuple):
    """What came of the batches: replies kept, and the lines that got none, by reason."""

    kept: int
    failed: dict[str, int]


class _Chunk(NamedTuple):
    """One input file: its lines, and what they ask for, as the ledger notes it."""

    asked: list[tuple[Request, str, list[str]]]
    content: bytes


async def run_batch(
    client: Client,
    requests: Iterable[Request],
    *,
    poll: float = 60.0,
    most_requests: int = MOST_REQUESTS,
    most_bytes: int = MOST_BYTES,
) -> BatchOutcome:
    """Have the requests that the ledger does not hold answered in batches; waits for the last one.

    The first of them is asked live, unless the ledger already knows which parameters the server
    refuses: nobody should learn after a day that it takes no `temperature`.

    Args:
        client: an open client; its limit on requests holds for the batches too.
        requests: any; those in the ledger cost nothing.
        poll: seconds between two looks at the batches.
        most_requests, most_bytes: of one batch.

    Raises:
        UserError: a batch failed, expired or was cancelled (what it did answer is kept); a limit.
        UsageError: a limit on the cost, which a batch cannot keep.
    """
    if client.settings.max_cost is not None:
        raise UsageError("a batch cannot keep a cost limit: limit its requests instead")
    missing = client.missing(requests)
    if missing and client.settings.offline:
        await client.ask(missing[0])  # says what is not there
    outcome = await _finish(client, poll)  # what an earlier run submitted
    missing = client.missing(missing)
    if missing and not client.ledger.dialect(client.settings.model):
        await client.ask(missing.pop(0))
    if not missing:
        return outcome
    allowed = client.settings.max_requests
    spent = client.spent().replies
    if allowed is not None and spent + len(missing) > allowed:
        raise UserError(
            f"the batch would hold {len(missing):,} requests, and with the {spent:,} so far that "
            f"is over the limit of {allowed:,}: nothing was submitted; raise the limit"
        )
    for chunk in _chunks(client, missing, most_requests, most_bytes):
        await _submit(client, chunk)
    later = await _finish(client, poll)
    failed = Counter(outcome.failed) + Counter(later.failed)
    return BatchOutcome(outcome.kept + later.kept, dict(sorted(failed.items())))


def _chunks(
    client: Client, requests: Iterable[Request], most_requests: int, most_bytes: int
) -> Iterator[_Chunk]:
    asked: list[tuple[Request, str, list[str]]] = []
    lines: list[bytes] = []
    size = 0
    for request in requests:
        body, mode, adapted = client.body(request)
        line = {
            "custom_id": request.key(mode),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body,
        }
        text = canonical_json(line).encode() + b"\n"
        if len(text) > most_bytes:
            raise UserError(f"{request}: {len(text):,} bytes are too many for a batch")
        if asked and (len(asked) == most_requests or size + len(text) > most_bytes):
            yield _Chunk(asked, b"".join(lines))
            asked, lines, size = [], [], 0
        asked.append((request, mode, adapted))
        lines.append(text)
        size += len(text)
    yield _Chunk(asked, b"".join(lines))


async def _submit(client: Client, chunk: _Chunk) -> None:
    """Upload and create. The intent is noted first, so that a kill in between loses no batch."""
    mark = digest(sorted(request.key(mode) for request, mode, _ in chunk.asked))
    client.ledger.submit(mark, chunk.asked)
    _note(client, {**_under_way(client), mark: ""})

    async def upload() -> Any:
        file = (f"{mark[:12]}.jsonl", chunk.content)
        return await client.openai.files.create(file=file, purpose="batch")

    async def create() -> Any:
        return await client.openai.batches.create(
            input_file_id=uploaded.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={_OURS: mark},
        )

    async def create_once() -> Any:
        # An answer lost on the way may leave a batch to be paid for: not to be made twice. The
        # intent stands, and the next run looks for the batch before it makes another.
        try:
            return await client.send(create)
        except (Again, Unreachable) as failure:
            if isinstance(failure, Again) and failure.throttled:
                raise
            raise UserError(
                f"{client.settings.where}: no answer to the new batch "
                f"({client.hide(str(failure))}): run again, which first looks whether it was made"
            ) from None

    uploaded = await client.service(upload, "a batch's file")
    batch = await client.retrying(create_once, "a new batch")
    _note(client, {**_under_way(client), mark: batch.id})
    say(f"  batch {batch.id}: {len(chunk.asked):,} requests submitted")


async def _finish(client: Client, poll: float) -> BatchOutcome:
    """Wait for every batch under way and keep its replies, whoever asked for them: all are paid."""
    await _look_for_lost(client)
    kept, failed = 0, Counter[str]()
    problems: list[str] = []
    told: dict[str, str] = {}
    while under_way := _under_way(client):
        for mark, batch_id in under_way.items():
            batch = await client.service(partial(client.openai.batches.retrieve, batch_id), _WHAT)
            state = _state(batch)
            if told.get(batch.id) != state:
                say(f"  batch {batch.id}: {state}")
                told[batch.id] = state
            if batch.status in _WAITING:
                continue
            ended = await _collect(client, batch)
            kept += ended.kept
            failed.update(ended.failed)
            if batch.status != "completed":
                problems.append(_problem(batch, ended.kept))
            rest = _under_way(client)
            del rest[mark]
            _note(client, rest)
            client.ledger.forget_submitted(mark)
        if _under_way(client):
            await client.nap(poll)
    if problems:
        raise UserError("; ".join(problems))
    return BatchOutcome(kept, dict(sorted(failed.items())))


async def _look_for_lost(client: Client) -> None:
    """Find the batches that were made by a run that was killed before it could note their id."""
    under_way = _under_way(client)
    lost = {mark for mark, batch_id in under_way.items() if not batch_id}
    if not lost:
        return

    async def find() -> dict[str, str]:
        found: dict[str, str] = {}
        seen = set()
        async for batch in client.openai.batches.list(limit=100):  # the newest first
            if batch.id in seen:  # a server that has no pages gives the same one for ever
                break
            seen.add(batch.id)
            mark = (batch.metadata or {}).get(_OURS, "")
            if mark in lost and batch.status not in ("failed", "cancelled"):
                found.setdefault(mark, batch.id)
        return found

    found = await client.service(find, _WHAT)
    _note(client, {mark: i or found[mark] for mark, i in under_way.items() if i or mark in found})


async def _collect(client: Client, batch: Any) -> BatchOutcome:
    """Keep what a finished batch answered; both its files count."""
    kept, failed = 0, Counter[str]()
    for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
        replies, reasons = await client.service(partial(_read, client, file_id), _WHAT)
        failed.update(reasons)
        facts = {"base_url": client.settings.where, "answered_at": _now()}
        writes = [client.ledger.put_submitted(key, raw, **facts) for key, raw in replies.items()]
        for write in writes:
            write.result()
        for key, raw in replies.items():
            client.count(key, raw)
        kept += len(replies)
    return BatchOutcome(kept, dict(failed))


async def _read(client: Client, file_id: str) -> tuple[dict[str, str], Counter[str]]:
    """The replies in a file that the ledger does not hold yet, by key; and what failed, by reason.

    Keeps nothing: it is done again when the connection is lost on the way.
    """
    replies, failed = dict[str, str](), Counter[str]()
    async for text in _lines(client, file_id):
        try:
            line = json.loads(text)
            key, response = line["custom_id"], line.get("response") or {}
        except (ValueError, TypeError, KeyError):
            failed["a line that is no JSON"] += 1
            continue
        if not client.ledger.is_submitted(key) or client.ledger.get(key) is not None:
            continue
        body = response.get("body")
        if response.get("status_code") == 200 and read_reply(body) is not None:
            replies[key] = client.hide(json.dumps(body))
        else:
            failed[_reason(line, response)] += 1
    return replies, failed


async def _lines(client: Client, file_id: str) -> AsyncIterator[bytes]:
    """The lines of a file. Not the library's `iter_lines`: that splits at U+2028, too."""
    async with client.openai.files.with_streaming_response.content(file_id) as response:
        rest = b""
        async for chunk in response.iter_bytes():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line
        if rest:
            yield rest


def _reason(line: dict[str, Any], response: dict[str, Any]) -> str:
    error = line.get("error") or {}
    if error.get("code"):
        return str(error["code"])
    body = response.get("body")
    inner = body.get("error") if isinstance(body, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else "no chat completion"
    return f"{response.get('status_code')}: {' '.join(str(message).split())[:100]}"


def _state(batch: Any) -> str:
    counts = batch.request_counts
    return f"{batch.status}, {counts.completed:,} of {counts.total:,}" if counts else batch.status


def _problem(batch: Any, kept: int) -> str:
    errors = [f"{e.code}: {e.message}" for e in (batch.errors.data or [])] if batch.errors else []
    why = f" ({errors[0]})" if errors else ""
    return (
        f"batch {batch.id}: {batch.status}{why}: {kept:,} of its replies are kept; run again to "
        "submit the rest"
    )


def _under_way(client: Client) -> dict[str, str]:
    """Batch ids by the hash of the keys they hold; an empty id was never learned."""
    text = client.ledger.meta(_META + client.settings.model)
    found: dict[str, str] = json.loads(text or "{}")
    return found


def _note(client: Client, under_way: dict[str, str]) -> None:
    client.ledger.set_meta(_META + client.settings.model, canonical_json(under_way))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
