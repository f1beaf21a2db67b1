"""Predictions in the layouts of other programs: read as they are meant, or refused in one line."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eval.predictions import Prediction, read_predictions
from mllmu_med_dataset import UserError

SAID = {"x/0": "None", "x/1": "Yes, \u2028 007"}
ROWS = [{"id": key, "answer": answer} for key, answer in SAID.items()]
FRAME = pd.DataFrame(ROWS)


def lines(**named: Any) -> bytes:
    """A line a row: each name holds `id`, `answer`, or what stands there in every row."""
    rows = [{name: row.get(cell, cell) for name, cell in named.items()} for row in ROWS]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def by_id(**more: Any) -> dict[str, Any]:
    return {row["id"]: {**more, "generation": row["answer"]} for row in ROWS}


def dumped(value: Any, **how: Any) -> bytes:
    return json.dumps(value, **how).encode()


def excel(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.to_excel(stream, index=False)
    return stream.getvalue()


def lmms(**row: Any) -> bytes:
    resps = [
        {"doc_id": at, "doc": {"id": r["id"], "answer": "gold"}, "resps": [[r["answer"]]], **row}
        for at, r in enumerate(ROWS)
    ]
    return "".join(json.dumps(one) + "\n" for one in resps).encode()


def said(answer: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": answer}}]}


GOLD = FRAME.rename(columns={"id": "index", "answer": "prediction"}).assign(answer="gold")
READ: dict[str, bytes] = {
    "an array.json": dumped(ROWS, indent=1),
    "objects over lines.json": b"".join(dumped(row, indent=1) + b"\n" for row in ROWS),
    "pandas.json": FRAME.to_json().encode(),
    "under a name.json": dumped({"model": "m", "settings": {"n": "1"}, "results": ROWS}),
    "ids and texts.json": dumped(SAID, indent=1),
    "open-unlearning.json": dumped({"forget": by_id(ground_truth="gold")}, indent=4),
    "open-unlearning's scores.json": dumped(
        {"forget_Q_A_gen": {"agg_value": 0.5, "value_by_index": by_id(rouge=1.0)}}
    ),
    "LLaVA.jsonl": lines(question_id="id", prompt="Q?", text="answer", model_id="m"),
    "lmms-eval.jsonl": lmms(target="gold"),
    "another name.jsonl": lines(id="id", response="answer"),
    "the reference beside it.jsonl": lines(id="id", answer="gold", prediction="answer"),
    "VLMEvalKit.xlsx": excel(GOLD),
    "VLMEvalKit.tsv": GOLD.to_csv(sep="\t", index=False).encode(),
    "pandas.csv": FRAME.to_csv().encode(),
    "Excel.csv": b"\xef\xbb\xbfsep=;\r\n" + FRAME.to_csv(index=False, sep=";").encode(),
    "other heads.csv": FRAME.rename(columns=str.upper).to_csv(index=False).encode(),
    "lists of one.jsonl": b"".join(dumped({**r, "answer": [r["answer"]]}) + b"\n" for r in ROWS),
    "blanks.jsonl": lines(id="id", answer="answer").replace(b'"x/', b'" x/'),
    "lists.json": dumped({name: [row[name] for row in ROWS] for name in ROWS[0]}),
    "OpenAI's batch.jsonl": b"".join(
        dumped({"id": f"batch_{at}", "custom_id": r["id"], "response": {"body": said(r["answer"])}})
        + b"\n"
        for at, r in enumerate(ROWS)
    ),
    "chat completions.jsonl": b"".join(dumped({"id": r["id"], **said(r["answer"])}) for r in ROWS),
    "vLLM.json": dumped(
        [{"request_id": r["id"], "outputs": [{"index": 0, "text": r["answer"]}]} for r in ROWS]
    ),
    "inspect.json": dumped(
        {"samples": [{"id": r["id"], "output": said(r["answer"]), "scores": {}} for r in ROWS]}
    ),
}


@pytest.mark.parametrize("name", READ)
def test_layouts_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(READ[name])
    found = read_predictions(tmp_path / name)
    assert {one.id: one.answer for one in found} == SAID


def test_our_own_as_a_table(tmp_path: Path) -> None:
    ours = [Prediction(**row, way="direct", kind="name", tokens=3, end="eos") for row in ROWS]
    pd.DataFrame([one.to_json() for one in ours]).to_csv(tmp_path / "a.csv", index=False)
    assert read_predictions(tmp_path / "a.csv") == ours


def test_half_a_character_is_no_reason_to_lose_scores(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"id": "x/0", "answer": "Yes \\ud83d"}')
    assert [one.answer for one in read_predictions(tmp_path / "a.jsonl")] == ["Yes ?"]


REFUSED: dict[str, tuple[bytes, str]] = {
    "only a head.txt": (b"id\tanswer", "holds no predictions"),
    "no head.csv": (b"x/0,No\nx/1,Yes\n", "has no id (it has x/0, no"),
    "questions.jsonl": (lines(question_id="id", image="a.png", text="answer"), "holds questions"),
    "two outputs.jsonl": (lines(id="id", response="a", prediction="b"), "keep what the model"),
    "training data.jsonl": (  # whose last turn is the reference
        dumped([{"id": "x/0", "messages": [{"role": "assistant", "content": "gold"}]}]),
        "has no answer (it has id, messages)",
    ),
    "two choices.jsonl": (
        dumped({"id": "x/0", "choices": said("a")["choices"] * 2}),
        "x/0 has no answer",
    ),
    "a key twice.jsonl": (
        b'{"id": "x/0", "answer": "No"}\n{"id": "x/1", "answer": "No", "answer": "Yes"}\n',
        "line 2: the key 'answer' stands twice",
    ),
    "a key twice.json": (b'[\n{"id": "x/0",\n"id": "x/1"}]', "the key 'id' stands twice"),
    "unknown.jsonl": (lines(id="id", says="answer"), "has no answer (it has id, says)"),
    "one of several.jsonl": (lmms(resps=[["a", "b"]]), "x/0 has no answer"),
    "one without.jsonl": (  # the reference must not stand in for it
        b'{"id": "x/0", "answer": "gold"}\n' + lines(id="id", answer="gold", prediction="answer"),
        "row 1: x/0 has no answer",
    ),
    "cut off.jsonl": (lines(id="id", answer="answer")[:-9], "the file is cut off): restore it"),
    "brackets.json": (b"[" * 100_000, "broken JSON"),
    "deep.json": (b'{"a":' * 400 + b"1" + b"}" * 400, "holds no predictions"),
    "digits.jsonl": (b'{"id": ' + b"1" * 5000 + b"}", "broken JSON"),
    "compressed.jsonl.gz": (b"\x1f\x8b\x08", "is compressed: unpack it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_uncertain_is_refused(name: str, tmp_path: Path) -> None:
    content, said = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_predictions(tmp_path / name)
    assert said in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_without_a_last_line_end(tmp_path: Path, capsys: Any) -> None:
    """It may be cut off in the middle of an answer."""
    (tmp_path / "a.csv").write_bytes(b"id,answer\nx/0,Right Lu")
    assert read_predictions(tmp_path / "a.csv")[0].answer == "Right Lu"
    assert "the last line has no end: is the file whole" in capsys.readouterr().err
