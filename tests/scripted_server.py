"""An OpenAI-compatible server on the loopback that does what a script says and logs what it saw.

    with ScriptedServer(reply=lambda body: "hi", fault=shares({"500": 0.1}), latency=0.05) as srv:
        ...                       # base URL `srv.url`, key `srv.key`
    srv.asked()                   # the requests that came, srv.answered() those fully answered

    python tests/scripted_server.py --latency 0.5 --fault 429:0.1=0.1 --log log.jsonl   # prints URL

`reply(body)` gives the text to a request (its parsed JSON body); default: an echo of its prompt.
`fault(call)` gives the name of what goes wrong, or None. A `Call` has `body`, `prompt` (the last
text in it), `number` (0, 1, ... by arrival) and `again` (how often this very body came before).

    429, 429:SECONDS, 429:date, quota      throttled (with Retry-After; `date` is one second ahead)
    400, 401, 403, 404, 408, 500, 503, 503:SECONDS, STATUS ...
    400:NAME                               refuses a parameter, e.g. 400:response_format
    hang, trickle, cut, drop               no answer; one that never ends; cut in the middle of the
                                           body; closed at once
    garbage, html                          200 with a broken JSON, with something else
    length, content_filter, refusal, empty, blank, filtered_prompt, no_usage
    echo_key, echo_key_401                 a reply, a refusal that quotes the key

A fault may also be an `Answer` of the script's own. `srv.models` is the answer to /v1/models: by
default a list of the one model, None for a server without that route.

Misuse (an unknown path, a missing or wrong key, a malformed body) is answered with 400 and raises
AssertionError when the server closes. Log lines are JSON, flushed one by one: `event` (asked,
answered), `number`, `prompt`, `sha256` (of the body), `again`, `fault`, `form`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

KEY = "sk-scripted-0123456789abcdef"
MODEL = "scripted-1"


class Call(NamedTuple):
    body: dict[str, Any]
    prompt: str
    number: int
    again: int


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False
    trickle: bool = False


Fault = Callable[[Call], str | Answer | None]


def shares(faults: dict[str, float], most: int = 3) -> Fault:
    """Each fault with its share of the calls, the same in every run; a body fails `most` times."""

    def fault(call: Call) -> str | None:
        if call.again >= most:
            return None
        text = f"{call.prompt}|{call.again}"
        place = int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12
        for name, share in faults.items():
            place -= share
            if place < 0:
                return name
        return None

    return fault


def refusing(*names: str) -> Fault:
    """400 to every request that has one of these: parameters, or `json_schema`, `json_object`."""

    def fault(call: Call) -> str | None:
        form = call.body.get("response_format", {}).get("type")
        return next((f"400:{name}" for name in names if name in call.body or name == form), None)

    return fault


def prompt_of(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return str(next(part["text"] for part in reversed(content) if part["type"] == "text"))


def completion(text: str, **changes: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": MODEL + "-0"}
    return {**whole, "choices": [choice], "usage": usage, **changes}


class ScriptedServer:
    """See the module's docstring. `port` 0 takes a free one."""

    def __init__(
        self,
        reply: Callable[[dict[str, Any]], str] = lambda body: f"echo: {prompt_of(body)}",
        fault: Fault = lambda call: None,
        latency: float = 0.0,
        *,
        key: str = KEY,
        model: str = MODEL,
        log: Path | None = None,
        port: int = 0,
    ) -> None:
        self.reply, self.fault, self.latency = reply, fault, latency
        self.key, self.model = key, model
        self.models: Answer | None = _json({"object": "list", "data": [{"id": model}]})
        self.port, self.url = port, ""
        self.problems: list[str] = []
        self.lines: list[dict[str, Any]] = []
        self.in_flight = self.most_in_flight = 0
        self._log = log.open("a", encoding="utf-8") if log else None
        self._seen: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        if not self._ready.wait(30):
            raise RuntimeError("the scripted server did not start")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)
        if self._log:
            self._log.close()
        if self.problems and kind is None:
            raise AssertionError("the server was misused: " + "; ".join(self.problems[:5]))

    def asked(self) -> list[dict[str, Any]]:
        return [line for line in list(self.lines) if line["event"] == "asked"]

    def answered(self) -> list[dict[str, Any]]:
        return [line for line in list(self.lines) if line["event"] == "answered"]

    # --- the wire ---

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or we are
        finally:
            self._open.discard(task)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first = await reader.readexactly(1)
        if first == b"\x16":  # a TLS handshake: as any plain server, it does not understand
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return False
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer, line = await self._answer(method, path, headers, content)
        finally:
            self.in_flight -= 1
        if answer is None:
            return False
        length = 10**7 if answer.trickle else len(answer.body)
        lines = [f"HTTP/1.1 {answer.status} X", f"Content-Length: {length}"]
        lines += ["Content-Type: application/json", *(f"{k}: {v}" for k, v in answer.headers)]
        body = answer.body[: len(answer.body) // 2] if answer.cut else answer.body
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        while answer.trickle and not self._stop.is_set():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)
        if line and answer.status == 200 and not answer.cut:
            self._note({**line, "event": "answered"})
        return not answer.cut

    def _note(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        if self._log:
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()

    def _misused(self, problem: str) -> tuple[Answer, None]:
        self.problems.append(problem)
        return _error(400, f"scripted server misused: {problem}"), None

    async def _answer(
        self, method: str, path: str, headers: dict[str, str], content: bytes
    ) -> tuple[Answer | None, dict[str, Any] | None]:
        if headers.get("authorization") != f"Bearer {self.key}":
            return self._misused(f"{path}: wrong Authorization")
        route = path.partition("?")[0].removeprefix("/v1")
        if (method, route) == ("POST", "/chat/completions"):
            try:
                body = json.loads(content)
                prompt = prompt_of(body)
            except (ValueError, KeyError, TypeError, StopIteration, IndexError) as error:
                return self._misused(f"malformed body: {error!r}")
            return await self._chat(body, prompt, hashlib.sha256(content).hexdigest())
        if (method, route) == ("GET", "/models"):
            return self.models or _error(404, "Not Found"), None
        return _error(404, "Not Found"), None

    async def _chat(
        self, body: dict[str, Any], prompt: str, sha: str
    ) -> tuple[Answer | None, dict[str, Any]]:
        call = Call(body, prompt, self._seen.total(), self._seen[sha])
        self._seen[sha] += 1
        fault = self.fault(call)
        line = {"event": "asked", "number": call.number, "prompt": prompt, "sha256": sha}
        told = str(fault.status) if isinstance(fault, Answer) else fault
        line |= {"again": call.again, "fault": told, "time": time.time()}
        line["form"] = body.get("response_format", {}).get("type", "none")
        self._note(line)
        if self.latency:
            await asyncio.sleep(self.latency)
        if isinstance(fault, Answer):
            return fault, line
        if fault == "hang":
            await self._stop.wait()
        if fault in ("hang", "drop"):
            return None, line
        return self._scripted(fault or "", call), line

    def _scripted(self, fault: str, call: Call) -> Answer:
        name, _, detail = fault.partition(":")
        if not fault and call.body.get("model") != self.model:
            name = "404"
        if name == "429":
            when = formatdate(time.time() + 1.999, usegmt=True) if detail == "date" else detail
            return _error(429, "slow down", "rate_limit_exceeded", wait=when)
        if name == "quota":
            return _error(429, "You exceeded your current quota", "insufficient_quota")
        if name == "404":
            said = f"The model `{call.body['model']}` does not exist"
            return _error(404, said, "model_not_found")
        if name == "400" and detail:
            return _error(400, f"Unsupported parameter: '{detail}'", "unsupported", param=detail)
        if name == "filtered_prompt":
            return _error(400, "The prompt was filtered", "content_filter")
        if name == "echo_key_401":
            return _error(401, f"Incorrect API key provided: {self.key}", "invalid_api_key")
        if name.isdigit():
            return _error(int(name), f"scripted {name}", wait=detail)
        text = self.reply(call.body)
        return _success(name, completion(text), self.key)


def _json(value: Any) -> Answer:
    return Answer(200, json.dumps(value).encode())


def _error(status: int, message: str, code: str = "", param: str = "", wait: str = "") -> Answer:
    body = {"error": {"message": message, "type": code, "code": code or None, "param": param}}
    headers = (("Retry-After", wait),) if wait else ()
    return Answer(status, json.dumps(body).encode(), headers)


def _success(name: str, whole: dict[str, Any], key: str) -> Answer:
    choice = whole["choices"][0]
    if name in ("length", "content_filter"):
        text = choice["message"]["content"]
        choice |= {"finish_reason": name}
        choice["message"]["content"] = text[: len(text) // 2] if name == "length" else ""
    elif name == "refusal":
        choice["message"] |= {"content": None, "refusal": "I cannot help with that."}
    elif name == "empty":
        whole["choices"] = []
    elif name == "blank":
        choice["message"]["content"] = ""
    elif name == "no_usage":
        del whole["usage"]
    elif name == "echo_key":
        choice["message"]["content"] = f"your key is {key}"
    elif name not in ("", "cut", "garbage", "html", "trickle"):
        raise ValueError(f"unknown fault {name!r}")
    body = json.dumps(whole).encode()
    if name == "garbage":
        body = body[:-20]
    if name == "html":
        body = b"<html>Welcome to the airport's network</html>"
    if name == "trickle":
        # White space after the JSON: a body of 10 MB, of which a space comes now and then.
        return Answer(200, body, trickle=True)
    return Answer(200, body, cut=name == "cut")


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted chat-completions server.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds a reply takes")
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE")
    options = parser.parse_args()
    parts = (text.rpartition("=") for text in options.fault)
    faults = {name: float(share) for name, _, share in parts}
    with ScriptedServer(
        fault=shares(faults),
        latency=options.latency,
        key=options.key,
        model=options.model,
        log=options.log,
        port=options.port,
    ) as server:
        print(server.url, flush=True)
        sys.stdin.read()  # until whoever started it closes the pipe, or is gone


if __name__ == "__main__":
    main()
