"""Wrong answers by what is true of another disease: its name, or a fact about it.

What a shows is said to be a look-alike; what is asked about a disease is answered with the
look-alike's treatment, cause or course, in the true answer's own opening.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from builder.harm.authors.ask import Ask, Wrong, first_sentence
from builder.harm.authors.contrary import is_polar
from builder.harm.authors.corpus_answers import CorpusAnswers
from builder.harm.authors.skin_diseases import Disease, content, look_alikes
from builder.harm.authors.wrong_names import candidates

_I: Final = re.IGNORECASE


class _Facts(NamedTuple):
    """Which facts answer an intent, where a true answer states them, and how to state one."""

    fields: tuple[str, ...]
    opening: str  # up to here the true answer only repeats the question
    ways: tuple[str, ...]  # as `sentence_of` reads them
    polar: tuple[str, ...] = ()  # after "Yes, ", for a yes/no question
    most: int = 1  # facts in one answer


_FACTS: Final = {
    "treatment": _Facts(
        ("treatment",),
        r"\b(?:(?:treated|managed) (?:with|by|using)|involves?|includes?|including|such as)\b(?: the use of)?",
        ("{condition} {is} typically treated with {fact}.", "Treatment for {condition} typically involves {fact}.",
         "Treatment options for {condition} include {fact}."),
        ("{condition} can be treated with {fact}.", "treatment options for {condition} include {fact}.",
         "treatment for {condition} typically involves {fact}."),
        most=2,
    ),
    "cause": _Facts(
        ("cause",),
        r"\b(?:caused|triggered) by|\bdue to|\bresults? from|\bcause of [\w' -]+ is",
        ("{condition} {is} caused by {fact}.", "{condition} {is} thought to be caused by {fact}.",
         "The main cause of {condition} is {fact}."),
        ("{condition} {is} caused by {fact}.",),
    ),
    "contagion": _Facts(
        ("spread",),
        r"\b(?:transmitted|spread|spreads) (?:through|by|via)|\binfected (?:through|by)",
        ("{condition} {is} spread by {fact}.", "{condition} can be transmitted by {fact}."),
        ("{condition} {is} contagious and can be spread by {fact}.",
         "{condition} {is} contagious and can be transmitted by {fact}."),
    ),
    "prevention": _Facts(
        ("prevention",),
        r"\bprevented (?:through|by|with)",
        ("{condition} can be prevented by {fact}.", "The best way to prevent {condition} is {fact}."),
        ("{condition} can be prevented by {fact}.", "{condition} can usually be prevented by {fact}."),
    ),
    "diagnosis": _Facts(
        ("test",),
        r"\b(?:diagnosed|made|confirmed) (?:through|by|with|based on|via|using)\b|\binvolves?\b",
        ("{condition} {is} typically diagnosed by {fact}.", "Diagnosis of {condition} typically involves {fact}."),
        ("{condition} can be diagnosed by {fact}.",),
    ),
    "prognosis": _Facts(
        ("course",), r"(?!)", ("In most cases, {condition} {fact}.", "Typically, {condition} {fact}."), ("{condition} usually {fact}.",)
    ),
    "complications": _Facts(
        ("complications",),
        r"\b(?:can|may) include|\bincludes?\b|\bsuch as\b|\blead to(?: complications such as)?",
        ("Complications of {condition} can include {fact}.", "{condition} can lead to {fact}."),
        ("complications of {condition} can include {fact}.", "{condition} can lead to {fact}."),
        most=2,
    ),
    "symptoms": _Facts(
        ("symptoms",),
        r"\b(?:can|may) include|\bincludes?\b|\bsuch as\b|\bexperience\b",
        ("Common symptoms of {condition} include {fact}.", "{condition} typically {cause} {fact}."),
        ("people with {condition} may also experience {fact}.", "{condition} may also cause {fact}."),
        most=2,
    ),
    "what_is": _Facts(
        ("what",), r"^[^,.]{3,60}? (?:is|are|refers to)\b", ("{condition} {is} {fact}.",)
    ),
    "location": _Facts(
        ("sites",),
        r"(?!)",
        ("{condition} most commonly {occur} on the {fact}.", "{condition} {is} typically found on the {fact}."),
        most=2,
    ),
    "who": _Facts(("who",), r"\baffects\b", ("{condition} mostly {affect} {fact}.",), ("{condition} mostly {affect} {fact}.",)),
    "appearance": _Facts(
        ("looks",),
        r"\bappears? (?:as|like)\b|\blooks? like\b|\bpresents? (?:as|with)\b|\bcharacterized by\b",
        ("{condition} typically {appear} as {fact}.", "{condition} {is} characterized by {fact}."),
        most=2,
    ),
    "inheritance": _Facts(
        ("inherited",), r"\binherited (?:as|in)\b", ("{condition} {is} inherited as {fact}.",),
        ("{condition} {is} inherited as {fact}.",),
    ),
}  # fmt: skip
_FACTS_OF_EFFECT: Final = _FACTS["appearance"]._replace(
    opening=r"\b(?:causes?|causing)\b|\bby causing\b",
    ways=("{condition} {affect} the skin by causing {fact}.", "{condition} {cause} {fact}."),
)
# Not wrong of nearly any disease, however special it was where it comes from.
_ALWAYS_TRUE: Final = re.compile(
    r"\b(?:emollient|moisturi[sz]|avoid|protect|wound care|compress|antihistamine|rest\b|observation"
    r"|reassur|no treatment|watchful|gentle|hygiene|soap|clinical (?:look|appearance|examination)"
    r"|skin biopsy|biopsy$|stopping|withdraw|support|dressing|clinical|inspection|histology)", _I
)  # fmt: skip
_UNSPECIFIC: Final = re.compile(
    r"^(?:\w+ )?(?:itch|burn|pain|tender|dry|stinging|sore)\w*$|infection|scarring|distress", _I
)
#: Treatments that may well help a disease of this nature or family, whatever its entry says.
_HELPS: Final = (
    ("inflammatory autoimmune drug metabolic other",
     r"steroid|prednis|immunosuppress|methotrexate|cyclosporine|calcineurin|tacrolimus|phototherap"
     r"|dapsone|hydroxychloroquine|colchicine|biologic|azathioprine|mycophenolate|retinoid|ultraviolet"
     r"|cyclophosphamide|rituximab|sulfa|immunoglobulin|psoralen|cetirizine|tin\b|mab\b"),
    ("malignant premalignant", r"surg|excis|radi|cryo|imiquimod|fluorouracil|chemo|photodynamic|curett"
     r"|cauter|laser|interferon|phototherap|retinoid|bexarotene|resect|freez|removal|amputation"),
    ("benign", r"surg|excis|laser|cryo|curett|cauter|remov|freez|electro|steroid inj|shav|snip|injection"
     r"|dermabras|extract|sclero|propranolol|retino"),
    ("genetic", r"retinoid|urea|keratoly|surg|laser|excis|steroid|lactic|salicyl"),
    ("bacterial", r"antibiot|cillin|cycline|mycin|floxacin|cef|ceph|mupirocin|drain|incision|sulfa"
     r"|rifamp|metronid|trimeth|fusid|benzoyl"),
    ("fungal", r"fung|azole|terbinafine|griseofulvin|amphotericin|nystatin|selenium|ciclopirox|iodide"),
    ("viral", r"vir\b|viral|cryo|podoph|salicyl|imiquimod|cantharid|laser|freez|curett|interferon|remov"),
    ("parasitic infestation", r"mectin|permethrin|benzyl|antimon|albendaz|malathion|crotamiton|lindane"
     r"|nifurtimox|praziq|remov|surg"),
    ("acneiform", r"retino|benzoyl|cycline|mycin|azelaic|antibiot|metronid|salicyl"),
    ("connective_tissue granulomatous panniculitis vasculitis urticaria drug_reaction mast_cell",
     r"steroid|prednis|immunosuppress|methotrexate|dapsone|colchicine|iodide"),
)  # fmt: skip


def other_facts(ask: Ask, corpus: CorpusAnswers) -> Iterator[Wrong]:
    """The question answered with a look-alike's fact, or with one of a look-alike of that."""
    facts = _facts_for(ask)
    if facts is None or ask.disease is None:
        return
    near = candidates(ask)
    far = [
        other for one in near for other in look_alikes(one) if other.nature != ask.disease.nature
    ]
    diseases_used = 0
    for other in dict.fromkeys((*near, *far)):  # the nearest first
        answers = list(_from_corpus(ask, facts, other, corpus)) or list(
            _with_fact_of(ask, facts, other)
        )
        yield from answers
        diseases_used += bool(answers)
        if diseases_used == _NEAREST or (answers and other == near[-1]):
            return


def _from_corpus(ask: Ask, facts: _Facts, other: Disease, corpus: CorpusAnswers) -> Iterator[Wrong]:
    """What the corpus answers of the look-alike, where it says one of its facts."""
    if ask.disease is None:
        return
    for field in facts.fields:
        known = content(" ".join(other.fact(field))) - _GENERIC
        own = content(" ".join(ask.disease.fact(field)) + ask.truth) - _GENERIC
        for answer in corpus.of_disease(ask, other):
            said = content(answer) - content(ask.subject) - content(ask.question) - _GENERIC
            special = said & known
            if special and not said & own and not _may_help(ask.disease, field, answer):
                what = f"the {field} of {other.name}, not of {ask.disease.name}"
                yield Wrong(answer, what, other)


def _may_help(disease: Disease, field: str, text: str) -> bool:
    return field == "treatment" and any(
        re.search(helps, text, _I)
        for who, helps in _HELPS
        if disease.nature in who.split() or disease.family in who.split()
    )


def _with_fact_of(ask: Ask, facts: _Facts, other: Disease) -> Iterator[Wrong]:
    for field in facts.fields:
        fitting = [fact for fact in other.fact(field) if _is_wrong(ask, field, fact, other)]
        if fitting and ask.disease is not None:
            most = facts.most if _is_list(ask.truth) else 1
            fact = " and ".join(fitting[: 1 if " and " in "".join(fitting[:most]) else most])
            what = f"the {field} of {other.name}, not of {ask.disease.name}"
            for answer in _stated(ask, facts, fact):
                yield Wrong(answer, what, other)


def _facts_for(ask: Ask) -> _Facts | None:
    question = ask.question.lower()
    if ask.intent in ("function", "histology") and re.match(
        r"how (?:does|do) .{3,60} affect (?:the )?(?:skin|body|patient)", question
    ):
        return _FACTS_OF_EFFECT
    if ask.intent == "appearance" and not re.search(r"\blooks? like\b|\bcharacteri", question):
        return None  # it asks for the picture
    if ask.intent == "location" and not re.search(r"common|typical|usual|occur|found", question):
        return None
    if ask.intent == "contagion" and re.search(r"\bparts? of|areas?\b", question):
        return None
    if ask.intent == "symptoms" and is_polar(question):
        return None
    if ask.intent == "cause" and re.match(r"(?:can|does|do|did|is|are|could) ", question):
        return None
    if ask.intent in ("prevention", "diagnosis") and re.match(r"how do(?:es)? .* help", question):
        return None
    if ask.intent == "who" and re.search(r"risk", question):
        return None
    if ask.intent == "treatment" and re.search(r"\bcured?\b", question):
        return _FACTS["treatment"]._replace(polar=("{condition} can be cured with {fact}.",))
    return _FACTS.get(ask.intent)


def _is_list(truth: str) -> bool:
    return bool(re.search(r",| and | or ", first_sentence(truth)))


def _is_wrong(ask: Ask, field: str, fact: str, other: Disease) -> bool:
    """Whether a look-alike's fact is not true of the disease, too."""
    disease = ask.disease
    if (
        disease is None
        or fact == "no"
        or (field in ("treatment", "test") and _ALWAYS_TRUE.search(fact))
    ):
        return False
    if field != "what" and not disease.fact(field) and field not in ("prevention", "spread"):
        return False  # nothing is known of it that the fact could contradict
    if _may_help(disease, field, fact):
        return False
    known = disease.facts if field in ("looks", "symptoms", "complications") else (field, "what")
    own = content(" ".join(fact for name in known for fact in disease.fact(name)))
    own |= content(ask.truth)
    new = content(fact) - content(" ".join((*disease.names, ask.question)))
    if field == "what":
        return other.nature != disease.nature and len(new & own) <= len(new) / 2
    if field == "course":
        return len(new & own) <= len(new) / 4
    if field == "cause" and other.nature == disease.nature == "genetic":
        return False
    return bool(new) and not new & own


def _stated(ask: Ask, facts: _Facts, fact: str) -> Iterator[str]:
    """A fact as an answer: after the true answer's own opening, else in a sentence of our own."""
    yes = bool(
        re.match(r"(?:is|are|can|could|does|do|did|has|have|will|would)\b", ask.question, _I)
    )
    sentence = first_sentence(ask.truth)
    match = re.search(facts.opening, sentence)
    denied = re.search(r"\b(?:no|not|unfortunately|while|although|never)\b|n't\b", sentence, _I)
    if match and not denied and not (yes and not re.match(r"yes\b", sentence, _I)):
        head = sentence[: match.end()]
        if content(head) <= content(ask.question) | content(ask.subject) | _GENERIC | _names(ask):
            yield f"{head} {fact}."
            return
    if facts.fields == ("course",) and ask.plural:
        return  # the fact's verb is a singular's
    for way in facts.polar if yes and facts.polar else facts.ways:
        text = sentence_of(f"Yes, {way}" if yes and facts.polar else way, ask, fact)
        yield text


def sentence_of(way: str, ask: Ask, fact: str = "") -> str:
    """A sentence about the row's disease: {condition}, {is}, {has}, {cause}, ... and {fact}."""
    verbs = {"is": "are" if ask.plural else "is", "has": "have" if ask.plural else "has"}
    for verb in ("cause", "occur", "affect", "appear"):
        verbs[verb] = verb if ask.plural else f"{verb}s"
    text = way.format(condition=ask.subject, fact=fact, **verbs)
    return text[0].upper() + text[1:]


def _names(ask: Ask) -> frozenset[str]:
    return content(" ".join(ask.disease.names)) if ask.disease else frozenset()


_GENERIC: Final = content(
    "treatment treatments treated option options available several various typically usually involve "
    "involves include includes including managed symptoms common some additional people person "
    "individuals experience risk cause caused thought believed primarily mainly most commonly affect "
    "affects diagnosis diagnosed made through combination image complications associated potential "
    "there yes also appears looks like characterized causing skin recommended main appearance present "
    "depends generally transmitted spread contact standard focus focuses different possible first"
)


#: Of so many look-alikes a fact is drawn: of more only where the nearest ones have none.
_NEAREST: Final = 4
