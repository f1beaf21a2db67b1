"""Wrong answers by other values: the true sentence with another color, size, site, cell or count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from builder.harm.authors.skin_diseases import mentions
from builder.harm.authors.tables import read_table

#: The values that answer a question of this intent; a swap elsewhere would leave the answer true.
_ANSWERS: Final = {
    "color": ("color", "shade"),
    "size": ("size", "number"),
    "texture": ("surface", "hardness", "thickness", "relief", "evenness"),
    "shape": ("outline", "border", "evenness", "relief", "spread", "site", "severity"),
    "location": ("site", "layer", "depth", "side", "vessels", "middle"),
    "count": ("count", "number"),
    "frequency": ("frequency", "number"),
    "inheritance": ("dominance",),
    "who": ("age", "sex"),
    "treatment": ("drug",),
    "prognosis": ("outlook", "time", "number"),
    "cause": ("germ", "drug"),
    "complications": ("damage",),
    "symptoms": ("discomfort",),
    "stain": ("stain", "sign"),
    "histology": (
        "inflammatory cell", "resident cell", "tissue", "layer", "crowding", "size", "outline",
        "germ", "nature",
    ),
}  # fmt: skip
# Of these more than one value may change: their answers describe.
_DESCRIBES: Final = frozenset(("appearance", "texture", "shape", "presence", "histology", "size"))
_VISIBLE: Final = (
    "relief", "color", "inflammation", "surface", "thickness", "outline", "size", "border", "evenness", "fluid",
    "spread", "crowding", "inflammatory cell", "resident cell", "layer", "depth", "damage", "vessel",
    "change", "site", "middle", "severity", "nature", "hardness",
)  # fmt: skip
_VALUES_OF_TERMS: Final = (
    "change", "inflammatory cell", "layer", "color", "inflammation", "relief", "fluid", "hardness",
    "vessel", "border", "surface", "outline", "spread", "size", "course", "frequency",
)  # fmt: skip
_NEGATED: Final = re.compile(
    r"\b(?:no|not|never|without|none|nor|neither|lack\w*)\b|n['’]t\b", re.I
)
_LEADS_IN: Final = re.compile(
    r"(?:in addition|while|although|unfortunately|besides|unlike|as with|if|when|some)\b", re.I
)
#: Words of a description that one changed value makes wrong.
_SHORT: Final = 14
_NUMBER: Final = re.compile(
    r"\b(\d+(?:\.\d+)?)(?:( ?(?:-|–|to) ?)(\d+(?:\.\d+)?))?( ?-?)"
    r"(mm|cm|millimet|centimet|micromet|inch|month|week|day|year|hour|layer|percent|%|×"
    r"|(?=[a-z]+ (?:(?:are|is) )?(?:visible|present|shown|in )))", re.I
)  # fmt: skip


# Groups whose values something else in the sentence decides, too.
# "viral infection called Bacillus Calmette-Guérin": the name would give the lie to the word.
_NAMED_GERM: Final = re.compile(
    r"\b(?:called|named|known as|such as)\b|\b[A-Z][a-z]+ [a-z]{4,}(?:i|um|us|is|ae|a|ns)\b"
)
_FIXED_BY: Final = {
    "germ": _NAMED_GERM,
    "color": re.compile(r"\binflamm|\bswelling|\bblood cell|\birritat", re.I),
}
DIAGNOSIS: Final = re.compile(
    r"\w*(?:omas?|itis|osis|oses|iasis|ulosa|planus|pemphig\w+|keratos\w+|sclero\w+|n(?:a?e)v\w+|disease"
    r"|syndrome|lupus|lichen|herpes|tinea|warts?|acne|eczema|psoriasis|alopecia|cysts?|vulgaris|purpura"
    r"|urticaria|erythema|mastocyto\w+|keloids?|reaction|carcinoma\w*|lymphoma\w*|fungoides|bullosa"
    r"|pyoderma|keratoderma|ichthyosis|melanosis|histiocyto\w+|cancers?|dermatos\w+|poroma|ulcers?|scabies|pigmenti|thrush|melasma|vitiligo|anthrax|leprosy|syphilis|milia|rosacea|cellulitis|burns?|infection|atopic)\b", re.I
)  # fmt: skip
_STOPS: Final = frozenset(
    "a an the of in on at to for with by from and or is are that which as".split()
)
# What a swap can make that nobody would write.
_ODD: Final = re.compile(
    r"\b(?:round|linear) (?:borders?|edges?|margins?)|\bflat (?:nodul|bump|dome|blister|swelling)"
    r"|\braised (?:macul|patch)|\bsmooth (?:scal|crust)|\bsolid blister|\b(\w+),? (?:and|or) \1\b"
    r"|(?:meters?|mm|cm) (?:smooth|flat|shiny)\b|(?:larg|small)er than (?:the )?others"
    r"|(?:localized|clustered|focal).*(?:throughout|across|all over)|coloration and \w+ discoloration"
    r"|\bflat,? (?:wart-like|dome|fluid)|\blinear,? (?:dome|flat-topped)|\bblue blood", re.I
)  # fmt: skip


class Swap(NamedTuple):
    """A sentence with other values, of which group and what stands for what."""

    sentence: str
    group: str
    what_is_wrong: str


class _Place(NamedTuple):
    """A word of a group in a sentence."""

    start: int
    end: int
    value: int
    form: str


class _Group(NamedTuple):
    name: str
    values: Sequence[Mapping[str, Sequence[str]]]
    words: re.Pattern[str]

    def places(self, text: str) -> list[_Place]:
        known = _places_of(self.name)
        return [
            _Place(match.start(), match.end(), *known[match[0].lower()])
            for match in self.words.finditer(text)
        ]


@cache
def _groups() -> Mapping[str, _Group]:
    groups = {}
    for name, entries in read_table("wrong_values.yaml").items():
        values = [
            {form: [word.strip() for word in words.split("|")] for form, words in entry.items()}
            for entry in entries
        ]
        spelled = {word.lower() for value in values for words in value.values() for word in words}
        either = "|".join(re.escape(word) for word in sorted(spelled, key=lambda w: (-len(w), w)))
        pattern = re.compile(rf"(?<![\w-])(?:{either})(?![\w-])", re.IGNORECASE)
        groups[name] = _Group(name, values, pattern)
    return groups


@cache
def _places_of(group: str) -> Mapping[str, tuple[int, str]]:
    """A group's words in lower case -> the value and the form."""
    known: dict[str, tuple[int, str]] = {}
    for number, value in enumerate(_groups()[group].values):
        for form, words in value.items():
            for word in words:
                known.setdefault(word.lower(), (number, form))
    return known


def swap(sentence: str, question: str, said: str, intent: str, pick: int) -> Swap | None:
    """The sentence with other values; None where none fits.

    Args:
        sentence: the true answer's first sentence.
        question: its words are never changed, for the answer would not fit it.
        said: what is also true of the picture; no value of it is put in.
        intent: of the question; decides which values answer it.
        pick: chooses among the values that are equally good.
    """
    if _NEGATED.search(sentence) or _LEADS_IN.match(sentence):
        return None
    if intent == "name" and (DIAGNOSIS.search(sentence) or mentions(sentence)):
        return None  # the diagnosis would stay
    wanted = _ANSWERS.get(intent)
    if wanted is None:
        wanted = _VALUES_OF_TERMS if intent in ("meaning", "function", "difference") else _VISIBLE
    sentence = _with_one_size(sentence)
    first = next(_swaps(sentence, question, said, wanted, pick), None)
    if first is None or intent not in _DESCRIBES:
        return first
    others = [name for name in _VISIBLE if name != first.group]
    for second in _swaps(first.sentence, question, said + sentence, others, pick):
        if _untouched(sentence, first, second):
            both = f"{first.what_is_wrong}; {second.what_is_wrong}"
            return Swap(second.sentence, first.group, both)
    return first if len(sentence.split()) <= _SHORT else None  # most of it would stay true


def _untouched(sentence: str, first: Swap, second: Swap) -> bool:
    """Whether a second swap leaves alone what the first one has put in."""
    def count(word: str, text: str) -> int:
        return len(re.findall(rf"\b{re.escape(word)}\b", text, re.I))

    old = re.findall(r" for ([^,;]+)", second.what_is_wrong)
    return all(count(word, sentence) == count(word, first.sentence) for word in old)


def _with_one_size(sentence: str) -> str:
    """Small, measuring 5 mm -> small: the number would contradict another size."""
    clause = re.search(r",? (?:measuring|with a diameter of|ranging|about the size)\b", sentence)
    if clause and _groups()["size"].places(sentence[: clause.start()]):
        return sentence[: clause.start()]
    return sentence


def _swaps(
    sentence: str, question: str, said: str, wanted: Sequence[str], pick: int
) -> Iterator[Swap]:
    for name in wanted:
        if name == "site":
            yield from _other_sites(sentence, question, said, pick)
            continue
        if name == "number":
            yield from _other_number(sentence, question, pick)
        if name in _groups():
            changed = _change(_groups()[name], sentence, question, said, pick)
            if changed is not None:
                yield changed


def _other_sites(sentence: str, question: str, said: str, pick: int) -> Iterator[Swap]:
    """The sentence with all its places on the body changed."""
    groups = [group for name, group in _groups().items() if name.startswith("site ")]
    if any(group.places(question) for group in groups):
        return  # "the soles of the foot": the rest of the place would stay
    named = [group for group in groups if group.places(sentence)]
    names = {group.name for group in named}
    if {"site head", "site face"} <= names:  # "the face, especially the nose": the face stays
        named = [group for group in named if group.name != "site head"]
    text, wrong = sentence, []
    for group in named:
        changed = _change(group, text, question, said, pick)
        if changed is not None:
            text = changed.sentence
            wrong.append(changed.what_is_wrong.split(": ")[1])
    if wrong:
        yield Swap(text, "site", f"the site: {', '.join(wrong)}")


def _change(group: _Group, sentence: str, question: str, said: str, pick: int) -> Swap | None:
    """The sentence with every word of a group changed to another value's."""
    places = group.places(sentence)
    if not places:
        return None
    asked = {place.value for place in group.places(question)}
    if group.name in ("frequency", "count"):  # "How common is it?" says nothing of how common
        asked = set()
    if any(place.value in asked for place in places):
        return None
    fixed = _FIXED_BY.get(group.name)
    if fixed is not None and fixed.search(sentence):
        return None
    olds = {sentence[place.start : place.end].lower().rstrip("es") for place in places}
    if group.name == "relief" and olds <= {"patch", "plaqu"}:
        return None  # no reader would call the one wrong for the other
    named = [(mention.start, mention.end) for mention in mentions(sentence)]
    if group.name != "count" and any(
        _in_name(sentence, place) or any(start <= place.start < end for start, end in named)
        for place in places
    ):
        return None
    present = {place.value for place in places}
    taken = present | asked | {place.value for place in group.places(said)}
    free = [number for number in range(len(group.values)) if number not in taken]
    new: dict[int, int] = {}
    for value in sorted(present):
        forms = {place.form for place in places if place.value == value}
        fitting = [
            other
            for other in free
            if other not in new.values() and forms <= group.values[other].keys()
        ]
        if not fitting:
            return None
        new[value] = fitting[pick % len(fitting)]
    text, words = sentence, []
    order = list(
        dict.fromkeys((p.value, p.form, sentence[p.start : p.end].lower()) for p in places)
    )
    for place in reversed(places):
        old = sentence[place.start : place.end]
        same = [word for value, form, word in order if (value, form) == (place.value, place.form)]
        fitting = group.values[new[place.value]][place.form]
        synonyms = group.values[place.value][place.form]
        number = same.index(old.lower())
        if len(synonyms) == len(fitting):  # pairs: enlargement and shrinkage
            number = [word.lower() for word in synonyms].index(old.lower())
        word = fitting[number % len(fitting)]
        if old[0].isupper():
            word = word[0].upper() + word[1:]
        text = text[: place.start] + word + text[place.end :]
        words.append(f"{word.lower()} for {old.lower()}")
    text = with_articles(text)
    if _ODD.search(text):
        return None
    return Swap(text, group.name, f"the {group.name}: {', '.join(dict.fromkeys(words[::-1]))}")


def _in_name(sentence: str, place: _Place) -> bool:
    """Whether a word is part of the name of a diagnosis: linear in linear epidermal nevus."""
    here = sentence[place.start : place.end]
    if DIAGNOSIS.fullmatch(here.split()[-1]) and here.lower() not in ("ulcers", "erythema"):
        return True
    for word in re.findall(r"[^\s]+", sentence[place.end :])[:4]:
        if word.lower() in _STOPS:
            return False
        if DIAGNOSIS.match(word):
            return True
        if word[-1] in ",.;:":
            return False
    return False


def _other_number(sentence: str, question: str, pick: int) -> Iterator[Swap]:
    """5 mm -> 20 mm; 10-15 micrometers -> 40-60 micrometers."""
    match = _NUMBER.search(sentence)
    if match is None or len(_NUMBER.findall(sentence)) > 1 or match[1] in question:
        return
    small = float(match[1]) < (4 if match[5].lower().startswith(("cm", "centi", "inch")) else 10)
    factor = (3, 4, 5)[pick % 3] if small else 0.25
    if "%" in match[5] or match[5].lower() == "percent":
        factor = 0.1 if float(match[1]) >= 10 else 8
    numbers = [f"{float(number) * factor:.2g}" for number in (match[1], match[3]) if number]
    if any("e" in number for number in numbers):
        return
    new = (match[2] or "").join(numbers) + match[4] + match[5]
    old = match[0]
    text = sentence[: match.start()] + new + sentence[match.end() :]
    yield Swap(text, "number", f"the number: {new} for {old}")


def with_articles(text: str) -> str:
    """A before a consonant and an before a vowel, where a swap has changed the word."""

    def right(match: re.Match[str]) -> str:
        vowel = match[2][0].lower() in "aeiou" and not re.match(
            r"(?:uni|eu|one|us)", match[2], re.I
        )
        article = "an" if vowel or re.match(r"(?:x-|hour|h&e)", match[2], re.I) else "a"
        return f"{article.capitalize() if match[1][0].isupper() else article} {match[2]}"

    return re.sub(r"\b([Aa]n?) ([A-Za-z][\w&-]*)", right, text)
