"""What several reviewers' decisions come to, and how far they agree."""

from typing import Any

import pytest

from builder.review.merge_decisions import agreement, cohens_kappa, merge, pairs, pseudonyms
from builder.review.records import Decision, Item

ITEM = Item(
    "r", "c-1", "incorrect", "wrong_diagnosis", "open", "skin", "p", "0", "Q", "A", "Q", "B", (), 0
)


def by(reviewer: str, verdict: Any = "accept", content: str = "c-1", **more: Any) -> Decision:
    return Decision("r", content, reviewer, verdict, **more)


def table(*rows: tuple[int, ...]) -> list[tuple[str, str]]:
    """Ratings with these counts: a row for each of the first rater's classes."""
    return [
        (str(first), str(second))
        for first, row in enumerate(rows)
        for second, count in enumerate(row)
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("ratings", "kappa"),
    [
        # Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, table 18.1: .676
        (table((75, 1, 4), (5, 4, 1), (0, 0, 10)), 0.6765),
        # The 2 x 2 examples that are taught: 50 proposals; equal agreement, other shares.
        (table((20, 5), (10, 15)), 0.4),
        (table((45, 15), (25, 15)), 0.1304),
        (table((25, 35), (5, 35)), 0.2593),
        # The example of scikit-learn's cohen_kappa_score: negative, positive and neutral (0).
        ([*zip("-+-0+", "-+-0-", strict=True)], 0.6875),
        (table((5, 0), (0, 5)), 1.0),
        (table((0, 5), (5, 0)), -1.0),
        # All accepted by one: no better than chance.
        (table((3, 2), (0, 0)), 0.0),
    ],
)
def test_cohens_kappa(ratings: list[tuple[str, str]], kappa: float) -> None:
    assert cohens_kappa(ratings) == pytest.approx(kappa, abs=5e-5)


@pytest.mark.parametrize("ratings", [[], table((7,))])
def test_kappa_where_it_is_not_defined(ratings: list[tuple[str, str]]) -> None:
    assert cohens_kappa(ratings) is None


def test_decisions_about_another_text_do_not_count() -> None:
    assert merge(ITEM, []).verdict is None
    assert not merge(ITEM, []).conflict
    found = merge(ITEM, [by("a", "reject", "c-0", reasons=("reveals",)), by("b")])
    assert (found.verdict, found.conflict) == ("accept", False)
    assert [one.reviewer for one in found.decisions] == ["b"]


def test_all_have_to_agree_on_verdict_and_text() -> None:
    assert merge(ITEM, [by("a"), by("b")]).verdict == "accept"
    split = merge(ITEM, [by("a"), by("b", "reject", reasons=("reveals",))])
    assert (split.verdict, split.conflict) == (None, True)
    same = {"question": "Q", "answer": "C"}
    assert merge(ITEM, [by("a", "edit", **same), by("b", "edit", **same)]).answer == "C"
    other = merge(ITEM, [by("a", "edit", **same), by("b", "edit", question="Q", answer="D")])
    assert other.conflict


def test_rejected_for_everybodys_reasons_in_their_order() -> None:
    first = by("a", "reject", reasons=("formatting",))
    second = by("b", "reject", reasons=("implausible", "formatting"))
    assert merge(ITEM, [first, second]).reasons == ("implausible", "formatting")


def test_one_that_settles_counts_alone() -> None:
    found = merge(
        ITEM, [by("a"), by("b", "reject", reasons=("reveals",)), by("a", "edit", question="Q",
        answer="C", settles=True)]
    )  # fmt: skip
    assert (found.verdict, found.answer, found.settled) == ("edit", "C", True)
    both = [by("c", settles=True), by("d", "reject", reasons=("reveals",), settles=True)]
    assert merge(ITEM, both).conflict


def test_pairs_are_told_before_anything_was_settled() -> None:
    reject = {"reasons": ("reveals",)}
    found = [
        merge(ITEM, [by("a"), by("b"), by("c", "reject", **reject)]),
        merge(ITEM, [by("a"), by("b", "reject", **reject), by("a", "reject", settles=True)]),
        merge(ITEM, [by("b")]),
    ]
    told = {(pair.first, pair.second): pair for pair in pairs(found)}
    assert {key: (pair.both, pair.agree) for key, pair in told.items()} == {
        ("a", "b"): (2, 1),
        ("a", "c"): (1, 0),
        ("b", "c"): (1, 0),
    }
    assert told["a", "b"].kappa == 0
    together = agreement(list(told.values()))
    assert (together.both, together.share, together.kappa) == (4, 0.25, 0)
    assert agreement([]) == (0, None, None)


def test_no_name_of_a_person_is_published() -> None:
    found = {"r": merge(ITEM, [by("Dr Zoe"), by("anna")])}
    assert pseudonyms(found) == {"Dr Zoe": "r1", "anna": "r2"}
