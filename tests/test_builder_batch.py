"""The Batch API: nothing lost, nothing submitted twice."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpora import ROOT
from scripted_server import KEY, MODEL, Call, ScriptedServer, refusing

from mllmu_med.llm.batch import BatchOutcome, run_batch
from mllmu_med.llm.chat import Request
from mllmu_med.llm.client import Client
from mllmu_med.llm.reply_cache import ReplyCache
from mllmu_med.llm.settings import Price, Settings
from mllmu_med_dataset import UsageError, UserError

SCHEMA = {"name": "answer", "schema": {"type": "object", "properties": {}}}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def request(number: int) -> Request:
    messages = ({"role": "user", "content": f"question {number}"},)
    return Request(MODEL, messages, SCHEMA, {"temperature": 0.5}, "test/1")


def batch(
    ledger: Path, server: ScriptedServer, count: int, how: Any = None, **limits: int
) -> BatchOutcome:
    async def main() -> BatchOutcome:
        settings = Settings(MODEL, server.url, timeout=10, backoff=0.01, **(how or {}))
        async with Client(settings, opened) as client:
            return await run_batch(client, map(request, range(count)), poll=0.02, **limits)

    with ReplyCache(ledger) as opened:
        return asyncio.run(main())


def replay(ledger: Path, server: ScriptedServer, count: int) -> list[str]:
    async def main() -> list[str]:
        async with Client(Settings(MODEL, server.url, offline=True), opened) as client:
            return [(await client.ask(request(n))).text for n in range(count)]

    with ReplyCache(ledger) as opened:
        return asyncio.run(main())


def submitted(server: ScriptedServer) -> list[dict[str, Any]]:
    """The lines of all batches, in order."""
    files = [server.files[made["input_file_id"]] for made in server.batches.values()]
    return [json.loads(line) for content in files for line in content.splitlines()]


def test_one_call_shows_what_the_server_takes_and_the_rest_goes_as_a_batch(tmp_path: Path) -> None:
    with ScriptedServer(fault=refusing("json_schema", "temperature")) as server:
        assert batch(tmp_path / "l", server, 40) == BatchOutcome(39, {})
        assert len(server.answered()) == 1
        assert len(server.batches) == 1
        lines = submitted(server)
        assert [line["custom_id"] for line in lines] == [
            request(n).key("json_object") for n in range(1, 40)
        ]
        assert lines[0] == {
            "custom_id": request(1).key("json_object"),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": MODEL,
                "messages": [{"role": "user", "content": "question 1"}],
                "response_format": {"type": "json_object"},
            },
        }
        assert replay(tmp_path / "l", server, 40) == [f"echo: question {n}" for n in range(40)]
        assert batch(tmp_path / "l", server, 40) == BatchOutcome(0, {})
        # What the ledger knows needs no live call: the new ones go as a batch alone.
        assert batch(tmp_path / "l", server, 45) == BatchOutcome(5, {})
        assert len(server.answered()) == 1
        assert len(submitted(server)) == 39 + 5


def test_both_files_are_read_and_lines_that_failed_are_counted_by_reason(tmp_path: Path) -> None:
    def fault(call: Call) -> str | None:
        return {"3": "500", "5": "400", "7": "400"}.get(call.prompt.split()[1])

    with ScriptedServer(batch_fault=fault) as server:
        outcome = batch(tmp_path / "l", server, 20)
        assert outcome == BatchOutcome(16, {"400: scripted 400": 2, "500: scripted 500": 1})
        server.batch_fault = lambda call: None
        assert batch(tmp_path / "l", server, 20) == BatchOutcome(3, {})
    assert [line["body"]["messages"][0]["content"] for line in submitted(server)[19:]] == [
        "question 3",
        "question 5",
        "question 7",
    ]


def test_a_batch_where_all_lines_failed_has_no_output_file(tmp_path: Path) -> None:
    with ScriptedServer(batch_fault=lambda call: "500") as server:
        assert batch(tmp_path / "l", server, 5) == BatchOutcome(0, {"500: scripted 500": 4})


@pytest.mark.parametrize(
    ("text", "kept"),
    [2 * ("one\u2028two\u0085three\nfour",), ("half \ud800", "half ?")],
    ids=["line separators", "half a character"],
)
def test_a_reply_may_hold_any_character(tmp_path: Path, text: str, kept: str) -> None:
    with ScriptedServer(reply=lambda body: text) as server:
        assert batch(tmp_path / "l", server, 5) == BatchOutcome(4, {})
        assert replay(tmp_path / "l", server, 5) == [kept] * 5


@pytest.mark.parametrize(
    ("limits", "sizes"), [({"most_requests": 10}, [10, 10, 10, 9]), ({"most_bytes": 2000}, None)]
)
def test_too_much_is_split(tmp_path: Path, limits: dict[str, int], sizes: list[int] | None) -> None:
    with ScriptedServer() as server:
        assert batch(tmp_path / "l", server, 40, None, **limits) == BatchOutcome(39, {})
    files = [server.files[made["input_file_id"]] for made in server.batches.values()]
    if sizes:
        assert [len(content.splitlines()) for content in files] == sizes
    else:
        assert len(files) > 3
        assert max(map(len, files)) <= 2000
    assert len({line["custom_id"] for line in submitted(server)}) == 39


def test_an_expired_batch_keeps_what_it_answered_and_the_rest_goes_again(tmp_path: Path) -> None:
    with ScriptedServer(
        batch_end="expired", batch_fault=lambda call: "expired" if call.number >= 6 else None
    ) as server:
        with pytest.raises(UserError, match=r"batch batch_0: expired: 6 of its replies are kept"):
            batch(tmp_path / "l", server, 20)
        server.batch_end = "completed"
        server.batch_fault = lambda call: None
        assert batch(tmp_path / "l", server, 20) == BatchOutcome(13, {})
    assert len(submitted(server)) == 19 + 13


def test_a_failed_batch_says_why_and_can_be_submitted_again(tmp_path: Path) -> None:
    with ScriptedServer(batch_end="failed") as server:
        with pytest.raises(UserError, match=r"batch_0: failed \(bad_line: line 1 is bad\): 0 of"):
            batch(tmp_path / "l", server, 5)
        server.batch_end = "completed"
        assert batch(tmp_path / "l", server, 5) == BatchOutcome(4, {})


def test_limits(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        with pytest.raises(UserError, match=r"39 requests, and with the 1 so far .* limit of 30"):
            batch(tmp_path / "l", server, 40, {"max_requests": 30})
        assert not server.batches
        with pytest.raises(UsageError, match="cannot keep a cost limit"):
            batch(tmp_path / "l", server, 40, {"max_cost": 1.0, "price": Price(1, 1)})
        with pytest.raises(UserError, match="holds no reply"):
            batch(tmp_path / "l", server, 40, {"offline": True})
        batch(tmp_path / "l", server, 20)  # what a batch has answered counts as paid, too
        with pytest.raises(UserError, match=r"20 requests, and with the 20 so far .* limit of 30"):
            batch(tmp_path / "l", server, 40, {"max_requests": 30})


# --- killed ---

CODE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, "tests")
import mllmu_med.llm.batch as module
from mllmu_med.llm.client import *
from test_builder_batch import request
url, path, dies = sys.argv[1:]
def die(*_):
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
def count(client, *rest):
    calls.append(1)
    (die if len(calls) == int(dies[-1]) else note)(client, *rest)
calls, note = [], module._note
if dies.startswith("note"):
    module._note = count
elif dies == "collect":
    module._collect = die
async def main():
    with ReplyCache(Path(path)) as ledger:
        async with Client(Settings("scripted-1", url), ledger) as client:
            await module.run_batch(client, map(request, range(20)), poll=0.05, most_requests=10)
asyncio.run(main())
"""


def run_until(dies: str, ledger: Path, server: ScriptedServer) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", CODE, server.url, str(ledger), dies]
    return subprocess.Popen(words, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("dies", "batches"),
    [
        ("note1", 0),  # before anything is submitted
        ("note2", 1),  # the first batch is made and its id not yet noted
        ("note3", 1),
        ("note4", 2),
        ("collect", 2),  # all is answered and nothing read
        ("note5", 2),  # one is read, and still noted as under way
    ],
)
def test_a_kill_at_any_step_submits_nothing_twice(tmp_path: Path, dies: str, batches: int) -> None:
    with ScriptedServer() as server:
        killed = run_until(dies, tmp_path / "l", server)
        _, err = killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL, err
        assert len(server.batches) == batches
        batch(tmp_path / "l", server, 20, most_requests=10)
        assert replay(tmp_path / "l", server, 20) == [f"echo: question {n}" for n in range(20)]
        custom_ids = [line["custom_id"] for line in submitted(server)]
    assert len(custom_ids) == len(set(custom_ids)) == 19


def test_a_run_that_asks_for_other_things_keeps_what_was_paid_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with Client(Settings(MODEL, server.url), opened) as client:
            await run_batch(client, map(request, range(100, 103)), poll=0.02)
            assert set(client.used.values()) <= {f"{MODEL}-0"}
            assert len(client.used) <= 1

    with ScriptedServer() as server:
        run_until("collect", tmp_path / "l", server).wait(60)
        with ReplyCache(tmp_path / "l") as opened:
            asyncio.run(main())
        assert replay(tmp_path / "l", server, 20) == [f"echo: question {n}" for n in range(20)]
        with sqlite3.connect(tmp_path / "l") as ledger:
            assert ledger.execute("SELECT count(*) FROM submitted").fetchone() == (0,)


def test_a_second_ctrl_c_does_not_wait_for_a_server_that_hangs(tmp_path: Path) -> None:
    with ScriptedServer(batch_steps=10**6) as server:
        server.batch_hangs = True
        run = run_until("never0", tmp_path / "l", server)
        _wait_for(lambda: {"event": "hangs"} in server.lines)
        run.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert run.poll() is None
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=10)
    assert b"KeyboardInterrupt" in err


def test_ctrl_c_leaves_the_batch_at_work(tmp_path: Path) -> None:
    with ScriptedServer(batch_steps=10**6) as server:
        run = run_until("never0", tmp_path / "l", server)
        made = server.batches
        _wait_for(lambda: len(made) == 2 and all(b["polls"] for b in [*made.values()]))
        with sqlite3.connect(tmp_path / "l") as ledger:
            (noted,) = ledger.execute(
                "SELECT value FROM meta WHERE name GLOB 'batches:*'"
            ).fetchone()
        assert sorted(json.loads(noted).values()) == ["batch_0", "batch_1"]
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=30)
        assert b"KeyboardInterrupt" in err
        server.batch_steps = 1
        batch(tmp_path / "l", server, 20)
        assert len(server.batches) == 2
        assert len(replay(tmp_path / "l", server, 20)) == 20


def _wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
