"""Wrong answers by what medicine held for right and has given up: `outdated_claims.yaml`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from builder.harm.authors.ask import Ask, Wrong
from builder.harm.authors.contrary import is_polar, says_yes
from builder.harm.authors.skin_diseases import Disease, named
from builder.harm.authors.tables import pattern, read_table
from builder.harm.authors.wrong_facts import sentence_of

_INTENTS: Final = {"spread": "contagion", "what": "what_is"}
# What a yes or a no about the outlook answers; and an open question that a prognosis does not.
_DANGER: Final = pattern("danger")
_HOW_LONG: Final = re.compile(r"\bhow long\b", re.IGNORECASE)
# Yes/no questions of these intents are answered falsely only by the other answer.
_ONLY_OPPOSITE: Final = frozenset(("contagion", "prognosis", "prevention", "inheritance"))


@cache
def claims() -> Sequence[Mapping[str, Any]]:
    """The entries of `outdated_claims.yaml`."""
    return list(read_table("outdated_claims.yaml"))


@cache
def _of(disease: Disease, intent: str) -> list[Mapping[str, Any]]:
    return [
        claim
        for claim in claims()
        if _INTENTS.get(claim["intent"], claim["intent"]) == intent
        and any(named(name) == disease for name in claim["conditions"])
    ]


def outdated(ask: Ask) -> Iterator[Wrong]:
    """Claims that answer the question about its disease."""
    if ask.disease is None or re.search(
        r"\b(?:was|were|did|other|alternative|home)\b|^(?:Why|How does|How do)\b", ask.question
    ):
        return
    polar = is_polar(ask.question)
    danger = polar and bool(_DANGER.search(ask.question))
    intent = "prognosis" if danger else ask.intent
    if intent == "prognosis" and (_HOW_LONG.search(ask.question) or (polar and not danger)):
        return
    for claim in _of(ask.disease, intent):
        what = f"an outdated claim ({claim['given_up'].rstrip('.')})"
        if not polar:
            yield Wrong(sentence_of(claim["claim"], ask), what, ask.disease)
            continue
        said_yes = says_yes(ask.question, ask.truth)
        for form, yes in (("yes", True), ("no", False)):
            fits = said_yes is (not yes) or (said_yes is yes and intent not in _ONLY_OPPOSITE)
            if form in claim and fits:
                yield Wrong(sentence_of(claim[form], ask), what, ask.disease)
