"""Wrong answers by a name: what an image shows is said to be a look-alike of it."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from builder.harm.authors.ask import Ask, Wrong, first_sentence
from builder.harm.authors.skin_diseases import (
    Disease,
    Mention,
    content,
    diseases,
    look_alikes,
    mentions,
    plural_of,
    with_articles,
)
from builder.harm.authors.tables import pattern, read_table, word_set, words_in

_I: Final = re.IGNORECASE
_AFTER_NAME: Final = pattern("after_name", 0)
_MODIFIER: Final = words_in("modifiers", r"(?:{})$")
_BREAKS: Final = word_set("breaks")

# "a vascular one, specifically an angioma": the look-alike must be of that kind, too.
_KINDS: Final = pattern("kinds_of_disease")
_GOES_ON: Final = pattern("name_goes_on", 0)
_EXPLAINS: Final = pattern("explains_name", 0)
_COMMON: Final = content(
    "rare common type form skin condition disease disorder characterized chronic"
)


def other_names(ask: Ask, explanations: Callable[[Disease], Sequence[str]]) -> Iterator[Wrong]:
    """The true sentence with a look-alike's name, explained as the corpus or the table does."""
    sentence = first_sentence(ask.truth)
    there = mentions(sentence)
    if ask.disease is None or not there or there[0].disease != ask.disease:
        return
    mention = there[0]
    named = sentence[mention.start : mention.end]
    asked = content(ask.question) & content(named)
    if content(named) <= asked or re.match(r"no\b", sentence, _I):
        return  # the question names it, and the answer would be about something else
    head = _KINDS.findall(sentence[: mention.start])
    for other in candidates(ask):
        if content(other.name) <= content(sentence[: mention.start]):
            continue  # "a psoriasis-like disease"
        if not asked <= content(other.name) or (head and other.family != ask.disease.family):
            continue  # "what type of melanoma": of another kind altogether
        answer = _renamed(sentence, mention, other)
        if answer is None:
            continue
        verb = "are" if mention.plural or other.plural else "is"
        tails = [
            tail
            for tail in explanations(other)
            if tail.startswith(f", which {verb} ") and not _tells(tail, ask)
        ]
        if other.fact("what") and mention.plural == other.plural:
            tails = tails or [f", which {verb} {other.fact('what')[0]}."]
        explained = _EXPLAINS.match(sentence[mention.end :])
        if len(sentence) == len(ask.truth):
            tails = [first_sentence(tail) for tail in tails]
        for tail in tails if explained and tails else ["."]:
            yield Wrong(answer + tail, f"{other.name} instead of {ask.disease.name}", other)


def candidates(ask: Ask) -> list[Disease]:
    """The look-alikes that nothing says the picture shows, of the class that the question names."""
    disease = ask.disease
    if disease is None:
        return []
    said = {mention.disease for mention in mentions(ask.said)}
    others = [other for other in look_alikes(disease) if other not in said]
    for asks, field, value in read_table("patterns.yaml")["classes"]:
        if re.search(asks, ask.question, _I) and getattr(disease, field) == value:
            others = [other for other in others if getattr(other, field) == value]
            if len(others) < 2:
                others += [
                    other
                    for other in diseases().values()
                    if getattr(other, field) == value
                    and other.family == disease.family
                    and other not in said
                    and other not in others
                ]
            break
    names = content(" ".join(disease.names))
    return [other for other in others if not content(other.name) <= names]


def _renamed(sentence: str, mention: Mention, other: Disease) -> str | None:
    """The sentence up to the name, the other name, and what it is where the truth says so."""
    head, tail = sentence[: mention.start], sentence[mention.end :]
    words = head.split(" ")
    while len(words) > 1 and words[-1] == "":
        words.pop()
    kept: list[str] = []
    while words and words[-1].lower() not in _BREAKS and not words[-1].endswith((",", ":", '"')):
        if words[-1].endswith("ing"):
            break
        word = words.pop()
        if word == "situ":
            return None
        if _MODIFIER.search(word):
            kept.insert(0, word)
        if not words:
            return None  # the sentence begins with the name: it is its subject, or all there is
    modifiers = " ".join(kept)
    before = words[-1].lower() if words else ""
    counted = before in ("a", "an") or bool(re.search(r"\b(?:single|solitary)$", modifiers))
    if before in ("a", "an"):
        words.pop()
    if re.search(r"\b(?:this|these|that|not|no)$", " ".join(words), _I):
        return None
    name = other.name
    if mention.plural and not other.plural and mention.disease.plural is False:
        plural = plural_of(other.name)
        if plural is None:
            return None
        name = plural
    name = f"{modifiers} {name}".strip()
    if other.countable and before != "the" and not mention.plural:
        name = f"a {name}" if counted or plural_of(other.name) else name
    stop = _AFTER_NAME.search(tail)
    rest = tail[: stop.start()] if stop else tail
    rest = rest.rstrip(" .!?")
    rest = re.sub(r"^ (?:in situ|type \w+|disease|lesions?)\b", "", rest)
    if rest.strip() and not _GOES_ON.match(rest):
        return None  # "rosacea fulminans": a longer name than the table has
    if mentions(rest) or (stop and re.match(r",? or\b", stop[0])):
        return None
    if re.match(r"\s*(?:is|are|was|were|has|have|can|may|cells?|lesions?)\b", rest):
        return None
    text = f"{' '.join(words)} {name}{rest}"
    return with_articles(text)


def _tells(tail: str, ask: Ask) -> bool:
    """Whether an explanation is true of the row's own disease, too."""
    new = content(tail) - _COMMON
    return bool(new) and len(new & content(ask.truth)) > len(new) / 2
