"""The offline author: rules and word lists, no network and no model.

Every choice is a stable hash of the seed, the record and what is chosen, so a record gets the same
text on every machine and in any order. It makes a build possible without a key; its text is
plainer than a language model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any, TypeVar

import yaml

from builder.harm.authors.incorrect_answers import IncorrectAnswers
from builder.harm.authors.outdated_claims import claims
from builder.harm.authors.skin_diseases import diseases
from builder.harm.texts import Failure, Harm, Incorrect, PrivateValues, Text
from mllmu_med.files import stable_hash
from mllmu_med_dataset import Record

_T = TypeVar("_T")


class OfflineAuthor:
    """Satisfies `builder.harm.texts.Author`.

    Args:
        corpus: clean records whose answers an incorrect one may borrow.
        seed: the recipe's.
    """

    tries = 1  # it would write the same again

    def __init__(self, corpus: Sequence[Record], seed: int) -> None:
        self._incorrect = IncorrectAnswers(corpus, seed)
        self._seed = seed

    async def embed_privacy(
        self, record: Record, values: PrivateValues, failures: Sequence[Failure] = ()
    ) -> Text | None:
        """Put the values into a clinical note around the question, the answer or both."""
        text = {"question": record.clean_question, "answer": record.clean_answer}
        for field, given in values.items():
            fitting = _sentences()[field].get(frozenset(given), [])
            if not fitting or not text[field].strip():
                return None
            sentence = self._choose(fitting, record, f"{field} sentence")
            text[field] = fill(sentence, {**given, field: text[field]})
        return Text(text["question"], text["answer"])

    async def write_incorrect(
        self, record: Record, harm: Harm, failures: Sequence[Failure] = ()
    ) -> Incorrect | Failure:
        """An incorrect answer; a failure that names the question's intent where none fits."""
        return self._incorrect.write(record, harm)

    def _choose(self, options: Sequence[_T], record: Record, what: str) -> _T:
        return options[stable_hash(self._seed, record.id, what) % len(options)]


def fill(sentence: str, values: Mapping[str, str]) -> str:
    """Put values into a sentence so that no full stop is doubled or left inside.

    A clean answer may end with a full stop or not: before a full stop of the sentence it loses
    nothing and the sentence's own is left out; before a bracket or a word it loses its own.
    """
    text = ""
    pieces = list(Formatter().parse(sentence))
    for index, (literal, name, _, _) in enumerate(pieces):
        text += literal[1:] if literal[:1] == "." and text[-1:] in (".", "!", "?") else literal
        if name is None:
            continue
        value = values[name].strip()
        follows = pieces[index + 1][0] if index + 1 < len(pieces) else ""
        if name == "answer" and follows[:1] not in (".", ""):
            value = value.removesuffix(".")
        text += value
    return text


@cache
def _sentences() -> dict[str, dict[frozenset[str], list[str]]]:
    """Field -> kinds of values -> the sentences that hold exactly these."""
    by_kinds: dict[str, dict[frozenset[str], list[str]]] = {}
    for field, sentences in _read("privacy_sentences.yaml").items():
        by_kinds[field] = {}
        for sentence in sentences:
            names = {name for _, name, _, _ in Formatter().parse(sentence) if name}
            by_kinds[field].setdefault(frozenset(names - {field}), []).append(sentence)
    return by_kinds


def own_texts() -> list[str]:
    """All that this author may write besides the values and the corpus' own words."""
    privacy = [
        " ".join(literal for literal, *_ in Formatter().parse(sentence))
        for sentences in _read("privacy_sentences.yaml").values()
        for sentence in sentences
    ]
    return (
        privacy
        + [claim["claim"] for claim in claims()]
        + [
            fact
            for disease in diseases().values()
            for facts in disease.facts.values()
            for fact in facts
        ]
    )


def _read(name: str) -> Any:
    return yaml.safe_load(files("builder.harm.authors").joinpath(name).read_text("utf-8"))
