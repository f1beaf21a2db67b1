"""Wrong answers of a word or a few: another value of the same kind, or another image's answer.

Which kind an answer is of is told by its words and the question's (`short_values.yaml`), so a table
needs no column for it. A list stays a list: "Lung, Heart" becomes "Liver, Spleen".
"""

import re
from collections import defaultdict
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
_MEASURE: Final = re.compile(
    r"(?<![\w.])\d++(?:\.\d++)?(?=[\d. -]{0,40}(?:mm|cm|%|minutes|hours|x|×))"
)
_PARTS: Final = re.compile(r"(?i)(?:(?<!\s)\s+)?(?:[,;&/()]|\band\b|\bor\b|\bvs?\.?(?= ))\s*")
_ARTICLE: Final = re.compile(r"^(?:is |are )?(?:in |on |of )?(?:(?:the|an?) )?", re.IGNORECASE)
_CHOICE: Final = re.compile(r"\([A-Z]\) (.+?)(?= \([A-Z]\) |$)")
#: Intents of which an answer is another question's, too: what is true of another organ or disease.
_KNOWLEDGE: Final = frozenset(("function", "treatment", "cause", "symptoms", "prevention"))
_DONORS: Final = 300  # different answers to a question, more would take long
_LONG: Final = 6  # words; what says more is rather taken whole from another image


class _Kind(NamedTuple):
    forms: Sequence[Sequence[str]]  # of each value
    known: Mapping[str, tuple[int, int]]  # a wording -> its value and the place of its form
    words: re.Pattern[str]
    asks: re.Pattern[str]
    whole: bool
    shared: bool


class ShortAnswers:
    """Other short answers, the likeliest to be sound first; of values those of the corpus first."""

    def __init__(self, corpus: Sequence[Record], seed: int) -> None:
        self._seed = seed
        self._spelled: dict[str, str] = {}
        self._asked: defaultdict[str, dict[str, Record]] = defaultdict(dict)  # by their answers
        self._about: defaultdict[str, frozenset[int]] = defaultdict(frozenset)  # parts of the body
        self._affirmed: defaultdict[str, str] = defaultdict(str)  # what is true of an image
        for record in corpus:
            question, answer = record.clean_question, record.clean_answer
            if answer[:1].isupper():
                self._spelled.setdefault(answer.lower(), answer)
            for asked in {plain(question), *_KNOWLEDGE.intersection([intent(question)])}:
                if len(self._asked[asked]) < _DONORS:
                    self._asked[asked].setdefault(answer, record)
            true = {"yes": question, "no": ""}.get(answer.strip(" .!").lower(), answer)
            self._affirmed[record.image_id] += f"{true}\n"
            self._about[record.image_id] |= _regions(f"{question} {true}")

    def write(self, record: Record, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Other answers and what is wrong with them.

        Args:
            record: asks for a word or a few.
            names: of diseases like the one that the answer names, where it is a name.
        """
        truth = record.clean_answer
        nothing = truth.lower() != "none" and _rule("gives_nothing").search(truth)
        if nothing or re.search(r"\bnot\b", record.clean_question):
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
                    spelled = self._spelled.get(answer.lower(), answer)
                    other = spelled if truth[0].isupper() else answer
                    yield other, f"{other} for {truth}"

    def _by_answers(self, record: Record, wordings: Sequence[str]) -> tuple[bool, int]:
        """What answers the very same question of another image comes first."""
        said = {part for text in self._asked[plain(record.clean_question)] for part in _parts(text)}
        drawn = stable_hash(self._seed, record.id, wordings[0])
        return said.isdisjoint(word.lower() for word in wordings), drawn

    def _values(self, record: Record) -> Iterator[str]:
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
        def other(match: re.Match[str]) -> str:
            value, place = kind.known[match[0].lower()]
            forms = kind.forms[new[value]]
            return _cased(forms[place if place < len(forms) else 0], match[0])

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
        return sorted(free, key=lambda number: self._by_answers(record, kind.forms[number]))

    def _counts(self, record: Record) -> Iterator[str]:
        truth = record.clean_answer
        match = _COUNT.fullmatch(truth)
        if match:
            spelled = match[1].lower()
            count = _NUMBERS.index(spelled) if spelled in _NUMBERS else int(spelled)
            others = [n for n in (count - 1, count + 1, count + 2) if n > 0]
            new = [_NUMBERS[n] if spelled in _NUMBERS[:11] else str(n) for n in others]
            new.sort(key=lambda number: self._by_answers(record, (number,)))
            yield from (_cased(number, truth) for number in new)
        elif _MEASURE.search(truth):
            factor = (0.4, 2.5)[stable_hash(self._seed, record.id, "size") % 2]
            yield _MEASURE.sub(lambda size: f"{float(size[0]) * factor:.2g}", truth)

    def _of_others(self, record: Record) -> Iterator[str]:
        """What the very same question was answered with for another image, of those alike first."""
        truth = record.clean_answer
        said = content(f"{truth} {self._affirmed[record.image_id]}")
        said -= content(record.clean_question)
        about = self._about[record.image_id]
        meant = _KNOWLEDGE.intersection([intent(record.clean_question)])
        for asked in (plain(record.clean_question), *meant):
            donors: dict[str, tuple[int, int]] = {}
            for answer, other in self._asked[asked].items():
                its = self._about[other.image_id]
                elsewhere = about and its and not about & its
                if elsewhere or not is_phrase(answer) or _rule("gives_nothing").search(answer):
                    continue
                if content(answer) and not content(answer) & said and not _alike(answer, truth):
                    unlike = len(about ^ its) + 3 * (other.modality != record.modality)
                    donors[answer] = (unlike, stable_hash(self._seed, record.id, answer))
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
        whole, shared = entry.get("whole", False), entry.get("shared", False)
        kinds.append(_Kind(forms, known, any_word, asks, whole, shared))
    return kinds


def _regions(text: str) -> frozenset[int]:
    patterns = read_table("short_values.yaml")["regions"]
    return frozenset(i for i, words in enumerate(patterns) if re.search(words, text, re.I))


@cache
def _rule(key: str) -> re.Pattern[str]:
    return any_of(read_table("short_values.yaml")[key])


def _changes(answer: str, truth: str) -> bool:
    """Whether at most half of what the truth lists is left, and nothing is listed twice."""
    true, parts = set(_parts(truth)), _parts(answer)
    return len(set(parts)) == len(parts) and 2 * len(true.intersection(parts)) <= len(true)


def _parts(answer: str) -> list[str]:
    """What a list lists, in lower case and without articles."""
    parts = (_ARTICLE.sub("", part) for part in _PARTS.split(answer.lower()))
    return [part.rstrip(".") for part in parts if part]


def _cased(text: str, like: str) -> str:
    """In capitals as another text is, but for what has capitals of its own: MRI, X-ray, T2."""
    if any(char.isupper() for char in text):
        return text
    if len(like.split()) > 1 and all(word[0].isupper() for word in like.split()):
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
        after = _ARTICLE.sub("", after)
        near = [_ARTICLE.sub("", part.strip()) for part in (*listed[1:], nearest)]
        offered = [part for part in near if part and part not in after]
        far = " ".join(after.split()[:length])
        if not either or truth.lower() not in (choice.lower() for choice in (*offered, far)):
            return
        offered.append(after if len(after.split()) < 3 else far)
    said = truth.lower()
    yield from (_cased(choice, truth) for choice in offered if not choice.lower().startswith(said))


def _last(text: str, length: int) -> str:
    return " ".join(text.split()[-length:])
