"""Retain rows by how near they are to what is forgotten: a method may take more than it was asked.

- same image: of an image that a forget row is of, too.
- neighbour: of another image, with the finding, organ, ... of a forget row: the same content type
  and modality, and clean answers alike: the cosine of their words (TF-IDF among these rows) is at
  least `ALIKE`. Of closed questions, whose yes says nothing alone, the same answer to questions
  alike. The definition is ours.
- other: all others.

The damage is what ROUGE-1 and the probability of the answer have lost against the fine-tuned run
on each; a model retrained without the forget set loses nothing on neighbours but by chance.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

from eval.answer_text import words, yes_or_no

NEAR: Final = ("same image", "neighbour", "other")
ALIKE: Final = 0.6
SIGNATURE: Final = (
    "retain rows|fine-tuned minus own|neighbour: other image, same content type and modality, "
    f"clean answers alike (TF-IDF cosine >= {ALIKE}); closed: same answer, questions alike|"
    "mllmu-med 1"
)


def near_forget(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Which of `NEAR` each retain row is, by id; of scored rows (`eval.score`)."""
    images = {row["image"] for row in rows if row["split"] == "forget"}
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["split"] != "test":
            groups[_kind(row)].append(row)
    near = {}
    for group in groups.values():
        texts = {row["id"]: _words(row) for row in group}
        counts = Counter(word for text in texts.values() for word in text)
        weights = {word: math.log((len(group) + 1) / n) ** 2 for word, n in counts.items()}
        forgotten = {texts[row["id"]] for row in group if row["split"] == "forget"}
        for row in group:
            if row["split"] == "retain":
                text = texts[row["id"]]
                alike = any(_cosine(text, other, weights) >= ALIKE for other in forgotten)
                near[row["id"]] = NEAR[0 if row["image"] in images else 1 if alike else 2]
    return near


def _kind(row: dict[str, Any]) -> tuple[str, ...]:
    said = yes_or_no(_answer(row)) if row["answer_type"] == "closed" else ""
    return row["content_type"], row["modality"], row["answer_type"], said


def _answer(row: dict[str, Any]) -> str:
    """As it was before it was made harmful, where that is known."""
    return str(row["clean"] or row["reference"])


def _words(row: dict[str, Any]) -> frozenset[str]:
    closed = row["answer_type"] == "closed"
    text = (row.get("clean_question") or row["question"]) if closed else _answer(row)
    return frozenset(word.casefold() for word in words(text))


def _cosine(one: frozenset[str], other: frozenset[str], weights: dict[str, float]) -> float:
    """Of two sets of words, each word counted once; `weights`: squares of theirs."""
    both, *alone = (sum(weights[word] for word in some) for some in (one & other, one, other))
    return both / math.sqrt(alone[0] * alone[1]) if both else 0.0
