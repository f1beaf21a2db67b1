"""Of more incorrect answers than are needed, those whose wording tells least that they are.

Adversarial filtering, as for SWAG (Zellers et al. 2018) and by AFLite (Le Bras et al. 2020): what a
bag of words would find is left out, so that a model must forget what was said, not how. Ours: the
log-odds of each word and word pair, harmful against clean, over the very rows; and each kind of
harm keeps its share.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from builder.harm.authors.question_intent import intent
from mllmu_med_dataset import Record

#: Times its share of what is asked that an intent may have; twice is the goal, and ratings and
#: people choose once more.
MOST: Final = 1.7

_WORD: Final = re.compile(r"\b\w\w+\b")


def terms(text: str) -> list[str]:
    """Words of two letters or more and pairs of neighbours, in lower case, repeats too."""
    words = _WORD.findall(text.lower())
    return [*words, *(f"{first} {second}" for first, second in pairwise(words))]


def least_telling(written: Sequence[Record], keep: int, asked: Sequence[str]) -> frozenset[str]:
    """The ids of `keep` harmful records: of each kind of harm those that tell least.

    What asks for one thing, such as a color, gets at most 1.7 times its share of the questions
    `asked`, unless too few others were written: colors are the easiest to change unseen.

    A record tells by the sum of the log-odds of the terms that only its harmful answer has, less
    that of the terms that only its clean one has, over the root of how many terms there are.
    """
    texts = [({*terms(row.answer)}, {*terms(row.clean_answer)}) for row in written]
    harmful = Counter(term for new, _ in texts for term in new)
    clean = Counter(term for _, old in texts for term in old)
    odds = {term: math.log((harmful[term] + 0.5) / (clean[term] + 0.5)) for term in harmful | clean}
    by_harm: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    for row, (new, old) in zip(written, texts, strict=True):
        tells = sum(odds[term] for term in sorted(new - old))
        tells -= sum(odds[term] for term in sorted(old - new))
        by_harm[row.harm].append((tells / len(new | old) ** 0.5, row.id))
    places = [
        ((place + 0.5) / len(rows), row)
        for rows in by_harm.values()
        for place, (_, row) in enumerate(sorted(rows))
    ]
    shares = Counter(map(intent, asked))
    most = {about: MOST * keep * n / shares.total() for about, n in shares.items()}
    questions = {row.id: row.clean_question for row in written}
    taken: Counter[str] = Counter()
    within: list[str] = []
    beyond: list[str] = []
    for _, key in sorted(places):
        about = intent(questions[key])
        taken[about] += 1
        (within if taken[about] <= most.get(about, 0) else beyond).append(key)
    return frozenset([*within, *beyond][:keep])
