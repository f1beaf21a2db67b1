"""Retain rows by how near they are to what is forgotten: a method may take more than it was asked.

- same image: of an image that a forget row is of, too.
- neighbour: of another image, with the finding, organ, ... of a forget row: the same content type
  and modality, and nearly the same clean answer (half of the words of both are in both); of closed
  questions, whose yes says nothing alone, nearly the same question with the same answer.
- other: all others.

The damage is what ROUGE-1 and the probability of the answer have lost against the fine-tuned run
on each; a model retrained without the forget set loses nothing on neighbours but by chance.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from eval.answer_text import words

NEAR: Final = ("same image", "neighbour", "other")
#: Share of words (Dice) from which two texts are nearly the same: our choice.
ALIKE: Final = 0.5
SIGNATURE: Final = (
    "retain rows|fine-tuned minus own|neighbour: other image, same content type and modality, "
    f"clean answers alike (Dice of words >= {ALIKE}); closed: questions alike, same answer|"
    "mllmu-med 1"
)


def near_forget(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Which of `NEAR` each retain row is, by id; of scored rows (`eval.score`)."""
    images = {row["image"] for row in rows if row["split"] == "forget"}
    forgotten: dict[tuple[str, ...], set[frozenset[str]]] = defaultdict(set)
    for row in rows:
        if row["split"] == "forget":
            forgotten[_kind(row)].add(_words(row))
    return {
        row["id"]: NEAR[0]
        if row["image"] in images
        else NEAR[1]
        if any(_alike(_words(row), other) for other in forgotten.get(_kind(row), ()))
        else NEAR[2]
        for row in rows
        if row["split"] == "retain"
    }


def _kind(row: dict[str, Any]) -> tuple[str, ...]:
    said = _answer(row).casefold() if row["answer_type"] == "closed" else ""
    return row["content_type"], row["modality"], row["answer_type"], said


def _answer(row: dict[str, Any]) -> str:
    """As it was before it was made harmful, where that is known."""
    return str(row["clean"] or row["reference"])


def _words(row: dict[str, Any]) -> frozenset[str]:
    closed = row["answer_type"] == "closed"
    text = (row["clean_question"] or row["question"]) if closed else _answer(row)
    return frozenset(word.casefold() for word in words(text))


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one) and 2 * len(one & other) >= ALIKE * (len(one) + len(other))
