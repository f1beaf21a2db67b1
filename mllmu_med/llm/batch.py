"""The same requests through OpenAI's Batch API: half the price, an answer within 24 hours.

    async with Client(settings, cache) as client:
        outcome = await run_batch(client, requests)     # then `client.ask` finds them in the cache

What is submitted is noted in the cache before it is waited for: a killed run finds its batches
again and submits nothing twice. Replies end in the cache as those of `Client.ask` do.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from mllmu_med.errors import UsageError, UserError
from mllmu_med.files import canonical_json, digest
from mllmu_med.llm.chat import Completion, Request, read_completion
from mllmu_med.llm.client import Client, now
from mllmu_med.llm.errors import Again
from mllmu_med.progress import say

#: The Batch API's own limits.
MOST_REQUESTS: Final = 50_000
MOST_BYTES: Final = 200_000_000
_META: Final = "batches:"  # the cache's name for what is under way, by model
_WAITING: Final = ("validating", "in_progress", "finalizing", "cancelling")
_WHAT: Final = "the Batch API"
_CHAT: Final = "/v1/chat/completions"
_OURS: Final = "mllmu_med"  # the batch's metadata that says which requests it holds
_SECONDS: Final = 3600.0  # for a file of a batch: 200 MB on a slow line

Result = TypeVar("Result")


class BatchOutcome(NamedTuple):
    """What came of the batches: replies kept, and the lines that got none, by reason."""

    kept: int
    failed: dict[str, int]


#: Of an input file, and what it asks for: a request, its form, what was adapted to the server.
_Line = tuple[bytes, tuple[Request, str, list[str]]]


async def run_batch(
    client: Client,
    requests: Iterable[Request],
    *,
    poll: float = 60.0,
    most_requests: int = MOST_REQUESTS,
    most_bytes: int = MOST_BYTES,
) -> BatchOutcome:
    """Have the requests that the cache does not hold answered in batches; waits for the last one.

    The first of them is asked live, unless the cache already knows which parameters the server
    refuses: nobody should learn after a day that it takes no `temperature`.

    Args:
        client: an open client; its limit on requests holds for the batches too.
        requests: any; those in the cache cost nothing.
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
    failed = Counter[str]()
    kept = await _finish(client, poll, failed)  # what an earlier run submitted
    missing = client.missing(missing)
    if missing and not client.knows_server:
        await client.ask(missing.pop(0))
    allowed, spent = client.settings.max_requests, client.spent().replies
    if missing and allowed is not None and spent + len(missing) > allowed:
        raise UserError(
            f"the batch would hold {len(missing):,} requests, and with the {spent:,} so far that "
            f"is over the limit of {allowed:,}: nothing was submitted; raise the limit"
        )
    for lines in _files(client, missing, most_requests, most_bytes):
        await _submit(client, lines)
    kept += await _finish(client, poll, failed)
    return BatchOutcome(kept, dict(sorted(failed.items())))


def _files(
    client: Client, requests: Iterable[Request], most_requests: int, most_bytes: int
) -> Iterator[list[_Line]]:
    lines: list[_Line] = []
    size = 0
    for request in requests:
        body, mode, adapted = client.body(request)
        line = {"custom_id": request.key(mode), "method": "POST", "url": _CHAT, "body": body}
        text = canonical_json(line).encode() + b"\n"
        if len(text) > most_bytes:
            raise UserError(f"{request}: {len(text):,} bytes are too many for a batch")
        if lines and (len(lines) == most_requests or size + len(text) > most_bytes):
            yield lines
            lines, size = [], 0
        lines.append((text, (request, mode, adapted)))
        size += len(text)
    if lines:
        yield lines


async def _submit(client: Client, lines: list[_Line]) -> None:
    """Upload and create. The intent is noted first, so that a kill in between loses no batch."""
    asked = [asks for _, asks in lines]
    mark = digest(sorted(request.key(mode) for request, mode, _ in asked))
    client.cache.submit(mark, asked)
    _note(client, {**_under_way(client), mark: ""})
    file = (f"{mark[:12]}.jsonl", b"".join(text for text, _ in lines))
    upload = partial(client.openai.files.create, file=file, purpose="batch")
    uploaded = await _service(client, upload, "a batch's file")

    async def create_once() -> Any:
        # An answer lost on the way may leave a batch to be paid for: not to be made twice. The
        # intent stands, and the next run looks for the batch before it makes another.
        create = partial(
            client.openai.batches.create,
            input_file_id=uploaded.id,
            endpoint=_CHAT,
            completion_window="24h",
            metadata={_OURS: mark},
        )
        try:
            return await client.send(create)
        except Again as failure:
            if failure.throttled:
                raise
            raise UserError(
                f"{client.settings.where}: no answer to the new batch "
                f"({client.hide(str(failure))}): run again, which first looks whether it was made"
            ) from None

    batch = await client.retrying(create_once, "a new batch")
    _note(client, {**_under_way(client), mark: batch.id})
    say(f"  batch {batch.id}: {len(lines):,} requests submitted")


async def _service(client: Client, call: Callable[[], Awaitable[Result]], what: str) -> Result:
    """Anything but a chat completion, with the same retries and meanings."""
    return await client.retrying(partial(client.send, call, timeout=_SECONDS), what)


async def _finish(client: Client, poll: float, failed: Counter[str]) -> int:
    """Wait for every batch under way and keep its replies, whoever asked for them: all are paid.

    Returns how many are kept; the lines that got none are counted in `failed`.
    """
    await _look_for_lost(client)
    kept = 0
    problems: list[str] = []
    shown: dict[str, str] = {}
    while under_way := _under_way(client):
        for mark, batch_id in under_way.items():
            batch = await _service(client, partial(client.openai.batches.retrieve, batch_id), _WHAT)
            counts, state = batch.request_counts, str(batch.status)
            if counts:
                state += f", {counts.completed:,} of {counts.total:,}"
            if shown.get(batch.id) != state:
                say(f"  batch {batch.id}: {state}")
                shown[batch.id] = state
            if batch.status in _WAITING:
                continue
            replies = await _collect(client, batch, failed)
            kept += replies
            if batch.status != "completed":
                problems.append(_problem(batch, replies))
            rest = _under_way(client)
            del rest[mark]
            _note(client, rest)
            client.cache.forget_submitted(mark)
        if _under_way(client):
            await client.nap(poll)
    if problems:
        raise UserError("; ".join(problems))
    return kept


async def _look_for_lost(client: Client) -> None:
    """Find the batches that were made by a run that was killed before it could note their id."""
    under_way = _under_way(client)
    lost = {mark for mark, batch_id in under_way.items() if not batch_id}
    if not lost:
        return

    async def find() -> dict[str, str]:
        ids: dict[str, str] = {}
        seen = set()
        async for batch in client.openai.batches.list(limit=100):  # the newest first
            if batch.id in seen:  # a server that has no pages gives the same one for ever
                break
            seen.add(batch.id)
            mark = (batch.metadata or {}).get(_OURS, "")
            if mark in lost and batch.status not in ("failed", "cancelled"):
                ids.setdefault(mark, batch.id)
        return ids

    ids = await _service(client, find, _WHAT)
    _note(client, {mark: i or ids[mark] for mark, i in under_way.items() if i or mark in ids})


async def _collect(client: Client, batch: Any, failed: Counter[str]) -> int:
    """Keep what a finished batch answered; both its files count."""
    kept = 0
    for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
        fetch = partial(client.openai.files.content, file_id)
        content = (await _service(client, fetch, _WHAT)).content
        completions = dict[str, Completion]()
        for text in filter(None, content.split(b"\n")):
            key, answer = _read(client, text)
            if isinstance(answer, Completion):
                completions[key] = answer
            elif answer:
                failed[answer] += 1
        facts = {"base_url": client.settings.where, "answered_at": now()}
        writes = [client.cache.put_submitted(k, c.raw, **facts) for k, c in completions.items()]
        for write in writes:
            write.result()
        for key, completion in completions.items():
            client.count(key, completion)
        kept += len(completions)
    return kept


def _read(client: Client, text: bytes) -> tuple[str, Completion | str]:
    """A line of an output file: its key, and the answer or why there is none.

    "" where no reply is wanted: the cache has one, or nobody has submitted such a request.
    """
    try:
        line = json.loads(text)
        key, response = line["custom_id"], line.get("response") or {}
    except (ValueError, TypeError, KeyError):
        return "", "a line that is no JSON"
    if not client.cache.is_submitted(key) or client.cache.get(key) is not None:
        return key, ""
    body, error = response.get("body"), line.get("error") or {}
    if response.get("status_code") == 200:
        with suppress(ValueError):
            return key, read_completion(client.hide(json.dumps(body)))
    if error.get("code"):
        return key, str(error["code"])
    inner = body.get("error") if isinstance(body, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else "no chat completion"
    return key, f"{response.get('status_code')}: {' '.join(str(message).split())[:100]}"


def _problem(batch: Any, kept: int) -> str:
    errors = [f" ({e.code}: {e.message})" for e in (batch.errors and batch.errors.data) or []]
    return (
        f"batch {batch.id}: {batch.status}{(errors or [''])[0]}: {kept:,} of its replies are "
        "kept; run again to submit the rest"
    )


def _under_way(client: Client) -> dict[str, str]:
    """Batch ids by the hash of the keys they hold; an empty id was never learned."""
    return client.cache.meta(_META + client.settings.model) or {}


def _note(client: Client, under_way: dict[str, str]) -> None:
    client.cache.set_meta(_META + client.settings.model, under_way)
