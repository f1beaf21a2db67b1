"""Wrong answers by other values: the true sentence with another color, size, site, cell or count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple, TypeVar

from builder.harm.authors.skin_diseases import mentions
from builder.harm.authors.tables import read_table

_T = TypeVar("_T")
#: A number from 0 to 1 for each name of a choice.
Draw = Callable[[str], float]

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
    "complications": ("process",),
    "symptoms": ("discomfort",),
    "stain": ("stain", "sign"),
    "histology": (
        "inflammatory cell", "resident cell", "tissue", "layer", "crowding", "size", "outline",
        "germ", "nature",
    ),
}  # fmt: skip
_TERMS: Final = frozenset(("meaning",))
_NO_VALUE: Final = frozenset(("prevention", "contagion", "diagnosis", "difference", "function"))
# Of these more than one value may change: their answers describe.
_DESCRIBES: Final = frozenset(
    ("appearance", "texture", "shape", "presence", "histology", "size", "name")
)
_VISIBLE: Final = (
    "relief", "color", "process", "surface", "thickness", "outline", "size", "border", "evenness", "fluid",
    "spread", "crowding", "inflammatory cell", "resident cell", "layer", "depth",  "vessel",
    "change", "site", "middle", "severity", "nature", "hardness",
)  # fmt: skip
_VALUES_OF_TERMS: Final = (
    "change", "inflammatory cell", "layer", "color", "process", "relief", "fluid", "hardness",
    "vessel", "border", "surface", "outline", "spread", "size", "course", "frequency",
)  # fmt: skip
_NEGATED: Final = re.compile(
    r"\b(?:no|not|never|without|none|nor|neither|lack\w*)\b|n['’]t\b", re.I
)
_LEADS_IN: Final = re.compile(
    r"(?:in addition|it seems|it is|while|although|unfortunately|besides|unlike|as with|if|when|some)\b",
    re.I,
)
#: What is put in must not be so much rarer than what is taken out: it would give wrong away.
_RARE: Final = 0.1
#: Words of a description that one changed value makes wrong.
_SHORT: Final = 14
_ASKS_NAME: Final = re.compile(
    r"\b(?:condition|disease|disorder|diagnosis|cancer|called|name|infection|syndrome)\b", re.I
)
_NUMBER: Final = re.compile(
    r"\b(\d+(?:\.\d+)?)(?:( ?(?:-|–|to) ?)(\d+(?:\.\d+)?))?( ?-?)"
    r"(mm|cm|millimet|centimet|micromet|inch|month|week|day|year|hour|layer|percent|%|×"
    r"|(?=[a-z]+ (?:(?:are|is) )?(?:visible|present|shown|in )))", re.I
)  # fmt: skip


# Groups whose values something else in the sentence decides, too.
# "viral infection called Bacillus Calmette-Guérin": the name would give the lie to the word.
_NAMED_GERM: Final = re.compile(
    r"\b(?:called|named|known as|such as|specifically)\b|\b[A-Z][a-z]+ [a-z]{4,}(?:i|um|us|is|ae|a|ns)\b"
)
_FIXED_BY: Final = {
    "germ": _NAMED_GERM,
    "thickness": re.compile(r"\d"),
    "depth": re.compile(
        r"\b(?:back|legs?|arms?|lips?|eyelids?|extremit\w+|body|chest|limbs?|teeth)\b", re.I
    ),
    "hardness": re.compile(r"\btissues?\b", re.I),
    "middle": re.compile(r"\b(?:face|chest|back|line|nervous)\b", re.I),
    "color": re.compile(r"\binflamm|\bswelling|\bblood cell|\birritat", re.I),
}
# What follows a changed value and speaks of it: "scaly, which could be a sign of dryness".
_RELATED: Final = {
    group: re.compile(pattern, re.I)
    for group, pattern in {
        "color": r"diagnos|vitiligo|pigment|melan|blood|inflam|erythem|colou?r|irritat|infect|bruis|sun",
        "relief": r"swell|growth|elevat|rais|bump|thick|rise|fluid|surface",
        "surface": r"dry|moist|irritat|inflam|scal|textur|surface|eczema|psoria|keratin",
        "process": r"infect|immune|inflam|irritat|heal|red|ulcer|scar|wound|tissue|open|blood",
        "thickness": r"keratin|rub|thick|scar",
        "size": r"grow|size|larg|small|exten|area|diameter|measur",
        "layer": r"layer|skin|outer|middle|deep|surface|beneath",
        "inflammatory cell": r"cell|immune|infect|allerg",
        "resident cell": r"cell|melan|pigment|collagen|skin|nevus|mole",
        "tissue": r"tissue|skin|made|compos",
        "border": r"malignan|benign|border|irregular|distinct",
        "outline": r"shape|line|circ|pattern",
        "count": r"includ|such as|:|each|\bone\b|another|both|two|difficult|count|exact",
        "frequency": r"people|common|rare|popula|affect",
        "nature": r"cancer|spread|malignan|benign|harm",
        "drug": r"infect|bacteri|fung|vir|such as|includ",
        "outlook": r"treat|cure|good|surviv|recover|heal|respon",
        "change": r"growth|loss|increas|decreas|thick|thin|enlarg",
    }.items()
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
    r"|\b(\w{3,}) \2\b|\bflat .*above|\bflat,? (?:wart-like|dome|fluid)|\blinear,? (?:dome|flat-topped)|\bblue blood", re.I
)  # fmt: skip


class Swap(NamedTuple):
    """A sentence with other values, of which groups and what stands for what."""

    sentence: str
    groups: tuple[str, ...]
    put_in: tuple[str, ...]
    taken_out: tuple[str, ...]

    @property
    def what_is_wrong(self) -> str:
        pairs = zip(self.put_in, self.taken_out, strict=True)
        return ", ".join(dict.fromkeys(f"{new} for {old}" for new, old in pairs))


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


def fits(piece: str, swap: Swap) -> bool:
    """Whether what follows a changed clause is not about the changed values."""
    related = [_RELATED[group] for group in swap.groups if group in _RELATED]
    if any(pattern.search(piece) for pattern in related):
        return False
    groups = [
        group
        for name, group in _groups().items()
        if name.split()[0] in swap.groups or name in swap.groups
    ]
    return not any(group.places(piece) for group in groups)


class WrongValues:
    """Puts other values into true sentences, each as often as a corpus of answers has it.

    Args:
        answers: clean answers; the more often they say a word, the more often it is put in.
    """

    def __init__(self, answers: Iterable[str]) -> None:
        self._seen: Counter[str] = Counter()
        for answer in answers:
            said = re.findall(r"[\w&-]+", answer.lower())
            for length in (1, 2, 3):
                self._seen.update(
                    " ".join(said[i : i + length]) for i in range(len(said) - length + 1)
                )

    def swap(self, sentence: str, question: str, said: str, intent: str, draw: Draw) -> Swap | None:
        """The sentence with other values; None where none fits.

        Args:
            sentence: the true answer's first clause.
            question: its words are never changed, for the answer would not fit it.
            said: what is also true of the image; no value of it is put in.
            intent: of the question; decides which values answer it.
            draw: a number from 0 to 1 for each name of a choice.
        """
        if _NEGATED.search(sentence) or _LEADS_IN.match(sentence):
            return None
        if intent in _NO_VALUE:
            return None
        if intent == "name" and (
            DIAGNOSIS.search(sentence) or mentions(sentence) or _ASKS_NAME.search(question)
        ):
            return None  # the diagnosis would stay
        wanted = _ANSWERS.get(intent)
        if wanted is None:
            wanted = _VALUES_OF_TERMS if intent in _TERMS else _VISIBLE
        if intent == "name":
            wanted = [group for group in wanted if group != "site"]
        sentence = _with_one_size(sentence)
        first = self._one(sentence, question, said, wanted, draw)
        if first is None or intent not in _DESCRIBES:
            return first
        others = [name for name in _VISIBLE if name not in first.groups]
        second = self._one(first.sentence, question, said + sentence, others, draw)
        if second is not None and _untouched(sentence, first, second):
            return Swap(
                second.sentence,
                first.groups + second.groups,
                first.put_in + second.put_in,
                first.taken_out + second.taken_out,
            )
        return first if len(sentence.split()) <= _SHORT else None  # most of it would stay true

    def _one(
        self, sentence: str, question: str, said: str, wanted: Sequence[str], draw: Draw
    ) -> Swap | None:
        """One of the groups changed: the rather, the more usual what it puts in."""
        swaps = list(self._swaps(sentence, question, said, wanted, draw))
        weights = [
            self._weight(swap.put_in) / (self._weight(swap.put_in) + self._weight(swap.taken_out))
            for swap in swaps
        ]
        usual = [
            (swap, weight) for swap, weight in zip(swaps, weights, strict=True) if weight > _RARE
        ]
        return _drawn(
            [swap for swap, _ in usual], [weight for _, weight in usual], draw(f"group {wanted[0]}")
        )

    def _weight(self, words: Iterable[str]) -> float:
        return sum(self._seen[word] for word in words) + 0.5

    def _swaps(
        self, sentence: str, question: str, said: str, wanted: Sequence[str], draw: Draw
    ) -> Iterator[Swap]:
        for name in wanted:
            if name == "site":
                yield from self._other_sites(sentence, question, said, draw)
            elif name == "number":
                yield from _other_number(sentence, question, draw)
            elif changed := self._change(_groups()[name], sentence, question, said, draw):
                yield changed
        if "count" in wanted:
            yield from _other_number(sentence, question, draw)

    def _other_sites(self, sentence: str, question: str, said: str, draw: Draw) -> Iterator[Swap]:
        """The sentence with all its places on the body changed."""
        groups = [group for name, group in _groups().items() if name.startswith("site ")]
        if any(group.places(question) for group in groups):
            return  # "the soles of the foot": the rest of the place would stay
        named = [group for group in groups if group.places(sentence)]
        names = {group.name for group in named}
        if {"site head", "site face"} <= names:  # "the face, especially the nose": the face stays
            named = [group for group in named if group.name != "site head"]
        swap = Swap(sentence, ("site",), (), ())
        for group in named:
            changed = self._change(group, swap.sentence, question, said, draw)
            if changed is not None:
                put_in, taken_out = swap.put_in + changed.put_in, swap.taken_out + changed.taken_out
                swap = Swap(changed.sentence, ("site",), put_in, taken_out)
        if 2 * len(swap.put_in) > sum(len(group.places(sentence)) for group in groups):
            yield swap

    def _change(
        self, group: _Group, sentence: str, question: str, said: str, draw: Draw
    ) -> Swap | None:
        """The sentence with every word of a group changed to another value's."""
        places = group.places(sentence)
        if not places or not _may_change(group, sentence, places):
            return None
        asked = {place.value for place in group.places(question)}
        if group.name in ("frequency", "count"):  # "How common is it?" says nothing of how common
            asked = set()
        present = {place.value for place in places}
        if present & asked:
            return None
        taken = present | asked | {place.value for place in group.places(said)}
        new: dict[int, int] = {}
        for value in sorted(present):
            forms = {place.form for place in places if place.value == value}
            free = [
                other
                for other, words in enumerate(group.values)
                if other not in taken and other not in new.values() and forms <= words.keys()
            ]
            weights = [
                self._weight(word for form in forms for word in group.values[other][form])
                for other in free
            ]
            chosen = _drawn(free, weights, draw(f"{group.name} {value}"))
            if chosen is None:
                return None
            new[value] = chosen
        text, put_in, taken_out = sentence, [], []
        words: dict[str, str] = {}
        for place in reversed(places):
            old = sentence[place.start : place.end]
            fitting = [
                word
                for word in group.values[new[place.value]][place.form]
                if word not in words.values()
            ] or group.values[new[place.value]][place.form]
            weights = [self._weight((word,)) for word in fitting]
            word = words.setdefault(
                old.lower(), _drawn(fitting, weights, draw(f"{group.name} {old}")) or fitting[0]
            )
            text = text[: place.start] + _cased(word, old) + text[place.end :]
            put_in.insert(0, word)
            taken_out.insert(0, old.lower())
        text = with_articles(text)
        return (
            None
            if _ODD.search(text)
            else Swap(text, (group.name,), tuple(put_in), tuple(taken_out))
        )


def _drawn(options: Sequence[_T], weights: Sequence[float], drawn: float) -> _T | None:
    """One of the options, with a probability in proportion to its weight."""
    left = drawn * sum(weights)
    for option, weight in zip(options, weights, strict=True):
        left -= weight
        if left <= 0:
            return option
    return options[-1] if options else None


def _cased(word: str, old: str) -> str:
    return word[0].upper() + word[1:] if old[0].isupper() else word


def _may_change(group: _Group, sentence: str, places: Sequence[_Place]) -> bool:
    fixed = _FIXED_BY.get(group.name)
    if fixed is not None and fixed.search(sentence):
        return False
    olds = {sentence[place.start : place.end].lower().rstrip("es") for place in places}
    if group.name == "relief" and all(place.form != "adj" for place in places):
        # No reader would call a plaque wrong for a patch, or one noun of many.
        if olds <= {"patch", "plaqu"} or len(sentence.split()) > 10:
            return False
    if group.name == "count":
        return True
    named = [(mention.start, mention.end) for mention in mentions(sentence)]
    return not any(
        _in_name(sentence, place) or any(start <= place.start < end for start, end in named)
        for place in places
    )


def _untouched(sentence: str, first: Swap, second: Swap) -> bool:
    """Whether a second swap leaves alone what the first one has put in."""

    def count(word: str, text: str) -> int:
        return len(re.findall(rf"\b{re.escape(word)}\b", text, re.I))

    if any(word in " ".join(first.put_in) for word in second.taken_out):
        return False
    return all(count(word, sentence) == count(word, first.sentence) for word in second.taken_out)


def _with_one_size(sentence: str) -> str:
    """Small, measuring 5 mm -> small: the number would contradict another size."""
    clause = re.search(r",? (?:measuring|with a diameter of|ranging|about the size)\b", sentence)
    if clause and _groups()["size"].places(sentence[: clause.start()]):
        return sentence[: clause.start()]
    return sentence


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


def _other_number(sentence: str, question: str, draw: Draw) -> Iterator[Swap]:
    """5 mm -> 20 mm; 10-15 micrometers -> 40-60 micrometers."""
    match = _NUMBER.search(sentence)
    if match is None or len(_NUMBER.findall(sentence)) > 1 or match[1] in question:
        return
    small = float(match[1]) < (4 if match[5].lower().startswith(("cm", "centi", "inch")) else 10)
    factor = (3, 4, 5)[int(3 * draw("number")) % 3] if small else 0.25
    if "%" in match[5] or match[5].lower() == "percent":
        factor = 0.1 if float(match[1]) >= 10 else 8
    numbers = [f"{float(number) * factor:.2g}" for number in (match[1], match[3]) if number]
    if any("e" in number for number in numbers):
        return
    new = (match[2] or "").join(numbers) + match[4] + match[5]
    text = sentence[: match.start()] + new + sentence[match.end() :]
    yield Swap(text, ("number",), (new,), (match[0],))


def with_articles(text: str) -> str:
    """A before a consonant and an before a vowel, where a swap has changed the word."""

    def right(match: re.Match[str]) -> str:
        vowel = match[2][0].lower() in "aeiou" and not re.match(
            r"(?:uni|eu|one|us)", match[2], re.I
        )
        article = "an" if vowel or re.match(r"(?:x-|hour|h&e)", match[2], re.I) else "a"
        return f"{article.capitalize() if match[1][0].isupper() else article} {match[2]}"

    return re.sub(r"\b([Aa]n?) ([A-Za-z][\w&-]*)", right, text)
