"""Ask an OpenAI-compatible server (OpenAI, vLLM, Ollama, llama.cpp), and ask nothing twice.

    with RequestLedger(work / "requests.sqlite") as ledger:
        async with Client(Settings("gpt-4o", concurrency=32), ledger) as client:
            texts = await run_all(client, write_one, candidates)

A reply is committed to the ledger before `ask` returns it; the same request is then answered from
there, in this run and in any later one. Failures that may pass are tried again here and nowhere
else (`max_retries=0` in the client); those that will not, stop the run with one line. The key comes
from OPENAI_API_KEY only and is written nowhere.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Set
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from mllmu_med.errors import UserError
from mllmu_med.llm.errors import (
    Again,
    Filtered,
    GaveUp,
    Interrupted,
    Refused,
    Unreachable,
    meaning,
)
from mllmu_med.llm.reply_cache import STRUCTURED, Reply, Request, RequestLedger, Totals, read_reply
from mllmu_med.llm.settings import Price, Settings, Stats, api_key, limit_reached
from mllmu_med.llm.slots import Slots
from mllmu_med.progress import say

__all__ = [
    "Client",
    "GaveUp",
    "Interrupted",
    "Price",
    "Reply",
    "Request",
    "RequestLedger",
    "Settings",
    "Stats",
    "run_all",
]

Item = TypeVar("Item")
Result = TypeVar("Result")

FIRST_TRIES: Final = 3  # connections to a server that has never answered
LONGEST_BACKOFF: Final = 60.0  # seconds
LONGEST_WAIT: Final = 300.0  # seconds of Retry-After that a run sits through
CONNECT: Final = 10.0  # seconds
#: Connections a pool: it looks at all of them for every call, so that one pool of 64 takes a
#: quarter more CPU than eight of 8.
POOL: Final = 8
SERVICE: Final = 3600.0  # seconds for a file of a batch: 200 MB on a slow line
DROPPED: Final = ("temperature", "seed")  # what a reply can be had without


class _Answer(NamedTuple):
    raw: str
    structured: str
    adapted: list[str]
    latency: float  # seconds


class Client:
    """Asks one model through one ledger. An async context manager, for the main thread.

    The first call goes alone: it shows whether the server is there, takes the key, has the model
    and which parameters it refuses. What it refuses is kept in the ledger.

    While it is open, the first Ctrl-C lets the calls in flight finish and keeps their replies, the
    second drops them; closing the client then raises KeyboardInterrupt.
    """

    def __init__(self, settings: Settings, ledger: RequestLedger) -> None:
        self.settings, self.ledger = settings, ledger
        self.stats = Stats(settings.price)
        self.aborted = asyncio.Event()  # by a second Ctrl-C
        self._halted: Exception | None = None
        self._halting = asyncio.Event()
        self._interrupts = 0
        self._slots = Slots(settings.concurrency)
        self._calls: dict[str, asyncio.Task[Any]] = {}
        self._services = 0  # calls of `service`, ended ones too
        self._active = 0  # calls past the limits, not yet kept
        self._changed = asyncio.Event()
        self._first = asyncio.Lock()
        self._contact, self._unreached = False, 0
        self._granted: set[str] = set()  # parameters that the server was seen to take
        self._refused: set[str] = set(ledger.dialect(settings.model).get("refused", ()))
        self._before = ledger.totals(settings.model)
        self._key = ""
        self._counted: set[str] = set()  # keys of the replies that `stats` tells of
        #: Every reply handed out: the key under which the ledger holds it, and whose it is.
        self.used: dict[str, str] = {}

    async def __aenter__(self) -> Client:
        if not self.settings.offline:
            import httpx2
            import openai

            self._key = api_key(self.settings)
            connect = min(CONNECT, self.settings.timeout / 2)
            patience = httpx2.Timeout(self.settings.timeout, connect=connect, pool=None)
            authorities = httpx2.create_ssl_context()
            clients = [
                openai.AsyncOpenAI(
                    api_key=self._key,
                    base_url=self.settings.url,
                    max_retries=0,
                    timeout=patience,
                    http_client=openai.DefaultAsyncHttpxClient(
                        timeout=patience, verify=authorities
                    ),
                )
                for _ in range(-(-self.settings.concurrency // POOL))
            ]
            self.openai = clients[0]
            self._lines = deque(clients * POOL)
        self._signals = threading.current_thread() is threading.main_thread()
        if self._signals:
            self._old_handler = signal.getsignal(signal.SIGINT)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None:
                self._halt(Interrupted())
            if self._calls:
                await asyncio.wait(self._calls.values())
            if not self.settings.offline:
                for client in set(self._lines):
                    await client.close()
        finally:
            if self._signals:
                asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
                signal.signal(signal.SIGINT, self._old_handler)
        if self._interrupts:
            raise KeyboardInterrupt from None

    async def ask(self, request: Request) -> Reply:
        """The reply to a request: from the ledger, or asked for and kept. Bad ones are replies too.

        Raises:
            UserError: the run cannot go on (a limit, the key, the server); offline, a reply that
                the ledger does not hold.
            GaveUp: this call failed `attempts` times; others may still work.
            Interrupted: Ctrl-C was pressed before this call was sent.
        """
        found = self._find(request)
        if found is not None:
            key, reply = found
            self.stats.from_ledger += key not in self._counted
            self._counted.add(key)
            self.used[key] = reply.model
            return reply
        if self.settings.offline:
            raise UserError(
                f"{request}: the ledger {self.ledger.path} ({len(self.ledger):,} replies) holds no "
                f"reply of {request.model} to it: run without --offline, or load the ledger that "
                "does"
            )
        identity = request.key("asked")
        call: asyncio.Task[Reply] | None = self._calls.get(identity)
        if call is None:
            self.check()
            call = self._start(identity, self._answer(request))
        return await self._ended(call)

    def _start(self, identity: str, call: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """A task that a second Ctrl-C cancels, and nothing else."""
        task = asyncio.create_task(call)
        self._calls[identity] = task

        def end(done: asyncio.Task[Result]) -> None:
            del self._calls[identity]
            if not done.cancelled():
                done.exception()  # seen, even when nobody waits for it any more

        task.add_done_callback(end)
        return task

    async def _ended(self, call: asyncio.Task[Result]) -> Result:
        try:
            # Whoever waits may be cancelled; the call is paid for and must be kept.
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            if call.cancelled():
                raise Interrupted from None
            raise

    def held(self, request: Request) -> Reply | None:
        """The ledger's reply to a request, in the strictest form there is; None when none."""
        found = self._find(request)
        return found[1] if found else None

    def _find(self, request: Request) -> tuple[str, Reply] | None:
        if request.model != self.settings.model:
            raise ValueError(f"a request to {request.model}, a client of {self.settings.model}")
        modes: tuple[str, ...] = STRUCTURED
        if request.schema is None or self.settings.structured != "auto":
            modes = (self._mode(request),)
        for mode in modes:
            key = request.key(mode)
            reply = self.ledger.get(key)
            if reply is not None:
                return key, reply
        return None

    def missing(self, requests: Iterable[Request]) -> list[Request]:
        """The requests the ledger holds no reply to, each once: what a run would send."""
        found = {request.key("asked"): request for request in requests if not self.held(request)}
        return list(found.values())

    def body(self, request: Request) -> tuple[dict[str, Any], str, list[str]]:
        """What is sent for a request, how its form is asked for, what was adapted to the server."""
        body = {"model": request.model, "messages": list(request.messages), **request.sampling}
        adapted = sorted(self._refused & set(request.sampling))
        for name in adapted:
            value = body.pop(name)
            if name == "max_completion_tokens":
                body["max_tokens"] = value
        mode = self._mode(request)
        if mode == "json_schema":
            schema = {"strict": True, **(request.schema or {})}
            body["response_format"] = {"type": mode, "json_schema": schema}
        elif mode == "json_object":
            body["response_format"] = {"type": mode}
        return body, mode, adapted

    def check(self) -> None:
        """Raise what stopped the run, if anything has."""
        if self._halted is not None:
            # One exception raised in many tasks would collect all their tracebacks.
            raise type(self._halted)(*self._halted.args)

    async def nap(self, seconds: float) -> None:
        """Sleep, but not past a stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._halting.wait(), seconds)

    async def retrying(self, send: Callable[[], Awaitable[Result]], what: str) -> Result:
        """Await `send()` until it raises no `Again`, `attempts` times at most; then GaveUp."""
        import tenacity

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Again),
            wait=self._wait,
            stop=tenacity.stop_after_attempt(self.settings.attempts),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(send)
        except Again as again:
            reason = self.hide(str(again))
            raise GaveUp(
                f"{self.settings.where}: {what}: failed {self.settings.attempts} times, at last "
                f"with: {reason}: run again when the server is well; what was answered is kept"
            ) from None

    async def service(self, call: Callable[[], Awaitable[Result]], what: str) -> Result:
        """Anything but a chat completion (files, batches), with the same retries and meanings."""

        async def once() -> Result:
            try:
                return await self.send(call, timeout=SERVICE)
            except Unreachable as unreachable:
                await self._no_connection(str(unreachable))

        self._services += 1
        return await self._ended(self._start(f"{what} {self._services}", self.retrying(once, what)))

    async def send(
        self,
        post: Callable[[], Awaitable[Result]],
        wants: Set[str] = frozenset(),
        timeout: float | None = None,
    ) -> Result:
        """One exchange with the server, as soon as there is a slot; raises what a failure means."""
        import httpx2
        import openai

        loop = asyncio.get_running_loop()
        await self._slots.take()
        try:
            self.check()
            self.stats.sent += 1
            self.stats.in_flight += 1
            sent_at = loop.time()
            try:
                async with asyncio.timeout(timeout or self.settings.timeout):
                    answer = await post()
            except (openai.OpenAIError, httpx2.HTTPError, TimeoutError) as error:
                patience = f"timed out after {self.settings.timeout:g} s; see --timeout"
                if timeout and isinstance(error, TimeoutError):  # ours, not the connection's
                    patience = f"timed out after {timeout:g} s"
                where, model = self.settings.where, self.settings.model
                problem = meaning(error, wants, where, model, patience)
                self._contact = self._contact or isinstance(error, openai.APIStatusError)
                self._note(problem, sent_at)
            else:
                self._contact = True
                self._slots.answered()
                return answer
            finally:
                self.stats.in_flight -= 1
        finally:
            self._slots.give()
        if isinstance(problem, UserError):
            raise self._halt(UserError(self.hide(str(problem))))
        # The library's error holds the request with its headers: it goes no further than here.
        raise problem

    def hide(self, text: str) -> str:
        """The text without the key, which a server may send back. A short one is a placeholder."""
        return text.replace(self._key, "[key]") if len(self._key) >= 12 else text

    # --- one call ---

    async def _answer(self, request: Request) -> Reply:
        await self._admit()
        try:
            asked_at, tries = _now(), 0

            async def exchange() -> _Answer:
                nonlocal tries
                tries += 1
                return await self._exchange(request)

            answer = await self.retrying(exchange, str(request))
            kept = self.ledger.put(
                request,
                answer.structured,
                answer.raw,
                adapted=answer.adapted,
                base_url=self.settings.where,
                latency=round(answer.latency, 3),
                retries=tries - 1,
                asked_at=asked_at,
                answered_at=_now(),
            )
            try:
                await asyncio.wrap_future(kept)
            except UserError as error:
                raise self._halt(error) from None
            key = request.key(answer.structured)
            reply = self.count(key, answer.raw)
            self.used[key] = reply.model
            return reply
        finally:
            self._active -= 1
            self._changed.set()

    def count(self, key: str, raw: str) -> Reply:
        """Note in `stats` that a reply was paid for and is kept under a key; the reply."""
        read = read_reply(json.loads(raw))
        if read is None:
            raise ValueError("not a chat completion")
        reply, known = read
        self._counted.add(key)
        self.stats.replies += 1
        self.stats.prompt_tokens += reply.prompt_tokens
        self.stats.completion_tokens += reply.completion_tokens
        self.stats.without_usage += not known
        return reply

    async def _exchange(self, request: Request) -> _Answer:
        """One answered exchange, after as many refusals of parameters as it takes."""
        while True:
            wants = self._wants(request)
            if self._contact and wants <= self._granted:
                answer = await self._try(request, wants)
            else:
                async with self._first:
                    wants = self._wants(request)
                    if self._contact and wants <= self._granted:
                        continue
                    answer = await self._try(request, wants)
            if answer is not None:
                return answer

    async def _try(self, request: Request, wants: Set[str]) -> _Answer | None:
        """None: the server refused a parameter, and the next try goes without it."""
        import httpx2

        loop = asyncio.get_running_loop()
        body, mode, adapted = self.body(request)
        started = loop.time()

        async def post() -> httpx2.Response:
            nonlocal started
            started = loop.time()
            line = self._lines.pop()
            try:
                # Our body as it is: the typed `create` refuses the parameters of other servers.
                return await line.post("/chat/completions", cast_to=httpx2.Response, body=body)
            finally:
                self._lines.append(line)

        try:
            response = await self.send(post, wants)
            raw = response.content
        except Refused as refused:
            self._go_without(str(refused))
            return None
        except Filtered as filtered:
            raw = str(filtered).encode()
        except Unreachable as unreachable:
            await self._no_connection(str(unreachable))
        if not wants <= self._granted:
            self._granted |= wants
            self._record()
        try:
            text = self.hide(raw.decode())
            whole = read_reply(json.loads(text)) is not None
        except (ValueError, RecursionError):
            whole = False
        if not whole:
            raise Again("an answer that is no chat completion")
        return _Answer(text, mode, adapted, loop.time() - started)

    def _mode(self, request: Request) -> str:
        if request.schema is None:
            return "none"
        if self.settings.structured != "auto":
            return self.settings.structured
        return next(mode for mode in STRUCTURED if mode not in self._refused)

    def _wants(self, request: Request) -> frozenset[str]:
        names = {*DROPPED, "max_completion_tokens"} & set(request.sampling)
        return frozenset({*names, self._mode(request)} - self._refused - {"none"})

    def _go_without(self, name: str) -> None:
        if name in STRUCTURED and self.settings.structured != "auto":
            raise self._halt(
                UserError(f"{self.settings.where}: does not take {name}: ask with structured=auto")
            )
        if name not in self._refused:
            self._refused.add(name)
            self._granted.discard(name)
            self._record()
            instead = {"max_completion_tokens": ": max_tokens instead"}.get(name, ": without it")
            say(f"  {self.settings.model}: the server does not take {name}{instead}")

    def _record(self) -> None:
        modes = [mode for mode in STRUCTURED if mode in self._granted]
        dialect = {"refused": sorted(self._refused), "structured": modes[0] if modes else "none"}
        self.ledger.set_dialect(self.settings.model, dialect)

    async def _no_connection(self, reason: str) -> NoReturn:
        if not self._contact:
            self._unreached += 1
            if self._unreached >= FIRST_TRIES:
                where = self.settings.where
                raise self._halt(
                    UserError(f"{where}: cannot be reached ({reason}): is the server up?")
                )
            # Others wait for the first call to get through: the pause is theirs, too.
            await self.nap(self.settings.backoff)
        raise Again(f"cannot be reached ({reason})")

    # --- waiting ---

    def _note(self, problem: Exception, sent_at: float) -> None:
        if isinstance(problem, Again):
            if (problem.retry_after or 0) > LONGEST_WAIT:
                raise self._halt(
                    UserError(
                        f"{self.settings.where}: asks to wait {problem.retry_after:.0f} s: run "
                        "again then; what was answered is kept"
                    )
                ) from None
            if problem.throttled:
                self._slots.throttled(sent_at, problem.retry_after or 0.0)

    def _wait(self, state: Any) -> float:
        """Seconds before the next try: what the server asked for, else longer each time."""
        again = state.outcome.exception()
        self.stats.why_again = self.hide(str(again))
        backoff: float = min(
            LONGEST_BACKOFF, self.settings.backoff * 2 ** (state.attempt_number - 1)
        )
        if again.retry_after is not None:
            # Not all at the same moment.
            return float(again.retry_after) + random.uniform(0, 0.1) * backoff
        return random.uniform(0.5, 1.0) * backoff

    async def _sleep(self, seconds: float) -> None:
        self.stats.retried += 1
        await self.nap(seconds)
        self.check()

    # --- stopping ---

    async def _admit(self) -> None:
        """Wait until the limits allow one more call. The last ones in flight may show that not."""
        while (limit := limit_reached(self.settings, self.spent(), self._active)) is not None:
            self.check()
            if not self._active:
                raise self._halt(UserError(limit))
            self._changed.clear()
            await self._changed.wait()
        self.check()
        self._active += 1

    def spent(self) -> Totals:
        """What was asked of this model with this ledger, in this run and before."""
        stats = self.stats
        now = (
            stats.replies,
            stats.prompt_tokens,
            stats.completion_tokens,
            stats.without_usage,
        )
        return Totals(*(a + b for a, b in zip(self._before, now, strict=True)))

    def _halt(self, reason: Exception) -> Exception:
        """Send nothing new from here on; whoever asks is told the (first) reason."""
        if self._halted is None:
            self._halted = reason
            self._halting.set()
            self._changed.set()
            self._slots.let_all_go()
        return reason

    def _interrupt(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            say(
                f"stopping: {self.stats.in_flight} calls in flight will be kept; "
                "Ctrl-C again drops them"
            )
            self._halt(Interrupted())
            return
        self.aborted.set()
        for call in self._calls.values():
            call.cancel()


async def run_all(
    client: Client,
    work: Callable[[Item], Awaitable[Result]],
    items: Iterable[Item],
    on_done: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """`[await work(item) for item in items]`, many at once; `on_done` as each ends.

    Items are drawn as they are needed: there are never more tasks than twice the calls in flight.
    The first error ends the rest (their calls in flight are still kept) and is raised.
    """
    todo = enumerate(items)
    results: dict[int, Result] = {}

    async def worker() -> None:
        for number, item in todo:
            client.check()
            results[number] = await work(item)
            on_done(results[number])
            await asyncio.sleep(0)  # answers from the ledger never wait: let Ctrl-C in

    # Twice as many as calls in flight: the server is not idle while a reply is checked and kept.
    workers = [asyncio.create_task(worker()) for _ in range(2 * client.settings.concurrency)]
    aborted: asyncio.Task[Any] = asyncio.create_task(client.aborted.wait())
    try:
        waiting: set[asyncio.Task[Any]] = set(workers)
        while waiting and not aborted.done():
            both: set[asyncio.Task[Any]] = {*waiting, aborted}
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            waiting = waiting - done
            for task in (task for task in workers if task in done):
                error = task.exception()
                # After a Ctrl-C the others go on until their calls in flight are kept.
                if error is not None and not isinstance(error, Interrupted):
                    raise error
        client.check()
    finally:
        for task in (*workers, aborted):
            task.cancel()
        await asyncio.gather(*workers, aborted, return_exceptions=True)
    return [results[number] for number in range(len(results))]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
