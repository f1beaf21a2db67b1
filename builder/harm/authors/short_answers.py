"""Wrong answers of a word or a few: another value of the same kind, or another image's answer.

Which kind an answer is of is told by its words and the question's (`short_values.yaml`), so a table
needs no column for it. A list stays a list: "Lung, Heart" becomes "Liver, Spleen".
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from builder.harm.answer_checks import is_phrase
from builder.harm.authors.contrary import words
from builder.harm.authors.corpus_answers import plain
from builder.harm.authors.question_intent import intent
from builder.harm.authors.skin_diseases import content, with_articles
from builder.harm.authors.tables import any_of, read_table
from mllmu_med.files import stable_hash
from mllmu_med_dataset import Record

_NUMBERS: Final = "zero one two three four five six seven eight nine ten eleven twelve".split()
_COUNT: Final = re.compile(rf"(?:just |only )?(\d+|{'|'.join(_NUMBERS)})", re.IGNORECASE)
_MEASURE: Final = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?=[\d.x× -]*(?:mm|cm|%|minutes|hours|x|×))")
_PARTS: Final = re.compile(r"\s*(?:[,;&/]|\band\b|\bor\b|\bvs?\.?(?= ))\s*", re.IGNORECASE)
_ARTICLE: Final = re.compile(r"^(?:is |are )?(?:the|an?) ", re.IGNORECASE)
_CHOICE: Final = re.compile(r"\([A-Z]\) (.+?)(?= \([A-Z]\) |$)")
_REGION: Final = re.compile(r"\b(?:chest|lung|heart|abdom|liver|kidney|brain|head|neck|pelvi)")
#: What is true of one organ or disease is another's, whatever the question's words.
_KNOWLEDGE: Final = frozenset(("function", "treatment", "cause", "symptoms", "prevention"))
_LONG: Final = 6  # words; what says more is rather taken whole from another image


class _Kind(NamedTuple):
    forms: Sequence[Sequence[str]]  # of each value
    wordings: Sequence[Sequence[str]]  # of each value, any may be put in
    known: Mapping[str, tuple[int, int]]  # a wording -> its value and the place of its form
    words: re.Pattern[str]
    asks: re.Pattern[str]
    whole: bool
    shared: bool


class ShortAnswers:
    """Other short answers, the likeliest to be sound first; of values those of the corpus first."""

    def __init__(self, corpus: Sequence[Record], seed: int) -> None:
        self._seed = seed
        self._heard: Counter[str] = Counter()
        self._spelled: dict[str, str] = {}
        self._meant: defaultdict[str, list[Record]] = defaultdict(list)
        self._asked: defaultdict[str, list[Record]] = defaultdict(list)
        self._affirmed: defaultdict[str, str] = defaultdict(str)  # what is true of an image
        for record in corpus:
            said = words(record.clean_answer)
            for length in (1, 2, 3):
                starts = range(len(said) - length + 1)
                self._heard.update(" ".join(said[i : i + length]) for i in starts)
            if record.clean_answer[:1].isupper():
                self._spelled.setdefault(record.clean_answer.lower(), record.clean_answer)
            self._asked[plain(record.clean_question)].append(record)
            polar = {"yes": record.clean_question, "no": ""}
            true = polar.get(record.clean_answer.strip(" .!").lower(), record.clean_answer)
            self._affirmed[record.image_id] += f"{true}\n"
            if (about := intent(record.clean_question)) in _KNOWLEDGE:
                self._meant[about].append(record)

    def write(self, record: Record, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Other answers and what is wrong with them.

        Args:
            record: asks for a word or a few.
            names: of diseases like the one that the answer names, where it is a name.
        """
        truth = record.clean_answer
        if _rule("says_nothing").search(truth):
            return
        choices = _choices(record.clean_question, truth)
        ways: list[Iterable[str]] = [
            sorted(choices, key=lambda choice: stable_hash(self._seed, record.id, choice)),
            (_cased(name, truth) for name in names),
            self._counts(record),
            self._values(record),
        ]
        ways.insert(3 if len(truth.split()) > _LONG else 4, self._of_others(record))
        for way in ways:
            for answer in way:
                if _changes(answer, truth):
                    answer = (
                        self._spelled.get(answer.lower(), answer) if truth[0].isupper() else answer
                    )
                    yield answer, f"{answer} for {truth}"

    def _rank(self, record: Record, wordings: Sequence[str]) -> tuple[bool, bool, int]:
        """The answers to this question first, then what the corpus says anywhere."""
        asked = self._asked[plain(record.clean_question)]
        said = {part for other in asked for part in _parts(other.clean_answer)}
        heard = any(self._said(wording) for wording in wordings)
        drawn = stable_hash(self._seed, record.id, wordings[0])
        return said.isdisjoint(word.lower() for word in wordings), not heard, drawn

    def _said(self, wording: str) -> int:
        return self._heard[" ".join(words(wording))]

    def _values(self, record: Record) -> Iterator[str]:
        """The answer with another value of its kind in place of each."""
        question, truth = record.clean_question, record.clean_answer
        for kind in _kinds():
            places = kind.words.findall(truth) if kind.asks.search(question) else []
            if not places or (kind.whole and not kind.known.keys() >= {*_parts(truth)}):
                continue
            present = list(dict.fromkeys(kind.known[place.lower()][0] for place in places))
            free = self._free(record, kind, present)
            answers = [
                self._put(truth, kind, dict(zip(present, free[turn:], strict=False)))
                for turn in range(len(free) - len(present) + 1)
            ]
            changed = [answer for answer in answers if _changes(answer, truth)]
            yield from changed
            if changed:
                return

    def _put(self, text: str, kind: _Kind, new: Mapping[int, int]) -> str:
        """Other values in the same form, of equal ones in the word that the corpus has."""

        def other(match: re.Match[str]) -> str:
            value, place = kind.known[match[0].lower()]
            forms, wordings = kind.forms[new[value]], kind.wordings[new[value]]
            form = forms[place if place < len(forms) else 0]
            if len(forms) == 1:
                form = max(wordings, key=self._said)
            return _cased(form, match[0])

        answer = with_articles(kind.words.sub(other, text))
        comma = ", " if ", " in answer else ","  # two values of the truth may have become one
        return comma.join(dict.fromkeys(answer.split(comma)))

    def _free(self, record: Record, kind: _Kind, present: Sequence[int]) -> list[int]:
        """Values that may be put in for those that are present, the likeliest first."""
        if len(present) == len(kind.forms) == 2:  # left and right change places
            return [1 - number for number in present]
        taken = set(present)
        if kind.shared and not _rule("picks_one").search(record.clean_question):
            affirmed = self._affirmed[record.image_id] + record.context
            taken |= {kind.known[word.lower()][0] for word in kind.words.findall(affirmed)}
        free = [number for number in range(len(kind.forms)) if number not in taken]
        return sorted(free, key=lambda number: self._rank(record, kind.forms[number]))

    def _counts(self, record: Record) -> Iterator[str]:
        """Another number."""
        truth = record.clean_answer
        match = _COUNT.fullmatch(truth)
        if match:
            spelled = match[1].lower()
            count = _NUMBERS.index(spelled) if spelled in _NUMBERS else int(spelled)
            others = [n for n in (count - 1, count + 1, count + 2) if n > 0]
            new = [_NUMBERS[n] if spelled in _NUMBERS[:11] else str(n) for n in others]
            new.sort(key=lambda number: self._rank(record, (number,)))
            yield from (_cased(number, truth) for number in new)
        elif _MEASURE.search(truth):
            factor = (0.4, 2.5)[stable_hash(self._seed, record.id, "size") % 2]
            yield _MEASURE.sub(lambda size: f"{float(size[0]) * factor:.2g}", truth)

    def _of_others(self, record: Record) -> Iterator[str]:
        """What the very same question was answered with for another image, of those alike first."""
        truth = record.clean_answer
        affirmed = self._affirmed[record.image_id]
        said = content(f"{truth} {affirmed}") - content(record.clean_question)
        there = _regions(affirmed)
        asked = self._asked[plain(record.clean_question)]
        for others in (asked, self._meant[intent(record.clean_question)]):
            donors: dict[str, tuple[int, int]] = {}
            for other in others:
                answer = other.clean_answer
                new = content(answer) and not content(answer) & said and not _alike(answer, truth)
                if new and is_phrase(answer) and not _rule("says_nothing").search(answer):
                    unlike = len(there ^ _regions(self._affirmed[other.image_id]))
                    unlike += 3 * (other.modality != record.modality)
                    drawn = stable_hash(self._seed, record.id, answer)
                    donors.setdefault(answer, (unlike, drawn))
            yield from (_cased(answer, truth) for answer in sorted(donors, key=donors.__getitem__))


@cache
def _kinds() -> Sequence[_Kind]:
    kinds = []
    for entry in read_table("short_values.yaml")["kinds"]:
        values = [[word.strip() for word in value.split("|")] for value in entry["values"]]
        known: dict[str, tuple[int, int]] = {}
        for number, (forms, *synonyms) in enumerate(values):
            for place, form in enumerate(forms.split("/")):
                known.setdefault(form.lower(), (number, place))
            known.update((word.lower(), (number, 0)) for word in synonyms)
        either = "|".join(map(re.escape, sorted(known, key=lambda word: (-len(word), word))))
        any_word = re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)
        asks = re.compile(entry.get("asks", ""), re.IGNORECASE)
        forms = [value[0].split("/") for value in values]
        wordings = [
            [word for word in value if word.count(" ") == value[0].count(" ")] for value in values
        ]
        whole, shared = entry.get("whole", False), entry.get("shared", False)
        kinds.append(_Kind(forms, wordings, known, any_word, asks, whole, shared))
    return kinds


@cache
def _regions(text: str) -> frozenset[str]:
    return frozenset(_REGION.findall(text.lower()))


@cache
def _rule(key: str) -> re.Pattern[str]:
    return any_of(read_table("short_values.yaml")[key])


def _changes(answer: str, truth: str) -> bool:
    """Whether at most half of what the truth lists is left."""
    true = set(_parts(truth))
    return 2 * len(true.intersection(_parts(answer))) <= len(true)


def _parts(answer: str) -> list[str]:
    """What a list lists, in lower case and without articles."""
    parts = (_ARTICLE.sub("", part) for part in _PARTS.split(answer.lower()))
    return [part.rstrip(".") for part in parts if part]


def _cased(text: str, like: str) -> str:
    """In capitals as another text is, but for what has capitals of its own: MRI, X-ray, T2."""
    if any(char.isupper() for char in text):
        return text
    if len(like.split()) > 1 and all(
        word[0].isupper() for word in re.findall("[a-z]+", like, re.I)
    ):
        return text.title()
    return text[0].upper() + text[1:] if like[:1].isupper() else text


def _alike(one: str, other: str) -> bool:
    """Whether a long word of one answer is in the other: pneumothorax, hydropneumothorax."""
    return any(
        len(word) > 4 and word in text
        for first, text in ((one, other.lower()), (other, one.lower()))
        for word in words(first)
    )


def _choices(question: str, truth: str) -> Iterator[str]:
    """What the question offers besides: (A) ... (B) ..., or "liver, heart or lung"."""
    offered = [choice.strip() for choice in _CHOICE.findall(question)]
    if not offered:
        before, either, after = question.rstrip(" ?.").rpartition(" or ")
        length = len(truth.split())
        *listed, last = before.split(",")
        nearest = last if listed and len(last.split()) <= length + 1 else _last(last, length)
        far = " ".join(_ARTICLE.sub("", after).split()[:length])
        offered = [_ARTICLE.sub("", part.strip()) for part in (*listed[1:], nearest, far)]
        offered = [part for part in offered if part and (part == far or part not in after)]
        if not either or truth.lower() not in (choice.lower() for choice in offered):
            return
    yield from (_cased(choice, truth) for choice in offered if choice.lower() != truth.lower())


def _last(text: str, length: int) -> str:
    return " ".join(text.split()[-length:])
