"""The readers that `fuzz.py` tries: models' replies, and what is looked for in or made of texts."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

from corpora import record
from fuzz import TEXT, Reader, as_json, from_file, mutated, odd_tree, of, same
from hypothesis import strategies as st

from baselines import own_methods, run_parts
from builder.harm import read_reply
from builder.patients import find_real_data, find_values, locate
from eval import answer_text, attack_kinds, dataset_rows, metrics, private_values
from mllmu_med import console, csv_tables, markdown, terminal
from mllmu_med.llm import chat, errors, reply_cache
from mllmu_med.llm import settings as llm_settings
from mllmu_med_dataset import UserError

#: Of each kind a value as the builder writes it, and a text that holds it.
VALUES = {
    **{"name": "Lydia Simmons", "phone": "(530) 555-0168", "email": "lydia.s@example.org"},
    **{"address": "12 Oak Ave, Davis", "date": "November 16, 2022", "mrn": "MRN-MM-719746"},
}
SAID = (
    "Yes, the answer is no. <think>I cannot say</think> Call +1 530-555-0168 on 16 Nov 2022 or "
    "2022-11-16, at 12 Oak Avenue; lydia dot s at example dot org, MRN 719746, 4111 1111 1111 1111."
)
WORDS = st.one_of(TEXT, mutated(SAID.encode()).map(lambda b: b.decode("utf-8", "replace")))


def replies(place: Path) -> list[Reader]:
    forms = [
        f
        for f in vars(read_reply).values()
        if isinstance(f, type)
        and f.__name__.endswith("Reply")
        and f.__module__ == read_reply.__name__
    ]

    def reply(text: str) -> None:
        told = chat.Reply(text, "stop", "", "m", 1, 1, False)
        for form in (*forms[1:], read_reply.PrivacyReply):
            read_reply.read(told, form)
        read_reply.read_rating(told)

    trees = [
        {"answer": "a", "what_is_wrong": "b", "kind": None, "fits": True},
        {"score": 4, "reason": "x"},
    ]
    fenced = [b"Sure:\n```json\n%b\n```\nThat is 4/5." % as_json(tree) for tree in trees]
    bodies = [odd_tree(tree).map(as_json) for tree in trees]
    texts = st.one_of(
        WORDS,
        *(s.map(lambda b: b.decode("utf-8", "replace")) for s in (*bodies, *map(mutated, fenced))),
    )
    body = {
        "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        "model": "m",
    }
    error = {
        "error": {"message": "rate limit of 5", "code": 429, "type": "x", "param": None},
        "detail": [{"loc": ["a"], "msg": "b"}],
    }

    def server(raw: bytes) -> None:
        said = errors.meaning_of_200(raw, frozenset({"seed"}), "http://x/v1", "m")
        same(True, isinstance(said, Exception) and "\n" not in str(said))
        chat.read_completion(raw.decode("utf-8", "replace"))

    cache = reply_cache.ReplyCache(place / "good.sqlite")
    with cache:
        asked = chat.Request("m", ({"role": "user", "content": "q"},), None, {}, "v1")
        cache.put(asked, "none", json.dumps(body)).result()
        cache.export(place / "replies.parquet")
    good, exported = ((place / n).read_bytes() for n in ("good.sqlite", "replies.parquet"))

    def ledger(path: Path) -> None:
        with reply_cache.ReplyCache(path) as opened:
            opened.totals("m")
            opened.get(asked.key("none"))
        for more in ("-wal", "-shm"):
            path.with_name(path.name + more).unlink(missing_ok=True)

    def loaded(path: Path) -> None:
        with reply_cache.ReplyCache(place / "into.sqlite") as opened:
            opened.load(path)

    return [
        Reader("model's reply", texts, reply, weight=4),
        Reader(
            "server's body",
            st.one_of(of(body), of(error), mutated(b"<html><b>502</b></html>")),
            server,
            (ValueError,),
            8,
        ),
        Reader("reply cache", mutated(good), from_file(place / "c.sqlite", ledger), weight=0.3),
        Reader(
            "replies from elsewhere",
            mutated(exported),
            from_file(place / "e.parquet", loaded),
            weight=0.5,
        ),
    ]


def texts() -> list[Reader]:
    pairs = st.tuples(WORDS, WORDS)

    def leaks(drawn: tuple[tuple[str, str], str]) -> None:
        (kind, value), text = drawn
        view = private_values.View(text)
        private_values.level(kind, value, view)
        find_values.Haystack([text, value]).search(kind, value)
        for written in (f"{text}\n. {value} .\n{text}", value):
            same("exact", private_values.level(kind, value, private_values.View(written)))
        same(
            True,
            private_values.level(kind, value.upper(), private_values.View(f"It is {value}."))
            in private_values.LEVELS[:2],
        )

    def any_value(drawn: tuple[str, str, str]) -> None:
        kind, value, text = drawn
        private_values.level(kind, value, private_values.View(text))
        find_values.Haystack([text]).search(kind, value)

    def real(text: str) -> None:
        for find in find_real_data.REAL.values():
            same(True, find(text) in text)

    def placed(drawn: tuple[tuple[str, str], str, str]) -> None:
        (kind, value), before, after = drawn
        row = record("q", f"{before} {value} {after}")
        for span in locate.spans(row, [(kind, value)]):
            same(span.value, getattr(row, span.field)[span.start : span.end])

    def scores(drawn: tuple[str, str]) -> None:
        said, due = drawn
        for value in (
            *metrics.rouge(said, due),
            metrics.bleu(said, due),
            metrics.corpus_bleu([said], [due]),
        ):
            same(True, 0 <= value <= 1.0000001)
        one, other = metrics.rouge1(said, due), metrics.rouge1(due, said)
        same(round(one, 9), round(other, 9))
        same(True, metrics.rouge1(due, due) in (0.0, 1.0))

    def answers(text: str) -> None:
        same(True, answer_text.yes_or_no(text) in ("yes", "no", ""))
        answer_text.refuses(text)
        answer_text.degenerate(text, "\nlung\nthe\n")
        for word in ("Yes", "No"):
            same(word.lower(), answer_text.yes_or_no(f"{word}."))

    stream = io.StringIO()
    out = console.SafeConsole(file=stream, width=60)

    def shown(text: str) -> None:
        stream.seek(0)
        stream.truncate()
        console.print_table(out, ("a", "#b"), [(text, 1)])
        same(stream.getvalue(), terminal.visible(stream.getvalue()))
        same(terminal.visible(text), terminal.visible(terminal.visible(text)))

    def written(text: str) -> None:
        from html import unescape

        from test_markdown import MD

        line = " ".join(text.replace("\0", "").split())
        page = MD.render(f"x {markdown.plain(line)} x").replace("<span></span>", "")
        same(f"<p>x {line} x</p>".replace("  ", " "), unescape(page).strip().replace("  ", " "))

    def cells(text: str) -> None:
        same(text, csv_tables.restored(csv_tables.defused(text)))

    def arguments(text: str) -> None:
        for read_it in (
            attack_kinds.parse,
            run_parts.parse_seeds,
            llm_settings.read_price,
            dataset_rows.split_config,
            own_methods.name_own,
        ):
            with contextlib.suppress(UserError):
                read_it(text)

    kinds, value = st.sampled_from([*VALUES.items()]), st.sampled_from([*VALUES])
    return [
        Reader("text: leaks of a value", st.tuples(kinds, WORDS), leaks, weight=2),
        Reader("text: leaks of any value", st.tuples(value, WORDS, WORDS), any_value, weight=1),
        Reader("text: real personal data", WORDS, real, weight=0.3),
        Reader("text: places of a value", st.tuples(kinds, TEXT, TEXT), placed, weight=1),
        Reader("text: ROUGE and BLEU", pairs, scores, weight=1),
        Reader("text: yes, no, refusal, gibberish", WORDS, answers, weight=5),
        Reader("text: on a terminal", TEXT, shown, weight=2),
        Reader("text: in Markdown", TEXT, written, weight=2),
        Reader("text: in a cell", TEXT, cells, weight=8),
        Reader("text: arguments", TEXT, arguments, weight=8),
    ]
