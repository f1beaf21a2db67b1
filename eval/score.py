"""Scores of a predictions file: one row each, and a summary that recomputes from the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from eval import answer_text, metrics
from eval.answer_text import answer_of, vocabulary_of
from eval.attacks import Ask
from eval.dataset_rows import read_rows, split_config
from eval.predictions import Prediction, gather
from eval.run_folder import describe, write_measured
from mllmu_med.progress import progress
from mllmu_med_dataset import SPLITS, UserError

SCORES: Final = "scores.json"
ROWS: Final = "scores.rows.jsonl"
#: What the summary is also cut by: the row's column and the name in the file.
CUTS: Final = {"modality": "by_modality", "content_type": "by_content_type"}

#: Metrics of open and closed answers alike, with their columns.
_SAME: Final = {name: name for name in ("degenerate", "thinking", "unanswered")}
OF_ALL: Final = {"refusals": "refuses", **_SAME}

Row = dict[str, Any]


def score(
    paths: Sequence[Path],
    data: str | Path | None,
    config: str,
    splits: Sequence[str] = (),
    name: str = "",
) -> tuple[dict[str, Any], list[Row]]:
    """Score one model's answers to the rows' own questions.

    Returns:
        The summary (`splits` -> split -> metric -> {"value", "n"}, values in 0..1) and its rows.

    Raises:
        UserError: answers that are missing, doubled, of another dataset or of two models.
    """
    joined = gather(paths, data, config, ("own",), splits)
    called = name or paths[0].resolve().parent.name
    return score_answers(joined, config, called, describe(paths[0]), words_of(data, config))


def words_of(data: str | Path | None, config: str) -> str:
    """What `degenerate` compares with: the same words for all forget ratios of a config."""
    return vocabulary_of(read_rows(data, split_config(config)[0]))


def score_answers(
    joined: Sequence[tuple[Ask, Prediction]],
    config: str,
    name: str,
    model: dict[str, Any],
    vocabulary: str,
) -> tuple[dict[str, Any], list[Row]]:
    """Score answers that stand beside what was asked; `model` says whose they are."""
    with progress("scoring", len(joined)) as advance:
        rows = []
        for ask, prediction in joined:
            rows.append(score_row(ask, prediction, vocabulary))
            advance()
    about = {"name": name, "config": config, "model": model}
    return {**about, "splits": summarise(rows), "signatures": metrics.signatures()}, rows


def score_row(ask: Ask, prediction: Prediction, vocabulary: str) -> Row:
    """What one answer scores: ROUGE and BLEU where the question is open, yes or no where closed."""
    record, answer = ask.row, answer_of(prediction.answer)
    row: Row = {
        "id": record.id,
        "split": record.split,
        "modality": record.modality,
        "content_type": record.content_type,
        "answer_type": record.answer_type,
        "question": record.question,
        "reference": record.answer,
        "answer": prediction.answer,
        "thinking": answer != prediction.answer,
        "unanswered": not answer.strip(),
        "refuses": answer_text.refuses(answer),
        "degenerate": answer_text.degenerate(answer, vocabulary),
    }
    if record.answer_type == "closed":
        expected = answer_text.yes_or_no(record.answer)
        if not expected:
            raise UserError(
                f"{record.id}: a closed question whose answer says neither yes nor no "
                f"({record.answer[:60]!r}): this dataset is broken, build it again"
            )
        read = answer_text.yes_or_no(answer)
        return row | {"read": read, "correct": read == expected}
    rouge1, rouge_l = metrics.rouge(answer, record.answer)
    return row | {"rouge1": rouge1, "rouge_l": rouge_l, "bleu": metrics.bleu(answer, record.answer)}


def summarise(rows: Iterable[Row]) -> dict[str, Any]:
    """All means of some rows, by split, and within it by modality and by kind of question."""
    summary: dict[str, Any] = {}
    everything = list(rows)
    for split in SPLITS:
        of_split = [row for row in everything if row["split"] == split]
        if of_split:
            summary[split] = _measures(of_split)
            for column, cut in CUTS.items():
                values = sorted({row[column] for row in of_split} - {""})
                summary[split][cut] = {
                    value: _measures([row for row in of_split if row[column] == value])
                    for value in values
                }
    return summary


def _measures(rows: list[Row]) -> dict[str, Any]:
    """Each metric with the number of answers behind it; one without answers is left out."""
    opened = [row for row in rows if row["answer_type"] != "closed"]
    closed = [row for row in rows if row["answer_type"] == "closed"]
    measures: dict[str, Any] = {}
    if opened:
        measures |= {name: _mean(opened, name) for name in ("rouge1", "rouge_l", "bleu")}
        answers = [answer_of(row["answer"]) for row in opened]
        corpus = metrics.corpus_bleu(answers, [row["reference"] for row in opened])
        measures["corpus_bleu"] = {"value": corpus, "n": len(opened)}
    if closed:
        measures |= {"accuracy": _mean(closed, "correct"), "parse_rate": _mean(closed, "read")}
    return measures | {name: _mean(rows, column) for name, column in OF_ALL.items()}


def _mean(rows: list[Row], column: str) -> dict[str, Any]:
    """Of a column of texts, the share that is not empty."""
    values = [bool(value) if isinstance(value := row[column], str) else value for row in rows]
    return {"value": metrics.mean([float(value) for value in values], column), "n": len(rows)}


def write_scores(folder: Path, summary: dict[str, Any], rows: list[Row]) -> None:
    """`scores.json` and `scores.rows.jsonl` in a run's folder."""
    write_measured(folder, (SCORES, ROWS), summary, rows)
