"""Facts about skin diseases, and which disease a text names.

The tables `skin_diseases_*.yaml` hold what a textbook says of each disease. A fact is phrased so
that it fits into a sentence about another disease, where it is plausible and wrong.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from builder.harm.authors.tables import pattern, read_table, word_set, words_in

TABLES: Final = tuple(f"skin_diseases_{part}.yaml" for part in "abcd")

#: Synonyms that are plurals, of a disease that is none: hives.
_PLURAL_NAME: Final = pattern("plural_name", 0)
_COUNTABLE: Final = pattern("countable", 0)
_UNCOUNTED: Final = re.compile(r"(?:carcinoma|sarcoma|melanoma|lymphoma|scleroma|mycetoma)$")
_STOP: Final = word_set("said_of_any")

DIAGNOSIS: Final = words_in("diagnosis", r"(?:\b\w+)?(?:{})\b")
_ENDS_NAME: Final = frozenset(
    "a an the of in on at to for with by from and or is are that which as".split()
)


class Disease(NamedTuple):
    """A skin disease: its names and, by the name of the fact, the phrases that are true of it."""

    name: str
    plural: bool
    names: tuple[str, ...]
    family: str
    nature: str
    look_alikes: tuple[str, ...]
    facts: Mapping[str, tuple[str, ...]]

    def fact(self, name: str) -> tuple[str, ...]:
        return self.facts.get(name, ())

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def countable(self) -> bool:
        """Whether it takes an article: a keloid, but lichen planus and melanoma."""
        return not self.plural and bool(_COUNTABLE.search(self.name))


class Mention(NamedTuple):
    """Where a text names a disease."""

    disease: Disease
    start: int
    end: int
    plural: bool


@cache
def diseases() -> Mapping[str, Disease]:
    """Every disease of the tables by its name."""
    found = {}
    for table in TABLES:
        for entry in read_table(table):
            disease = _disease(entry)
            found[disease.name] = disease
    return found


def _disease(entry: Mapping[str, Any]) -> Disease:
    names = {"name", "plural", "also", "family", "nature", "look_alikes"}
    facts = {
        key: (value,) if isinstance(value, str) else tuple(value)
        for key, value in entry.items()
        if key not in names and isinstance(value, str | list)
    }
    return Disease(
        entry["name"],
        bool(entry.get("plural", False)),
        (entry["name"], *entry.get("also", ())),
        entry["family"],
        entry["nature"],
        tuple(entry.get("look_alikes", ())),
        facts,
    )


def plural_of(name: str) -> str | None:
    """Keloid -> keloids; None for what has no plural."""
    if _UNCOUNTED.search(name):
        return None
    for singular, ending in read_table("patterns.yaml")["plurals"]:
        if re.search(singular, name):
            return re.sub(singular, ending, name)
    return None


@cache
def _by_name() -> Mapping[str, tuple[Disease, bool]]:
    """Every name in lower case, American spelling, singular and plural -> whose it is."""
    names: dict[str, tuple[Disease, bool]] = {}
    for disease in diseases().values():
        for name in disease.names:
            plurals = disease.plural or bool(_PLURAL_NAME.search(name))
            names.setdefault(_american(name), (disease, plurals))
            if plural := plural_of(name):
                names.setdefault(_american(plural), (disease, True))
    return names


def _american(text: str) -> str:
    """One spelling for a name: no diphthongs, no possessive, plain hyphens."""
    text = text.lower().replace("’", "'").replace("–", "-")
    return text.replace("haem", "hem").replace("naev", "nev").replace("oedem", "edem")


@cache
def _names() -> re.Pattern[str]:
    spelled = []
    for name in sorted(_by_name(), key=lambda name: (-len(name), name)):
        pattern = re.escape(name).replace("hem", "ha?em").replace("nev", "na?ev")
        pattern = pattern.replace("edem", "o?edem").replace("tumor", "tumou?r").replace("'", "['’]")
        spelled.append(pattern.replace(r"\ ", r"[ -]").replace(r"\-", "[-–]"))
    longer = "".join(read_table("patterns.yaml")["longer_name"])
    return re.compile(rf"(?<![\w-])(?:{'|'.join(spelled)})(?![\w-]){longer}", re.IGNORECASE)


@cache
def mentions(text: str) -> tuple[Mention, ...]:
    """The diseases that a text names, in its order; never a part of a longer name."""
    return tuple(_mentions(text))


def _mentions(text: str) -> Iterator[Mention]:
    names = _by_name()
    for match in _names().finditer(text):
        written = _american(match[0]).replace("tumour", "tumor")
        known = names.get(written) or names.get(written.replace("-", " "))
        if known is None:
            known = names.get(written.replace(" ", "-"))
        if known is not None:
            yield Mention(known[0], match.start(), match.end(), known[1])


@cache
def named(name: str) -> Disease | None:
    """The disease of exactly this name or synonym."""
    known = _by_name().get(_american(name))
    return known[0] if known else None


@cache
def look_alikes(disease: Disease) -> tuple[Disease, ...]:
    """Diseases of the tables that are mistaken for this one, its own choice first."""
    own = [named(name) for name in disease.look_alikes]
    back = [other for other in diseases().values() if disease.name in other.look_alikes]
    unlike = dict.fromkeys(other for other in [*own, *back] if other is not None)
    return tuple(other for other in unlike if not _related(disease, other))


def _related(one: Disease, two: Disease) -> bool:
    """Whether one name holds the other: psoriasis and pustular psoriasis."""
    words, others = set(one.name.lower().split()), set(two.name.lower().split())
    return words <= others or others <= words


@cache
def content(text: str) -> frozenset[str]:
    """The words that a phrase says something with, shortened to their stems."""
    words = re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower())
    return frozenset(_stem(word) for word in words if word not in _STOP and len(word) > 2)


def _stem(word: str) -> str:
    word = re.sub(r"(?:ies|ied)$", "y", word) if len(word) > 5 else word
    word = re.sub(r"(?<=\w{4})(?:ing|ed|es|e|s|al|ous|ic|ation)$", "", word)
    return word[:6]


def in_name(sentence: str, start: int, end: int) -> bool:
    """Whether a word is part of the name of a diagnosis: linear in linear epidermal nevus."""
    here = sentence[start:end]
    if DIAGNOSIS.fullmatch(here.split()[-1]) and here.lower() not in ("ulcers", "erythema"):
        return True
    for word in re.findall(r"[^\s]+", sentence[end:])[:4]:
        if word.lower() in _ENDS_NAME:
            return False
        if DIAGNOSIS.match(word):
            return True
        if word[-1] in ",.;:":
            return False
    return False


def with_articles(text: str) -> str:
    """A before a consonant and an before a vowel, where a swap has changed the word."""

    def right(match: re.Match[str]) -> str:
        vowel = match[2][0].lower() in "aeiou" and not re.match(
            r"(?:uni|eu|one|us)", match[2], re.I
        )
        article = "an" if vowel or re.match(r"(?:x-|hour|h&e)", match[2], re.I) else "a"
        return f"{article.capitalize() if match[1][0].isupper() else article} {match[2]}"

    return re.sub(r"\b([Aa]n?) ([A-Za-z][\w&-]*)", right, text)
