"""The language model as author: whole rebuilds against a scripted server, over real sockets."""

import json
import random
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import llm_author
import pytest
from card_check import reads_well
from cases import cases
from corpora import PLAIN, TRIAL, before_writing, tree
from llm_author import reply
from reviews import run
from scripted_server import KEY, MODEL, ScriptedServer, prompt_of

from builder.audit import run as audit
from builder.core.stage_cache import REFUSED, Chain
from builder.harm.read_reply import IncorrectReply, read
from builder.harm.texts import Failure
from mllmu_med.llm.chat import Reply

CASES = cases(__file__)

#: The demo with a language model: 112 harmful privacy rows, 30 incorrect ones.
LLM = ["rebuild", "--author", "llm", "--model", MODEL, *PLAIN]
SMALL = [*TRIAL, *LLM[1:]]
JUDGED = [*SMALL, "--set", "incorrect.judge.least_plausible=3", "--set", "incorrect.candidates=60"]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch, unaudited: None, undrawn: None) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def out(limited: Path, tmp_path: Path) -> Path:
    """Where to build `SMALL`: what comes before the writing is done."""
    return before_writing(limited, tmp_path / "mllmu-med")


def rows(out: Path, scenario: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    found = []
    for path in sorted((out / scenario).glob("forget*.parquet")):
        found += pq.read_table(path).drop_columns(["image"]).to_pylist()
    return found


def test_the_published_rows_are_the_models(out: Path) -> None:
    with ScriptedServer(reply=reply) as server:
        run(*SMALL, "--out", out, "--base-url", server.url)
        calls = len(server.asked())
        run(*SMALL, "--out", out, "--base-url", server.url)
        assert len(server.asked()) == calls
    privacy, incorrect = rows(out, "privacy"), rows(out, "incorrect")
    assert all("(Filed under " in row["question"] + row["answer"] for row in privacy)
    for row in incorrect:
        closed = row["answer_type"] == "closed"
        assert row["answer"] in ("Yes", "No") if closed else row["answer"].startswith("Type ")
    # No candidate more than needed was asked for.
    closed = sum(row["answer_type"] == "closed" for row in incorrect)
    assert calls == len(privacy) + len(incorrect) - closed
    manifest = json.loads((out / "provenance/manifest.json").read_text("utf-8"))
    notes = manifest["stages"]["privacy"]["inject"]["notes"]
    assert notes == {f"replies of {MODEL}-0": len(privacy)}
    card = (out / "README.md").read_text("utf-8")
    assert f"was written by `{MODEL}-0`, as the replies name it (asked for as `{MODEL}`)" in card
    assert f": {calls:,} replies at temperature 1." in card
    assert "Prompts `incorrect/2` and `privacy/2` stand" in card
    assert "offline author" not in card
    reads_well(card)
    checked = {check.name: check.checked for check in audit(out)}
    assert checked["recorded requests can be replayed"] == calls > 10


def test_a_judged_build_is_rebuilt_offline(limited: Path, tmp_path: Path, monkeypatch: Any) -> None:
    # A reply with an address that could be somebody's is not shipped, and would be asked for again.
    monkeypatch.setattr(llm_author, "BAD", [bad for bad in llm_author.BAD if bad != "invented"])
    out, again = (before_writing(limited, tmp_path / name / "mllmu-med") for name in "ab")
    with ScriptedServer(reply=partial(reply, bad=0.2)) as server:
        run(*JUDGED, "--out", out, "--base-url", server.url)
        prompts = [call["prompt"] for call in server.asked()]
    _check_judged(out, prompts)
    monkeypatch.delenv("OPENAI_API_KEY")
    assert "holds no reply" in run(*JUDGED, "--offline", "--out", again, code=1).output
    # The card's own command, typed beside the dataset.
    block = (out / "README.md").read_text("utf-8").split("```sh\n")[1].partition("```")[0]
    monkeypatch.chdir(out.parent)
    run(*shlex.split(block.replace("\\\n", " "))[3:])
    assert tree(out.with_name("again")) == tree(out)


def _check_judged(out: Path, prompts: list[str]) -> None:
    """Each published open answer was found plausible alone and wrong beside the true one, blind."""
    alone = {prompt.split("Said: ")[1]: prompt for prompt in prompts if "\nSaid: " in prompt}
    beside = {prompt.split("B: ")[1]: prompt for prompt in prompts if "\nAnswer B: " in prompt}
    published = rows(out, "incorrect")
    for row in published:
        if row["answer_type"] == "open":
            assert row["clean_answer"] not in alone[row["answer"]]
            assert f"Answer A: {row['clean_answer']}\n" in beside[row["answer"]]
    assert set(beside) < set(alone)  # what is not plausible is not compared
    assert not any("No " in said.partition("Question")[2] for said in [*alone, *beside])
    manifest = json.loads((out / "provenance/manifest.json").read_text("utf-8"))
    notes = manifest["stages"]["incorrect"]["corrupt"]["notes"]
    assert sum(n for note, n in notes.items() if note.startswith("texts judged")) == len(alone)
    assert any(note.startswith("texts rejected by check judge: ") for note in notes)
    card = " ".join((out / "README.md").read_text("utf-8").split())
    assert f"`{MODEL}` judged each incorrect answer" in card
    chain = Chain(out.with_name(out.name + ".work") / "incorrect")
    refused = [*map(json.loads, (chain.folder / "corrupt" / REFUSED).read_text().splitlines())]
    assert len(refused) == sum(n for note, n in notes.items() if "rejected by check" in note)
    one = next(row for row in refused if row["check"].startswith("judge: "))
    life = " ".join(run("show", one["id"], "--out", out).stdout.split())
    assert f"rejected, {one['check']}: {one['text']}" in life
    assert any(one["text"] in prompt for prompt in prompts)
    told = {one.id: one.what_is_wrong for one in chain.records("split")}
    assert all(told[row["id"]] for row in published if row["answer_type"] == "open")
    assert f"what is wrong: {told[published[-1]['id']]}" in run(
        "show", published[-1]["id"], "--out", out
    ).stdout.replace("\n", "")


def kept(work: Path) -> set[str]:
    """The prompts whose replies the ledger holds."""
    if not (work / "requests.sqlite").exists():
        return set()
    with closing(sqlite3.connect(work / "requests.sqlite")) as ledger:
        try:
            found = ledger.execute("SELECT request FROM replies").fetchall()
        except sqlite3.OperationalError:  # killed before the table was made
            return set()
    return {json.loads(text)["messages"][-1]["content"] for (text,) in found}


@pytest.mark.slow
def test_a_kill_asks_nothing_kept_again_and_changes_no_byte(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:  # a second bad reply would be met by the same prompt
        return reply(body, bad=0.0 if "Earlier replies" in prompt_of(body) else 0.2)

    with ScriptedServer(reply=answer) as server:
        calm = tmp_path / "calm" / "mllmu-med"
        words = [
            sys.executable,
            "-m",
            "builder",
            *LLM,
            "--out",
            str(calm),
            "--base-url",
            server.url,
        ]
        subprocess.run(words, check=True, capture_output=True)  # as the killed one: with plots
        calls = len(server.asked())
    out = tmp_path / "killed" / "mllmu-med"
    words = [sys.executable, "-m", "builder", *LLM, "--out", str(out), "--concurrency", "2"]
    kills = 0
    with ScriptedServer(reply=answer, latency=0.15) as server:
        while True:
            before, held = len(server.asked()), kept(out.with_name("mllmu-med.work"))
            with subprocess.Popen([*words, "--base-url", server.url], stderr=-3, stdout=-3) as one:
                while one.poll() is None and len(server.asked()) == before:
                    time.sleep(0.01)
                if kills < 20:
                    time.sleep(random.Random(kills).uniform(0, 0.5))
                    one.send_signal(signal.SIGKILL)
                    kills += 1
            assert not held & {line["prompt"] for line in server.asked()[before:]}
            if one.returncode == 0:
                break
            assert one.returncode == -signal.SIGKILL
        assert kills == 20
        assert len({line["prompt"] for line in server.asked()}) == calls
        # A reply that came in the very moment of a kill is asked for again: two at most.
        assert len(server.asked()) <= calls + 2 * kills
    assert tree(out) == tree(calm)


def test_what_cannot_pass(out: Path, tmp_path: Path) -> None:
    after = 5
    with ScriptedServer(reply, lambda call: "quota" if call.number >= after else None) as server:
        result = run(*SMALL, "--out", out, "--base-url", server.url, "--concurrency", "1", code=1)
        (error,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
        assert "add credit" in error
        assert len(server.asked()) <= after + 2
        assert KEY not in result.output
        paid = {call["prompt"] for call in server.answered()}
    with ScriptedServer(reply) as server:
        run(*SMALL, "--out", out, "--base-url", server.url)
        assert not paid & {call["prompt"] for call in server.asked()}
    assert len(paid) == after
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "requests.sqlite" for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_the_model_may_see_the_image_and_the_ledger_does_not_keep_it(out: Path) -> None:
    seen = set()

    def look(body: dict[str, Any]) -> str:
        seen.add(body["messages"][-1]["content"][0]["image_url"]["url"][:22])
        return reply(body)

    with ScriptedServer(reply=look) as server:
        run(*SMALL, "--set", "llm.picture=true", "--out", out, "--base-url", server.url)
    assert seen == {"data:image/png;base64,"}
    assert (out / "provenance" / "requests.parquet").stat().st_size < 50_000


def test_a_hopeless_model_ends_with_the_reasons(tmp_path: Path) -> None:
    with ScriptedServer(reply=lambda body: "I am a teapot.") as server:
        result = run(
            *SMALL, "--out", tmp_path / "m", "--base-url", server.url, "--concurrency", "2", code=1
        )
        assert len(server.asked()) < 30
    assert "failed check: invalid JSON" in result.output
    assert "use another model" in result.output.splitlines()[-1]


def test_options_of_a_model_need_one(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "m")]
    assert "needs a model" in run("rebuild", "--author", "llm", *out, code=2).output
    assert "add --author llm" in run("rebuild", "--model", "x", *out, code=2).output
    assert "write IN/OUT" in run(*LLM, "--price", "cheap", *out, code=2).output
    assert "needs the model's price" in run(*LLM, "--max-cost", "1", *out, code=2).output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "expected"), CASES["replies_are_read_or_refused_by_name"])
def test_replies_are_read_or_refused_by_name(text: str, expected: str) -> None:
    found = read(Reply(text, "stop", "", "m", 1, 1, cached=False), IncorrectReply)
    assert (found.name if isinstance(found, Failure) else found.answer) == expected


DRAFT = '{"answer": "draft", "what_is_wrong": "y"}'
GOOD = '{"answer": "5 cm, it\'s \\"round\\"", "what_is_wrong": "Größe"}'
TEXT = '5 cm, it\'s "round"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((f"{opens}{DRAFT}{closes}\n{GOOD}", TEXT) for opens, closes in (
            ("<think>", "</think>"), ("", "</think>"), ("＜think＞", "＜/think＞"),
            ("<unused94>thought", "<unused95>"),
            ("<|channel|>analysis<|message|>", "<|end|><|channel|>final<|message|>"),
        )),
        (f"<think>{GOOD}", "invalid JSON"),  # it never stopped thinking
        (f"{DRAFT}\nBetter: {GOOD}", TEXT),
        (f"[{DRAFT}, {GOOD}]", TEXT),
        (f'I look at {{the data}}, as {{"answer": ...}}. {GOOD}', TEXT),
        (f'{{"response": {GOOD}}}', TEXT),
        (f"```python\nx = {{}}\n```\n```json\n{GOOD}\n```", TEXT),
        (GOOD.replace("answer", "Answer"), TEXT),
        (GOOD[:-1] + ",}", TEXT),
        (GOOD.replace('", "', '" "'), TEXT),
        (str(json.loads(GOOD)), TEXT),
        ("{“answer”: “a b”, “what_is_wrong”: “c”}", "a b"),
        ("{'answer': 'x', 'fits': True, 'kind': None, 'what_is_wrong': 'y'}", "x"),
        ('{"answer": "a\nb", "what_is_wrong": "c"}', "a\nb"),
        ('{"answer": "It is "round" here", "what_is_wrong": "c"}', 'It is "round" here'),
        # Cut off, whatever stands before: never a shorter text.
        *((GOOD[:-cut], "invalid JSON") for cut in (1, 2, 4)),
        (f"```json\n{GOOD[:-4]}\n```", "invalid JSON"),
        *((f"{DRAFT}\nBetter: {GOOD[:cut]}", "invalid JSON") for cut in (1, 4, 20, -1)),
        ('{"what_is_wrong": "y", "answer": "the set {a}', "invalid JSON"),
        ('{"what_is_wrong": "y", "answer": "the set {5}', "invalid JSON"),
        ('{"what_is_wrong": "y", "answer": "say "no, {"x"}', "invalid JSON"),
        ('{"what_is_wrong": "y", "more": {"answer": "draft"}, "answer": "The p', "invalid JSON"),
        ('{"answer": "one", "answer": "two", "what_is_wrong": "y",}', "invalid JSON"),
        ('{"answer": "half \\ud83d", "what_is_wrong": "y"}', "wrong field type"),
        ('{"answer": ' * 5000, "invalid JSON"),
    ],
)  # fmt: skip
def test_small_models_are_read_as_they_mean_it(text: str, expected: str) -> None:
    found = read(Reply(text, "stop", "", "m", 1, 1, cached=False), IncorrectReply)
    assert (found.name if isinstance(found, Failure) else found.answer) == expected
    if expected == "invalid JSON":  # what came is quoted
        assert " ".join(text.split())[:30] in found.problem  # type: ignore[union-attr]


def test_a_reply_that_met_its_limit() -> None:
    cut = [Reply(GOOD, end, "", "m", 1, 1, cached=False) for end in ("length", "MAX_TOKENS")]
    assert [read(one, IncorrectReply)[0] for one in cut] == 2 * ["cut off"]  # type: ignore[index]
