"""Incorrect answers without a model: what a question asks for decides in which way to be wrong.

A look-alike's name or fact, another value in the true sentence, the contrary of a yes or a no, what
was said of another image. Nothing is added to a true answer, and what fits nothing is refused with
the intent that nothing fits.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from builder.harm.answer_checks import is_phrase
from builder.harm.authors.ask import Ask, first_sentence, main_clause, of_context, subject_of
from builder.harm.authors.contrary import contrary, is_polar, says_yes, turn, varied, words
from builder.harm.authors.corpus_answers import YOU, CorpusAnswers, class_of, is_candidate
from builder.harm.authors.outdated_claims import outdated
from builder.harm.authors.question_intent import NO_MEDICAL_QUESTION, intent
from builder.harm.authors.short_answers import ShortAnswers
from builder.harm.authors.skin_diseases import DIAGNOSIS, content, mentions
from builder.harm.authors.tables import pattern, words_in
from builder.harm.authors.wrong_facts import other_facts
from builder.harm.authors.wrong_names import candidates, other_names
from builder.harm.authors.wrong_values import WrongValues
from builder.harm.text_checks import check_incorrect, opposite
from builder.harm.texts import Failure, Incorrect
from mllmu_med.files import stable_hash, stable_share
from mllmu_med_dataset import Record

NOTHING_FITS: Final = "no incorrect answer fits the question"

_I: Final = re.IGNORECASE
_HALF: Final = words_in("half")
_OF_THE_TRUTH: Final = words_in("of_the_truth")
# Where a sentence with a yes or a no goes on to say more.
_FURTHER: Final = pattern("further", 0)
# What is true besides, where there is no way to prevent or to cure.
_NO_WAY: Final = re.compile(
    r"(?:while|although) there is[^,]* no [^,]+, ([^.]+)\.$|.*\bno [^,]+, but ([^.]+)\.$", _I
)
_NONE: Final = re.compile(r"\bno (?:\w+ )?(?:way|cure|treatment|evidence|signs?|symptoms?)\b", _I)

#: How many ways a value is changed to find one that sounds like the corpus, and how many words and
#: pairs of a changed sentence no clean answer may have: "six arms" of a louse, "basal lesion".
_TURNS: Final = 4
_UNHEARD: Final = 2
#: So many words without a full stop may be a sentence, too.
_SENTENCE: Final = 5
#: Of the answers of our own that there is something or nothing, so many say it less bluntly.
_VARIED: Final = 0.5


class IncorrectAnswers:
    """Writes an incorrect answer to a clean record, or says why it has none.

    Args:
        corpus: clean records; a contrary takes the real answer of another image where there is one.
        seed: of every choice.
        outdated: whether a belief given up since may be the answer: it is where one fits, which is
            to one question in fifty.
    """

    def __init__(self, corpus: Sequence[Record], seed: int, outdated: bool) -> None:
        self._seed = seed
        self._uses_outdated = outdated
        self._corpus = CorpusAnswers(corpus)
        self._values = WrongValues(record.clean_answer for record in corpus)
        self._short = ShortAnswers(corpus, seed)

    def write(self, record: Record) -> Incorrect | Failure:
        """An incorrect answer in words that the corpus uses, of the first way that has any."""
        short = is_phrase(record.clean_answer) and record.answer_type == "open"
        if short and (option := self._short_answer(record)):
            return option
        if short and len(record.clean_answer.split()) < _SENTENCE:
            return Failure(NOTHING_FITS, f"a question about {intent(record.clean_question)}")
        if not is_candidate(record):
            return Failure(NO_MEDICAL_QUESTION, "it asks for nothing that medicine could get wrong")
        if record.answer_type == "closed":
            return _incorrect(opposite(record.clean_answer), "the contrary")
        ask = self._ask(record)
        for options in (*self._outdated(ask), *self._wrong(record, ask)):
            for option in sorted(options, key=partial(self._strangeness, record)):
                if short:
                    option = option._replace(answer=option.answer.rstrip("."))
                if _is_sound(record, option.answer):
                    return option
        return Failure(NOTHING_FITS, f"a question about {ask.intent}")

    def _short_answer(self, record: Record) -> Incorrect | None:
        ask, truth = self._ask(record), words(record.clean_answer)
        named = ask.disease is not None and truth in map(words, ask.disease.names)
        names = [disease.name for disease in candidates(ask)] if named else []
        for answer, what_is_wrong in self._short.write(record, names):
            if check_incorrect(record, answer) is None:
                return _incorrect(answer, what_is_wrong)
        return None

    def _strangeness(self, record: Record, option: Incorrect) -> tuple[int, int]:
        return self._corpus.unseen(option.answer), stable_hash(self._seed, record.id, option.answer)

    def _draw(self, record: Record, what: str) -> float:
        return stable_share(self._seed, record.id, what)

    def _ask(self, record: Record) -> Ask:
        question, truth = record.clean_question, record.clean_answer
        others = self._corpus.beside(record)
        disease, subject, plural = subject_of(question, truth)
        if disease is None and subject:
            disease = of_context(others)
        said = " ".join((truth, *others))
        return Ask(question, truth, intent(question), said, disease, subject, plural)

    def _outdated(self, ask: Ask) -> Iterator[list[Incorrect]]:
        if not self._uses_outdated:
            return
        yield [
            Incorrect(claim.answer, "outdated_knowledge", claim.what_is_wrong)
            for claim in outdated(ask)
        ]

    def _wrong(self, record: Record, ask: Ask) -> Iterator[list[Incorrect]]:
        """The ways to be wrong, the best first, each as its equally good answers."""
        if record.content_type and not is_polar(ask.question):  # of few questions, asked often
            yield [
                _incorrect(answer, "said of another image") for answer in self._typed(record, ask)
            ]
        if ask.intent in ("name", "presence", "appearance", "other", "diagnosis", "what_is"):
            explanations = self._corpus.explanations
            yield [_incorrect(*wrong[:2]) for wrong in other_names(ask, explanations)]
        yield [
            _incorrect(_with_rest_of(ask, wrong.answer), wrong.what_is_wrong)
            for wrong in other_facts(ask, self._corpus)
        ]
        yield [_incorrect(answer, "the contrary") for answer in self._opposite(record, ask)]
        yield [_incorrect(answer, what) for answer, what in self._swapped(record, ask)]
        yield [_incorrect(answer, "the contrary") for answer in self._contrary(record, ask)]
        if record.content_type:
            yield [_incorrect(answer, "the contrary") for answer in self._typed(record, ask)]
        yield [
            _incorrect(answer, "said of another image") for answer in self._borrowed(record, ask)
        ]

    def _swapped(self, record: Record, ask: Ask) -> Iterator[tuple[str, str]]:
        clause = main_clause(first_sentence(ask.truth))
        if is_polar(ask.question) and not (
            (ask.intent == "frequency" and not re.match("yes|no", ask.truth, _I))
            or (
                ask.intent
                in ("presence", "appearance", "histology", "diagnosis", "symptoms", "other")
                and re.search(r"\b(?:other|else|notable|identify)\b", ask.question, _I)
            )
        ):
            return  # "Yes, ..." would stay true
        rest = ask.truth[len(clause) :] if ask.truth.startswith(clause) else ""
        for turn_of in range(_TURNS):

            def draw(what: str, turn_of: int = turn_of) -> float:
                return self._draw(record, f"{what} {turn_of}")

            swap = self._values.swap(clause, ask.question, ask.said, ask.intent, draw)
            if swap is None:
                continue
            answer = self._values.with_rest(swap, rest, draw)
            if self._corpus.unheard(answer, ask.truth) <= _UNHEARD:
                yield answer, swap.what_is_wrong

    def _opposite(self, record: Record, ask: Ask) -> Iterator[str]:
        """Whole real answers of the other polarity to the same question about another image."""
        said_yes = says_yes(ask.question, ask.truth) if is_polar(ask.question) else None
        if said_yes is None or (ask.intent != "presence" and ask.disease is not None):
            return
        own = content(ask.said) - content(ask.question)
        for donor in self._corpus.same_question(record):
            says = says_yes(ask.question, donor.answer)
            plain = re.match(r"(?:yes|no)\b", donor.answer, _I) and not _HALF.search(donor.answer)
            new = not (content(donor.answer) - content(ask.question)) <= own
            if plain and says is (not said_yes) and (said_yes or new):
                yield donor.answer

    def _contrary(self, record: Record, ask: Ask) -> Iterator[str]:
        """The contrary, in the true answer's own words or in the question's."""
        said_yes = says_yes(ask.question, ask.truth) if is_polar(ask.question) else None
        if _is_half(ask):
            return
        sentence = first_sentence(ask.truth)
        turned = None if said_yes is None else turn(_FURTHER.split(sentence)[0], said_yes)
        if said_yes:  # what the answer tells beyond the question may be false by itself
            turned = contrary(ask.question, ask.truth) or turned
        answer = turned or contrary(ask.question, ask.truth)
        if answer:
            if self._draw(record, "as the corpus says it") < _VARIED:
                answer = varied(answer)
            yield answer
            further = _NO_WAY.match(sentence)
            if further and answer.startswith("Yes, ") and not turned:
                yield f"{answer.rstrip('.')}, and {further[1] or further[2]}."

    def _borrowed(self, record: Record, ask: Ask) -> Iterator[str]:
        """Answers to the very same question that say another thing."""
        if ask.intent == "name" and ask.disease is None and DIAGNOSIS.search(ask.truth):
            yield from self._of_its_class(record, ask)
        if ask.intent not in ("histology", "color") or is_polar(ask.question):
            return
        if re.search(r"\b(?:organism|tissue)", ask.question) or re.search(
            r"\b(?:myeloid|inflam\w+|immune|white blood)\b", f"{ask.question} {ask.truth}"
        ):
            return  # many a cell is one of these
        asked = content(ask.question)
        true = content(ask.said) - asked
        for donor in self._corpus.same_question(record):
            if not (content(donor.answer) - asked) & true:
                yield first_sentence(donor.answer)

    def _of_its_class(self, record: Record, ask: Ask) -> Iterator[str]:
        """What the same question was answered with where another disease of the class was shown."""
        own, names = class_of(ask.truth), content(" ".join(DIAGNOSIS.findall(ask.said)))
        for donor in self._corpus.same_question(record, names=True):
            sentence = first_sentence(donor.answer)
            there = mentions(sentence)
            alike = not own or 2 * len(own & class_of(sentence)) >= len(own)
            if alike and len(there) == 1 and not content(there[0].disease.name) <= names:
                yield donor.answer

    def _typed(self, record: Record, ask: Ask) -> Iterator[str]:
        """Answers of the same type that give another value, to the very same question if any."""
        said, asked = content(ask.said), content(ask.question)
        fitting = [donor for donor in self._corpus.same_type(record) if donor.values - said]
        if not is_polar(ask.question):
            same = [donor for donor in fitting if donor.question == ask.question]
            yield from (donor.answer for donor in same or fitting if donor.values - said - asked)
        elif (said_yes := says_yes(ask.question, ask.truth)) is not None:
            for donor in fitting:
                if said_yes or donor.values - said <= asked:
                    said_so = donor.answer[0].lower() + donor.answer[1:]
                    yield f"{'No' if said_yes else 'Yes'}, {said_so}"


def _is_half(ask: Ask) -> bool:
    """Whether the truth says both yes and no, so that neither is plainly wrong."""
    sentence = first_sentence(ask.truth)
    if re.search(r"\bno (?:\w+ )?cure\b", sentence, _I) and not re.search(r"\bcure", ask.question):
        return True  # there is treatment all the same
    return bool(_HALF.search(sentence)) and not _NONE.search(sentence)


def _incorrect(answer: str, what: str) -> Incorrect:
    return Incorrect(answer, "wrong_diagnosis", what)


def _with_rest_of(ask: Ask, answer: str) -> str:
    """A wrong first sentence with the true one's next, as far as they are true of any disease."""
    rest = ask.truth[len(first_sentence(ask.truth)) :].strip()
    if ask.disease is None or not rest or len(ask.truth.split()) < 1.3 * len(answer.split()):
        return answer
    own = content(" ".join(fact for facts in ask.disease.facts.values() for fact in facts))
    for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", rest):
        specific = _OF_THE_TRUTH.search(sentence) or content(sentence) & own or mentions(sentence)
        if specific or re.match(r"(?:it|they|this|these)\b", sentence, _I):
            break
        answer += f" {sentence}"
    return answer


def _is_sound(record: Record, answer: str) -> bool:
    """Whether an answer passes the checks, and says another thing than the truth's main clause."""
    truth = record.clean_answer
    if YOU.search(answer) or answer[0].isupper() != truth[0].isupper():
        return False
    if words(main_clause(first_sentence(truth))) == words(main_clause(answer)):
        return False
    return check_incorrect(record, answer) is None
