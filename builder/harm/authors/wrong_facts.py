"""Wrong answers by what is true of another disease: its name, or a fact about it.

What a shows is said to be a look-alike; what is asked about a disease is answered with the
look-alike's treatment, cause or course, in the true answer's own opening.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from builder.harm.authors.contrary import is_polar
from builder.harm.authors.skin_diseases import (
    Disease,
    Mention,
    content,
    diseases,
    look_alikes,
    mentions,
    plural_of,
)
from builder.harm.authors.wrong_values import with_articles

_I: Final = re.IGNORECASE


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
#: Words of the question that say of which class the answer's disease is.
_CLASSES: Final = (
    (re.compile(r"\b(?:cancer|malignan\w+|carcinoma)\b", _I), "nature", "malignant"),
    (re.compile(r"\blymphoma\b", _I), "family", "lymphoma"),
    (re.compile(r"\b(?:n(?:a?e)v(?:us|i)|moles?)\b", _I), "family", "melanocytic"),
    (re.compile(r"\b(?:infection|infectious)\b", _I), "nature", "infectious"),
    (re.compile(r"\bvasculitis\b", _I), "family", "vasculitis"),
    (re.compile(r"\b(?:alopecia|hair loss)\b", _I), "family", "hair"),
)  # fmt: skip
_AFTER_NAME: Final = re.compile(
    r",? (?:which|who|that (?:is|are|can|may|has|have|affects?)|caused|characterized|where|also|due|because"
    r"|as (?:indicated|evidenced|seen)|indicat\w+|suggest\w+|based|since|while|although|but|or"
    r"|resulting|leading|known|including|and (?:is|it|the|can|may|has))\b|[,;:(—]| - "
)
_MODIFIER: Final = re.compile(
    r"(?:severe|mild|early|chronic|acute|multiple|localized|generalized|facial|classic|typical|extensive"
    r"|recurrent|widespread|active|advanced|several|large|small|numerous|adult|childhood|oral|solitary"
    r"|disseminated|untreated|single|common|clinical|early-stage|patient's|her|his|their)$", _I
)  # fmt: skip
_BREAKS: Final = frozenset(
    "a an the of in on at to for with by from and or is are was be has have had as shows show showing "
    "depicts depict called named like having using revealing displaying includes including being not "
    "possibly probably likely likelihood represents this that these its both either between also".split()
)


def other_names(ask: Ask) -> Iterator[Wrong]:
    """The true sentence with a look-alike's name: answer, what is wrong, the look-alike."""
    sentence = first_sentence(ask.truth)
    there = mentions(sentence)
    if ask.disease is None or not there or there[0].disease != ask.disease:
        return
    mention = there[0]
    asked = content(ask.question)
    if content(sentence[mention.start : mention.end]) <= asked:
        return  # the question names it, and the answer would be about something else
    for other in _candidates(ask):
        answer = _renamed(sentence, mention, other)
        if answer is not None:
            yield Wrong(answer, f"{other.name} instead of {ask.disease.name}", other)


def _candidates(ask: Ask) -> list[Disease]:
    """The look-alikes that nothing says the picture shows, of the class that the question names."""
    assert_disease = ask.disease
    if assert_disease is None:
        return []
    said = {mention.disease for mention in mentions(ask.said)}
    others = [other for other in look_alikes(assert_disease) if other not in said]
    for pattern, field, value in _CLASSES:
        if pattern.search(ask.question) and getattr(assert_disease, field) == value:
            others = [other for other in others if getattr(other, field) == value]
            if len(others) < 2:
                others += [
                    other
                    for other in diseases().values()
                    if getattr(other, field) == value
                    and other.family == assert_disease.family
                    and other not in said
                    and other not in others
                ]
            break
    names = content(" ".join(assert_disease.names))
    return [other for other in others if not content(other.name) <= names]


def _renamed(sentence: str, mention: Mention, other: Disease) -> str | None:
    """The sentence up to the name, the other name, and what it is where the truth says so."""
    head, tail = sentence[: mention.start], sentence[mention.end :]
    words = head.split(" ")
    while len(words) > 1 and words[-1] == "":
        words.pop()
    kept: list[str] = []
    while words and words[-1].lower() not in _BREAKS and not words[-1].endswith((",", ":", '"')):
        word = words.pop()
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
    elif other.countable and not (before == "the" or mention.plural):
        if counted or plural_of(other.name):
            name = f"{modifiers} {name}".strip()
            modifiers = ""
            name = f"a {name}"
    if modifiers:
        name = f"{modifiers} {name}"
    stop = _AFTER_NAME.search(tail)
    rest = tail[: stop.start()] if stop else tail
    rest = rest.rstrip(" .!?")
    if mentions(rest) or (stop and re.match(r",? or\b", stop[0])):
        return None
    if re.match(r"\s*(?:is|are|was|were|has|have|can|may|cells?|lesions?)\b", rest):
        return None
    text = f"{' '.join(words)} {name}{rest}"
    explains = stop and re.match(r",? (?:which (?:is|are)\b|a |an )", tail[stop.start() :])
    if explains and other.fact("what"):
        verb = "are" if other.plural or name.endswith(tuple("s")) and mention.plural else "is"
        text += f", which {verb} {other.fact('what')[0]}"
    return with_articles(text) + "."


def other_facts(ask: Ask) -> Iterator[Wrong]:
    """The question answered with a look-alike's fact, or with one of a look-alike of that."""
    facts = _facts_for(ask)
    if facts is None or ask.disease is None:
        return
    near = _candidates(ask)
    far = [other for one in near for other in look_alikes(one) if other.nature != ask.disease.nature]
    diseases_used = 0
    for other in dict.fromkeys((*near, *far)):  # the nearest first
        answers = list(_with_fact_of(ask, facts, other))
        yield from answers
        diseases_used += bool(answers)
        if diseases_used == _NEAREST or (answers and other == near[-1]):
            return


def _with_fact_of(ask: Ask, facts: _Facts, other: Disease) -> Iterator[Wrong]:
    for field in facts.fields:
        fitting = [fact for fact in other.fact(field) if _is_wrong(ask, field, fact, other)]
        if fitting and ask.disease is not None:
            fact = " and ".join(fitting[: facts.most if _is_list(ask.truth) else 1])
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
    if ask.intent == "prevention" and question.startswith(("how do", "how does")):
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
    if field == "treatment" and any(
        re.search(helps, fact, _I) for who, helps in _HELPS
        if disease.nature in who.split() or disease.family in who.split()
    ):  # fmt: skip
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


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])(?<!\b[A-Z]\.)\s+(?=[A-Z\"])", text.strip(), maxsplit=1)[0]


def subject_of(question: str, truth: str) -> tuple[Disease | None, str, bool]:
    """The disease that a row is about, how an answer may name it, and whether that is a plural."""
    for mention in mentions(question):
        return mention.disease, question[mention.start : mention.end], mention.plural
    this = re.search(
        r"\b(?:this|these|the) (?:\w+ )?(condition|disease|disorder|lesion|cancer|tumor|infection|rash"
        r"|syndrome|reaction|lymphoma|nevus|cyst)(s?)\b", question, _I
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
