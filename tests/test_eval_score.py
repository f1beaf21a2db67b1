"""Scores of predictions files: what is refused, what is counted, and that it adds up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpora import command

from eval.answer_text import yes_or_no
from eval.collect_results import figures_of_run
from eval.dataset_rows import read_rows
from eval.leak import leak
from eval.read_run import read_run, scored_items
from eval.results import Key
from eval.score import score, write_scores
from mllmu_med_dataset import SPLITS, Record, UsageError, UserError

Predictions = list[dict[str, Any]]


def perfect(data: Path, config: str = "privacy", *splits: str) -> Predictions:
    return [{"id": row.id, "answer": row.answer} for row in read_rows(data, config, splits)]


def write(path: Path, rows: Predictions) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def data(demo: Path) -> Path:
    return demo / "mllmu-med"


def means_of(rows: Predictions, split: str = "") -> dict[tuple[str, str], tuple[float, int]]:
    """Of each metric and cut the mean and the n, as every figure is made of them."""
    return {
        (key.metric, key.cut): (items.values.mean(), len(items.ids))
        for key, items in scored_items(rows).items()
        if key.split == split
    }


def test_perfect_answers(data: Path, tmp_path: Path) -> None:
    summary, rows = score([write(tmp_path / "a.jsonl", perfect(data))], data, "privacy")
    write_scores(tmp_path, summary, rows)
    corpus = {f.split: f.value for f in figures_of_run(tmp_path) if f.metric == "corpus_bleu"}
    assert corpus == dict.fromkeys(SPLITS, pytest.approx(1))
    for split in SPLITS:
        means = means_of(rows, split)
        n = sum(row["split"] == split for row in rows)
        opened, closed = means["rouge1", ""][1], means["accuracy", ""][1]
        assert (means["rouge1", ""], means["accuracy", ""]) == ((1, opened), (1, closed))
        assert (means["parse_rate", ""], means["refusals", ""]) == ((1, closed), (0, n))
        assert opened + closed == n
        if split == "forget":
            harms = {cut for _, cut in means if cut.startswith("harm=")}
            assert harms == {"harm=private answer", "harm=private question"}
            assert 0 < means["clean_rouge1", ""][0] < means["clean_accuracy", ""][0] == 1
        for column in ("modality", "content_type"):
            cuts = [
                m
                for (name, cut), m in means.items()
                if cut.startswith(f"{column}=") and name in ("rouge1", "accuracy")
            ]
            assert sum(of for _, of in cuts) == n
    assert set(summary["signatures"]) >= {"rouge1", "bleu", "accuracy", "corpus_bleu"}


def test_thinking_is_not_scored_but_leaks(data: Path, tmp_path: Path) -> None:
    plain = perfect(data, "privacy", "forget")
    thought = "<think>\nYes, or no. {}\n</think>\n<answer>{}</answer>"
    declared = "There are no signs against it, so the answer is yes."
    measured = []
    ways: dict[str, Callable[[str], str]] = {
        "plain": lambda text: text,
        "thought": lambda text: thought.format("Lung?", text),
        "declared": lambda text: declared if yes_or_no(text) == "yes" else text,
        "open": lambda text: f"<think>{text}",
        "hidden": lambda text: thought.format(text, "I don't know."),
    }
    for name, say in ways.items():
        path = write(tmp_path / f"{name}.jsonl", [{**r, "answer": say(r["answer"])} for r in plain])
        forget = means_of(score([path], data, "privacy")[1], "forget")
        leaked = [row["values"] for row in leak([path], data, "privacy")[1]]
        measured.append(({name: of for (name, cut), of in forget.items() if not cut}, leaked))
    (whole, leaked), (thinking, _), (said, _), (opened, _), (hidden, inside) = measured
    every = (1, len(plain))
    assert thinking == {**whole, "thinking": every}
    assert said["accuracy"] == whole["accuracy"]
    assert opened["unanswered"] == opened["thinking"] == hidden["refusals"] == every
    assert opened["rouge1"][0] == opened["accuracy"][0] == 0
    assert inside == leaked


def test_incorrect_facts_have_no_accuracy(data: Path, tmp_path: Path) -> None:
    """MM-Skin has free text only: a metric without answers is left out, not 0."""
    given = perfect(data, "incorrect", "forget")
    _, rows = score([write(tmp_path / "a.jsonl", given)], data, "incorrect")
    closed = [row for row in read_rows(data, "incorrect", ["forget"]) if row.answer_type != "open"]
    assert (("accuracy", "") in means_of(rows, "forget")) == bool(closed)
    assert {row["split"] for row in rows} == {"forget"}


def test_what_is_not_read_or_refused_counts(data: Path, tmp_path: Path) -> None:
    def say(row: Record) -> str:
        return (row.answer, "I don't know.", "", "No, it is not.")[len(row.id + row.question) % 4]

    given = [{"id": row.id, "answer": say(row)} for row in read_rows(data, "privacy")]
    _, rows = score([write(tmp_path / "a.jsonl", given)], data, "privacy")
    for split in SPLITS:
        means = means_of(rows, split)
        of_split = [row for row in rows if row["split"] == split]
        closed = [row for row in of_split if row["answer_type"] == "closed"]
        # The denominator is fixed: an answer in which nothing is read is a wrong one.
        right = sum(yes_or_no(row["answer"]) == row["read"] and row["correct"] for row in closed)
        assert means["accuracy", ""] == (pytest.approx(right / len(closed)), len(closed))
        assert means["parse_rate", ""][0] < 1
        refused = sum(row["answer"] == "I don't know." for row in of_split) / len(of_split)
        assert means["refusals", ""][0] == pytest.approx(refused)


NO_ANSWER = r"a\.jsonl, row 44: phantom/\S+ has no answer"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:5] + rows[7:], r"2 of 44 answers of privacy/forget are missing \(fir"),
        (
            lambda rows: [*rows, rows[3]],
            r"a\.jsonl, row 45: id phantom/\S+ is there twice .* row 4\)",
        ),
        (lambda rows: [*rows[:-1], {"id": rows[-1]["id"]}], NO_ANSWER),
        (lambda rows: [*rows[:-1], {"id": rows[-1]["id"], "answer": None}], NO_ANSWER),
        (lambda rows: [*rows[:-1], {"answer": "CT"}], r"a\.jsonl, row 44: no id"),
        (
            lambda rows: [{**row, "run": "ab"[i > 8] * 12} for i, row in enumerate(rows)],
            r"a\.jsonl, row 10: answers of two models in one file",
        ),
        (lambda rows: [{**row, "asked": "0" * 12} for row in rows], r"for another text or image"),
        (
            lambda rows: [*rows, {"id": "slake/xmlab1/1", "answer": "CT"}],
            r"1 of 45 ids are not in config privacy \(first: slake/xmlab1/1\): are --data",
        ),
        (
            lambda rows: [{**rows[0], "tokens": "many"}, *rows[1:]],
            r", row 1: tokens is 'many': use int",
        ),
        (lambda rows: [*rows[:-1], "CT"], r"a\.jsonl, row 44: no id: a prediction is"),
        (lambda rows: [], r"holds no predictions"),
    ],
)
def test_bad_predictions_are_one_line(data: Path, tmp_path: Path, change: Any, said: str) -> None:
    path = write(tmp_path / "a.jsonl", change(perfect(data, "privacy", "forget")))
    with pytest.raises(UserError, match=said) as caught:
        score([path], data, "privacy")
    assert "\n" not in str(caught.value)


def test_marks_and_line_ends_of_other_editors(data: Path, tmp_path: Path) -> None:
    """A byte order mark, CRLF, no line end at the end, and characters that end lines elsewhere."""
    given = [{**row, "answer": "a \u2028 b \x85 c"} for row in perfect(data)]
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in given)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    summary, rows = score([path], data, "privacy")
    assert {row["answer"] for row in rows} == {"a \u2028 b \x85 c"}
    write_scores(tmp_path, summary, rows)
    items = read_run(tmp_path).items
    scored = sum(len(items[Key("rouge1", split)].ids) for split in SPLITS)
    assert scored == sum("rouge1" in row for row in rows)


def test_a_half_written_last_line(data: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", perfect(data, "privacy", "forget"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        UserError, match=r"a\.jsonl: broken JSON \(.* line 44 .*the file is cut off"
    ):
        score([path], data, "privacy")
    path.write_text("{oh\n" + path.read_text())
    with pytest.raises(UserError, match=r"a\.jsonl: broken JSON \(.* line 1 "):
        score([path], data, "privacy")


def test_other_files_and_names(data: Path, tmp_path: Path) -> None:
    forget = write(tmp_path / "forget.jsonl", perfect(data, "privacy", "forget"))
    with pytest.raises(UserError, match=r"are not in config incorrect .* --config what"):
        score([forget], data, "incorrect")
    with pytest.raises(UserError, match="is also in another of the files"):
        score([forget, write(tmp_path / "b.jsonl", perfect(data)[:1])], data, "privacy")
    mine = [{**row, "run": "a" * 12} for row in perfect(data, "privacy", "test")]
    with pytest.raises(UserError, match="answers of another model"):
        score([forget, write(tmp_path / "test.jsonl", mine)], data, "privacy")
    with pytest.raises(UserError, match="150 of 150 answers of privacy/test are missing"):
        score([forget], data, "privacy", ["forget", "test"])
    with pytest.raises(UserError, match="cannot read predictions"):
        score([tmp_path / "none.jsonl"], data, "privacy")
    with pytest.raises(UsageError, match="--split tests: use forget, retain, test"):
        score([forget], data, "privacy", ["forget", "tests"])
    with pytest.raises(UsageError, match="--config privat: use privacy or incorrect"):
        score([forget], data, "privat")


def test_another_ratio(data: Path, tmp_path: Path) -> None:
    given = perfect(data, "privacy_r05", "forget")
    summary, rows = score([write(tmp_path / "a.jsonl", given)], data, "privacy_r05")
    assert 0 < len(rows) < 44
    assert summary["config"] == "privacy_r05"


def test_the_command(demo: Path, data: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "answers.jsonl", perfect(data))
    done = command("eval", "score", path, "--name", "mine", cwd=demo)
    assert "mine. Percent." in done.stdout
    assert "100.00" in done.stdout
    summary = json.loads((tmp_path / "scores.json").read_text())
    assert summary["name"] == "mine"
    done = command("eval", "ues", tmp_path, "--finetuned", tmp_path, "--json", cwd=demo)
    given = [
        f["value"] for f in json.loads(done.stdout) if (f["run"], f["metric"]) == ("mine", "ues")
    ]
    assert given == [1]
    done = command("eval", "score", tmp_path / "none", cwd=demo, code=1)
    assert done.stderr.count("\n") == 1
