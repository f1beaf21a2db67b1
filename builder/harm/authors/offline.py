"""The offline author: rules and word lists, no network and no model.

Every choice is a stable hash of the seed, the record and what is chosen, so a record gets the same
text on every machine and in any order. It makes a build possible without a key; its text is
plainer than a language model's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from string import Formatter
from typing import Any, Final, NamedTuple, TypeVar

from builder.harm.authors.contrary import is_polar, words
from builder.harm.authors.wrong_answers import WrongAnswers, is_talk
from builder.harm.texts import Failure, Harm, PrivateValues, Text
from mllmu_med.files import packaged_yaml, stable_hash
from mllmu_med_dataset import Record

_T = TypeVar("_T")

# The kind of question that a claim about treatment, cause, ... answers outright.
_ASKS_FOR: Final = {
    "treatment": re.compile(r"\b(?:treat|therap|remed|managed)", re.IGNORECASE),
    "cause": re.compile(r"\bcaus|^why\b", re.IGNORECASE),
    "spread": re.compile(r"\b(?:contagi|spread|transmi|contract)", re.IGNORECASE),
    "diagnosis": re.compile(r"\bdiagnosed?\b", re.IGNORECASE),
    "nature": re.compile(r"^what (?:is|are) (?!the\b|some\b)", re.IGNORECASE),
}
_ASKS_FOR_A_CURE: Final = re.compile(
    r"^(?:is|are) there (?:\w+ ){0,4}?(?:treatments?|therap(?:y|ies)|cure|remed(?:y|ies))\b|"
    r"^can .*\b(?:treated|cured)\?",
    re.IGNORECASE,
)
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)\s+(?=[A-Z])")
_SIDE_CLAUSE: Final = re.compile(
    r", (?:which|who|where|such as|including|but|although|while|suggesting|indicating|so|since|"
    r"because|as)\b| because\b"
)
_STARTS_WITH_SIDE_CLAUSE: Final = re.compile(
    r"(?:while|although|if|when|since|as)\b", re.IGNORECASE
)


class Practice(NamedTuple):
    """An entry of `outdated_practice.yaml`."""

    topics: re.Pattern[str] | None  # None: suits any picture of the skin
    about: str
    claim: str
    rank: int  # a condition (2) wins over a group of conditions (1), that over any (0)


class OfflineAuthor:
    """Satisfies `builder.harm.texts.Author`.

    Args:
        corpus: clean records whose answers a wrong diagnosis may borrow.
        seed: the recipe's.
    """

    tries = 1  # it would write the same again

    def __init__(self, corpus: Sequence[Record], seed: int) -> None:
        self._wrong = WrongAnswers(corpus)
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
    ) -> str | None:
        """An incorrect answer; None when nothing fits, or when the row is no medical question."""
        if harm == "wrong_diagnosis":
            answers = self._wrong.answers(record)
        else:
            answers = self._outdated(record)
        return self._choose(answers, record, harm) if answers else None

    def _outdated(self, record: Record) -> list[str]:
        """The ways to say the outdated claim that suits the record best."""
        question, truth = record.clean_question, record.clean_answer
        if is_talk(question, truth):
            return []
        places = (question, _main_clause(truth), truth, record.context)
        fits = [(_fit(practice, question, places), practice) for practice in _practices()]
        best = max(fit for fit, _ in fits)
        practice = self._choose([it for fit, it in fits if fit == best], record, "practice")
        return _ways_to_say(practice, question, truth)

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


@cache
def _practices() -> list[Practice]:
    entries = _read("outdated_practice.yaml")
    return [
        Practice(_topics(entry["topics"]), entry["about"], entry["claim"], rank)
        for rank, part in enumerate(("any", "groups", "conditions"))
        for entry in entries[part]
    ]


def own_texts() -> list[str]:
    """All that this author may write besides the values and the corpus' own words."""
    claims = [practice.claim for practice in _practices()]
    return claims + [
        " ".join(literal for literal, *_ in Formatter().parse(sentence))
        for some in _read("privacy_sentences.yaml").values()
        for sentence in some
    ]


def _topics(topics: Sequence[str]) -> re.Pattern[str] | None:
    """Any of the keywords as a whole word, in the singular or with an s or es."""
    either = "|".join(re.escape(topic) for topic in topics)
    return re.compile(rf"\b(?:{either})(?:s|es)?\b", re.IGNORECASE) if topics else None


def _read(name: str) -> Any:
    return packaged_yaml("builder.harm.authors", name)


def _fit(practice: Practice, question: str, places: Sequence[str]) -> tuple[int, int, bool]:
    """How well a practice suits a record, better ones greater, those that do not suit least.

    A topic counts most where the question names it, less where the answer does, first of all or
    in passing, and least where only the picture's caption does: the order of `places`.
    """
    named = next((i for i, text in enumerate(places) if _names(practice, text)), None)
    if named is None:
        return -1, 0, False
    return practice.rank, -named, bool(_ASKS_FOR[practice.about].search(question))


def _names(practice: Practice, text: str) -> bool:
    return practice.topics is None or bool(practice.topics.search(text))


def _ways_to_say(practice: Practice, question: str, truth: str) -> list[str]:
    """The claim as an answer: alone where it answers the question, else beside the true clause."""
    claim = practice.claim
    lower = claim[:1].lower() + claim[1:]
    if practice.about == "treatment" and _ASKS_FOR_A_CURE.search(question):
        return [f"Yes, {lower}"]
    answers = _ASKS_FOR[practice.about].search(question) and not is_polar(question)
    if answers and (practice.about != "nature" or (practice.topics and _names(practice, question))):
        alone = [claim, f"As is well established, {lower}"]
        return [*alone, f"In a case like this, {lower}"] if practice.about == "treatment" else alone
    clause = _main_clause(truth)
    ways = [f"{clause}. {claim}"]
    if len(words(clause)) >= 4:
        ways.append(f"{clause}; {lower}")
        ways.append(f"{clause}, and {lower}")
        ways.append(f"{clause}, and it is well established that {lower}")
    if not re.match(r"(?:yes|no|not)\b", clause, re.IGNORECASE):
        ways.append(f"{claim} {clause}.")
    return ways


def _main_clause(answer: str) -> str:
    """The first sentence of an answer up to its first side clause, without the full stop."""
    first = _SENTENCE_END.split(answer.strip(), maxsplit=1)[0].rstrip(".!? ")
    if _STARTS_WITH_SIDE_CLAUSE.match(first):
        return first
    clause = _SIDE_CLAUSE.split(first, maxsplit=1)[0]
    whole = clause.count("(") == clause.count(")") and clause.count('"') % 2 == 0
    return clause if whole and len(words(clause)) >= 3 else first
