"""What a row asks, of which disease, and the parts of its true answer."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from builder.harm.authors.contrary import words
from builder.harm.authors.skin_diseases import Disease, mentions
from builder.harm.authors.tables import pattern

_I: Final = re.IGNORECASE
_SIDE_CLAUSE: Final = pattern("side_clause", 0)


class Ask(NamedTuple):
    """A row as the ways to be wrong see it."""

    question: str
    truth: str
    intent: str
    said: str  # all that is true of the picture: the truth, its other pairs, the caption
    disease: Disease | None  # that the row is about
    subject: str  # how an answer names it: "lichen planus", "this condition"
    plural: bool  # whether the subject is


class Wrong(NamedTuple):
    """A wrong answer, what is wrong with it, and the disease that it is true of, if of any."""

    answer: str
    what_is_wrong: str
    disease: Disease


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])(?<!\b[A-Z]\.)\s+(?=[A-Z\"])", text.strip(), maxsplit=1)[0]


def main_clause(sentence: str) -> str:
    """A sentence up to its first side clause, without the full stop."""
    sentence = sentence.rstrip(".!? ")
    lead = re.match(r"(?:Yes|No|In (?:this|the) \w+|Over time|Clinically),? ", sentence)
    begin = lead.end() if lead else 0
    match = _SIDE_CLAUSE.search(sentence, begin)
    clause = sentence[: match.start()].rstrip(" ,") if match else sentence
    return clause if len(words(clause)) >= 3 else sentence


def subject_of(question: str, truth: str) -> tuple[Disease | None, str, bool]:
    """The disease that a row is about, how an answer may name it, and whether that is a plural."""
    for mention in mentions(question):
        return mention.disease, question[mention.start : mention.end], mention.plural
    this = re.search(
        r"\b(?:this|these|the) (?:\w+ )?(condition|disease|disorder|lesion|cancer|tumor|infection"
        r"|rash|syndrome|reaction|lymphoma|nevus|cyst)(s?)\b", question, _I
    )  # fmt: skip
    asks_image = re.search(
        r"\b(?:image|picture|photo\w*|patient|person|it|this|child|man|woman)\b", question, _I
    )
    if this or asks_image:
        sentence = first_sentence(truth)
        for mention in mentions(sentence):
            subject = this[0].lower() if this else sentence[mention.start : mention.end]
            return mention.disease, subject, bool(this and this[2]) or (not this and mention.plural)
        if this:
            return None, this[0].lower(), bool(this[2])
    return None, "", False


def of_context(said: Sequence[str]) -> Disease | None:
    """The only disease that a picture's other texts name; None where there are several."""
    found = {mention.disease for text in said for mention in mentions(text)}
    return found.pop() if len(found) == 1 else None
