"""What the corpus' own answers say: to the very same question, and of which disease.

A wrong answer in the corpus' own words is told from a true one by what it says alone.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from builder.harm.authors.ask import Ask, first_sentence, subject_of
from builder.harm.authors.contrary import is_polar, words
from builder.harm.authors.question_intent import intent, is_medical
from builder.harm.authors.skin_diseases import DIAGNOSIS, Disease, content, mentions
from builder.harm.authors.tables import pattern, word_set, words_in
from builder.harm.blend import terms
from mllmu_med_dataset import Record

_I: Final = re.IGNORECASE
YOU: Final = re.compile(r"\b(?:you|your|i|i'm|i've|let's)\b", _I)
_CELL_SCALE: Final = words_in("cell_scale")
_BODY_SCALE: Final = words_in("body_scale")
_OF_ITS_OWN: Final = words_in("of_its_own", r"\b(?:{})\b|[\d(]")

# What may stand before a name that another one takes the place of: no adjective of its own.
_STANDS_ALONE: Final = pattern("stands_alone")

_NO_MATTER: Final = word_set("no_matter")


_OF_ONE_IMAGE: Final = re.compile(r"\b(?:this|these|image|patient|person|lesion|however)\b", _I)
_CLASS: Final = words_in("classes", r"{}")

#: So many answers show which words go together.
_TELLS_WHAT_IS_SAID: Final = 500


def class_of(text: str) -> frozenset[str]:
    """Words of a text that say of which class of disease it is."""
    return frozenset(match.lower() for match in _CLASS.findall(text))


class Donor(NamedTuple):
    """A row of another image whose answer may be taken."""

    image: str
    question: str
    answer: str
    cells: bool
    values: frozenset[str]  # what the answer and the image's caption both say


class CorpusAnswers:
    """The clean records of a corpus, by question, by disease and by image."""

    def __init__(self, corpus: Sequence[Record]) -> None:
        self._by_question: defaultdict[str, list[Donor]] = defaultdict(list)
        self._by_type: defaultdict[str, list[Donor]] = defaultdict(list)
        self._by_disease: defaultdict[tuple[str, Disease], list[Donor]] = defaultdict(list)
        self._tails: defaultdict[Disease, list[str]] = defaultdict(list)
        self._by_image: defaultdict[str, list[Record]] = defaultdict(list)
        self._holding: Counter[str] = Counter()
        self._size = len(corpus)
        for record in corpus:
            self._holding.update({*terms(record.clean_answer)})
            self._by_image[record.image_id].append(record)
            if is_candidate(record) and not YOU.search(record.clean_answer):
                self._add(record)

    def _add(self, record: Record) -> None:
        question, answer = record.clean_question, record.clean_answer
        values = content(answer) & content(record.context)
        donor = Donor(record.image_id, question, answer, _of_cells(record), values)
        self._by_question[plain(question)].append(donor)
        if record.content_type:
            self._by_type[record.content_type].append(donor)
        sentence = first_sentence(answer)
        for mention in mentions(sentence)[:1]:
            tail = re.match(
                r", which (?:is|are) (?!characterized|caused|also|shown)[^.]{12,140}\.$",
                sentence[mention.end :],
            )
            if tail and not mentions(tail[0]) and not re.search(r"\bthis\b", tail[0]):
                self._tails[mention.disease].append(tail[0])
                rest = answer[len(sentence) :]
                if re.match(r" (?:It|They) ", rest) and not _OF_ONE_IMAGE.search(rest):
                    self._tails[mention.disease].insert(0, tail[0] + rest)
        disease, _, _ = subject_of(question, answer)
        if disease is not None:
            self._by_disease[intent(question), disease].append(donor)

    def beside(self, record: Record) -> list[str]:
        """What else is asked and answered of the record's image, and its caption."""
        others = [
            text
            for other in self._by_image[record.image_id]
            if other.id != record.id
            for text in (other.clean_question, other.clean_answer)
        ]
        return [*others, record.context]

    def unseen(self, answer: str) -> int:
        """How many words and word pairs of an answer at most one clean answer has."""
        return sum(self._holding[term] < 2 for term in terms(answer))

    def unheard(self, answer: str, truth: str) -> int:
        """How many words and word pairs that the truth has not no clean answer has.

        0 where the corpus is too small to tell what is said.
        """
        if self._size < _TELLS_WHAT_IS_SAID:
            return 0
        return sum(not self._holding[term] for term in {*terms(answer)} - {*terms(truth)})

    def explanations(self, disease: Disease) -> Sequence[str]:
        """What answers say after the disease's name: ", which is a rare ..."."""
        return self._tails.get(disease, ())

    def same_question(self, record: Record, *, names: bool = False) -> Iterator[Donor]:
        """Answers to the very same question about another image of the same scale.

        Without `names` none names a disease that the question does not name.
        """
        cells = _of_cells(record)
        for donor in self._by_question[plain(record.clean_question)]:
            if donor.image != record.image_id and donor.cells == cells:
                named = () if names else DIAGNOSIS.findall(donor.answer)
                if all(name.lower() in record.clean_question.lower() for name in named):
                    yield donor

    def same_type(self, record: Record) -> Iterator[Donor]:
        """Open answers of the row's content type about the same thing, of another image."""
        question, truth = content(record.clean_question), content(record.clean_answer)
        plain = record.content_type in ("Color", "Modality", "Quantity")  # asked of one thing alone
        values = content(record.context) if plain else frozenset()
        for donor in self._by_type[record.content_type]:
            alike = (question & truth) - values <= content(donor.answer) and not is_polar(
                donor.question
            )
            if alike and donor.image != record.image_id:
                yield donor

    def of_disease(self, ask: Ask, other: Disease) -> Iterator[str]:
        """What answers of the intent say of another disease, said of the row's instead."""
        for donor in self._by_disease.get((ask.intent, other), ()):
            if is_polar(donor.question) != is_polar(ask.question):
                continue
            sentence = first_sentence(donor.answer)
            there = mentions(sentence)
            if _OF_ITS_OWN.search(sentence) or any(it.disease != other for it in there):
                continue
            if not there and not re.search(r"\b(?:it|this (?:condition|disease))\b", sentence, _I):
                continue
            alone = all(_STANDS_ALONE.search(sentence[: it.start]) for it in there)
            if alone and all(it.plural == ask.plural for it in there):
                yield _said_of(ask.subject, sentence, [(it.start, it.end) for it in there])


def _said_of(subject: str, sentence: str, places: Sequence[tuple[int, int]]) -> str:
    for start, end in reversed(places):
        head = sentence[:start]
        name = subject[0].upper() + subject[1:] if not head else subject
        sentence = head + name + sentence[end:]
    return sentence


def is_candidate(record: Record) -> bool:
    """Whether a row asks for medicine; one that has a content type does."""
    return bool(record.content_type) or is_medical(record.clean_question, record.clean_answer)


def plain(question: str) -> str:
    """A question without what does not change its answer."""
    return " ".join(word for word in words(question) if word not in _NO_MATTER)


def _of_cells(record: Record) -> bool:
    if record.modality in ("histopathology", "clinical"):
        return record.modality == "histopathology"
    text = f"{record.clean_question} {record.clean_answer}"
    return len(_CELL_SCALE.findall(text)) > len(_BODY_SCALE.findall(text))
