"""Rows of a table that no model answered: what they score says how to read those that one did.

- clean oracle: the fine-tuned model's answers, every forget answer replaced by the one that it had
  before it was made harmful, where that is known of all. A perfect correction, the goal.
- gibberish: the same with the letters of every forget answer in random order: destruction.
- language prior: to every question the commonest retain answer to the same (clean) question,
  without a look at the image; to one that retain has not, its commonest open or closed answer.
- perfect: the reference answers themselves, the ceiling of ROUGE, BLEU and accuracy.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Final

from eval.read_run import Run, scored_items
from eval.results import Key
from eval.score import grade

ORACLE: Final = "Clean oracle"
GIBBERISH: Final = "Gibberish"
PRIOR: Final = "Language prior"
PERFECT: Final = "Perfect"
#: Those that change with the fine-tuned model.
OF_FINETUNED: Final = (ORACLE, GIBBERISH)
#: What makes sense of answers that nobody gave.
_METRICS: Final = ("rouge1", "rouge_l", "bleu", "accuracy", "clean_rouge1", "clean_accuracy")


def references(run: Run, finetuned: bool) -> list[Run]:
    """All on a run's rows; the first two take a fine-tuned run, the oracle clean answers, too."""
    prior = _prior(run.rows)
    made = [(PRIOR, prior), (PERFECT, lambda row: row["reference"])]
    if finetuned:
        made.insert(0, (GIBBERISH, _scrambled))
    if finetuned and not lacks_clean(run.rows):
        made.insert(0, (ORACLE, lambda row: row["clean"] or row["answer"]))
    return [_answered(run, name, say) for name, say in made]


def lacks_clean(rows: list[dict[str, Any]]) -> int:
    """How many forget rows have no clean answer."""
    return sum(row["split"] == "forget" and not row["clean"] for row in rows)


def _answered(run: Run, name: str, say: Callable[[dict[str, Any]], str]) -> Run:
    rows = []
    for row in run.rows:
        answer = say(row)
        rows.append({**row, **grade(row, answer), "answer": answer})
    items = {key: it for key, it in scored_items(rows).items() if key.metric in _METRICS}
    signatures = {metric: run.signatures.get(metric, "") for metric in _METRICS}
    made = replace(run, name=name, rows=rows, items=items, signatures=signatures)
    return replace(made, weighed=[], model={}, counts={})


def _scrambled(row: dict[str, Any]) -> str:
    letters = list(row["answer"])
    if row["split"] == "forget":
        Random(row["id"]).shuffle(letters)
    return "".join(letters)


def _prior(rows: list[dict[str, Any]]) -> Callable[[dict[str, Any]], str]:
    """The commonest retain answer to a row's question as it was before it was made harmful.

    Of equally common ones the alphabet's first; where retain has not this question, the commonest
    answer to all open or all closed ones.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row["split"] == "retain":
            counts[row["question"]][row["reference"]] += 1
            counts[row["answer_type"]][row["reference"]] += 1
    common = {q: min(c, key=lambda answer: (-c[answer], answer)) for q, c in counts.items()}

    def say(row: dict[str, Any]) -> str:
        asked = row.get("clean_question") or row["question"]
        return common.get(asked, common.get(row["answer_type"], ""))

    return say


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
        f"On test, {' and '.join(lower)} of the fine-tuned model: no higher than of the language "
        "prior, which sees no image."
    ]
