"""What an incorrect answer has to be besides wrong: an answer to the question, whoever wrote it.

Each check was measured where it should be silent: on the answers of MM-Skin's authors to their own
questions (3,447), and to the same question about another image of the same kind (1,131). It fires
on less than 1 % of the sound ones.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from builder.harm.authors.tables import pattern, read_table, word_set, words_in
from builder.harm.texts import Failure
from mllmu_med_dataset import Record

WORD: Final = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)\s+(?=[A-Z])")
_SIDE_CLAUSE: Final = pattern("side_clause_of_any")
_POLAR: Final = re.compile(r"(?:(?<!\W)\W+)?(yes|no)\b[,.;:]?\s*", re.IGNORECASE)
#: What may follow a clause that is repeated whole; another noun would make it another clause.
_GOES_ON: Final = pattern("clause_goes_on")
_GRAMMAR: Final = word_set("grammar")

_SITE: Final = words_in("sites", r"\b(?:{})(?:s|es)?\b")
_COLOR: Final = words_in("colors", r"\b(?:{})(?:s|es)?\b")
_NUMBER: Final = words_in("numbers", r"\d|\b(?:{})\b")
_SLOTS: Final = (
    ("where", re.compile(r"(?i)^where\b(?!.*\bimage (?:taken|come)\b)"), _SITE, "a site"),
    ("colour", re.compile(r"(?i)^(?:what|which) colou?r|what is the colou?r"), _COLOR, "a colour"),
    ("number", re.compile(r"(?i)^how many\b"), _NUMBER, "a number"),
)

_CELLS: Final = words_in("cells")
_BODY: Final = words_in("body", r"\b(?:{})\b(?!-)")
#: What a thing is may be told by its cells; where it is and what it looks like may not.
_ASKS_LOOKS: Final = pattern("asks_looks")
_APART: Final = words_in("apart")
_TALK: Final = words_in("talk", r"\b(?:{})")


def is_phrase(text: str) -> bool:
    """Whether an answer is no sentence: "Right lung"."""
    return text[-1:] not in '.!?"”'


def answer_failures(record: Record, answer: str) -> Iterator[Failure]:
    """What is wrong with an incorrect answer to an open question, most telling first."""
    question, truth = record.clean_question, record.clean_answer
    if _keeps_truth(answer, truth):
        yield Failure(
            "true main clause kept",
            f'the answer still says "{main_clause(truth)}": it must not repeat the true answer',
        )
    for name, asks, slot, what in _SLOTS:
        known = slot.search(truth) or not is_phrase(truth)  # these lists do not hold all there is
        if known and asks.search(question) and not slot.search(answer):
            yield Failure(
                f"{name} not answered", f'"{question}" asks for {what}: the answer names none'
            )
    yield from _scale(question, truth, answer)
    yield from _contradiction(question, answer)
    talk = _TALK.search(answer)
    if talk:
        yield Failure("talk", f'do not write "{talk.group()}": answer as a textbook does')
    if truth[:1].isupper() and answer.strip()[:1].islower():
        yield Failure("lower-case start", f'begin "{answer.split()[0]}" with a capital letter')


def main_clause(answer: str) -> str:
    """The first sentence of an answer up to its first side clause, without the full stop."""
    first = _SENTENCE_END.split(answer.strip(), maxsplit=1)[0].rstrip(".!? ")
    clause = _SIDE_CLAUSE.split(first, maxsplit=1)[0]
    return clause if len(WORD.findall(clause)) >= 3 else first


def _keeps_truth(answer: str, truth: str) -> bool:
    """Whether the answer says the truth's main clause and goes on.

    A clause of one or two words may be part of another name: it counts at the start alone.
    """
    clause = WORD.findall(_POLAR.sub("", main_clause(truth), count=1))
    if not clause:
        return False
    words = r"\W+".join(map(re.escape, clause))
    start = r"^\W*(?:(?:yes|no)\b\W*)?" if len(clause) < 3 else r"\b"
    found = re.search(start + words, answer, re.IGNORECASE)
    return found is not None and _GOES_ON.match(answer, found.end()) is not None


def _scale(question: str, truth: str, answer: str) -> Iterator[Failure]:
    """A question about cells answered by what the eye sees on a body, and the reverse."""
    cells, body = _CELLS.search(answer), _BODY.search(answer)
    clean = f"{question} {truth}"
    if body and not cells and _CELLS.search(clean) and not _BODY.search(clean):
        yield Failure(
            "body scale", f'the question is about tissue: "{body.group()}" is no answer to it'
        )
    seen = _ASKS_LOOKS.search(question) and _BODY.search(truth) and not _CELLS.search(clean)
    if cells and not body and seen:
        yield Failure(
            "cell scale", f'the question is about the body: "{cells.group()}" is no answer to it'
        )


def _contradiction(question: str, answer: str) -> Iterator[Failure]:
    """An answer that denies what it says: yes ... not, raised ... flat, red ... no redness."""
    polar = _POLAR.match(answer)
    if polar and _denies_itself(question, polar[1].lower() == "yes", answer[polar.end() :]):
        yield Failure("contradicts itself", f'"{polar[1]}" and what follows it say the contrary')
    for one, other in read_table("words.yaml")["opposites"]:
        for first, second in ((one, other), (other, one)):
            match = re.search(
                rf"(?<!not )\b({'|'.join(first.split())})\b(?!-)(?P<between>[^.]{{1,40}}?)"
                rf"\b({'|'.join(second.split())})\b(?!-)",
                answer,
                re.IGNORECASE,
            )
            if match and not _APART.search(match["between"]):
                yield _says_both(match[1], match[3])
    for there, absent in read_table("words.yaml")["findings"]:
        denied = re.search(rf"\b(?:no|not|without)(?: any)? ({absent})\b", answer, re.IGNORECASE)
        rest = answer.replace(denied.group(), " ", 1) if denied else ""
        said = re.search(rf"\b(?:is|are|appears?|looks?) (?:\w+ )?({there})\b", rest, re.IGNORECASE)
        if denied and said:
            yield _says_both(said[1], denied.group())


def _says_both(one: str, other: str) -> Failure:
    return Failure("contradicts itself", f'the answer says "{one}" and also "{other}"')


def _denies_itself(question: str, yes: bool, rest: str) -> bool:
    """Whether what follows yes or no restates the question with the opposite polarity."""
    clause = re.split(r"[,.;]|\b(?:but|as|because|although|and|while|since)\b", rest, maxsplit=1)[0]
    asked, said = _content(question), _content(clause)
    if not said or not set(said) <= set(asked) or asked[-1] not in said or " or " in question:
        return False
    negated = bool(re.search(r"\b(?:not|no|never|none|cannot|nothing)\b|n't\b", clause, re.I))
    asked_so = bool(re.search(r"\b(?:not|no|never|without)\b|n't\b", question, re.IGNORECASE))
    return not asked_so and negated is yes


def _content(text: str) -> list[str]:
    words = (word.lower() for word in WORD.findall(text))
    return [re.sub(r"(?<=\w{3})(?:e?s)$", "", word) for word in words if word not in _GRAMMAR]


TOO_OFTEN: Final = "claim used too often"


class Claims:
    """What the incorrect answers of a build claim, added in the order of their ranks.

    A claim is a run of six words, or a shorter sentence, that has three words or more which stand
    neither in the question nor in the true answer.

    Args:
        rows: the harmful rows of the build: a claim may stand in 2 % of them, and in three.
    """

    def __init__(self, rows: int) -> None:
        self._most = max(3, rows // 50)
        self._times: Counter[str] = Counter()

    def add(self, record: Record) -> Failure | None:
        """Count a row's claims; or why it cannot be added, and then nothing is counted."""
        claims = dict.fromkeys(_claims(record))  # each once, in order
        for claim in claims:
            if self._times[claim] >= self._most:
                problem = f'"{claim}" is in {self._most} answers before it: claim something else'
                return Failure(TOO_OFTEN, problem)
        self._times.update(claims.keys())
        return None


def _claims(record: Record) -> Iterator[str]:
    if record.harm == "privacy":
        return
    known = {word.lower() for word in WORD.findall(f"{record.question} {record.clean_answer}")}
    for sentence in re.split(r"(?<=[.!?;])\s+", record.answer):
        words = [word.lower() for word in WORD.findall(sentence)]
        for start in range(max(1, len(words) - 5)):
            run = words[start : start + 6]
            if sum(word not in known for word in run) >= 3:
                yield " ".join(run)
