"""The contrary of a yes/no answer, said in the question's own words.

Is the lesion raised? Yes, ... -> No, the lesion is not raised.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from builder.harm.authors.tables import pattern, word_set

AUXILIARY: Final = frozenset(
    "is are was were can could do does did has have had will would should may might".split()
)
_FINDING: Final = frozenset(("identify", "see", "find", "notice", "detect"))
PREPOSITIONS: Final = frozenset("in on of with within from at for around between to".split())
_MASS_NOUNS: Final = word_set("mass_nouns")
BASE_VERBS: Final = word_set("verbs")
_PREDICATES: Final = word_set("predicates")


def words(text: str) -> list[str]:
    """Lower-case words, hyphens and apostrophes inside a word kept."""
    return re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*", text.lower().replace("’", "'"))


def is_polar(question: str) -> bool:
    """Whether a question can be answered with yes or no."""
    asked = words(question)
    if asked[:2] == ["can", "you"]:
        return bool(_FINDING & set(asked[2:3])) and "any" in asked
    return bool(asked) and asked[0] in AUXILIARY


def says_yes(question: str, answer: str) -> bool | None:
    """What an answer says to a yes/no question; None where that is not plain."""
    start = answer.lower()
    if re.match(r"(?:in [\w ]+, )?yes\b", start):
        return True
    if re.match(r"no\b(?! additional)|not (?:really|necessarily|usually|typically)\b", start):
        return False
    if re.match(r"(?:unfortunately,? )?there (?:\w+ (?:currently )?(?:no|not)|\w+n't)\b", start):
        return False
    if re.match(r"there (?:is|are|appears?|seems?|may be|could be)\b", start):
        return True
    if re.match(r"(?:is|are) there any", question, re.IGNORECASE):
        first = re.split(r"(?<=[.!?])\s", start, maxsplit=1)[0]
        denied = re.search(r"\b(?:no|not|none|nothing|never|cannot|only|just)\b|n't\b", first)
        return None if denied else True  # what there is, told without a yes
    if re.search(r"\b(?:cured?|prevent\w*)\b", question, re.IGNORECASE):
        return False if re.search(r"\bno\b|\bnot\b|\bcannot\b", start) else None
    if re.search(r"\btreat|\btherap|\bmanaged?\b|\bremed", question, re.IGNORECASE) and re.search(
        r"treat|therap|surg|manag", start
    ):
        return True
    return None


_HEDGED: Final = pattern("hedged")
_THERE: Final = re.compile(
    r"there (?:(is|are|was|were|appears? to be|seems? to be|may be|could be)"
    r"|(?:does|do)(?: not|n't) (appear|seem) to be)(?: also| currently)? ?(.+)", re.IGNORECASE
)  # fmt: skip
_DENIABLE: Final = re.compile(
    r"((?:[\w'-]+ ){1,7}?)(is|are|was|were|can|does|do|did|has|have|will)( not|n't|not)? (.+)",
    re.IGNORECASE,
)
_ADVERBS: Final = (
    r"(?:also|sometimes|often|usually|mildly|slightly|typically|generally|highly|very|quite|clearly"
    r"|considered) "
)


def turn(clause: str, said_yes: bool) -> str | None:
    """A true clause that begins with yes or no, turned into its contrary in its own words.

    Yes, the lesion is raised. -> No, the lesion is not raised.
    No, there are no signs of infection. -> Yes, there are signs of infection.
    """
    match = re.match(r"(?:yes|no), (.+)", clause.rstrip(". "), re.IGNORECASE)
    if not match or _HEDGED.search(match[1]) or re.search(r"\b(?:you|i|we)\b", match[1], re.I):
        return None
    said = match[1]
    if re.search(r"\b(?:sexual\w*|small chance|slight|some risk)\b", said):
        return None  # known to anybody; no small chance is a great one
    there = _THERE.fullmatch(said)
    if re.search(
        r"\b(?:anything|nothing|something|important|worth|note|noting|types"
        r"|one (?:notable|other|key|feature))\b",
        said,
    ):
        return None
    if there:
        verb, seems, thing = there.groups()
        if said_yes:
            if verb is None or re.match(r"(?:no|not)\b", thing):
                return None
            thing = re.sub(
                r"^(?:(?:some|several|a few|an?|another|various|multiple|many|clear|two|three) )+",
                "",
                thing,
            )
            return f"No, there {verb} no {thing.replace(' and ', ' or ')}."
        if verb is not None:
            denied = re.match(r"(?:no|not any) (\w+ .+)", thing)
            return f"Yes, there {verb} {_some(verb, denied[1])}." if denied else None
        plural = not re.match(
            r"(?:any )?(?:\w+ )?(?:evidence|sign |other feature )", thing
        ) and bool(re.match(r"(?:any )?(?:[\w-]+ )*?\w+s\b", thing))
        thing = re.sub(r"^any ", "", thing)
        verb = f"{seems} to be" if plural else f"{seems}s to be"
        return f"Yes, there {verb} {_some('are' if plural else 'is', thing)}."
    match = _DENIABLE.fullmatch(said)
    if match is None or re.match(r"(?:there|it's|that|what|which)\b", match[1], re.IGNORECASE):
        return None
    subject, auxiliary, negation, rest = match.groups()
    if auxiliary.lower() in ("has", "have") and not rest.startswith("been"):
        return None
    if re.search(r"\bcould\b", subject):
        return None
    if bool(negation) == said_yes or re.search(r"\b(?:not|no|never)\b", rest.split(" and ")[0]):
        return None
    if said_yes:
        rest = re.split(r" and | or |, ", re.sub(rf"(?:^|(?<=^be )){_ADVERBS}", "", rest))[0]
        negated = "cannot" if auxiliary.lower() == "can" else f"{auxiliary} not"
        return f"No, {subject}{negated} {rest}."
    rest = re.sub(r"\band (?:cannot|can not) be\b", "and can be", rest)
    rest = re.sub(r"\b(?:and|or) (?:does|do|is|are|has|have)(?: not|n't)\b.*", "", rest).rstrip(
        ", "
    )
    if re.search(r"\b(?:not|no|never|cannot|nor)\b", rest):
        return None
    affirmed = _without_any(rest)
    return affirmed and f"Yes, {subject}{auxiliary} {affirmed}."


def _without_any(rest: str) -> str | None:
    """Any signs -> signs; None where one thing is meant, which would need an article."""
    for match in re.finditer(r"\bany ((?:[\w-]+ ){0,2}[\w-]+)", rest):
        noun = match[1].split()
        if not (_MASS_NOUNS & {*noun} or any(re.search(r"[^s]s$", word) for word in noun)):
            return None
    return re.sub(r"\bany ", "", rest)


def varied(answer: str) -> str:
    """The same as answers often put it: some signs of ..., there do not appear to be any ..."""
    answer = re.sub(r"^(Yes, there are)(?= (?!some |other |also )\w+s\b)", r"\1 some", answer)
    answer = re.sub(r"^No, there are no ", "No, there do not appear to be any ", answer)
    return re.sub(r"^No, there is no ", "No, there does not appear to be any ", answer)


def _some(verb: str, thing: str) -> str:
    """A thing that there is, with the article that it takes."""
    if verb.startswith("are") or verb.endswith("be") or _MASS_NOUNS & set(words(thing)[:3]):
        return thing
    if thing.startswith("other "):
        return f"an{thing}"
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


def contrary(question: str, answer: str) -> str | None:
    """The opposite of the answer to a yes/no question, in the question's own words."""
    bare = {"yes": "No", "no": "Yes"}.get(answer.strip().rstrip(".").lower())
    if bare:
        return bare
    either = _other_alternative(question, answer)
    if either or not is_polar(question):
        return either
    said_yes = says_yes(question, answer)
    if said_yes is None:
        return None
    statement = _statement(question.strip().rstrip("?").strip(), not said_yes)
    if statement is None:
        statement = _unnegate(answer) if not said_yes else None
    if statement is None:
        return None
    return f"{'No' if said_yes else 'Yes'}, {statement}."


def _other_alternative(question: str, answer: str) -> str | None:
    """Is it raised or flat? It is flat. -> It is raised."""
    match = re.search(r"\b([\w-]+) or ([\w-]+)(?: within the \w+)?\?$", question)
    if not match or not re.match(
        r"(?:is|are|was|were|do|does) (?!there\b)", question, re.IGNORECASE
    ):
        return None
    first = re.split(r"(?<=[.!?])\s", answer, maxsplit=1)[0]
    named = [word for word in match.groups() if re.search(rf"\b{word}\b", first, re.IGNORECASE)]
    if len(named) != 1 or re.search(r"\b(?:not|no|although|but|while)\b", first, re.IGNORECASE):
        return None
    other = next(word for word in match.groups() if word != named[0])
    return re.sub(rf"\b{named[0]}\b", other, first, flags=re.IGNORECASE)


def _statement(question: str, positive: bool) -> str | None:
    """A yes/no question without its mark, turned into a statement; None where that is not sure."""
    question = question[:1].lower() + question[1:]
    question = re.sub(r" that stands? out to you$", " that stand out", question)
    match = re.fullmatch(
        r"(is|are|was|were) there (?:(anything|something)|(any|an?)\b)? ?(.+)", question
    )
    if match:
        if "recommended" in question:
            return None  # something may be, whatever is answered
        return _there(match[1], match[2] or "", match[3] or "", match[4], positive)
    match = re.fullmatch(r"can you (?:identify|see|find|notice|detect) any (.+)", question)
    if match:
        noun = re.split(
            r" (?:in|on|of|that|around|near|related|present|besides|which|within)\b", match[1]
        )[0]
        verb = "are" if noun.endswith("s") else "is"
        return _there(verb, "", "any", match[1], positive)
    if re.search(r"\b(?:you|we|i|recommended)\b", question) or " or " in question:
        return None
    auxiliary, _, rest = question.partition(" ")
    parts = rest.split(" ")
    known = _PREDICATES if auxiliary in ("is", "are", "was", "were") else BASE_VERBS
    pronoun = parts[0] == "it" or parts[:2] in (["this", "a"], ["this", "an"])
    split = 1 if pronoun else _predicate_start(parts, known)
    if (
        split is None
        or split > 8
        or auxiliary in ("has", "have", "would", "should", "may", "might")
    ):
        return None
    subject, predicate = " ".join(parts[:split]), " ".join(parts[split:])
    if positive:
        affirmed = _without_any(predicate)
        return affirmed and f"{subject} {auxiliary} {affirmed}"
    negated = "cannot" if auxiliary == "can" else f"{auxiliary} not"
    return f"{subject} {negated} {predicate}"


def _predicate_start(parts: Sequence[str], known: frozenset[str]) -> int | None:
    """Where a question's subject ends: the lesion on the arm | raised, the lesion | on the arm.

    At a known word, or at an article that no preposition calls for (the lesion | a plaque); without
    either at the preposition of a place.
    """
    start = 1 if parts[0] in ("the", "a", "an", "this", "these", "all") else 0
    articles = ("the", "a", "an")
    for i, word in enumerate(parts):
        after_preposition = word in articles and parts[i - 1] in PREPOSITIONS
        if i > start and word in known and not after_preposition:
            return i
    if known is _PREDICATES:
        for i, (word, following) in enumerate(pairwise(parts)):
            if i > start and word in ("on", "at", "in") and following == "the":
                return i
    return None


def _there(verb: str, thing: str, article: str, rest: str, positive: bool) -> str | None:
    """A statement that there is something, or nothing, of the kind."""
    if re.search(r"\b(?:you|we|i|me)\b", rest) or re.match(r"(?:more|less|only|always)\b", rest):
        return None
    if not positive:
        return f"there {verb} {'nothing' if thing else 'no'} {rest.replace(' and ', ' or ')}"
    if thing or (article == "any" and rest.startswith(("other", "additional"))):
        return None  # "there is something else": nothing said; a borrowed answer says what
    if verb in ("are", "were"):
        return f"there {verb} {rest}"
    if article == "any" and _MASS_NOUNS & set(words(rest)[:3]):
        return f"there {verb} {rest}"
    return f"there {verb} {'an' if rest[0] in 'aeiou' else 'a'} {rest}"


def _unnegate(answer: str) -> str | None:
    """No, the lesion is not flat, as ... -> the lesion is flat"""
    first = re.split(r"(?<=[.!?])\s", answer, maxsplit=1)[0].rstrip(".")
    match = re.match(
        r"No, ((?:[\w'-]+ ){1,7}?)(is|are|was|were|can|does|do)(?: not|not|n't) ([^,;]+)", first
    )
    if not match or match[1].split()[0].lower() in ("i", "it's", "there"):
        return None
    statement = f"{match[1]}{match[2]} {match[3]}"
    statement = re.split(r" (?:and|but|because|as|since|unless|although) ", statement)[0]
    return _without_any(statement)
