"""Wrong answers by other values: the true sentence with another color, size, site or cell.

What the corpus says often is put in often, so that the changed answers sound like the others.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from builder.harm.authors.skin_diseases import DIAGNOSIS, in_name, mentions, with_articles
from builder.harm.authors.tables import any_of, pattern, read_table, words_in
from builder.harm.authors.value_groups import Group, Place, Swap, carried, groups, put

_T = TypeVar("_T")
#: A number from 0 to 1 for each name of a choice.
Draw = Callable[[str], float]

_TERMS: Final = frozenset(("meaning",))
_NO_VALUE: Final = frozenset(("prevention", "contagion", "diagnosis", "difference", "function"))
_DESCRIBES: Final = frozenset(
    ("appearance", "texture", "shape", "presence", "histology", "size", "name")
)
_NEGATED: Final = pattern("negated")
_LEADS_IN: Final = pattern("leads_in")
_ASKS_NAME: Final = pattern("asks_for_name")
_SHORT: Final = 14
# Side clauses that explain the word before them, which may be another one now.
_DEFINES: Final = pattern("defines")
_SAID_AFTER: Final = re.compile(
    r"\b([A-Za-z-]+)(, which (?:is|are) [^.]{12,140}?)"
    r"(?= in this|, (?:and|which|suggest|indicat)|\.)"
)
# Sentences that take up what the first one said.
_NOT_ALONE: Final = pattern("not_alone")
_RARE: Final = 0.1
_NUMBER: Final = re.compile(
    r"\b(\d+(?:\.\d+)?)(?:( ?(?:-|–|to) ?)(\d+(?:\.\d+)?))?( ?-?)"
    r"(mm|cm|millimet|centimet|micromet|inch|month|week|day|year|hour|layer|percent|%|×"
    r"|(?=[a-z]+ (?:(?:are|is) )?(?:visible|present|shown|in )))", re.I
)  # fmt: skip

_BOUND: Final = pattern("bound")
_ODD: Final = words_in("odd", r"{}")


class WrongValues:
    """Puts other values into true sentences, each as often as a corpus of answers has it.

    Args:
        answers: clean answers; the more often they say a word, the more often it is put in.
    """

    def __init__(self, answers: Iterable[str]) -> None:
        self._seen: Counter[str] = Counter()
        self._said_after: defaultdict[str, list[str]] = defaultdict(list)
        for answer in answers:
            for word, said in _SAID_AFTER.findall(answer):
                self._said_after[word.lower()].append(said)
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
        answers = read_table("wrong_values.yaml")["answers"]
        wanted = answers.get(intent, answers["terms" if intent in _TERMS else "describing"])
        if intent == "name":
            wanted = [group for group in wanted if group != "site"]
        sentence = _with_one_size(sentence)
        short = len(sentence.split()) <= _SHORT  # else one changed value leaves most of it true
        first = self._one(sentence, question, said, wanted, draw)
        if first is None or intent not in _DESCRIBES:
            return first if short or intent != "other" else None
        others = [name for name in answers["describing"] if name not in first.groups]
        second = self._one(first.sentence, question, said + sentence, others, draw)
        if second is not None and _untouched(sentence, first, second):
            return Swap(
                second.sentence,
                first.groups + second.groups,
                first.put_in + second.put_in,
                first.taken_out + second.taken_out,
                first.changes + second.changes,
            )
        return first if short else None

    def with_rest(self, swap: Swap, rest: str, draw: Draw) -> str:
        """A changed clause with what followed the true one, the same values changed in it.

        What explains a value that is another one now ends it, or gives way to what is said of that.
        """
        sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", rest)
        side = sentences[0].rstrip(".!? ")
        text = swap.sentence
        if _DEFINES.match(side) and text.lower().endswith(swap.put_in):
            word = text.split()[-1].lower()  # "cells" are of any kind
            said = [] if word.startswith("cell") else self._said_after[word]
            text += said[int(draw("said after") * len(said))] if said else ""
        elif side and side[0] in ",: ":
            text += carried(side, swap) or ""
        text += "."
        for sentence in sentences[1:]:
            changed = None if _NOT_ALONE.search(sentence) else carried(sentence, swap)
            if changed is None:
                break
            text += f" {changed}"
        return text

    def _one(
        self, sentence: str, question: str, said: str, wanted: Sequence[str], draw: Draw
    ) -> Swap | None:
        """One of the groups changed: the rather, the more usual what it puts in."""
        weights: dict[Swap, float] = {}
        for swap in self._swaps(sentence, question, said, wanted, draw):
            new, old = self._weight(swap.put_in), self._weight(swap.taken_out)
            if new > _RARE * (new + old):
                weights[swap] = new / (new + old)
        return _drawn([*weights], [*weights.values()], draw(f"group {wanted[0]}"))

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
            elif changed := self._change(groups()[name], sentence, question, said, draw):
                yield changed
        if "count" in wanted:
            yield from _other_number(sentence, question, draw)

    def _other_sites(self, sentence: str, question: str, said: str, draw: Draw) -> Iterator[Swap]:
        sites = [group for name, group in groups().items() if name.startswith("site ")]
        if any(group.places(question) for group in sites):
            return  # "the soles of the foot": the rest of the place would stay
        named = [group for group in sites if group.places(sentence)]
        names = {group.name for group in named}
        if {"site head", "site face"} <= names:  # "the face, especially the nose": the face stays
            named = [group for group in named if group.name != "site head"]
        swap = Swap(sentence, ("site",), (), ())
        for group in named:
            changed = self._change(group, swap.sentence, question, said, draw)
            if changed is not None:
                put_in, taken_out = swap.put_in + changed.put_in, swap.taken_out + changed.taken_out
                changes = swap.changes + changed.changes
                swap = Swap(changed.sentence, ("site",), put_in, taken_out, changes)
        if 2 * len(swap.put_in) > sum(len(group.places(sentence)) for group in sites):
            yield swap

    def _change(
        self, group: Group, sentence: str, question: str, said: str, draw: Draw
    ) -> Swap | None:
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
        text = sentence
        put_in: list[str] = []
        taken_out: list[str] = []
        words: dict[str, str] = {}
        for place in reversed(places):
            old = sentence[place.start : place.end]
            fitting = [
                word
                for word in group.values[new[place.value]][place.form]
                if word not in words.values()
            ] or group.values[new[place.value]][place.form]
            alike = [word for word in fitting if word.count(" ") == old.count(" ")]
            fitting = alike or fitting
            weights = [self._weight((word,)) for word in fitting]
            word = words.setdefault(
                old.lower(), _drawn(fitting, weights, draw(f"{group.name} {old}")) or fitting[0]
            )
            text = put(text, place, word)
            put_in.insert(0, word)
            taken_out.insert(0, old.lower())
        text = with_articles(text)
        return (
            None
            if _ODD.search(text)
            else Swap(
                text,
                (group.name,),
                tuple(put_in),
                tuple(taken_out),
                tuple((group.name, old, value) for old, value in new.items()),
            )
        )


def _drawn(options: Sequence[_T], weights: Sequence[float], drawn: float) -> _T | None:
    left = drawn * sum(weights)
    for option, weight in zip(options, weights, strict=True):
        left -= weight
        if left <= 0:
            return option
    return options[-1] if options else None


def _may_change(group: Group, sentence: str, places: Sequence[Place]) -> bool:
    kind = "site" if group.name.startswith("site ") else group.name
    fixed = read_table("wrong_values.yaml")["fixed_by"].get(kind)
    if fixed and any_of(fixed).search(sentence):
        return False
    olds = {sentence[place.start : place.end].lower().rstrip("es") for place in places}
    nouns = group.name == "relief" and all(place.form != "adj" for place in places)
    if nouns and (olds <= {"patch", "plaqu"} or len(sentence.split()) > 10):
        return False  # no reader would call a plaque wrong for a patch, or one noun of many
    if group.name == "count":
        return True
    named = [(mention.start, mention.end) for mention in mentions(sentence)]
    return not any(
        in_name(sentence, place.start, place.end)
        or any(start <= place.start < end for start, end in named)
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
    if clause and groups()["size"].places(sentence[: clause.start()]):
        return sentence[: clause.start()]
    return sentence


def _other_number(sentence: str, question: str, draw: Draw) -> Iterator[Swap]:
    """5 mm -> 20 mm; 10-15 micrometers -> 40-60 micrometers."""
    match = _NUMBER.search(sentence)
    if match is None or len(_NUMBER.findall(sentence)) > 1 or match[1] in question:
        return
    if _BOUND.search(sentence[: match.start()]):
        return  # less than 4 cm is true of what is less than 1 cm
    small = float(match[1]) < (4 if match[5].lower().startswith(("cm", "centi", "inch")) else 10)
    factor = (3, 4, 5)[int(3 * draw("number")) % 3] if small else 0.25
    if "%" in match[5] or match[5].lower() == "percent":
        factor = 0.1 if float(match[1]) >= 10 else 8
    counted = not match[5]  # 10 cells, not 10 mm
    if counted:
        factor = 2 if small else 0.5
    numbers = [
        f"{max(1, round(float(number) * factor)) if counted else float(number) * factor:.2g}"
        for number in (match[1], match[3])
        if number
    ]
    if any("e" in number for number in numbers):
        return
    new = (match[2] or "").join(numbers) + match[4] + match[5]
    text = sentence[: match.start()] + new + sentence[match.end() :]
    yield Swap(text, ("number",), (new,), (match[0],))
