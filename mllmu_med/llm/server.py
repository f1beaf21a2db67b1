"""Exchanges with an OpenAI-compatible server (OpenAI, vLLM, Ollama, llama.cpp), many at once.

Failures that may pass are tried again here and nowhere else (`max_retries=0` in the library);
those that will not, stop the run with one line. The key comes from OPENAI_API_KEY only and is
written nowhere.
"""

from __future__ import annotations

import asyncio
import math
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Set
from contextlib import suppress
from functools import partial
from typing import Any, Final, Self, TypeVar

from mllmu_med.errors import UserError
from mllmu_med.llm.chat import Completion, read_completion
from mllmu_med.llm.dialect import Dialect
from mllmu_med.llm.errors import (
    Again,
    Declined,
    Filtered,
    GaveUp,
    Interrupted,
    Refused,
    Strange,
    Unreachable,
    meaning,
    meaning_of_200,
)
from mllmu_med.llm.settings import Settings, Stats, api_key
from mllmu_med.progress import say

Item = TypeVar("Item")
Result = TypeVar("Result")

FIRST_TRIES: Final = 3  # where there is little hope: it has never answered, or just failed a call
LONGEST_BACKOFF: Final = 60.0  # seconds
LONGEST_WAIT: Final = 300.0  # seconds of Retry-After that a run sits through
LONGEST_POLL: Final = 5.0  # seconds between two looks at a server that is starting
CONNECT: Final = 10.0  # seconds


class Server:
    """Asks one server. An async context manager, for the main thread.

    While it is open, the first Ctrl-C lets the calls in flight finish, the second drops them;
    closing it then raises KeyboardInterrupt.

        async with Server(Settings("gpt-4o", concurrency=32)) as server:
            await run_all(server, answer_one, questions)  # each by `server.chat_until_answered`
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stats = Stats(price=settings.price)
        self._halted: Exception | None = None
        self._halting = asyncio.Event()
        self._interrupts = 0
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._paused_until = 0.0  # as a 429 asked for all
        self.dialect = Dialect(settings.model)
        self.contact, self._unreached = False, 0  # whether the server has ever answered
        self.answered, self._gave_up = False, False  # ... with a completion; the last call failed
        self._down_since, self._down_why = math.inf, ""  # while it is waited for
        self._first = asyncio.Lock()
        self._key = ""
        self._calls: dict[str, asyncio.Task[Any]] = {}  # not to be lost when nobody waits for them

    async def __aenter__(self) -> Self:
        if not self.settings.offline:
            self._open()
        self._work = asyncio.current_task()
        self._signals = threading.current_thread() is threading.main_thread()
        if self._signals:
            self._old_handler = signal.getsignal(signal.SIGINT)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        return self

    def _open(self) -> None:
        import httpx2
        import openai

        self._key = api_key(self.settings)
        connect = min(CONNECT, self.settings.timeout / 2)
        patience = httpx2.Timeout(self.settings.timeout, connect=connect, pool=None)
        self.openai = openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self.settings.url,
            max_retries=0,
            timeout=patience,
            http_client=openai.DefaultAsyncHttpxClient(timeout=patience),
        )

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None:
                self.halt(Interrupted())
            await asyncio.gather(*self._calls.values(), return_exceptions=True)
            if not self.settings.offline:
                await self.openai.close()
        finally:
            if self._signals:
                asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
                signal.signal(signal.SIGINT, self._old_handler)
            if self._interrupts:
                raise KeyboardInterrupt from None

    # --- exchanges ---

    async def chat_until_answered(
        self, body: Mapping[str, Any], what: str, timeout: float | None = None
    ) -> Completion:
        """The answer to a chat completion's body, without the parameters that are refused.

        Raises as `Client.ask` does, and Declined: this body is refused; others may not be.
        """

        async def once() -> Completion:
            while True:
                fitted = self.dialect.fit(body)
                try:
                    return await self.chat(fitted, self.dialect.wants(fitted), timeout)
                except Refused as refused:
                    self.dialect.go_without(str(refused))

        return await self.retrying(partial(self.first_alone, once, lambda: self.answered), what)

    async def to_its_end(self, key: str, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Do some work, once at a time, which goes on when whoever waits for it has left."""
        call: asyncio.Task[Result] | None = self._calls.get(key)
        if call is None:
            self.check()
            call = self._calls[key] = asyncio.create_task(work())
            call.add_done_callback(partial(self._ended, key))
        return await asyncio.shield(call)

    def _ended(self, key: str, call: asyncio.Task[Any]) -> None:
        del self._calls[key]
        if not call.cancelled():
            call.exception()  # seen, even if nobody waits for it any more

    async def first_alone(
        self, call: Callable[[], Awaitable[Result]], settled: Callable[[], bool]
    ) -> Result:
        """Do a call, while others wait until it is settled what the server takes."""
        if not settled():
            async with self._first:
                if not settled():
                    return await call()
        return await call()

    async def chat(
        self, body: Mapping[str, Any], wants: Set[str] = frozenset(), timeout: float | None = None
    ) -> Completion:
        """One try; a filter's rejection is an answer. Raises what else a failure means."""
        import httpx2

        started = 0.0

        async def post() -> bytes:
            nonlocal started
            started = time.monotonic()
            # Our body as it is: the typed `create` refuses the parameters of other servers.
            response = await self.openai.post(
                "/chat/completions", cast_to=httpx2.Response, body=body
            )
            return response.content

        try:
            raw = await self.send(post, wants, timeout)
        except Filtered as filtered:
            raw = str(filtered).encode()
        latency = time.monotonic() - started
        with suppress(ValueError):
            completion = read_completion(self.hide(raw.decode()))
            if not completion.has_error:
                self.answered, self._gave_up, self._down_since = True, False, math.inf
                return completion._replace(latency=latency)
        problem = meaning_of_200(raw, wants, self.settings.where, self.settings.model)
        if isinstance(problem, Filtered):
            return read_completion(self.hide(str(problem)))
        if isinstance(problem, Strange) and self.answered:  # some gateway's page, which may pass
            problem = Again(problem.args[1])
        raise await self.judged(problem, started)

    async def retrying(
        self, send: Callable[[], Awaitable[Result]], what: str, attempts: int = 0
    ) -> Result:
        """Await `send` until it raises no `Again`, `attempts` times at most; then GaveUp.

        While a server starts, a failure is not one of them, for as long as `patience`.
        """
        import tenacity

        most = attempts or self.settings.attempts
        if self._gave_up:
            most = min(most, FIRST_TRIES)
        failed = waited = 0

        def pause(state: Any) -> float:
            nonlocal failed, waited
            again: Again = state.outcome.exception()
            self.stats.why_again = self.hide(str(again))
            failed, waited = failed + again.counts, waited + (not again.counts)
            return self._wait(again, failed if again.counts else waited)

        only = tenacity.retry_if_exception_type(Again)
        often: Any = {"retry": only, "wait": pause, "stop": lambda _: failed >= most}
        try:
            return await tenacity.AsyncRetrying(sleep=self._sleep, reraise=True, **often)(send)
        except Again:
            self._gave_up = True
            last = f"failed {most} times, at last with: {self.stats.why_again}"
            where = f"{self.settings.where}: {what}: {last}"
            well = "run again when the server is well; what was answered is kept"
            raise GaveUp(f"{where}: {well}", last) from None

    async def _sleep(self, seconds: float) -> None:
        self.stats.retried += 1
        await self.nap(seconds)
        self.check()

    async def send(
        self,
        post: Callable[[], Awaitable[Result]],
        wants: Set[str] = frozenset(),
        timeout: float | None = None,
    ) -> Result:
        """One exchange with the server, as soon as there is a slot; raises what a failure means."""
        import httpx2
        import openai

        where, model, seconds = self.settings.where, self.settings.model, self.settings.timeout
        async with self._slots:
            while (pause := self._paused_until - time.monotonic()) > 0 and not self._halted:
                await self.nap(pause)
            self.check()
            self.stats.sent += 1
            self.stats.in_flight += 1
            sent_at = time.monotonic()
            try:
                async with asyncio.timeout(timeout or seconds):
                    answer = await post()
            except (openai.OpenAIError, httpx2.HTTPError, TimeoutError) as error:
                patience = f"timed out after {seconds:g} s; see --timeout"
                if timeout and isinstance(error, TimeoutError):  # ours, not the connection's
                    patience = f"timed out after {timeout:g} s"
                problem = meaning(error, wants, where, model, patience)
                self.contact = self.contact or isinstance(error, openai.APIStatusError)
            else:
                self.contact = True
                return answer
            finally:
                self.stats.in_flight -= 1
        # The library's error holds the request with its headers: it goes no further than here.
        raise await self.judged(problem, sent_at)

    async def judged(self, problem: Exception, sent_at: float) -> Exception:
        """The problem, or the reason to stop the run for it."""
        where, patience = self.settings.where, self.settings.patience
        if isinstance(problem, UserError):
            shown = type(problem)(*map(self.hide, problem.args))
            return shown if isinstance(shown, Declined) else self.halt(shown)
        if not isinstance(problem, Again):
            return problem
        if problem.throttled:
            until = time.monotonic() + (problem.retry_after or 0.0)
            self._paused_until = max(self._paused_until, until)
        if (problem.retry_after or 0) > LONGEST_WAIT:
            wait = f"{where}: asks to wait {problem.retry_after:.0f} s"
            return self.halt(UserError(f"{wait}: run again then; what was answered is kept"))
        down = problem.starting and (isinstance(problem, Unreachable) or not self.answered)
        if down and patience:
            now, reason = time.monotonic(), self.hide(f"{where}: {problem}")
            self._down_since = min(self._down_since, now)
            if now >= self._down_since + patience:
                waited = f"{reason}: waited {patience:g} s for it to start: is the server up?"
                return self.halt(UserError(waited))
            if reason != self._down_why:
                self._down_why = reason
                say(f"  {reason}: waiting for it to start, up to {patience:g} s (--patience)")
            problem.counts = False
            return problem
        if isinstance(problem, Unreachable) and not self.contact:
            self._unreached += 1
            if self._unreached >= FIRST_TRIES:
                return self.halt(UserError(f"{where}: {problem}: is the server up?"))
            # Others wait for the first call to get through: the pause is theirs, too.
            await self.nap(self.settings.backoff)
        return problem

    def hide(self, text: str) -> str:
        """The text without the key, which a server may send back. A short one is a placeholder."""
        return text.replace(self._key, "[key]") if len(self._key) >= 12 else text

    # --- waiting and stopping ---

    def _wait(self, again: Again, tries: int) -> float:
        """Seconds before the next try: what the server asked for, else longer each time."""
        longest = LONGEST_BACKOFF if again.counts else LONGEST_POLL
        backoff = min(longest, self.settings.backoff * 2.0 ** (tries - 1))
        if again.retry_after is None:
            return random.uniform(0.5, 1.0) * backoff
        return again.retry_after + random.uniform(0, 0.1) * backoff  # not all at once

    async def nap(self, seconds: float) -> None:
        """Sleep, but not past a stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._halting.wait(), seconds)

    def check(self) -> None:
        """Raise what stopped the run, if anything has."""
        if self._halted is not None:
            # One exception raised in many tasks would collect all their tracebacks.
            raise type(self._halted)(*self._halted.args)

    def halt(self, reason: Exception) -> Exception:
        """Send nothing new from here on; whoever asks is told the (first) reason."""
        self._halted = self._halted or reason
        self._halting.set()
        return reason

    def _interrupt(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            kept = f"{self.stats.in_flight} calls in flight will be kept"
            say(f"stopping: {kept}; Ctrl-C again drops them")
            self.halt(Interrupted())
            return
        for task in filter(None, (self._work, *self._calls.values())):
            task.cancel()
