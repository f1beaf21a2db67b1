"""Several reviewers' decisions about a text: what they come to, and how far they agree."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from builder.review.records import REASONS, WITHDRAW, Decision, Item, Verdict


class Merged(NamedTuple):
    """What all decisions about a text come to.

    verdict: None where nobody has decided, or where they conflict. reasons: everybody's, in the
    order of `REASONS`. question, answer: the edited texts. decisions: those about the item's text
    as it is now, by reviewer.
    """

    verdict: Verdict | None
    reasons: tuple[str, ...] = ()
    question: str = ""
    answer: str = ""
    decisions: tuple[Decision, ...] = ()

    @property
    def conflict(self) -> bool:
        return self.verdict is None and bool(self.decisions)

    @property
    def settled(self) -> bool:
        return any(decision.settles for decision in self.decisions)


def merge(item: Item, decisions: Iterable[Decision]) -> Merged:
    """What the decisions about `item` come to.

    Only those about its text as it is now count, and none that was withdrawn. One that settles
    counts alone; otherwise all have to agree on the verdict and the edited text, or the item stays
    undecided.
    """
    about_it = [each for each in decisions if (each.id, each.content) == (item.id, item.content)]
    standing = [decision for decision in about_it if decision.verdict != WITHDRAW]
    current = tuple(sorted(standing, key=lambda decision: (decision.reviewer, decision.settles)))
    counting = [decision for decision in current if decision.settles] or current
    if len({(decision.verdict, decision.question, decision.answer) for decision in counting}) != 1:
        return Merged(None, decisions=current)
    said = {reason for decision in counting for reason in decision.reasons}
    reasons = tuple(reason for reason in REASONS if reason in said)
    first = counting[0]
    return Merged(first.verdict, reasons, first.question, first.answer, current)


def merge_all(items: Iterable[Item], decisions: Iterable[Decision]) -> dict[str, Merged]:
    """`merge` for each item, by id."""
    by_id: dict[str, list[Decision]] = {}
    for decision in decisions:
        by_id.setdefault(decision.id, []).append(decision)
    return {item.id: merge(item, by_id.get(item.id, ())) for item in items}


class Pair(NamedTuple):
    """Two reviewers over the texts that both decided, before anything was settled.

    agree: how often with the same verdict (accept, edit or reject). kappa: Cohen's; None where it
    is not defined: no text in common, or both gave one and the same verdict throughout.
    """

    first: str
    second: str
    both: int
    agree: int
    kappa: float | None


def pairs(merged: Iterable[Merged]) -> list[Pair]:
    """Every pair of reviewers that has a text in common, by name."""
    verdicts: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for text in merged:
        own = [decision for decision in text.decisions if not decision.settles]
        for a, b in combinations(own, 2):
            verdicts.setdefault((a.reviewer, b.reviewer), []).append((a.verdict, b.verdict))
    return [
        Pair(first, second, len(both), sum(a == b for a, b in both), cohens_kappa(both))
        for (first, second), both in sorted(verdicts.items())
    ]


def cohens_kappa(ratings: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa of two raters, unweighted: agreement beyond what their shares would give.

    (p_o - p_e) / (1 - p_e); J. Cohen, Educational and Psychological Measurement 20 (1960), 37-46.
    None where it is not defined: nothing rated, or p_e is 1.
    """
    if not ratings:
        return None
    # In counts, so that a p_e of 1 is one exactly: n² p_e, and n p_o.
    n = len(ratings)
    first, second = (Counter(rating[side] for rating in ratings) for side in (0, 1))
    expected = sum(count * second[verdict] for verdict, count in first.items())
    if expected == n * n:
        return None
    observed = sum(a == b for a, b in ratings)
    return (observed * n - expected) / (n * n - expected)


class Agreement(NamedTuple):
    """All pairs of a scenario together.

    both: texts that two have decided, once for each pair. share: of these with the same verdict.
    kappa: the mean over the pairs that have one (R. J. Light, Psychological Bulletin 76 (1971)).
    """

    both: int
    share: float | None
    kappa: float | None


def agreement(between: Sequence[Pair]) -> Agreement:
    both = sum(pair.both for pair in between)
    kappas = [pair.kappa for pair in between if pair.kappa is not None]
    return Agreement(
        both,
        sum(pair.agree for pair in between) / both if both else None,
        sum(kappas) / len(kappas) if kappas else None,
    )


def pseudonyms(merged: Mapping[str, Merged]) -> dict[str, str]:
    """r1, r2 ... for the reviewers: their own names are people's names and are not published."""
    names = sorted({decision.reviewer for text in merged.values() for decision in text.decisions})
    return {name: f"r{number}" for number, name in enumerate(names, 1)}
