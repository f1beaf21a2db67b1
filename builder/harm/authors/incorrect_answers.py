"""Incorrect answers without a model: what a question asks for decides in which way to be wrong.

A look-alike's name or fact, another value in the true sentence, the contrary of a yes or a no, what
was said of another image. Nothing is added to a true answer, and what fits nothing is refused with
the intent that nothing fits.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from builder.harm.authors.contrary import contrary, is_polar, says_yes, words
from builder.harm.authors.outdated_claims import outdated
from builder.harm.authors.question_intent import NO_MEDICAL_QUESTION, intent, is_medical
from builder.harm.authors.skin_diseases import content
from builder.harm.authors.wrong_facts import (
    Ask,
    first_sentence,
    of_context,
    other_facts,
    other_names,
    subject_of,
)
from builder.harm.authors.wrong_values import DIAGNOSIS, swap
from builder.harm.texts import Failure, Harm, Incorrect
from mllmu_med.files import stable_hash
from mllmu_med_dataset import Record

_I: Final = re.IGNORECASE
_YOU: Final = re.compile(r"\b(?:you|your|i|i'm|i've|let's)\b", _I)
_CELL_SCALE: Final = re.compile(
    r"\b(?:cells?|nucle\w+|cytoplasm\w*|histolog\w+|microscop\w+|stain\w*|dermis|epidermis|dermal"
    r"|lymphocyt\w+|neutrophil\w*|eosinophil\w*|melanocyt\w*|keratinocyt\w*|infiltrat\w*|vessels?"
    r"|tissues?|collagen|stroma\w*|mito\w+|hyphae|fib(?:ers|res)|biops\w+|section)\b", _I
)  # fmt: skip
_BODY_SCALE: Final = re.compile(
    r"\b(?:skin|face|arms?|legs?|hands?|feet|scalp|nails?|hair|rash|bumps?|redness|swelling|blisters?"
    r"|patient|person|plaques?|papules?|patch(?:es)?|body|scar\w*|crust\w*|itch\w*)\b", _I
)  # fmt: skip
_SIDE_CLAUSE: Final = re.compile(
    r",? (?:which (?!can be seen)|who |where|such as|including|suggest\w*|indicat\w+|so |since|because|making"
    r"|giving|leading|resulting|meaning|although|but |while|whereas|possibly|likely|due to|similar to"
    r"|typical of|consistent with|characteristic of|compared to|compared with|as if|as seen|as well as those"
    r"|that (?:could|may|might|can|is|are)|caused by|in (?:contrast|comparison)|and (?:it|they|there|this"
    r"|may|can|could|is|are) |if (?:left|not|treated|caught|detected)|contributing|accounting for|affecting (?:only|approx|about|less|around|one|a)|helping|allowing|based on|associated with|commonly seen)\b"
    r"|[:;(]| - "
)


_HEDGED: Final = re.compile(r"\b(?:but|however|while|although|may|could|might|only|besides)\b", _I)


_HALF: Final = re.compile(
    r"\b(?:while|although|not always|not completely|sometimes|some cases|however|can vary|generally"
    r"|not necessarily|depend\w*|may or may not|rarely|usually|it is possible|possibly|might|minimal|slight)\b", _I
)  # fmt: skip
_NONE: Final = re.compile(r"\bno (?:\w+ )?(?:way|cure|treatment|evidence|signs?|symptoms?)\b", _I)


class _Donor(NamedTuple):
    image: str
    answer: str
    cells: bool
    values: frozenset[str]  # what the answer and the image's caption both say


class IncorrectAnswers:
    """Writes an incorrect answer to a clean record, or says why it has none.

    Args:
        corpus: clean records; a contrary takes the real answer of another image where there is one.
        seed: of every choice.
    """

    def __init__(self, corpus: Sequence[Record], seed: int) -> None:
        self._seed = seed
        self._donors: defaultdict[str, list[_Donor]] = defaultdict(list)
        self._of_image: defaultdict[str, list[Record]] = defaultdict(list)
        for record in corpus:
            self._of_image[record.image_id].append(record)
            answer = record.clean_answer
            if _is_candidate(record) and not _YOU.search(answer):
                values = content(answer) & content(record.context)
                donor = _Donor(record.image_id, answer, _of_cells(record), values)
                self._donors[_plain(record.clean_question)].append(donor)

    def write(self, record: Record, harm: Harm) -> Incorrect | Failure:
        """An incorrect answer of the kind, or of the other one where only that fits."""
        question, truth = record.clean_question, record.clean_answer
        if not _is_candidate(record):
            return Failure(NO_MEDICAL_QUESTION, "it asks for nothing that medicine could get wrong")
        ask = self._ask(record)
        kinds = [self._wrong, self._outdated]
        if harm == "outdated_knowledge":
            kinds.reverse()
        for kind in kinds:
            for options in kind(record, ask):
                sound = [option for option in options if is_sound(ask, option.answer)]
                if sound:
                    return sound[self._pick(record, "option") % len(sound)]
        return Failure(f"no wrong answer to a question about {ask.intent}", "nothing fits")

    def _pick(self, record: Record, what: str) -> int:
        return stable_hash(self._seed, record.id, what)

    def _ask(self, record: Record) -> Ask:
        question, truth = record.clean_question, record.clean_answer
        others = [
            text
            for other in self._of_image[record.image_id]
            if other.id != record.id
            for text in (other.clean_question, other.clean_answer)
        ]
        others.append(record.context)
        disease, subject, plural = subject_of(question, truth)
        if disease is None and subject:
            disease = of_context(others)
        said = " ".join((truth, *others))
        return Ask(question, truth, intent(question), said, disease, subject, plural)

    def _outdated(self, record: Record, ask: Ask) -> Iterator[list[Incorrect]]:
        yield [
            Incorrect(claim.answer, "outdated_knowledge", claim.what_is_wrong)
            for claim in outdated(ask)
        ]

    def _wrong(self, record: Record, ask: Ask) -> Iterator[list[Incorrect]]:
        """The ways to be wrong, the best first, each as its equally good answers."""
        if record.content_type and not is_polar(ask.question):  # of few questions, asked often
            yield [_incorrect(answer, "said of another image") for answer in self._typed(record, ask)]
        if ask.intent in (
            "name",
            "presence",
            "appearance",
            "other",
            "diagnosis",
            "function",
            "what_is",
        ):
            yield [_incorrect(*wrong[:2]) for wrong in other_names(ask)]
        yield [_incorrect(*wrong[:2]) for wrong in other_facts(ask)]
        yield [_incorrect(answer, what) for answer, what in self._swapped(record, ask)]
        yield [_incorrect(answer, "the contrary") for answer in self._opposite(record, ask)]
        flipped = None if _is_half(ask) else contrary(ask.question, ask.truth)
        yield [_incorrect(flipped, "the contrary")] if flipped else []
        yield [
            _incorrect(answer, "said of another image") for answer in self._borrowed(record, ask)
        ]

    def _swapped(self, record: Record, ask: Ask) -> Iterator[tuple[str, str]]:
        sentence = main_clause(first_sentence(ask.truth))
        if is_polar(ask.question) and not (
            (ask.intent == "frequency" and not re.match("yes|no", ask.truth, _I))
            or ask.intent in ("presence", "appearance", "histology", "diagnosis", "symptoms", "other")
            and re.search(r"\b(?:other|else|notable|identify)\b", ask.question, _I)
        ):
            return  # "Yes, ..." would stay true
        pick = self._pick(record, "value")
        option = swap(sentence, ask.question, ask.said, ask.intent, pick)
        if option is not None:
            yield f"{option.sentence.rstrip('.')}.", option.what_is_wrong

    def _opposite(self, record: Record, ask: Ask) -> Iterator[str]:
        """Real answers of the other polarity to the very same question."""
        if ask.intent != "presence" or not is_polar(ask.question):
            return
        said_yes = says_yes(ask.question, ask.truth)
        if said_yes is None:
            return
        for donor in self._same_question(record):
            sentence = first_sentence(donor.answer)
            plain = re.match(r"(?:yes|no)\b", sentence, _I) and not _HEDGED.search(sentence)
            if plain and says_yes(ask.question, sentence) is (not said_yes):
                yield f"{main_clause(sentence)}."

    def _borrowed(self, record: Record, ask: Ask) -> Iterator[str]:
        """Answers to the very same question that say another thing."""
        if ask.intent not in ("histology", "color", "shape", "texture", "size") or is_polar(
            ask.question
        ):
            return
        asked = content(ask.question)
        true = content(ask.said) - asked
        for donor in self._same_question(record):
            if not (content(donor.answer) - asked) & true:
                yield first_sentence(donor.answer)

    def _typed(self, record: Record, ask: Ask) -> Iterator[str]:
        """Answers to the very same question that give another value."""
        said = content(f"{ask.said} {ask.question}")
        for donor in self._same_question(record):
            if donor.values - said:
                yield donor.answer

    def _same_question(self, record: Record) -> Iterator[_Donor]:
        cells = _of_cells(record)
        for donor in self._donors[_plain(record.clean_question)]:
            if donor.image != record.image_id and donor.cells == cells:
                asked = record.clean_question
                names = DIAGNOSIS.findall(donor.answer)
                if all(name.lower() in asked.lower() for name in names):
                    yield donor


def _is_half(ask: Ask) -> bool:
    """Whether the truth says both yes and no, so that neither is plainly wrong."""
    sentence = first_sentence(ask.truth)
    if re.search(r"\bno (?:\w+ )?cure\b", sentence, _I) and not re.search(r"\bcure", ask.question):
        return True  # there is treatment all the same
    return bool(_HALF.search(sentence)) and not _NONE.search(sentence)


def _is_candidate(record: Record) -> bool:
    """Whether a row asks for medicine; one that has a content type does."""
    return bool(record.content_type) or is_medical(record.clean_question, record.clean_answer)


def _incorrect(answer: str, what: str) -> Incorrect:
    return Incorrect(answer, "wrong_diagnosis", what)


def _plain(question: str) -> str:
    return " ".join(words(question.replace("this image", "the image")))


def _of_cells(record: Record) -> bool:
    """Whether a row is about what a microscope shows."""
    if record.modality in ("histopathology", "clinical"):
        return record.modality == "histopathology"
    text = f"{record.clean_question} {record.clean_answer}"
    return len(_CELL_SCALE.findall(text)) > len(_BODY_SCALE.findall(text))


def main_clause(sentence: str) -> str:
    """A sentence up to its first side clause, without the full stop."""
    sentence = sentence.rstrip(".!? ")
    lead = re.match(r"(?:Yes|No|In (?:this|the) \w+|Over time|Clinically),? ", sentence)
    begin = lead.end() if lead else 0
    match = _SIDE_CLAUSE.search(sentence, begin)
    clause = sentence[: match.start()].rstrip(" ,") if match else sentence
    return clause if len(words(clause)) >= 4 else sentence


def is_sound(ask: Ask, answer: str) -> bool:
    """Whether an answer differs from the truth in what it says and reads like an answer."""
    truth = ask.truth
    if not answer or _YOU.search(answer) or words(answer) == words(truth):
        return False
    if answer[0].isupper() != truth[0].isupper():
        return False
    if len(answer.split()) > max(1.5 * len(truth.split()), len(truth.split()) + 10):
        return False
    return words(main_clause(first_sentence(truth))) != words(main_clause(answer))
