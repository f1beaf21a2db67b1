"""Ask a model's server through the reply cache: nothing is asked twice.

    with ReplyCache(work / "requests.sqlite") as cache:
        async with Client(Settings("gpt-4o", concurrency=32), cache) as client:
            texts = await run_all(client, write_one, candidates)

A reply is committed to the cache before `ask` returns it; the same request is then answered from
there, in this run and in any later one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from mllmu_med.errors import UserError
from mllmu_med.llm.chat import STRUCTURED, Completion, Reply, Request
from mllmu_med.llm.errors import Declined, Refused
from mllmu_med.llm.reply_cache import ReplyCache
from mllmu_med.llm.server import Server
from mllmu_med.llm.settings import Settings, Totals, limit_reached


class Client(Server):
    """Asks one model through one cache.

    The first call goes alone: it shows whether the server is there, takes the key, has the model
    and which parameters it refuses. After a Ctrl-C, or when whoever waits has left, the replies of
    the calls in flight are still kept.
    """

    def __init__(self, settings: Settings, cache: ReplyCache) -> None:
        super().__init__(settings)
        self.cache = cache
        self._active = 0  # calls past the limits, not yet kept
        self._changed = asyncio.Event()
        self._granted: set[str] = set()  # parameters that the server was seen to take
        self._before = cache.totals(settings.model)
        self._counted: set[str] = set()  # keys of the replies that `stats` tells of
        #: Every reply handed out: the key under which the cache holds it, and whose it is.
        self.used: dict[str, str] = {}

    async def ask(self, request: Request) -> Reply:
        """The reply to a request: from the cache, or asked for and kept. Bad ones are replies too.

        Raises:
            UserError: the run cannot go on (a limit, the key, the server); offline, a reply that
                the cache does not hold.
            GaveUp: this call failed `attempts` times; others may still work.
            Interrupted: Ctrl-C was pressed before this call was sent.
        """
        held = self.held(request)
        if held is not None:
            key, reply = held
            self.stats.from_cache += key not in self._counted
            self._counted.add(key)
            self.used[key] = reply.model
            return reply
        if self.settings.offline:
            raise UserError(
                f"{request}: the ledger {self.cache.path} ({len(self.cache):,} replies) holds no "
                f"reply of {request.model} to it: run without --offline, or load the ledger that "
                "does"
            )
        # Whoever waits may be cancelled; the call is paid for and must be kept.
        return await self.to_its_end(request.key("asked"), partial(self._answer, request))

    def held(self, request: Request) -> tuple[str, Reply] | None:
        """The cache's reply to a request and its key, in the strictest form there is, or None."""
        if request.model != self.settings.model:
            raise ValueError(f"a request to {request.model}, a client of {self.settings.model}")
        modes = STRUCTURED if request.schema is not None else STRUCTURED[-1:]  # free text has one
        for key in map(request.key, modes):
            reply = self.cache.get(key)
            if reply is not None:
                return key, reply
        return None

    def spent(self) -> Totals:
        """What was asked of this model with this cache, in this run and before."""
        return self._before + self.stats

    def count(self, key: str, completion: Completion) -> None:
        """Note in `stats` that a reply was paid for and is kept under a key."""
        self._counted.add(key)
        self.stats.replies += 1
        self.stats.prompt_tokens += completion.reply.prompt_tokens
        self.stats.completion_tokens += completion.reply.completion_tokens
        self.stats.without_usage += not completion.has_usage

    # --- one call ---

    async def _answer(self, request: Request) -> Reply:
        await self._admit()
        try:
            asked_at, tries = now(), 0
            once, settled = partial(self._try, request), partial(self._settled, request)

            async def exchange() -> tuple[Completion, str, list[str]]:
                """One answer, after as many refusals of parameters as it takes."""
                nonlocal tries
                tries += 1
                while True:
                    with suppress(Refused):
                        return await self.first_alone(once, settled)

            completion, mode, adapted = await self.retrying(exchange, str(request))
            kept = self.cache.put(
                request,
                mode,
                completion.raw,
                adapted=adapted,
                base_url=self.settings.where,
                latency=round(completion.latency, 3),
                retries=tries - 1,
                asked_at=asked_at,
                answered_at=now(),
            )
            try:
                # A reply that nobody waits for any more is kept, too: it has been paid for.
                await asyncio.shield(asyncio.wrap_future(kept))
            except UserError as error:
                raise self.halt(error) from None
            self.count(request.key(mode), completion)
            self.used[request.key(mode)] = completion.reply.model
            return completion.reply
        finally:
            self._active -= 1
            self._changed.set()

    async def _admit(self) -> None:
        """Wait until the limits allow one more call. The last ones in flight may show that not."""
        while (limit := limit_reached(self.settings, self.spent(), self._active)) is not None:
            self.check()
            if not self._active:
                raise self.halt(UserError(limit))
            self._changed.clear()
            await self._changed.wait()
        self.check()
        self._active += 1

    async def _try(self, request: Request) -> tuple[Completion, str, list[str]]:
        """Raises Refused: the server does not take a parameter, and the next try has none."""
        body, mode, adapted = self.body(request)
        wants = self._wants(body, mode)
        try:
            completion = await self.chat(body, wants)
        except Refused as refused:
            self._granted.discard(str(refused))
            self.dialect.go_without(str(refused))
            raise
        except Declined as declined:
            raise self.halt(declined) from None
        self._granted |= wants
        return completion, mode, adapted

    def _settled(self, request: Request) -> bool:
        body, mode, _ = self.body(request)
        return self.contact and self._wants(body, mode) <= self._granted

    # --- what the server takes ---

    def body(self, request: Request) -> tuple[dict[str, Any], str, list[str]]:
        """What is sent for a request, how its form is asked for, what the server refused of it."""
        whole = {"model": request.model, "messages": list(request.messages), **request.sampling}
        body = self.dialect.fit(whole)
        adapted = sorted(self.dialect.refused & {*request.sampling, request.messages[0]["role"]})
        mode = "none"
        if request.schema is not None:
            mode = next(mode for mode in STRUCTURED if mode not in self.dialect.refused)
        if mode == "json_schema":
            schema = {"strict": True, **(request.schema or {})}
            body["response_format"] = {"type": mode, "json_schema": schema}
        elif mode == "json_object":
            body["response_format"] = {"type": mode}
        return body, mode, adapted

    def _wants(self, body: Mapping[str, Any], mode: str) -> frozenset[str]:
        return self.dialect.wants(body) | frozenset({mode} - {"none"})


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
