"""What a server may refuse, or send instead of an answer: nothing is lost, all is counted."""

import json
import socket
import threading
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from corpora import command
from PIL import Image
from scripted_server import Answer, Call, ScriptedServer, completion, prompt_of, refusing

from eval import model_server
from eval.attacks import Ask, asks
from eval.dataset_rows import read_rows
from eval.model_server import SAMPLING, answer_with_server
from eval.predictions import Prediction, read_predictions
from eval.run_folder import describe
from mllmu_med.llm.settings import Settings
from mllmu_med_dataset import UserError

ROWS = 10
ODD = (3, 5, 7)  # the rows that are not answered as they should be; the first one is


class Rows(NamedTuple):
    asked: list[Ask]
    images: Any  # small ones: those of the dataset take longer to encode than all the rest


@pytest.fixture(scope="module")
def rows(demo: Path) -> Rows:
    data = demo / "mllmu-med"
    asked = asks(read_rows(data, "privacy", ["forget"]), ["own"])
    distinct = list({ask.question: ask for ask in asked}.values())[:20]
    return Rows(distinct, defaultdict(lambda: Image.new("L", (8, 8))))


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real client, but that it waits for 4 tries no longer than the test wants to."""
    monkeypatch.setattr(model_server, "Settings", partial(Settings, attempts=4, backoff=0.01))
    monkeypatch.setenv("OPENAI_API_KEY", ScriptedServer().key)


def ask_all(
    server: ScriptedServer, rows: Rows, out: Path, count: int = ROWS, **more: Any
) -> list[Prediction]:
    model, url = more.pop("model", server.model), more.pop("url", server.url)
    limits = {"max_new_tokens": 16, "concurrency": 4, **more}
    return answer_with_server(url, model, rows.asked[:count], rows.images, out, **limits)


def sent(status: int, body: Any, *headers: tuple[str, str]) -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)
    return Answer(status, text.encode("utf-8", "surrogatepass"), headers)


def error(status: int, message: Any, **more: Any) -> Answer:
    return sent(status, {"error": {"message": message, **more}})


def reply(text: Any, end: str | None = "stop", **message: Any) -> Answer:
    whole = completion("")
    whole["choices"][0] |= {"finish_reason": end}
    whole["choices"][0]["message"] |= {"content": text, **message}
    return sent(200, whole)


def choices(value: Any, **more: Any) -> Answer:
    return sent(200, completion("", choices=value, **more))


LONG = "This model's maximum context length is 2048 tokens. However, you requested 2100"
HARM = "I'm sorry, I can't assist with that."
PAGE = "<!doctype html><html><body>Bad gateway</body></html>"
EVENTS = 'data: {"choices": [{"delta": {"content": "Yes"}}]}\n\ndata: [DONE]\n\n'
RATE = {"message": "Rate limit exceeded"}
LOST = {"message": {"content": "Y"}, "error": {"code": 502, "message": "lost"}}
TEXTLESS = "a reply without a text"

#: Refused for good: asked once, no other row suffers. What is sent, and what is told of it.
REFUSED: dict[str, tuple[str | Answer, str]] = {
    "over-long, vLLM": (error(400, LONG, type="BadRequestError", code=400), "400: This model's"),
    "over-long, old vLLM": (sent(400, {"object": "error", "message": LONG}), "400: This model's"),
    "too large, nginx": (sent(413, "<h1>413 Entity Too Large</h1>"), "413: 413 Entity Too Large"),
    "image refused": (error(400, "At most 0 image(s) may be provided"), "400: At most 0 image"),
    "FastAPI": (sent(422, {"detail": [{"loc": ["body"], "msg": "no"}]}), "422: ['body']: no"),
    "no reason": (sent(400, ""), "400: no reason given"),
    "filter, Azure": ("filtered_prompt", "refused: The prompt was filtered"),
    "filter, OpenRouter": (error(403, "Your input was flagged"), "refused: Your input was flagged"),
    "filter, in a 200": (reply("", "content_filter"), "refused: stopped by the content filter"),
    "refusal": (reply(None, refusal=HARM), "refused: I'm sorry"),
    "refusal beside a text": (reply("", refusal=HARM), "refused: I'm sorry"),
    "null": (reply(None), f"{TEXTLESS} (finish_reason: stop)"),
    "thoughts alone": (reply(None, reasoning_content="CT."), "thought, and then wrote no answer"),
    "a tool": (reply(None, "tool_calls"), f"{TEXTLESS} (finish_reason: tool_calls)"),
    "no choice": (choices([]), f"{TEXTLESS} (finish_reason: empty)"),
    "no message": (choices([{"message": None, "finish_reason": "stop"}]), TEXTLESS),
    "error in a 200": (error(200, "too big", code=400), "200, but error 400: too big"),
    "old vLLM's in a 200": (sent(200, {"object": "error", "message": "x"}), "200, but an error: x"),
}
#: What may pass, and never does: asked four times, then left to the next run.
FAILING: dict[str, tuple[str | Answer, str]] = {
    "500": ("500", "500: scripted 500"),
    "529": (error(529, "Overloaded", type="overloaded_error"), "529: Overloaded"),
    "cut": ("cut", "connection lost"),
    "a page": (sent(200, PAGE), "no chat completion but a web page ('Bad gateway')"),
    "bytes": (
        Answer(200, b'{"choices": "\xff"}'),
        "no chat completion but bytes that are no UTF-8",
    ),
    "rate limit in a 200": (choices(None, error=RATE), "200, but an error: Rate limit exceeded"),
}
#: What passes: asked twice.
PASSING: dict[str, str | Answer] = {
    "429 in a 200": choices(None, error={"message": "Provider returned error", "code": 429}),
    "overloaded in a 200": error(200, "Overloaded"),
    "an error in a choice": choices([LOST]),
    "503": error(503, "Loading model"),
    "a page": sent(200, PAGE),
    "plain text": sent(200, "upstream"),
    "events": sent(200, EVENTS),
    "nothing": sent(200, ""),
    "a broken JSON": "garbage",
    "a closed connection": "drop",
}
ALL = [*(("refused", name) for name in REFUSED), *(("failing", name) for name in FAILING)]
ALL += [("passing", name) for name in PASSING]


@pytest.mark.parametrize(("group", "name"), ALL)
def test_nothing_is_lost(rows: Rows, tmp_path: Path, capsys: Any, group: str, name: str) -> None:
    what, reason = (PASSING[name], "") if group == "passing" else (REFUSED | FAILING)[name]
    if group == "failing":
        what, reason = FAILING[name]
        reason = f"failed 4 times, at last with: {reason}"
    retries = {"refused": 0, "failing": 3, "passing": 1}[group] * len(ODD)
    prompts = {rows.asked[place].question for place in ODD}
    out = tmp_path / "answers.jsonl"

    def fault(call: Call) -> str | Answer | None:
        passed = group == "passing" and call.again
        return what if call.prompt in prompts and not passed else None

    with ScriptedServer(fault=fault) as server:
        if reason:
            line = (
                rf"answers.jsonl: 3 of {ROWS} rows have no answer, .* \(7 are kept\): run the same"
            )
            with pytest.raises(UserError, match=line):
                # One at a time: three calls that fail at once are a server that is down.
                ask_all(server, rows, out, concurrency=1)
            first = rows.asked[ODD[0]].row.id
            assert f"no answer to 3 rows (first: {first}): {reason}" in capsys.readouterr().err
        else:
            ask_all(server, rows, out)
        missing = len(ODD) if reason else 0
        assert len(server.asked()) == ROWS + retries
        assert len(read_predictions(out)) == ROWS - missing
        server.fault = lambda call: None
        found = ask_all(server, rows, out)  # only what is missing
        assert len(server.asked()) == ROWS + retries + missing
    assert [one.answer for one in found] == [f"echo: {ask.question}" for ask in rows.asked[:ROWS]]
    assert read_predictions(out) == found


#: What comes to every row: how many calls, and the one line.
AT_ONCE: dict[str, tuple[str | Answer, int, str]] = {
    "401": ("401", 1, r"\(401\): scripted 401: check OPENAI_API_KEY"),
    "402": (error(402, "Insufficient credits"), 1, r"\(402\): Insufficient credits: add credit"),
    "403": ("403", 1, r"\(403\): scripted 403: check OPENAI_API_KEY"),
    "no such model": ("404", 1, "the server has no model 'scripted-1'"),
    "wrong path": (sent(404, "404 page not found"), 1, "does the base URL end in /v1"),
    "moved": (
        Answer(301, b"", (("location", "/new/v1/chat/completions"),)),
        1,
        r"has moved to http.*/new/v1: give that URL",
    ),
    "a proxy": (error(407, "Who?"), 1, r"\(407\): Who\?: put the proxy's name .* HTTPS_PROXY"),
    "OpenRouter's": (
        error(404, "No endpoints found that support image input"),
        1,
        r"support image input: ask it for less",
    ),
    "a comment": (sent(200, f": PROCESSING\n\n{EVENTS}"), 1, r"a stream of events \("),
    "wrong method": ("405", 1, "the server does not take this request"),
    "html": ("html", 1, r"no chat completion but a web page \(.Welcome to the airport"),
    "text": (sent(200, "not found"), 1, "no chat completion but 'not found': does the base URL"),
    "events": (sent(200, EVENTS), 1, r"a stream of events \(.*nobody asked for one"),
    "nothing": (sent(200, ""), 1, "no chat completion but nothing at all"),
    "bytes": (Answer(200, b'{"choices": "\xff"}'), 1, "bytes that are no UTF-8"),
    "Ollama's own": (sent(200, {"message": {"content": "Yes"}}), 1, "no chat completion but '{"),
    "a day's limit": (error(200, "free-models-per-day", code=429), 1, "per-day: run again when"),
    "no images": (error(400, "At most 0 image(s)"), 16, "none of the first 16 .*400: At most 0 im"),
    "each too long": (error(400, LONG), 16, "none of the first 16 rows was answered, all alike"),
    "thoughts alone": (reply(None, reasoning="hm"), 16, "first 16 rows.*enable_thinking"),
    # Four tries of the first row, three each of the next ones: nothing hints at a better end.
    "500": ("500", 10, "3 rows one after another failed 3 times, at last with: 500"),
}


@pytest.mark.parametrize("name", AT_ONCE)
def test_what_hits_every_row_stops_at_once(rows: Rows, tmp_path: Path, name: str) -> None:
    what, calls, line = AT_ONCE[name]
    with ScriptedServer(fault=lambda call: what) as server:
        with pytest.raises(UserError, match=line) as raised:
            ask_all(server, rows, tmp_path / "a.jsonl", count=20, concurrency=1)
        assert "\n" not in str(raised.value)
        assert str(raised.value).startswith(server.url)
        assert len(server.asked()) == calls


def test_refused_rows_alone_are_asked_again_however_many(rows: Rows, tmp_path: Path) -> None:
    """A model that has answered before is no model that takes no images."""
    out = tmp_path / "a.jsonl"
    long = error(400, LONG)
    with ScriptedServer(fault=lambda call: long if call.number else None) as server:
        for calls in (20, 39):
            with pytest.raises(UserError, match=r"19 of 20 rows have no answer.*\(1 are kept\)"):
                ask_all(server, rows, out, count=20)
            assert len(server.asked()) == calls


def test_what_is_in_flight_is_kept_when_the_run_stops(rows: Rows, tmp_path: Path) -> None:
    """The sixth call is refused at once, while three others are under way."""
    out = tmp_path / "a.jsonl"

    def fault(call: Call) -> str | None:
        server.latency = 0.0 if call.number == 5 else 0.3
        return "401" if call.number == 5 else None

    with ScriptedServer(fault=fault) as server:
        with pytest.raises(UserError, match="check OPENAI_API_KEY"):
            ask_all(server, rows, out)
        asked = len(server.asked())
        assert len(server.answered()) == asked - 1 >= 5
    assert len(read_predictions(out)) == asked - 1


def test_thinking_that_is_cut_off_is_an_answer(rows: Rows, tmp_path: Path) -> None:
    cut = {3: reply(None, "length", reasoning_content="hm"), 5: reply(None, "MAX_TOKENS")}
    cut |= {6: reply("A CT of", "length")}
    fault = lambda call: cut.get(call.number)  # noqa: E731
    with ScriptedServer(fault=fault) as server:
        found = ask_all(server, rows, tmp_path / "a.jsonl", concurrency=1)
    ends = [(one.answer, one.end) for one in found if one.end != "eos"]
    assert ends == [("", "length"), ("", "length"), ("A CT of", "length")]


def test_the_command_tells_cut_off_thinking(demo: Path, tmp_path: Path) -> None:
    seen: list[Any] = []
    out = tmp_path / "run" / "answers.jsonl"

    def fault(call: Call) -> Answer | None:
        seen.append(call.body)
        return None if call.number else reply(None, "length", reasoning="hm")

    with ScriptedServer(fault=fault) as server:
        words = [
            "--model",
            server.model,
            "--server",
            server.url,
            "--out",
            str(out.parent),
        ]  # the run's folder
        words += ["--split", "forget", "--chat-template-kwargs", '{"enable_thinking": false}']
        told = command("eval", "answer", *words, cwd=demo).stdout
        assert "; 1 cut off at the limit, 1 of them before an answer began: raise --max-new" in told
        assert all(body["chat_template_kwargs"] == {"enable_thinking": False} for body in seen)
        assert all(body.items() >= SAMPLING.items() for body in seen)
        other = command("eval", "answer", *words[:-2], cwd=demo, code=1).stderr
    assert "another run (chat_template_kwargs: {'enable_thinking': False} there, None now)" in other
    assert describe(out)["chat_template_kwargs"] == {"enable_thinking": False}
    for wrong in ("[1]", "{", "null"):
        words[-1] = wrong
        said = command("eval", "answer", *words, cwd=demo, code=2).stderr
        assert f"--chat-template-kwargs {wrong}: write a JSON object" in said
    here = ["--model", "m", "--out", str(out), "--chat-template-kwargs", "{}"]
    assert "is for --server" in command("eval", "answer", *here, cwd=demo, code=2).stderr


def test_refused_parameters_are_done_without_and_noted(
    rows: Rows, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "a.jsonl"
    gone = ["frequency_penalty", "max_tokens", "repetition_penalty", "temperature"]
    bodies: list[dict[str, Any]] = []

    def says(body: dict[str, Any]) -> str:
        bodies.append(body)
        return prompt_of(body)

    with ScriptedServer(says, refusing(*gone)) as server:
        ask_all(server, rows, out, count=6)
        assert len(server.asked()) == 6 + 4
        said = capsys.readouterr().err
        for name in gone:
            assert said.count(f"does not take {name}: ") == 1
        assert describe(out)["refused"] == gone
        ask_all(server, rows, out)  # which knows that
        assert len(server.asked()) == ROWS + 4
    names = {"model", "messages", "top_p", "presence_penalty", "max_completion_tokens"}
    assert all(set(body) == names for body in bodies)


def test_a_server_that_is_starting_is_waited_for(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    loading = error(503, "Loading model")
    server = ScriptedServer(fault=lambda call: loading if call.number < 9 else None, port=port)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "nobody listens" in line:
            server.__enter__()

    monkeypatch.setattr("mllmu_med.llm.server.say", say)
    url = f"http://127.0.0.1:{port}/v1"
    found = ask_all(server, rows, tmp_path / "a.jsonl", url=url, patience=60)
    server.__exit__(None)
    assert len(found) == ROWS
    assert len(server.asked()) == ROWS + 9
    waiting = "waiting for it to start, up to 60 s (--patience)"
    assert said == [
        f"  {url}: cannot be reached (nobody listens there): {waiting}",
        f"  {url}: 503: Loading model: {waiting}",
    ]


def test_a_server_that_is_started_again_is_waited_for(rows: Rows, tmp_path: Path) -> None:
    """For longer than its four tries of a call would last."""
    first = ScriptedServer(fault=lambda call: "drop" if call.number > 3 else None)
    with first:
        second = ScriptedServer(port=first.port)

        def restart() -> None:
            while len(first.asked()) < 5:
                time.sleep(0.01)
            first.__exit__(None)
            time.sleep(0.5)
            second.__enter__()

        thread = threading.Thread(target=restart)
        thread.start()
        found = ask_all(first, rows, tmp_path / "a.jsonl", patience=60, concurrency=1)
        thread.join()
        second.__exit__(None)
    assert len(found) == ROWS
    assert len(second.answered()) == ROWS - 4


@pytest.mark.parametrize("listening", [False, True])
def test_patience_ends(rows: Rows, tmp_path: Path, listening: bool) -> None:
    with ScriptedServer(fault=lambda call: "503") as server:
        url = server.url if listening else "http://127.0.0.1:9/v1"
        started = time.monotonic()
        with pytest.raises(UserError, match=r"^http.*: waited 0\.5 s for it to start: is the serv"):
            ask_all(server, rows, tmp_path / "a.jsonl", url=url, patience=0.5)
        assert 0.4 < time.monotonic() - started < 10


def models(*entries: dict[str, Any]) -> Answer:
    return sent(200, {"object": "list", "data": list(entries)})


def test_the_served_model_is_part_of_an_answer(rows: Rows, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    base = {"id": "base", "root": "org/base", "max_model_len": 4096, "created": 1}
    lora = {"id": "scripted-1", "root": "runs/npo", "parent": "base", "max_model_len": None}
    with ScriptedServer() as server:
        server.models = models(base, lora)
        first = ask_all(server, rows, out)
        assert describe(out)["served"] == {"id": "scripted-1", "root": "runs/npo", "parent": "base"}
        server.models = models(base, {**lora, "root": "runs/ga"})
        with pytest.raises(UserError, match=r"another run \(served: .*runs/npo.*there, .*runs/ga"):
            ask_all(server, rows, out, count=20)
        other = ask_all(server, rows, tmp_path / "b.jsonl", count=1)
        assert other[0].run != first[0].run
        with pytest.raises(UserError, match=r"has no model 'other': .* one of: base, scripted-1"):
            ask_all(server, rows, tmp_path / "c.jsonl", model="other")
        # SGLang would answer with the base model, and not say so.
        server.models = models(base, {**lora, "owned_by": "sglang"})
        with pytest.raises(UserError, match="base model: give --model base:scripted-1"):
            ask_all(server, rows, tmp_path / "c.jsonl")
        asked = len(server.asked())
        server.model = "base:scripted-1"
        ask_all(server, rows, tmp_path / "d.jsonl", count=1)
        assert describe(tmp_path / "d.jsonl")["served"]["root"] == "runs/npo"
        server.model = "scripted-1"
    # All is answered: the server may be shut down.
    assert ask_all(server, rows, out) == first
    assert len(server.asked()) == asked + 1


@pytest.mark.parametrize(
    "listed",
    [None, sent(200, PAGE), sent(200, {"data": [3, {}]}), sent(401, ""), models(), sent(500, "")],
)
def test_a_server_that_lists_nothing_is_asked_all_the_same(
    rows: Rows, tmp_path: Path, listed: Answer | None
) -> None:
    with ScriptedServer() as server:
        server.models = listed
        ask_all(server, rows, tmp_path / "a.jsonl", count=2)
        assert "served" not in describe(tmp_path / "a.jsonl")
