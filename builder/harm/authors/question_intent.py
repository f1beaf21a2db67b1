"""What a question asks for, by its words: the treatment, the cause, the color, the name, ..."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from builder.harm.authors.tables import any_of, pattern, read_table

NO_MEDICAL_QUESTION: Final = "no medical question"

#: A "yes or no" about what else there is asks for presence, whatever thing it names.
_ANY_OTHER: Final = pattern("any_other")
_RECURS: Final = re.compile(r"\b(?:recur|reoccur|come back)\b", re.IGNORECASE)
_ASKS_NAME: Final = pattern("asks_name")


@cache
def intent(question: str) -> str:
    """What a question asks for; `other` where its words do not tell."""
    if _ANY_OTHER.search(question):
        return "presence"
    if _RECURS.search(question):
        return "prognosis"
    if _ASKS_NAME.match(question):
        return "name"
    return next((name for name, asks in _asked().items() if asks.search(question)), "other")


def is_medical(question: str, answer: str) -> bool:
    """False where a row is about its own conversation, the photograph or no medicine at all."""
    question_is, answer_is = _about("talk_question"), _about("talk_answer")
    if question_is.search(question) or answer_is.search(answer):
        return False
    return not (_about("other_question").search(question) or _about("photograph").search(answer))


@cache
def _asked() -> Mapping[str, re.Pattern[str]]:
    intents = read_table("question_intents.yaml")["intents"]
    return {name: any_of(patterns) for name, patterns in intents.items()}


@cache
def _about(key: str) -> re.Pattern[str]:
    return any_of(read_table("question_intents.yaml")[key], whole_words=True)
