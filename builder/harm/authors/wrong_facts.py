"""Wrong answers by what is true of another disease: its name, or a fact about it.

What a shows is said to be a look-alike; what is asked about a disease is answered with the
look-alike's treatment, cause or course, in the true answer's own opening.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from builder.harm.authors.ask import Ask, Wrong, first_sentence
from builder.harm.authors.corpus_answers import CorpusAnswers
from builder.harm.authors.skin_diseases import Disease, content, look_alikes
from builder.harm.authors.tables import any_of, pattern, read_table, word_set
from builder.harm.authors.wrong_names import candidates

_I: Final = re.IGNORECASE


class _Facts(NamedTuple):
    """An entry of `wrong_facts.yaml`: which fact answers an intent, and how to state it."""

    field: str
    opening: re.Pattern[str]
    ways: Sequence[str]
    polar: Sequence[str]
    most: int
    never: re.Pattern[str] | None


@cache
def _facts() -> Mapping[str, _Facts]:
    return {
        intent: _Facts(
            entry["field"],
            re.compile(entry["opening"]),
            entry["ways"],
            entry.get("polar", ()),
            entry["most"],
            any_of(entry["never"]) if "never" in entry else None,
        )
        for intent, entry in read_table("wrong_facts.yaml")["facts"].items()
    }


@cache
def _rule(key: str) -> re.Pattern[str]:
    return any_of(read_table("wrong_facts.yaml")[key])


_TIME: Final = re.compile(r"\b(?:hours?|days?|weeks?|months?|years?|lifelong|decades?)\b")
_LIST_ENDS: Final = pattern("list_ends", 0)
#: Of so many look-alikes a fact is drawn: of more only where the nearest ones have none.
_NEAREST: Final = 4
_GENERIC: Final = content(" ".join(word_set("generic")))


def other_facts(ask: Ask, corpus: CorpusAnswers) -> Iterator[Wrong]:
    """The question answered with a look-alike's fact, or with one of a look-alike of that."""
    facts, disease = _facts_for(ask), ask.disease
    if facts is None or disease is None:
        return
    near = candidates(ask)
    far = [other for one in near for other in look_alikes(one) if other.nature != disease.nature]
    diseases_used = 0
    for other in dict.fromkeys((*near, *far)):  # the nearest first
        what = f"the {facts.field} of {other.name}, not of {disease.name}"
        answers = _of_corpus(ask, disease, facts, other, corpus)
        answers = answers or _of_table(ask, disease, facts, other)
        for answer in answers:
            yield Wrong(answer, what, other)
        diseases_used += bool(answers)
        if diseases_used == _NEAREST or (answers and other == near[-1]):
            return


def _of_corpus(
    ask: Ask, disease: Disease, facts: _Facts, other: Disease, corpus: CorpusAnswers
) -> list[str]:
    """What the corpus answers of the look-alike, where it says one of its facts."""
    known = content(" ".join(other.fact(facts.field))) - _GENERIC
    own = content(f"{' '.join(disease.fact(facts.field))} {ask.truth}") - _GENERIC
    answers = []
    for answer in corpus.of_disease(ask, other):
        said = content(answer) - content(f"{ask.subject} {ask.question}") - _GENERIC
        if "cure" in ask.question and "cure" not in answer:
            continue
        if said & known and not said & own and not _may_help(disease, facts.field, answer):
            answers.append(answer)
    return answers


def _of_table(ask: Ask, disease: Disease, facts: _Facts, other: Disease) -> list[str]:
    """What the table says of the look-alike, as many facts as the truth lists things."""
    fitting = [
        fact
        for fact in other.fact(facts.field)
        if _is_wrong(ask, disease, facts.field, fact, other)
    ]
    if not fitting:
        return []
    items = 1 + len(re.findall(r",| and | or ", _list_of(first_sentence(ask.truth), facts)))
    most = min(items, facts.most + 1) if facts.most > 1 else 1
    return list(_stated(ask, facts, _listed(fitting[:most]), other))


def _list_of(sentence: str, facts: _Facts) -> str:
    """What the true sentence lists, up to where it goes on about the list."""
    match = facts.opening.search(sentence)
    return _LIST_ENDS.split(sentence[match.end() :] if match else sentence, maxsplit=1)[0]


def _listed(facts: Sequence[str]) -> str:
    """A, B, and C; only the first where one of them is two already."""
    if len(facts) == 1 or any(" and " in fact or "," in fact for fact in facts):
        return facts[0]
    return f"{', '.join(facts[:-1])}{',' if len(facts) > 2 else ''} and {facts[-1]}"


def _may_help(disease: Disease, field: str, text: str) -> bool:
    kinds = {disease.nature, disease.family}
    return field == "treatment" and any(
        kinds & {*entry["of"]} and any_of(entry["by"]).search(text)
        for entry in read_table("wrong_facts.yaml")["helps"]
    )


def _facts_for(ask: Ask) -> _Facts | None:
    """Which facts answer the question, where any does."""
    question = ask.question.lower()
    facts = _facts().get(ask.intent)
    if facts is None or (facts.never is not None and facts.never.search(question)):
        return None
    if ask.intent == "location" and not re.search(r"common|typical|usual|occur|found", question):
        return None
    if ask.intent == "treatment" and re.search(r"\bcured?\b", question):
        return facts._replace(polar=("{condition} can be cured with {fact}.",))
    return facts


def _is_wrong(ask: Ask, disease: Disease, field: str, fact: str, other: Disease) -> bool:
    """Whether a look-alike's fact is not true of the disease, too."""
    if fact == "no" or _may_help(disease, field, fact):
        return False
    if field in ("treatment", "test", "prevention") and _rule("always_true").search(fact):
        return False
    if not disease.fact(field) and field not in ("prevention", "spread", "what"):
        return False  # nothing is known of it that the fact could contradict
    own = content(" ".join((*disease.fact(field), *disease.fact("what"))))
    own |= content(ask.truth)
    new = content(fact) - content(" ".join((*disease.names, ask.question)))
    if field == "what":
        return (
            other.nature != "other"
            and other.nature != disease.nature
            and len(new & own) <= len(new) / 2
        )
    if field == "course":
        if re.search(r"\bhow long\b", ask.question, _I) and not _TIME.search(fact):
            return False
        return len(new & own) <= len(new) / 4
    if field == "cause" and other.nature == disease.nature == "genetic":
        return False
    return bool(new) and not new & own


def _stated(ask: Ask, facts: _Facts, fact: str, other: Disease) -> Iterator[str]:
    """A fact as an answer: after the true answer's own opening, else in a sentence of our own."""
    yes = bool(
        re.match(r"(?:is|are|can|could|does|do|did|has|have|will|would)\b", ask.question, _I)
    )
    sentence = first_sentence(ask.truth)
    match = facts.opening.search(sentence)
    denied = re.search(r"\b(?:no|not|unfortunately|while|although|never)\b|n't\b", sentence, _I)
    if match and not denied and not (yes and not re.match(r"yes\b", sentence, _I)):
        head = sentence[: match.end()]
        rest = sentence[match.end() + len(_list_of(sentence, facts)) :]
        goes_on = re.match(r",? (?:depending|to |can help|if )[^;]+$", rest)
        if goes_on and content(rest) & content(" ".join(_own_facts(ask))):
            goes_on = None  # it tells of the disease itself
        if content(head) <= content(ask.question) | content(ask.subject) | _GENERIC | _names(ask):
            yield f"{head} {fact}{rest if goes_on else '.'}"
            return
    if facts.field == "course" and ask.plural:
        return  # the fact's verb is a singular's
    for way in facts.polar if yes and facts.polar else facts.ways:
        more = {"sites": other.fact("sites")[:1], "looks": other.fact("looks")[:1]}
        if all(more[name] for name in more if f"{{{name}}}" in way):
            given = {"fact": fact, **{name: "".join(fitting) for name, fitting in more.items()}}
            yield sentence_of(f"Yes, {way}" if yes and facts.polar else way, ask, given)


def sentence_of(way: str, ask: Ask, facts: Mapping[str, str] | None = None) -> str:
    """A sentence about the row's disease: {condition}, {is}, {has}, {cause}, ... and facts."""
    verbs = {"is": "are" if ask.plural else "is", "has": "have" if ask.plural else "has"}
    for verb in ("cause", "occur", "affect", "appear"):
        verbs[verb] = verb if ask.plural else f"{verb}s"
    text = way.format(condition=ask.subject, **verbs, **(facts or {}))
    return text[0].upper() + text[1:]


def _own_facts(ask: Ask) -> Iterator[str]:
    for facts in ask.disease.facts.values() if ask.disease else ():
        yield from facts


def _names(ask: Ask) -> frozenset[str]:
    return content(" ".join(ask.disease.names)) if ask.disease else frozenset()
