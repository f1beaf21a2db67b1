"""Exchanges with an OpenAI-compatible server (OpenAI, vLLM, Ollama, llama.cpp), many at once.

Failures that may pass are tried again here and nowhere else (`max_retries=0` in the library);
those that will not, stop the run with one line. The key comes from OPENAI_API_KEY only and is
written nowhere.
"""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Set
from contextlib import suppress
from functools import partial
from typing import Any, Final, Self, TypeVar

from mllmu_med.errors import UserError
from mllmu_med.llm.chat import Completion, read_completion
from mllmu_med.llm.concurrency import Slots
from mllmu_med.llm.errors import Again, Filtered, GaveUp, Interrupted, Unreachable, meaning
from mllmu_med.llm.settings import Settings, Stats, api_key
from mllmu_med.progress import say

Item = TypeVar("Item")
Result = TypeVar("Result")

FIRST_TRIES: Final = 3  # connections to a server that has never answered
LONGEST_BACKOFF: Final = 60.0  # seconds
LONGEST_WAIT: Final = 300.0  # seconds of Retry-After that a run sits through
CONNECT: Final = 10.0  # seconds
#: Connections a pool: it looks at all of them for every call, so that one pool of 64 takes a
#: quarter more CPU than eight of 8.
POOL: Final = 8


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
        self._slots = Slots(settings.concurrency)
        self.contact, self._unreached = False, 0  # whether the server has ever answered
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
        authorities = httpx2.create_ssl_context()
        clients = [
            openai.AsyncOpenAI(
                api_key=self._key,
                base_url=self.settings.url,
                max_retries=0,
                timeout=patience,
                http_client=openai.DefaultAsyncHttpxClient(timeout=patience, verify=authorities),
            )
            for _ in range(-(-self.settings.concurrency // POOL))
        ]
        self.openai = clients[0]
        self._lines = deque(clients * POOL)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None:
                self.halt(Interrupted())
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

    # --- exchanges ---

    async def chat_until_answered(
        self, body: Mapping[str, Any], what: str, timeout: float | None = None
    ) -> Completion:
        """The answer to a chat completion's body. Raises as `Client.ask` does."""
        once = partial(self.chat, body, timeout=timeout)
        return await self.retrying(partial(self.first_alone, once, lambda: self.contact), what)

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
            line = self._lines.pop()
            try:
                # Our body as it is: the typed `create` refuses the parameters of other servers.
                response = await line.post("/chat/completions", cast_to=httpx2.Response, body=body)
            finally:
                self._lines.append(line)
            return response.content

        try:
            raw = await self.send(post, wants, timeout)
        except Filtered as filtered:
            raw = str(filtered).encode()
        latency = time.monotonic() - started
        try:
            return read_completion(self.hide(raw.decode()))._replace(latency=latency)
        except ValueError:
            raise Again("an answer that is no chat completion") from None

    async def retrying(self, send: Callable[[], Awaitable[Result]], what: str) -> Result:
        """Await `send` until it raises no `Again`, `attempts` times at most; then GaveUp."""
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
            while (pause := self._slots.paused_until - time.monotonic()) > 0 and not self._halted:
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
                if isinstance(problem, Again) and problem.throttled:
                    self._slots.throttled(sent_at, problem.retry_after or 0.0)
            else:
                self.contact = True
                self._slots.answered()
                return answer
            finally:
                self.stats.in_flight -= 1
        # The library's error holds the request with its headers: it goes no further than here.
        raise await self._judged(problem)

    async def _judged(self, problem: Exception) -> Exception:
        """The problem, or the reason to stop the run for it."""
        where = self.settings.where
        if isinstance(problem, UserError):
            shown = (self.hide(part) if isinstance(part, str) else part for part in problem.args)
            return self.halt(type(problem)(*shown))
        if isinstance(problem, Again) and (problem.retry_after or 0) > LONGEST_WAIT:
            wait = f"{where}: asks to wait {problem.retry_after:.0f} s"
            return self.halt(UserError(f"{wait}: run again then; what was answered is kept"))
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

    def _wait(self, state: Any) -> float:
        """Seconds before the next try: what the server asked for, else longer each time."""
        again = state.outcome.exception()
        self.stats.why_again = self.hide(str(again))
        backoff: float = self.settings.backoff * 2 ** (state.attempt_number - 1)
        backoff = min(LONGEST_BACKOFF, backoff)
        if again.retry_after is None:
            return random.uniform(0.5, 1.0) * backoff
        return float(again.retry_after) + random.uniform(0, 0.1) * backoff  # not all at once

    async def _sleep(self, seconds: float) -> None:
        self.stats.retried += 1
        await self.nap(seconds)
        self.check()

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
