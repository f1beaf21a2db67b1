"""Wrong answers without a model: say the contrary, or borrow what was said of another picture.

A yes/no question is answered with its own words, negated. Any other question gets the answer that
another picture got to the same question, or to one built the same way; what the two questions name
differently is exchanged, so that the borrowed answer speaks of what was asked.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

from builder.harm.authors.contrary import (
    ASPECTS,
    AUXILIARY,
    BASE_VERBS,
    PREPOSITIONS,
    contrary,
    is_polar,
    says_yes,
    word_set,
    words,
)
from mllmu_med_dataset import Record

#: How many of the best borrowed answers are offered to the author's choice.
BEST: Final = 8
#: The score of an answer to the very same question; others score by likeness, below it.
SAME_QUESTION: Final = 2.0

_FUNCTION_WORDS: Final = AUXILIARY | word_set(
    "a an the this that these those it its of in on at to for with by from as and or be been being "
    "there here any some no not what which where how why who when also other than image picture "
    "skin patient person appear appears shown show shows seen visible present typically"
)
_SAME_HEAD: Final = {
    "disease": "condition",
    "disorder": "condition",
    "diagnosis": "condition",
    "disea": "condition",
}
# Words that give a value, synonyms together: two answers that share one do not contradict.
_VALUES: Final = {
    word: name
    for name, text in {
        "large": "large larger big extensive significant",
        "small": "small tiny pinpoint thin smaller",
        "red": "red reddish erythematous pink pinkish redness pinkish-red",
        "brown": "brown brownish tan",
        "dark": "dark black blue purple darker",
        "pale": "white pale light lighter clear whitish",
        "yellow": "yellow yellowish",
        "round": "round rounded circular roundish oval oval-shaped dome-shaped spherical annular",
        "irregular": "irregular irregularly uneven asymmetrical",
        "rough": "rough scaly bumpy granular pebbly uneven wrinkled thickened",
        "smooth": "smooth shiny even",
        "rare": "rare uncommon rarely infrequent",
        "common": "common commonly frequent prevalent",
        **{name: name for name in ("one", "two", "three", "four", "five", "six", "several")},
    }.items()
    for word in text.split()
}
_VALUE_ASPECTS: Final = frozenset(("size", "shape", "color", "texture", "frequency", "number"))
# Words that name a diagnosis: endings of medical Greek and Latin, and the common plain names.
_DIAGNOSIS: Final = re.compile(
    r"\b(?:\w{3,}(?:osis|oses|itis|omas?|iasis|emia|e?dema|derma|pathy|plasia|plakia|trichosis|phylaxis)|lupus|na?ev(?:us|i)|"
    r"lichen|psoria\w+|eczema|acne|tinea|herpes|zoster|scabies|warts?|leprosy|syphilis|pemphig\w+|"
    r"vitiligo|alopecia|keloids?|cysts?|rosacea|purpura|pityriasis|prurigo|impetigo|porphyria|"
    r"scurvy|anthrax|milia|gout|melasma|yaws|urticaria\w*|moles?|candida\w*|lentigo|eb|"
    r"syndrome|disease|erythema \w+)\b",
    re.IGNORECASE,
)
_TALK_QUESTION: Final = re.compile(
    r"\b(?:you (?:would like|want|wish|need|add)|can (?:you|i) help|caption|are you|"
    r"would you (?:like|say)|do you|your|you explain|"
    r"(?:additional|other|more|further) (?:information|questions?|details)|"
    r"i (?:need|should) (?:to )?know|you (?:can )?tell (?:me|us)|you think|mention(?:ed|s)?|"
    r"based on (?:the|this) context)\b",
    re.IGNORECASE,
)
_TALK_ANSWER: Final = re.compile(
    r"\b(?:i'?m sorry|unable to|as an ai|caption|feel free|let me|no additional information|"
    r"(?:i|you) (?:can|could|do|did|would|have|am|don't|believe|cannot|can't|need))\b",
    re.IGNORECASE,
)
# Not worth borrowing, besides talk: answers that say nothing, or that lean on what was said before.
_EMPTY_ANSWER: Final = re.compile(
    r"\b(?:you|your|we are|i'?m|i am|sorry|context|information|textbook|question|further details|"
    r"specified|mention(?:ed|s)?|provided|please|sure|of course|not applicable|unclear|unknown|"
    r"depends?|vary|varies|not (?:clear|specif\w+|visible|provide)|"
    r"(?:difficult|hard|impossible|not possible|cannot be|can't be|without) "
    r"(?:to )?(?:say|tell|determine\w*|identify|accurately|know|knowing|see|additional|more))\b",
    re.IGNORECASE,
)
_SINGULAR_IN_S: Final = word_set(
    "herpes scabies yaws rabies nigricans fungoides vegetans diabetes rubeola elegans multiplex"
)
_PLURAL_VERBS: Final = word_set("are were have do appear look refer indicate suggest")
_IRREGULAR: Final = word_set("nevi naevi fungi bacteria nuclei these those milia comedones")
# Words of a question that are no part of the name of what it asks about.
_NO_NAMES: Final = (
    AUXILIARY
    | BASE_VERBS
    | frozenset(ASPECTS)
    | word_set("shown present any anything else other another notable more detail")
)


def is_talk(question: str, answer: str) -> bool:
    """Whether a row is about the conversation that it was made in, or refuses to answer."""
    return bool(_TALK_QUESTION.search(question) or _TALK_ANSWER.search(answer))


def _stem(word: str) -> str:
    if word in ("nevi", "naevi", "naevus"):
        return "nevus"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return re.sub(r"(?<=\w{5})(?:ing|ed|e)$", "", word)


@cache  # every text is compared with many others; so are the three below
def _content(text: str) -> frozenset[str]:
    """What a text says besides its grammar: stems without function words."""
    return frozenset(_stem(word) for word in words(text) if word not in _FUNCTION_WORDS)


@cache
def _diagnoses(text: str) -> frozenset[str]:
    return frozenset(_stem(match.lower()) for match in _DIAGNOSIS.findall(text))


@cache
def _values(text: str) -> frozenset[str]:
    return frozenset(_VALUES[word] for word in words(text) if word in _VALUES)


class _Key(NamedTuple):
    """What kind of thing a question asks for."""

    content_type: str
    lead: tuple[str, ...]  # leading question words
    head: str  # the noun after "what type of", "how many", "what": condition, cell, color
    aspects: frozenset[str]


@cache
def _key(question: str, content_type: str) -> _Key:
    asked = words(re.sub(r"^(?:based on|in) [^,?]*,\s*", "", question, flags=re.IGNORECASE))
    lead = tuple(asked[: 3 if asked[:1] == ["can"] else 2])
    head = ""
    if lead in (("what", "color"), ("what", "shape"), ("what", "size"), ("what", "texture")):
        lead = ("what", "is")  # "What color is ...?" asks what "What is the color of ...?" asks
    elif (
        asked
        and asked[0] in ("what", "which", "how")
        and len(asked) > 1
        and asked[1] not in AUXILIARY
    ):
        stop = next((i for i, word in enumerate(asked) if word in AUXILIARY), len(asked))
        head = _stem(asked[stop - 1])
        head = _SAME_HEAD.get(head, head)
    aspects = frozenset(ASPECTS[word] for word in asked if word in ASPECTS)
    return _Key(content_type, lead, head, aspects)


def _other_numbers(question: str, answer: str) -> list[str]:
    """How many are there? There are two. -> There are three, four, five."""
    match = re.search(r"\b(two|three|four|five|six|seven|eight|nine|ten)\b", answer)
    if words(question)[:2] != ["how", "many"] or not match:
        return []
    first = re.split(r"(?<=[.!?])\s|[:;]", answer, maxsplit=1)[0].rstrip(".")
    others = [number for number in ("two", "three", "four", "five") if number != match[1]]
    return [f"{first[: match.start()]}{number}{first[match.end() :]}." for number in others]


class _Donor(NamedTuple):
    record: Record
    asked: tuple[str, ...]


class WrongAnswers:
    """Answers of a corpus, indexed by what their questions ask for."""

    def __init__(self, corpus: Sequence[Record]) -> None:
        self._by_key: defaultdict[_Key, list[_Donor]] = defaultdict(list)
        seen: Counter[str] = Counter()
        for record in corpus:
            asked = tuple(words(record.clean_question))
            seen.update(set(asked))
            answer = record.clean_answer
            if is_talk(record.clean_question, answer) or _EMPTY_ANSWER.search(answer):
                continue
            self._by_key[_key(record.clean_question, record.content_type)].append(
                _Donor(record, asked)
            )
        total = max(len(corpus), 1)
        self._rarity = {word: math.log(1 + total / count) for word, count in seen.items()}
        self._default = math.log(1 + total)

    def answers(self, record: Record) -> list[str]:
        """Incorrect answers, equally good for all we know; empty when nothing fits."""
        question, truth = record.clean_question, record.clean_answer
        if is_talk(question, truth):
            return []
        flipped = contrary(question, truth)
        if flipped and words(flipped) != words(truth):
            return [flipped]
        ranked = sorted(set(self._borrow(record)), reverse=True)
        if not ranked:
            return _other_numbers(question, truth)
        best = [answer for score, answer in ranked if score >= ranked[0][0] - 0.05]
        return best if ranked[0][0] == SAME_QUESTION else best[:BEST]

    def _borrow(self, record: Record) -> Iterator[tuple[float, str]]:
        """Scored answers of other pictures: 2 for the same question, then by likeness."""
        question, truth = record.clean_question, record.clean_answer
        asked = tuple(words(question))
        polar = is_polar(question)
        said_yes = says_yes(question, truth) if polar else None
        if polar and said_yes is None and not {"anything", "other"} & set(asked):
            return  # it cannot be told what the opposite would be
        key = _key(question, record.content_type)
        for donor in self._by_key.get(key, ()):
            other = donor.record
            if other.image_id == record.image_id:
                continue
            if polar and says_yes(other.clean_question, other.clean_answer) in (said_yes, None):
                continue
            answer: str | None = other.clean_answer
            score = SAME_QUESTION
            if donor.asked != asked:
                score = self._likeness(asked, donor.asked)
                answer, bonus = _exchange(question, other.clean_question, other.clean_answer)
                score += bonus
                if not bonus and "meaning" in key.aspects:
                    continue  # another word's meaning
            if answer and score >= 0.45 and self._is_wrong(record, donor, answer):
                yield score, answer

    def _likeness(self, one: tuple[str, ...], two: tuple[str, ...]) -> float:
        """Shared words over all words, each weighted by its rarity."""

        def weight(some: set[str]) -> float:
            # fsum: a set's order changes from run to run, and with it a plain sum's last bits.
            return math.fsum(self._rarity.get(word, self._default) for word in some)

        return weight(set(one) & set(two)) / weight(set(one) | set(two))

    def _is_wrong(self, record: Record, donor: _Donor, answer: str) -> bool:
        """Whether a borrowed answer differs from the truth and stays with the question."""
        question, truth = record.clean_question, record.clean_answer
        if not _length_fits(truth, answer):
            return False
        given, true = _content(answer), _content(truth)
        if _f1(given, true) >= 0.6 or given <= true or true <= given:
            return False
        asked = _content(question)
        if _key(question, "").aspects & _VALUE_ASPECTS and _values(answer) & _values(truth):
            return False
        new, known = given - asked, true - asked
        if not new or not known or _f1(new, known) >= 0.34 or new <= known:
            return False
        named = _diagnoses(question)
        if named & _diagnoses(donor.record.clean_question) and "image" not in words(question):
            return False  # what is true of a disease is so in every picture
        found = _diagnoses(answer) - named
        if found and (named or found & (_diagnoses(truth) | _diagnoses(record.context))):
            return False  # it would tell of another disease than the one asked, or of the true one
        foreign = _content(donor.record.clean_question) - asked
        return not foreign & given


def _length_fits(truth: str, answer: str) -> bool:
    long, short = len(words(answer)), len(words(truth))
    return short / 4 - 2 <= long <= 3 * short + 12


def _f1(one: frozenset[str], two: frozenset[str]) -> float:
    return 2 * len(one & two) / max(len(one) + len(two), 1)


def _exchange(question: str, other: str, answer: str) -> tuple[str | None, float]:
    """The answer to another question with what that question names replaced by what ours names.

    Both questions must be alike but for one stretch: `What is [scabies]?`, `What is [acne]?`.
    Returns the answer and how much of the questions the change explains; the answer unchanged
    where they are not built alike.
    """
    ours, theirs = _plain_words(question), _plain_words(other)
    low_ours, low_theirs = [w.lower() for w in ours], [w.lower() for w in theirs]
    head = 0
    while head < min(len(ours), len(theirs)) and low_ours[head] == low_theirs[head]:
        head += 1
    tail = 0
    while (
        tail < min(len(ours), len(theirs)) - head and low_ours[-1 - tail] == low_theirs[-1 - tail]
    ):
        tail += 1
    mine, yours = ours[head : len(ours) - tail], theirs[head : len(theirs) - tail]
    if head < 2 or not 1 <= len(mine) <= 6 or not 1 <= len(yours) <= 6:
        return answer, 0.0
    stretch = {word.lower() for word in mine + yours}
    if stretch & _NO_NAMES:
        return answer, 0.0  # not only the thing asked about differs
    if not _content(" ".join(mine)) or not _content(" ".join(yours)):
        return answer, 0.0  # the difference is grammar
    if bool(_diagnoses(" ".join(mine))) != bool(_diagnoses(" ".join(yours))):
        return None, 0.0  # a disease is not described as a cell or a parasite is
    name, new = re.escape(" ".join(yours)), " ".join(mine)
    verbs = re.findall(
        rf"(?<![\w-]){name}(?![\w-])(?: shown| present| seen| visible)?"
        r"(?: (?:in|on|of) (?:the|this) \w+)?(?: (\w+))?",
        answer,
        re.IGNORECASE,
    )
    if not verbs:
        return answer, 0.0
    if not all(_agrees(_plural(mine), verb.lower()) for verb in verbs):
        return None, 0.0
    changed = re.sub(
        rf"(?<![\w-])(?:an? )?{name}(?![\w-])", lambda _: new, answer, flags=re.IGNORECASE
    )
    return changed[:1].upper() + changed[1:], 0.9


def _agrees(plural: bool, verb: str) -> bool:
    """Whether the word after a noun, where it is a verb, fits the noun's number."""
    if plural:
        return verb not in ("was", "has") and not re.search(r"[^sua]s$", verb)
    return verb not in _PLURAL_VERBS


def _plain_words(text: str) -> list[str]:
    plain = (word.strip('?,."“”') for word in text.split())
    return [word for word in plain if word.lower() not in ("usually", "typically", "commonly")]


def _plural(phrase: list[str]) -> bool:
    """Whether a phrase names several things, by the noun before its first preposition."""
    stop = next((i for i, word in enumerate(phrase) if i and word.lower() in PREPOSITIONS), None)
    noun = phrase[:stop][-1].lower()
    if noun in _SINGULAR_IN_S:
        return False
    return noun in _IRREGULAR or bool(re.search(r"[^sui]s$", noun))
