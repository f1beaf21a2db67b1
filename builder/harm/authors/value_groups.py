"""Values that exclude one another (`wrong_values.yaml`), and sentences with others in place."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from builder.harm.authors.skin_diseases import with_articles
from builder.harm.authors.tables import any_of, pattern, read_table, words_in

_COLORS: Final = pattern("colors")
_REASON: Final = re.compile(r"\W*(?:due to|because|since|as a result|caused by)\b", re.I)
#: Groups whose values a later sentence may follow, unless it explains them.
_LOOKS: Final = frozenset(
    "color shade relief surface thickness outline border size evenness spread hardness "
    "fluid".split()
)
_EXPLAINS: Final = words_in("explains")


class Swap(NamedTuple):
    """A sentence with other values, of which groups and what stands for what."""

    sentence: str
    groups: tuple[str, ...]
    put_in: tuple[str, ...]
    taken_out: tuple[str, ...]
    changes: tuple[tuple[str, int, int], ...] = ()  # group, old value, new one

    @property
    def what_is_wrong(self) -> str:
        pairs = zip(self.put_in, self.taken_out, strict=True)
        return ", ".join(dict.fromkeys(f"{new} for {old}" for new, old in pairs))


class Place(NamedTuple):
    """A word of a group in a sentence."""

    start: int
    end: int
    value: int
    form: str


class Group(NamedTuple):
    name: str
    values: Sequence[Mapping[str, Sequence[str]]]
    words: re.Pattern[str]

    def places(self, text: str) -> list[Place]:
        known = _places_of(self.name)
        return [
            Place(match.start(), match.end(), *known[match[0].lower()])
            for match in self.words.finditer(text)
        ]


@cache
def groups() -> Mapping[str, Group]:
    known = {}
    for name, entries in read_table("wrong_values.yaml")["groups"].items():
        values = [
            {form: [word.strip() for word in words.split("|")] for form, words in entry.items()}
            for entry in entries
        ]
        spelled = {word.lower() for value in values for words in value.values() for word in words}
        either = "|".join(re.escape(word) for word in sorted(spelled, key=lambda w: (-len(w), w)))
        pattern = re.compile(rf"(?<![\w-])(?:{either})(?![\w-])", re.IGNORECASE)
        known[name] = Group(name, values, pattern)
    return known


@cache
def _places_of(group: str) -> Mapping[str, tuple[int, str]]:
    """A group's words in lower case -> the value and the form."""
    known: dict[str, tuple[int, str]] = {}
    for number, value in enumerate(groups()[group].values):
        for form, words in value.items():
            for word in words:
                known.setdefault(word.lower(), (number, form))
    return known


def carried(piece: str, swap: Swap) -> str | None:
    """What follows a changed clause, the same values changed; None where it cannot follow that."""
    related = read_table("wrong_values.yaml")["related"]
    if _REASON.match(piece):
        return None
    if _EXPLAINS.search(piece) or not _LOOKS.issuperset({*swap.groups} - {"site", "number"}):
        return None  # what is told of the true value
    for name in swap.groups:
        if name in related and any_of(related[name]).search(piece):
            return None
    sites = [group for name, group in groups().items() if name.startswith("site ")]
    if "site" in swap.groups and any(group.places(piece) for group in sites):
        return None  # "the scalp, especially around the nose"
    for name, old, new in swap.changes:
        group = groups()[name]
        if name == "color" and _COLORS.search(piece):
            return None
        for place in reversed(group.places(piece)):
            words = group.values[new].get(place.form)
            if place.value == new or (place.value == old and not words):
                return None
            if place.value == old and words:
                piece = put(piece, place, words[0])
    return with_articles(piece)


def put(text: str, place: Place, word: str) -> str:
    cased = word[0].upper() + word[1:] if text[place.start].isupper() else word
    return text[: place.start] + cased + text[place.end :]
