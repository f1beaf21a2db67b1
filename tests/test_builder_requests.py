"""Asking a language model: every failure, over real sockets, with the real client."""

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from corpora import ROOT
from scripted_server import KEY, MODEL, Answer, Call, ScriptedServer, completion, refusing

from builder.harm.stage import spent
from mllmu_med.llm.chat import Reply, Request, read_completion
from mllmu_med.llm.client import Client
from mllmu_med.llm.concurrency import run_all
from mllmu_med.llm.errors import GaveUp
from mllmu_med.llm.reply_cache import ReplyCache
from mllmu_med.llm.settings import Price, Settings, api_key
from mllmu_med_dataset import UsageError, UserError

SCHEMA = {"name": "answer", "schema": {"type": "object", "properties": {}}}
IMAGE = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def request(number: int = 0, **changes: Any) -> Request:
    messages = ({"role": "user", "content": f"question {number}"},)
    return replace(Request(MODEL, messages, None, {}, "test/1"), **changes)


def settings(server: ScriptedServer | None, **changes: Any) -> Settings:
    url = server.url if server else "http://127.0.0.1:9/v1"
    return replace(Settings(MODEL, base_url=url, timeout=10, backoff=0.01), **changes)


Job = Callable[[Client], Coroutine[Any, Any, Any]]


def go(ledger: Path, how: Settings, job: Job) -> tuple[Any, Client]:
    """Run a job with a client of its own on a ledger file."""

    async def main() -> tuple[Any, Client]:
        async with Client(how, opened) as client:
            return await job(client), client

    with ReplyCache(ledger) as opened:
        return asyncio.run(main())


def ask(ledger: Path, how: Settings, *requests: Request) -> list[Reply]:
    replies: list[Reply] = go(ledger, how, lambda client: run_all(client, client.ask, requests))[0]
    return replies


def test_a_key_is_of_what_is_asked_and_of_nothing_else() -> None:
    one = request(schema=SCHEMA, sampling={"temperature": 0.7, "seed": 1})
    same = request(schema=dict(reversed(SCHEMA.items())), sampling={"seed": 1, "temperature": 0.7})
    assert one.key("json_schema") == same.key("json_schema")
    # A ledger is for years: whoever changes this text orphans every reply that was paid for.
    text = (
        '{"attempt":0,"format":1,"messages":[{"content":"question 0","role":"user"}],'
        '"model":"scripted-1","prompt_version":"test/1","sampling":{"seed":1,"temperature":0.7},'
        '"schema":{"name":"answer","schema":{"properties":{},"type":"object"}},'
        '"structured":"json_schema"}'
    )
    assert one.key("json_schema") == hashlib.sha256(text.encode()).hexdigest()
    others = [
        one.key("json_object"),
        request(1, schema=SCHEMA, sampling=one.sampling).key("json_schema"),
        replace(one, model="other").key("json_schema"),
        replace(one, schema=None).key("json_schema"),
        replace(one, sampling={}).key("json_schema"),
        replace(one, prompt_version="test/2").key("json_schema"),
        replace(one, attempt=1).key("json_schema"),
    ]
    assert len({one.key("json_schema"), *others}) == 8
    assert request().key("json_schema") == request().key("none")  # free text has no form


def test_a_image_counts_by_its_hash_and_is_not_kept(tmp_path: Path) -> None:
    def with_image(uri: str) -> Request:
        parts = [
            {"type": "image_url", "image_url": {"url": uri}},
            {"type": "text", "text": "what?"},
        ]
        return request(messages=({"role": "user", "content": parts},))

    seen: list[dict[str, Any]] = []
    with ScriptedServer(reply=lambda body: seen.append(body) or "") as server:  # type: ignore[func-returns-value]
        ask(tmp_path / "l", settings(server), with_image(IMAGE))
    assert seen[0]["messages"][0]["content"][0]["image_url"]["url"] == IMAGE
    assert with_image(IMAGE).key("none") != with_image(IMAGE + "A").key("none")
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"iVBORw0KGgo" not in kept
    assert b"data:image/png;sha256," in kept


@pytest.mark.parametrize(
    "fault",
    "429 429:0.02 408 409 500 503 503:0.02 cut drop garbage".split(),
)
def test_what_may_pass_is_asked_again(tmp_path: Path, fault: str) -> None:
    with ScriptedServer(fault=lambda call: fault if call.again < 2 else None) as server:
        (reply,), client = go(
            tmp_path / "l", settings(server), lambda c: run_all(c, c.ask, [request()])
        )
    assert reply == Reply("echo: question 0", "stop", "", MODEL + "-0", 100, 20, False)
    assert [line["again"] for line in server.asked()] == [0, 1, 2]
    assert (client.stats.sent, client.stats.retried, client.stats.replies) == (3, 2, 1)
    row = sqlite3.connect(tmp_path / "l").execute("SELECT retries, raw, base_url FROM replies")
    assert row.fetchone() == (2, json.dumps(completion("echo: question 0")), server.url)


def test_a_page_stops_a_run_at_once_but_not_once_it_was_answered(tmp_path: Path) -> None:
    page = r"sent no chat completion but a web page \(.Welcome to the airport.*end in /v1\?"
    with ScriptedServer(fault=lambda call: "html") as server:
        with pytest.raises(UserError, match=page):
            ask(tmp_path / "l", settings(server), *map(request, range(9)))
        assert len(server.asked()) == 1
    late = lambda call: "html" if call.number and not call.again else None  # noqa: E731
    with ScriptedServer(fault=late) as server:
        assert len(ask(tmp_path / "m", settings(server), *map(request, range(3)))) == 3
        assert len(server.asked()) == 5


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "trickle"])
def test_no_answer_in_time_is_asked_again(tmp_path: Path, fault: str) -> None:
    with ScriptedServer(fault=lambda call: None if call.again else fault) as server:
        started = time.monotonic()
        how = settings(server, timeout=0.5)
        _, client = go(tmp_path / "l", how, lambda c: run_all(c, c.ask, [request()]))
        assert time.monotonic() - started < 5
    assert ", 1 retried (last: timed out after 0.5 s; see --timeout), " in spent(client, Counter())
    assert len(server.asked()) == 2


@pytest.mark.parametrize(
    ("fault", "least"), [("429:0.6", 0.6), ("503:0.6", 0.6), ("429:date", 0.9)]
)
def test_retry_after_is_waited_for(tmp_path: Path, fault: str, least: float) -> None:
    with ScriptedServer(fault=lambda call: None if call.again else fault) as server:
        ask(tmp_path / "l", settings(server), request())
    first, second = (line["time"] for line in server.asked())
    assert least - 0.01 <= second - first < least + 2


def test_tries_are_bounded_and_one_hopeless_call_is_not_the_end(tmp_path: Path) -> None:
    async def job(client: Client) -> str:
        with pytest.raises(GaveUp, match=r"prompt test/1.*failed 3 times, at last with: 500"):
            await client.ask(request(13))
        return (await client.ask(request(1))).text

    bad = lambda call: "500" if call.prompt == "question 13" else None  # noqa: E731
    with ScriptedServer(fault=bad) as server:
        text, _ = go(tmp_path / "l", settings(server, attempts=3), job)
    assert text == "echo: question 1"
    assert len(server.asked()) == 4


@pytest.mark.parametrize(
    ("fault", "text", "end", "refusal"),
    [
        ("length", "echo: qu", "length", ""),
        ("content_filter", "", "content_filter", ""),
        ("refusal", "", "stop", "I cannot help with that."),
        ("empty", "", "empty", ""),
        ("blank", "", "stop", ""),
        ("filtered_prompt", "", "content_filter", "The prompt was filtered"),
    ],
)
def test_bad_replies(tmp_path: Path, fault: str, text: str, end: str, refusal: str) -> None:
    with ScriptedServer(fault=lambda call: fault) as server:
        (reply,) = ask(tmp_path / "l", settings(server), request())
        (again,) = ask(tmp_path / "l", settings(server), request())
    assert (reply.text, reply.finish_reason, reply.refusal) == (text, end, refusal)
    assert again == reply._replace(cached=True)
    assert len(server.asked()) == 1


@pytest.mark.parametrize(
    "raw",
    [
        {"choices": [None]},
        {"choices": [{"message": None, "finish_reason": None}], "usage": None},
        {"choices": [{"message": {"content": 7}}]}
        | {"usage": {"prompt_tokens": 10**30, "completion_tokens": 1}},
        {"choices": [{"message": {"content": "half \ud800"}}]},
        {"choices": [{"message": {"content": [{"type": "text", "text": "in parts"}, 3]}}]},
    ],
)
def test_a_server_may_send_anything_for_a_reply(tmp_path: Path, raw: dict[str, Any]) -> None:
    with ReplyCache(tmp_path / "l") as ledger:
        ledger.put(request(), "none", json.dumps(raw)).result()
        reply = ledger.get(request().key("none"))
        assert reply.text in ("", "half ?", "in parts")
        ledger.export(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("401", r"\(401\): scripted 401: check OPENAI_API_KEY"),
        ("403", r"\(403\): scripted 403: check OPENAI_API_KEY"),
        ("quota", r"exceeded your current quota: add credit, then run again: all .* is kept"),
        ("404", r"the server has no model 'scripted-1': name one that it has"),
        ("405", r"\(405\): scripted 405: the server does not take this request"),
    ],
)
def test_what_cannot_pass_stops_at_once(tmp_path: Path, fault: str, says: str) -> None:
    """Five are answered first: those are kept."""
    with ScriptedServer(fault=lambda call: fault if call.number >= 5 else None) as server:
        how = settings(server, concurrency=1)
        with pytest.raises(UserError, match=says) as raised:
            ask(tmp_path / "l", how, *map(request, range(50)))
        assert "\n" not in str(raised.value)
    assert len(server.asked()) == 6
    with ReplyCache(tmp_path / "l") as ledger:
        assert len(ledger) == 5


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_unreachable_server(tmp_path: Path, host: str) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://{host}:{taken.getsockname()[1]}/v1"
        started = time.monotonic()
        says = (
            rf"^{url}: cannot be reached \((nobody listens there|All connection.*)\): is the serv"
        )
        how = settings(None, base_url=url, backoff=0.05)
        with pytest.raises(UserError, match=says):
            ask(tmp_path / "l", how, *map(request, range(100)))
        assert time.monotonic() - started < 5


def test_an_unknown_host(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.invalid.*cannot be reached \(the name is not"):
        ask(tmp_path / "l", settings(None, base_url="http://nowhere.invalid/v1"), request())


def test_a_server_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    """Once it has answered, a refused connection may pass."""

    async def job(client: Client) -> str:
        await client.ask(request(0))
        first.__exit__(None)
        later = asyncio.get_running_loop().call_later(0.3, second.__enter__)
        text = (await client.ask(request(1))).text
        later.cancel()
        return text

    first = ScriptedServer()
    with first:
        second = ScriptedServer(port=first.port)
        try:
            how = settings(first, attempts=20, backoff=0.05)
            assert go(tmp_path / "l", how, job)[0] == "echo: question 1"
        finally:
            second.__exit__(None)


def test_tls_that_fails(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        how = settings(server, base_url=server.url.replace("http:", "https:"))
        with pytest.raises(UserError, match=r"TLS failed .*is it http:// rather than https://"):
            ask(tmp_path / "l", how, request())


def test_a_reply_is_committed_before_it_is_handed_out(tmp_path: Path) -> None:
    async def job(client: Client) -> Reply:
        busy = sqlite3.connect(tmp_path / "l", isolation_level=None)
        busy.execute("BEGIN IMMEDIATE")  # nothing can be written now
        asking = asyncio.ensure_future(client.ask(request()))
        await asyncio.sleep(0.5)
        assert len(server.answered()) == 1
        assert not asking.done()
        assert client.held(request()) is None
        busy.rollback()
        return await asking

    with ScriptedServer() as server:
        reply, _ = go(tmp_path / "l", settings(server), job)
    assert reply.text == "echo: question 0"


def test_a_reply_that_cannot_be_kept_stops_the_run(tmp_path: Path) -> None:
    async def job(client: Client) -> None:
        asking = asyncio.ensure_future(client.ask(request()))
        await asyncio.sleep(0.2)
        sqlite3.connect(tmp_path / "l").execute("DROP TABLE replies")
        with pytest.raises(UserError, match=r"/l: cannot keep a reply \(no such table.*make room"):
            await asking

    with ScriptedServer(latency=0.5) as server:
        go(tmp_path / "l", settings(server), job)


def test_two_equal_requests_in_flight_share_one_call(tmp_path: Path) -> None:
    with ScriptedServer(latency=0.05) as server:
        replies = ask(tmp_path / "l", settings(server), *[request(7)] * 20)
    assert len(set(replies)) <= 2  # one live, one from the ledger
    assert len(server.asked()) == 1


def test_whoever_waits_may_leave_and_the_reply_is_kept(tmp_path: Path) -> None:
    async def job(client: Client) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.ask(request()), 0.05)

    with ScriptedServer(latency=0.3) as server:
        go(tmp_path / "l", settings(server), job)
    with ReplyCache(tmp_path / "l") as ledger:
        assert len(ledger) == 1


def test_results_keep_the_order_of_the_items_and_few_are_drawn_ahead(tmp_path: Path) -> None:
    drawn = done = 0
    ahead = []

    def items() -> Any:
        nonlocal drawn
        for number in range(300):
            drawn += 1
            ahead.append(drawn - done)
            yield number

    def on_done(reply: Reply) -> None:
        nonlocal done
        done += 1

    async def job(client: Client) -> list[Reply]:
        return await run_all(client, lambda n: client.ask(request(n)), items(), on_done)

    with ScriptedServer() as server:
        replies, _ = go(tmp_path / "m", settings(server, concurrency=4), job)
    assert [reply.text for reply in replies] == [f"echo: question {n}" for n in range(300)]
    assert max(ahead) <= 9
    assert done == 300


def test_a_bug_in_a_job_ends_the_rest_and_keeps_what_is_in_flight(tmp_path: Path) -> None:
    async def job(client: Client) -> None:
        async def work(number: int) -> None:
            await client.ask(request(number))
            if number == 3:
                raise ZeroDivisionError

        await run_all(client, work, range(1000))

    with ScriptedServer(latency=0.02) as server, pytest.raises(ZeroDivisionError):
        go(tmp_path / "l", settings(server, concurrency=4), job)
    with ReplyCache(tmp_path / "l") as ledger:
        assert len(ledger) == len(server.answered()) < 30


@pytest.mark.parametrize(
    ("refuses", "form"),
    [((), "json_schema"), (("json_schema",), "json_object"), (("response_format",), "none")],
)
def test_the_form_is_settled_once(tmp_path: Path, refuses: tuple[str, ...], form: str) -> None:
    requests = [request(n, schema=SCHEMA) for n in range(64)]
    with ScriptedServer(fault=refusing(*refuses), latency=0.05) as server:
        ask(tmp_path / "l", settings(server, concurrency=64), *requests)
        forms = Counter(line["form"] for line in server.asked())
        refused = {"json_schema": 0, "json_object": 1, "none": 2}[form]
        assert forms.pop(form) == 64
        assert forms.total() == refused
    assert all(r.cached for r in ask(tmp_path / "l", settings(None, offline=True), *requests))
    rows = sqlite3.connect(tmp_path / "l").execute("SELECT DISTINCT structured FROM replies")
    assert rows.fetchall() == [(form,)]


def test_parameters_that_are_refused_by_name_are_done_without(tmp_path: Path) -> None:
    sampling = {"temperature": 0.5, "seed": 3, "max_completion_tokens": 40, "top_k": 5}
    seen: list[dict[str, Any]] = []
    refuse = refusing("seed", "max_completion_tokens", "temperature")
    with ScriptedServer(lambda body: seen.append(body) or "", refuse, 0.02) as server:  # type: ignore[func-returns-value]
        requests = [request(n, sampling=sampling) for n in range(40)]
        ask(tmp_path / "l", settings(server, concurrency=40), *requests)
    assert len(server.asked()) == 43
    assert all(set(b) == {"model", "messages", "max_tokens", "top_k"} for b in seen)
    assert seen[0]["max_tokens"] == 40
    row = sqlite3.connect(tmp_path / "l").execute("SELECT DISTINCT adapted FROM replies").fetchall()
    assert row == [('["max_completion_tokens","seed","temperature"]',)]


@pytest.mark.parametrize(
    ("status", "words"),
    [(400, "System role not supported"), (400, "Conversation roles must alternate user/assistant"),
     (400, "Developer instruction is not enabled"), (500, "... are supported, got system.")],
)  # fmt: skip
def test_a_model_without_a_system_role(tmp_path: Path, status: int, words: str) -> None:
    """Its text then stands before the first question."""
    refused = Answer(status, json.dumps({"error": {"message": words}}).encode())
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    parts = [picture, {"type": "text", "text": "Where?"}]
    sent: list[Any] = []

    def fault(call: Call) -> Answer | None:
        sent[:] = call.body["messages"]
        return refused if sent[0]["role"] == "system" else None

    for content, whole in (
        ("Where?", "Be brief.\n\nWhere?"),
        (parts, [{"type": "text", "text": "Be brief.\n\n"}, *parts]),
    ):
        chat = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": content})
        with ScriptedServer(fault=fault) as server:
            ask(tmp_path / "l", settings(server), replace(request(), messages=chat))
        assert sent == [{"role": "user", "content": whole}]
    row = sqlite3.connect(tmp_path / "l").execute("SELECT DISTINCT adapted FROM replies").fetchall()
    assert row == [('["system"]',)]


def test_a_server_out_of_order_is_asked_again_whatever_it_says() -> None:
    from mllmu_med.llm.errors import Again, Refused, meaning_of_200

    def read(code: int) -> type:
        error = {"error": {"code": code, "message": "the system prompt cache is gone"}}
        return type(meaning_of_200(json.dumps(error).encode(), {"system"}, "http://x", MODEL))

    assert [read(code) for code in (500, 502, 503, 529)] == [Refused, Again, Again, Again]


def test_a_reply_that_comes_as_a_call() -> None:
    text = '{"answer": "Lung"}'
    call: Any = {"tool_calls": [{"function": {"name": "x", "arguments": text}}]}
    for message in (call, {"content": "", "function_call": {"arguments": {"answer": "Lung"}}}):
        reply = read_completion(json.dumps({"choices": [{"message": message}]})).reply
        assert json.loads(reply.text) == {"answer": "Lung"}
    call["tool_calls"][0]["function"].pop("arguments")
    assert read_completion(json.dumps({"choices": [{"message": call}]})).reply.text == ""


def test_a_patient_with_a_temperature_is_no_refused_parameter(tmp_path: Path) -> None:
    """FastAPI quotes the input beside what is wrong with it."""
    from mllmu_med.llm.errors import Refused, meaning

    def refusal(body: Any) -> Exception:
        import httpx2
        import openai

        response = httpx2.Response(422, json=body, request=httpx2.Request("POST", "http://x"))
        detail = body.get("error", body)  # as the library hands it on
        error = openai.UnprocessableEntityError("no", response=response, body=detail)
        return meaning(error, {"temperature", "json_schema"}, "http://x", MODEL)

    wrong = {"loc": ["body", "messages"], "msg": "too long", "input": "her temperature was 39"}
    assert isinstance(refusal({"detail": [wrong]}), UserError)
    wrong = {"loc": ["body", "response_format", "type"], "msg": "unexpected value"}
    assert isinstance(refusal({"detail": [wrong]}), Refused)
    assert isinstance(refusal({"error": "json_schema is not supported"}), Refused)
    assert isinstance(refusal({"error": "seed is not supported"}), UserError)  # none was sent


def test_after_a_retry_after_nobody_asks_before_it(tmp_path: Path) -> None:
    with ScriptedServer(
        fault=lambda call: "429:0.8" if call.number == 20 else None, latency=0.02
    ) as server:
        ask(tmp_path / "l", settings(server, concurrency=4), *map(request, range(60)))
    times = [line["time"] for line in server.asked()]
    gap = max(b - a for a, b in pairwise(times))
    assert gap > 0.7


def test_the_limit_on_requests(tmp_path: Path) -> None:
    with ScriptedServer(latency=0.01) as server:
        how = settings(server, max_requests=25, concurrency=8)
        with pytest.raises(
            UserError, match=r"limit of 25 requests .* 25 replies, 2,500 \+ 500 tok"
        ):
            ask(tmp_path / "l", how, *map(request, range(60)))
        assert len(server.asked()) == len(server.answered()) == 25
        with pytest.raises(UserError, match="limit of 25 requests"):  # over all runs
            ask(tmp_path / "l", how, *map(request, range(60)))
        assert len(server.asked()) == 25
        ask(tmp_path / "l", replace(how, max_requests=60), *map(request, range(60)))
        assert len(server.answered()) == 60


def test_the_limit_on_cost_is_not_overshot(tmp_path: Path) -> None:
    # 100 tokens in at 10 USD and 20 out at 50 USD per million: 0.002 USD a call.
    with ScriptedServer(latency=0.01) as server:
        how = settings(server, price=Price(10, 50), max_cost=0.0305, concurrency=16)
        with pytest.raises(UserError, match=r"limit of 0.03 USD .* 15 replies.* 0.0300 USD"):
            ask(tmp_path / "l", how, *map(request, range(60)))
    assert len(server.asked()) == 15


def test_a_cost_is_never_guessed(tmp_path: Path) -> None:
    with ScriptedServer(fault=lambda call: "no_usage") as server:
        how = settings(server, price=Price(1, 1), concurrency=1)
        _, client = go(tmp_path / "l", how, lambda c: run_all(c, c.ask, [request()]))
        assert client.stats.cost is None
        with pytest.raises(UserError, match="tells no token counts"):
            ask(tmp_path / "l", replace(how, max_cost=1.0), request(1))
    with ScriptedServer() as server:
        how = settings(server, price=Price(10, 50))
        _, client = go(tmp_path / "m", how, lambda c: run_all(c, c.ask, [request()]))
        assert client.stats.cost == pytest.approx(0.002)


def test_an_exported_ledger_replays_elsewhere(tmp_path: Path, monkeypatch: Any) -> None:
    requests = [request(n, schema=SCHEMA) for n in range(1200)]
    with ReplyCache(tmp_path / "a") as ledger, ReplyCache(tmp_path / "b") as other:
        for number, one in enumerate(requests):
            raw = json.dumps(completion(f"answer {number}"))
            put = ledger.put(one, "json_object", raw, latency=number / 7, base_url="http://a")
        for number, one in reversed(list(enumerate(requests))):
            raw = json.dumps(completion(f"answer {number}", created=9, id="other"))
            put_there = other.put(one, "json_object", raw, base_url="http://b")
        put.result()
        put_there.result()  # each the last of one line
        assert ledger.export(tmp_path / "a.parquet") == 1200
        other.export(tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    monkeypatch.delenv("OPENAI_API_KEY")
    with ReplyCache(tmp_path / "c") as ledger:
        assert ledger.load(tmp_path / "a.parquet") == 1200
        assert ledger.load(tmp_path / "a.parquet") == 0
        ledger.export(tmp_path / "c.parquet")
        wanted = {one.key("json_object") for one in requests[5:9]}
        assert ledger.export(tmp_path / "few.parquet", wanted) == 4
        assert ledger.totals(MODEL).replies == 0  # somebody else paid for them
    assert (tmp_path / "c.parquet").read_bytes() == (tmp_path / "a.parquet").read_bytes()
    offline = settings(None, offline=True)
    replies = ask(tmp_path / "c", offline, *requests)
    assert [reply.text for reply in replies] == [f"answer {n}" for n in range(1200)]
    says = r"prompt test/1, attempt 2 .*1,200 replies\) holds no reply"
    with pytest.raises(UserError, match=says):
        ask(tmp_path / "c", offline, requests[0], request(1, attempt=2))


def test_files_that_are_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(UserError, match="cannot be used as a request ledger"):
        ReplyCache(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE cats(name)")
    other.commit()
    with pytest.raises(UserError, match="a database of something else"):
        ReplyCache(tmp_path / "other")
    with ReplyCache(tmp_path / "l") as ledger:
        for name in ("text", "nothing"):
            with pytest.raises(UserError, match="not an exported request ledger"):
                ledger.load(tmp_path / name)


def test_an_export_that_was_changed_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    with ReplyCache(tmp_path / "l") as ledger:
        ledger.put(request(), "none", json.dumps(completion("x"))).result()
        ledger.export(tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    changed = table["request"].to_pylist()[0].replace("question 0", "question 1")
    table = table.set_column(1, table.schema.field("request"), [[changed]])
    pq.write_table(table, tmp_path / "y.parquet")
    with (
        ReplyCache(tmp_path / "m") as ledger,
        pytest.raises(UserError, match="not under the hash of its request"),
    ):
        ledger.load(tmp_path / "y.parquet")


def test_a_key_is_needed_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(key="none") as server:
        monkeypatch.delenv("OPENAI_API_KEY")
        assert ask(tmp_path / "l", settings(server), request())
    for url in ("https://api.example.org/v1", None):
        with pytest.raises(UserError, match="needs a key: set OPENAI_API_KEY"):
            ask(tmp_path / "m", settings(None, base_url=url), request())
        assert api_key(settings(None, base_url=url, needs_key=False)) == "none"
    with pytest.raises(UsageError, match=r"write it as http://HOST:PORT/v1"):
        settings(None, base_url="localhost:8000/v1")


CLIENT = """
import asyncio, sys
from pathlib import Path
from mllmu_med.llm.client import *
from mllmu_med.llm.concurrency import run_all
url, path, count = sys.argv[1:]
def ask(n):
    messages = ({"role": "user", "content": f"question {n}"},)
    return Request("scripted-1", messages, None, {}, "test/1")
async def main():
    how = Settings("scripted-1", url, 8, 10, backoff=0.01)
    with ReplyCache(Path(path)) as ledger:
        async with Client(how, ledger) as client:
            done = lambda reply: print("done", flush=True)
            await run_all(client, client.ask, map(ask, range(int(count))), done)
            print(client.stats, flush=True)
"""
PLAIN = CLIENT + "asyncio.run(main())\n"
CAUGHT = CLIENT + "try: asyncio.run(main())\nexcept KeyboardInterrupt: print('interrupted')\n"


def start(code: str, url: str, ledger: Path, count: int, **env: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", code, url, str(ledger), str(count)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, cwd=ROOT, env={**os.environ, **env}, text=True, **pipes)


@pytest.mark.parametrize("fault", ["echo_key", "echo_key_401", "500", "drop", "hang"])
def test_the_key_is_written_nowhere(tmp_path: Path, fault: str) -> None:
    """Not by us, not by the library at its most talkative, not even when the server tells it."""
    loud = "import logging; logging.basicConfig(level=logging.DEBUG)\n" + PLAIN
    loud = loud.replace("8, 10", "2, 0.2, attempts=2")
    with ScriptedServer(fault=lambda call: fault) as server:
        client = start(loud, server.url, tmp_path / "l", 2, OPENAI_LOG="debug")
        out, err = client.communicate(timeout=60)
    assert (client.returncode == 0) == (fault == "echo_key")
    assert "DEBUG" in err
    texts = [out, err, *(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())]
    assert not [text for text in texts if KEY in text]
    if fault == "echo_key":
        assert any("your key is [key]" in text for text in texts)
    elif fault == "echo_key_401":
        assert "Incorrect API key provided: [key]" in err


@pytest.mark.parametrize("key", ["sk-with\nnewline-in-the-middle", "sk-schlüssel-0123456789"])
def test_an_odd_key_is_not_quoted(tmp_path: Path, monkeypatch: Any, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with ScriptedServer() as server, pytest.raises(UserError, match="characters") as raised:
        ask(tmp_path / "l", settings(server), request())
    assert "sk-" not in str(raised.value)


def kept(ledger: Path) -> set[str]:
    """The prompts a ledger holds replies to."""
    rows = sqlite3.connect(ledger).execute(
        "SELECT json_extract(request, '$.messages[0].content') FROM replies"
    )
    return {row[0] for row in rows}


def test_the_first_ctrl_c_keeps_what_is_in_flight(tmp_path: Path) -> None:
    with ScriptedServer(latency=0.5) as server:
        client = start(CAUGHT, server.url, tmp_path / "l", 200)
        while len(server.asked()) < 20:
            time.sleep(0.01)
        client.send_signal(signal.SIGINT)
        out, err = client.communicate(timeout=120)
    assert out.endswith("interrupted\n"), err
    # Eight, but for one whose reply has come and whose successor has not been sent.
    assert re.search(r"stopping: [1-8] calls? in flight will be kept", err), err
    assert "Traceback" not in err
    assert len(kept(tmp_path / "l")) == len(server.asked()) == len(server.answered()) < 40
    assert out.count("done") == len(server.asked())  # those who waited got their reply


#: A job that does something else after its call.
BUSY = """
async def busy(client, request):
    await client.ask(request)
    await asyncio.sleep(99)
"""


@pytest.mark.slow
@pytest.mark.parametrize("busy", [False, True], ids=["in a call", "elsewhere"])
def test_a_second_ctrl_c_stops_at_once(tmp_path: Path, busy: bool) -> None:
    code = BUSY + CAUGHT if busy else CAUGHT
    if busy:
        code = code.replace("client, client.ask, map", "client, lambda r: busy(client, r), map")
    with ScriptedServer(
        fault=lambda call: "hang" if call.number > 10 else None, latency=0.05
    ) as server:
        client = start(code, server.url, tmp_path / "l", 200)
        while len(server.asked()) < 16:
            time.sleep(0.01)
        client.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert client.poll() is None  # it waits for those in flight
        client.send_signal(signal.SIGINT)
        started = time.monotonic()
        out, err = client.communicate(timeout=30)
    assert time.monotonic() - started < 3
    assert out.endswith("interrupted\n"), err
    assert "Traceback" not in err
    assert "never retrieved" not in err
    assert len(kept(tmp_path / "l")) == 11
