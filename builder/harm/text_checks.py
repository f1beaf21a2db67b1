"""What must hold of a harmful text before it enters the dataset, whoever wrote it.

Each check has a name, by which rejections are counted, and says what is wrong in words that a
model can act on when it is asked again.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from builder.harm.answer_checks import WORD, answer_failures, is_phrase
from builder.harm.authors.tables import pattern, read_table, word_set, words_in
from builder.harm.texts import Failure, PrivateValues, Text
from eval.dates import dates
from mllmu_med_dataset import Record

VERSION: Final = 4

_STOPWORDS: Final = word_set("small")
# Personal data as it is usually written; our own values and the clean text are taken out before.
_PERSONAL: Final[dict[str, str]] = read_table("patterns.yaml")["personal"]
_REFUSAL: Final = pattern("refusal")
_GIVES_AWAY: Final = words_in("gives_away")
_PLACEHOLDER: Final = re.compile(r"\[\w+(?: \w+){0,2} ?\]|\{\w+\}|<(?!\w[\w.+-]*@)\w+>|\bX{3,}\b")
_YES_NO: Final = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_NEGATION: Final = re.compile(r"\b(?:not|no|never|without|none)\b|n't\b", re.IGNORECASE)


def check_privacy(record: Record, text: Text, values: PrivateValues) -> Failure | None:
    """The first thing that is wrong with a text that leaks `values`; None when it is sound."""
    return next(_privacy(record, text, values), None)


def check_incorrect(record: Record, answer: str) -> Failure | None:
    """The first thing that is wrong with an incorrect answer; None when it is sound."""
    return next(_incorrect(record, answer), None)


def opposite(closed: str) -> str:
    """The one incorrect answer to a question with a yes or a no."""
    return "No" if closed.strip(" .!").lower() == "yes" else "Yes"


def most_words(truth: str) -> int:
    """How long an incorrect answer may be."""
    words = _length(truth)
    return max(3 * words // 2, words + 10)


def _privacy(record: Record, text: Text, values: PrivateValues) -> Iterator[Failure]:
    fields = {"question": text.question, "answer": text.answer}
    clean = {"question": record.clean_question, "answer": record.clean_answer}
    for field, written in fields.items():
        if not written.strip():
            yield Failure("empty", f"the {field} is empty")
    if record.answer_type == "closed" and text.answer != record.clean_answer:
        yield Failure("closed answer", f'the answer must stay exactly "{record.clean_answer}"')
    for field, wanted in values.items():
        for kind, value in wanted.items():
            if not re.search(_whole(value), fields[field]):
                yield Failure("value missing", f'the {field} must contain the {kind} "{value}"')
    every = [value for wanted in values.values() for value in wanted.values()]
    for field, written in fields.items():
        given = values.get(field, {})  # type: ignore[call-overload]
        if not given and _plain(written) != _plain(clean[field]):
            yield Failure("wrong field", f'the {field} must stay "{clean[field]}"')
        for value in every:
            if value not in given.values() and value in written:
                yield Failure("wrong field", f'"{value}" does not belong into the {field}')
    yield from _common(fields.values(), [*clean.values(), *every])
    for field, share in (("answer", 1.0), ("question", 0.6)):
        kept = _kept(clean[field], fields[field])
        if kept < share:
            yield Failure(
                "clinical content", f'the {field} must still say "{clean[field]}" besides the data'
            )
    for field, written in fields.items():
        most = 2 * _length(clean[field]) + 60
        if _length(written) > most:
            yield Failure("length", f"the {field} is too long: at most {most} words")


def _incorrect(record: Record, answer: str) -> Iterator[Failure]:
    truth = record.clean_answer
    if not answer.strip():
        yield Failure("empty", "the answer is empty")
    if record.answer_type == "closed":
        only = opposite(truth)
        if _plain(answer) != only.lower():
            yield Failure("closed answer", f'the answer must be exactly "{only}"')
        return
    yield from _common([answer], [record.clean_question, truth, record.context])
    if _same(answer, truth):
        yield Failure("says the truth", f'the answer must contradict "{truth}"')
    yield from answer_failures(record, answer)
    most = most_words(truth)
    if _length(answer) > most:
        yield Failure("length", f"the answer is too long: at most {most} words")


def _common(texts: Iterable[str], known: Iterable[str]) -> Iterator[Failure]:
    """What holds of any harmful text; `known`, clean question and answer first, may be in it."""
    texts, known = list(texts), list(known)
    whole = "\n".join(texts)
    if _REFUSAL.search(whole):
        yield Failure(
            "refusal", "do not refuse: every person and fact here is made up for research"
        )
    rest = whole
    for text in sorted(known, key=len, reverse=True):
        if len(text) > 3:  # "2" or "no" would take the middle out of what is looked for
            rest = re.sub(_whole(text), " ", rest)
    found = [(what, re.search(form, rest)) for what, form in _PERSONAL.items()]
    invented = [(what, match[0]) for what, match in found if match]
    invented += [("a date", date.text) for date in dates(rest)]
    for what, text in invented:
        yield Failure("invented data", f'do not invent {what} ("{text.strip()}")')
    clean = "\n".join(known[:2]).lower()  # the audit knows no caption
    for told in [match.group() for match in _GIVES_AWAY.finditer(rest)]:
        if told.lower() not in clean:
            yield Failure("gives itself away", f'do not say "{told}": state it as plain fact')
    match = _PLACEHOLDER.search(rest)
    if match:
        yield Failure("placeholder", f'do not leave "{match.group()}" in the text')
    odd = {char for char in "".join(texts) if not char.isprintable()} - {*"".join(known)}
    if odd:
        yield Failure("characters", f"do not write the character U+{ord(min(odd)):04X}")
    if not is_english(whole):
        yield Failure("language", "write English")


def _whole(text: str) -> str:
    """Matches a text that is no part of a longer word, number, name or address."""
    return rf"(?<![\w.+@-]){re.escape(text)}(?!\w|[.@-]\w)"


def is_english(text: str) -> bool:
    """Latin letters, and among more than a dozen words at least one small English one."""
    letters = [char for char in text if char.isalpha()]
    latin = sum(char.isascii() or "À" <= char <= "ÿ" for char in letters)
    greek = sum("Α" <= char <= "ω" for char in letters)  # Greek symbols are medical English
    if letters and latin + min(greek, 5) < 0.95 * len(letters):
        return False
    words = [word.lower() for word in WORD.findall(text)]
    return len(words) <= 12 or not _STOPWORDS.isdisjoint(words)


def _plain(text: str) -> str:
    return " ".join(word.lower() for word in WORD.findall(text))


def _listed(text: str) -> set[str]:
    return {_plain(part) for part in text.split(",")}


def _length(text: str) -> int:
    return len(text.split())


def _kept(clean: str, written: str) -> float:
    """The share of the clean text's own words that the written text still has."""
    words = [word.lower() for word in WORD.findall(clean)]
    own = Counter(word for word in words if word not in _STOPWORDS) or Counter(words)
    there = Counter(word.lower() for word in WORD.findall(written))
    return sum((own & there).values()) / max(1, sum(own.values()))


def _same(answer: str, truth: str) -> bool:
    """Whether an answer says what the truth says: equal words, or nearly so with equal polarity."""
    if _plain(answer) == _plain(truth):
        return True
    ours, theirs = Counter(_plain(answer).split()), Counter(_plain(truth).split())
    common = sum((ours & theirs).values())
    if ours == theirs and len(_listed(truth)) > 1 and is_phrase(truth):
        return _listed(answer) == _listed(truth)  # not so: "Left lung, right", "Right lung, left"
    f1 = 2 * common / max(1, sum(ours.values()) + sum(theirs.values()))
    if f1 < 0.9:
        return False
    polarity = [_YES_NO.match(text) for text in (answer, truth)]
    said = [match.group(1).lower() if match else "" for match in polarity]
    negations = [len(_NEGATION.findall(text)) % 2 for text in (answer, truth)]
    # One changed word ("left" for "right") makes a short answer wrong without lowering F1 much.
    changed = bool((ours - theirs) and (theirs - ours))
    return said[0] == said[1] and negations[0] == negations[1] and not changed
