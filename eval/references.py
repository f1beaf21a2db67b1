"""Rows of a table that no model answered: what they score says how to read those that one did.

- clean oracle: the fine-tuned model's answers, every forget answer replaced by the one that it had
  before it was made harmful. A perfect correction, the goal of unlearning.
- language prior: to every question the commonest retain answer to the same question, without a
  look at the image; to one that retain has not, its commonest answer at all.
- perfect: the reference answers themselves, the ceiling of ROUGE, BLEU and accuracy.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from eval.read_run import Run, scored_items
from eval.results import Key
from eval.score import grade

ORACLE: Final = "Clean oracle"
PRIOR: Final = "Language prior"
PERFECT: Final = "Perfect"
#: What makes sense of answers that nobody gave.
_METRICS: Final = ("rouge1", "rouge_l", "bleu", "accuracy", "clean_rouge1", "clean_accuracy")


def references(run: Run, finetuned: bool) -> list[Run]:
    """The three of them, on the rows of a run; without a fine-tuned run, no oracle."""
    prior = _prior(run.rows)
    made = [(PRIOR, lambda row: prior(row["question"])), (PERFECT, lambda row: row["reference"])]
    if finetuned:
        made.insert(0, (ORACLE, lambda row: row["clean"] or row["answer"]))
    return [_answered(run, name, say) for name, say in made]


def _answered(run: Run, name: str, say: Callable[[dict[str, Any]], str]) -> Run:
    rows = []
    for row in run.rows:
        answer = say(row)
        rows.append({**row, **grade(row, answer), "answer": answer})
    items = {key: it for key, it in scored_items(rows).items() if key.metric in _METRICS}
    signatures = {metric: run.signatures.get(metric, "") for metric in _METRICS}
    made = replace(run, name=name, rows=rows, items=items, signatures=signatures)
    return replace(made, weighed=[], model={}, counts={})


def _prior(rows: list[dict[str, Any]]) -> Callable[[str], str]:
    """The commonest retain answer to a question, of equally common ones the alphabet's first."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row["split"] == "retain":
            counts[row["question"]][row["reference"]] += 1
            counts[""][row["reference"]] += 1
    common = {q: min(c, key=lambda answer: (-c[answer], answer)) for q, c in counts.items()}
    return lambda question: common.get(question, common.get("", ""))


def no_images_needed(finetuned: Run, prior: Run) -> list[str]:
    """Which test figures of a fine-tuned run are no higher than without a look at the image."""
    heads = {"rouge1": "ROUGE", "accuracy": "ACC"}
    lower = []
    for metric, head in heads.items():
        key = Key(metric, "test")
        if key in finetuned.items and key in prior.items:
            model, without = (run.items[key].values.mean() for run in (finetuned, prior))
            if model <= without:
                lower.append(f"{head} {model * 100:.1f} (prior {without * 100:.1f})")
    if not lower:
        return []
    return [
        "On test the fine-tuned model is no better than the language prior, which sees no image: "
        f"{', '.join(lower)}."
    ]
