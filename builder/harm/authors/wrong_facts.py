"""Wrong answers by what is true of another disease: its name, or a fact about it.

What a shows is said to be a look-alike; what is asked about a disease is answered with the
look-alike's treatment, cause or course, in the true answer's own opening.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from builder.harm.authors.ask import Ask, Wrong, first_sentence
from builder.harm.authors.contrary import is_polar
from builder.harm.authors.corpus_answers import CorpusAnswers
from builder.harm.authors.skin_diseases import Disease, content, look_alikes
from builder.harm.authors.wrong_names import candidates

_I: Final = re.IGNORECASE


class _Facts(NamedTuple):
    """Which fact answers an intent, where a true answer states them, and how to state one."""

    field: str
    opening: str  # up to here the true answer only repeats the question
    ways: tuple[str, ...]  # as `sentence_of` reads them
    polar: tuple[str, ...] = ()  # after "Yes, ", for a yes/no question
    most: int = 1  # facts in one answer


_FACTS: Final = {
    "treatment": _Facts(
        "treatment",
        r"\b(?:(?:treated|managed) (?:with|by|using)|involves?|includes?|including|such as)\b(?: the use of)?",
        ("Treatment for {condition} typically involves {fact}, which can help manage symptoms.",
         "{condition} {is} typically treated with {fact} to reduce symptoms and prevent complications.",
         "Treatment options for {condition} include {fact}, depending on the severity."),
        ("{condition} can be treated with options such as {fact}.",
         "there are treatments available for {condition}, such as {fact}.",
         "treatment options for {condition} include {fact}, depending on the severity."),
        most=3,
    ),
    "cause": _Facts(
        "cause",
        r"\b(?:caused|triggered) by|\bdue to|\bresults? from|\bcause of [\w' -]+ is",
        ("{condition} {is} caused by {fact}.", "It is believed that {condition} {is} caused by {fact}.",
         "The cause of {condition} is {fact}."),
        ("{condition} {is} caused by {fact}.",),
    ),
    "contagion": _Facts(
        "spread",
        r"\b(?:transmitted|spread|spreads) (?:through|by|via)|\binfected (?:through|by)",
        ("{condition} {is} spread from person to person through {fact}.",),
        ("{condition} {is} contagious and can be spread from person to person through {fact}.",
         "{condition} {is} considered contagious, as it can be transmitted through {fact}."),
    ),
    "prevention": _Facts(
        "prevention",
        r"\bprevented (?:through|by|with)",
        ("{condition} can be prevented by {fact}, which can help reduce the risk.",),
        ("{condition} can be prevented by {fact}.",
         "there are ways to prevent {condition}, such as {fact}."),
    ),
    "diagnosis": _Facts(
        "test",
        r"\b(?:diagnosed|made|confirmed) (?:through|by|with|based on|via|using)\b|\binvolves?\b",
        ("{condition} {is} typically diagnosed through physical examination and {fact}.",
         "Diagnosis of {condition} typically involves {fact}."),
        ("{condition} can be diagnosed through {fact}.",),
    ),
    "prognosis": _Facts(
        "course", r"(?!)", ("In most cases, {condition} {fact}.",), ("{condition} usually {fact}.",)
    ),
    "complications": _Facts(
        "complications",
        r"\b(?:can|may) include|\bincludes?\b|\bsuch as\b|\blead to(?: complications such as)?",
        ("Complications associated with {condition} can include {fact}.",),
        ("if left untreated, {condition} can lead to complications such as {fact}.",
         "complications associated with {condition} can include {fact}."),
        most=2,
    ),
    "symptoms": _Facts(
        "symptoms",
        r"\b(?:can|may) include|\bincludes?\b|\bsuch as\b|\bexperience\b",
        ("Common symptoms of {condition} include {fact}.",
         "Some people with {condition} may experience {fact}."),
        most=3,
    ),
    "what_is": _Facts(
        "what", r"^[^,.]{3,60}? (?:is|are|refers to)\b",
        ("{condition} {is} {fact}. It typically affects the {sites}.", "{condition} {is} {fact}.",
         "{condition} {is} {fact}, characterized by {looks}."),
    ),
    "location": _Facts(
        "sites",
        r"(?!)",
        ("{condition} {is} most commonly found on the {fact}.",
         "{condition} typically {occur} on the {fact}."),
        most=3,
    ),
    "who": _Facts("who", r"\baffects\b", ("{condition} mostly {affect} {fact}.",),
                  ("{condition} mostly {affect} {fact}.",)),
    "appearance": _Facts(
        "looks",
        r"\bappears? (?:as|like)\b|\blooks? like\b|\bpresents? (?:as|with)\b|\bcharacterized by\b",
        ("{condition} {appear} as {fact} on the skin.",
         "{condition} {is} characterized by {fact}, typically on the {sites}."),
        most=2,
    ),
    "inheritance": _Facts(
        "inherited", r"\binherited (?:as|in)\b", ("{condition} {is} inherited as {fact}.",),
        ("{condition} {is} inherited as {fact}.",),
    ),
}  # fmt: skip
_FACTS_OF_EFFECT: Final = _FACTS["appearance"]._replace(
    opening=r"\b(?:causes?|causing)\b|\bby causing\b",
    ways=(
        "{condition} {affect} the skin by causing {fact}, which can lead to discomfort.",
        "{condition} {cause} {fact}, typically on the {sites}.",
    ),
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
    most = facts.most if re.search(r",| and | or ", first_sentence(ask.truth)) else 1
    return list(_stated(ask, facts, _listed(fitting[:most]), other))


def _listed(facts: Sequence[str]) -> str:
    """A, B, and C; only the first where one of them is two already."""
    if len(facts) == 1 or any(" and " in fact or "," in fact for fact in facts):
        return facts[0]
    return f"{', '.join(facts[:-1])}{',' if len(facts) > 2 else ''} and {facts[-1]}"


def _may_help(disease: Disease, field: str, text: str) -> bool:
    return field == "treatment" and any(
        re.search(helps, text, _I)
        for who, helps in _HELPS
        if disease.nature in who.split() or disease.family in who.split()
    )


# Questions of an intent that a fact about the disease does not answer.
_NOT_BY_FACT: Final = {
    intent: re.compile(pattern, _I)
    for intent, pattern in {
        "contagion": r"\bparts? of\b|\bareas?\b|^how did\b|\bcells?\b",
        "symptoms": r"^(?:is|are|do|does|can|did|has|have)\b|\bwhy\b",
        "cause": r"^(?:can|does|do|did|is|are|could|why)\b|\btrigger|^what type|\bchange|\bhow (?:does|might|can)\b|\bcontribut",
        "prevention": r"\bhelp\b|\bpatient\b|^how do(?:es)?\b|\bfrom (?:spread|get)",
        "diagnosis": r"\bhelp\b|\bsolely\b|\bfeatures?\b|\bimage\b|\bpresence\b",
        "who": r"\brisk|^how old\b|^(?:is|are|do|does|can)\b",
        "treatment": r"^(?:how (?:does|do|did|long|many|effective)|what happens|why|when|does|did|has)\b"
        r"|\bother\b|\balternative\b|\bafter\b|\bduring\b|\bimage\b|\bside effects?\b",
        "complications": r"^(?:did|has|why|how)\b|\bsurgery\b|\bprocedure\b",
        "prognosis": r"^(?:is|are|can|does|do|did|will|has)\b|\bover time\b|^how does\b|\bprogress",
        "what_is": r"\b(?:role|purpose|difference|meaning)\b",
    }.items()
}  # fmt: skip


def _facts_for(ask: Ask) -> _Facts | None:
    """Which facts answer the question, where any does."""
    question = ask.question.lower()
    unsuited = _NOT_BY_FACT.get(ask.intent)
    if unsuited is not None and unsuited.search(question):
        return None
    if ask.intent in ("function", "histology"):
        asks = re.match(r"how (?:does|do) .{3,60} affect (?:the )?(?:skin|body|patient)", question)
        return _FACTS_OF_EFFECT if asks else None
    if ask.intent == "appearance" and not re.search(r"\blooks? like\b|\bcharacteri", question):
        return None  # it asks for the image
    if ask.intent == "location" and not re.search(r"common|typical|usual|occur|found", question):
        return None
    if ask.intent == "treatment" and re.search(r"\bcured?\b", question):
        return _FACTS["treatment"]._replace(polar=("{condition} can be cured with {fact}.",))
    return _FACTS.get(ask.intent)


def _is_wrong(ask: Ask, disease: Disease, field: str, fact: str, other: Disease) -> bool:
    """Whether a look-alike's fact is not true of the disease, too."""
    if fact == "no" or _may_help(disease, field, fact):
        return False
    if field in ("treatment", "test", "prevention") and _ALWAYS_TRUE.search(fact):
        return False
    seen = field in ("looks", "symptoms", "complications")
    if seen and (other.family == disease.family or _UNSPECIFIC.search(fact)):
        return False
    if not disease.fact(field) and field not in ("prevention", "spread", "what"):
        return False  # nothing is known of it that the fact could contradict
    known = disease.facts if seen else (field, "what")
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


def _stated(ask: Ask, facts: _Facts, fact: str, other: Disease) -> Iterator[str]:
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
