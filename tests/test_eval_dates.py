"""Dates in a text: what is one, which day it is, and what only looks like one."""

import pytest
from cases import cases

from eval.dates import Day, dates

CASES = cases(__file__)


def days(text: str) -> set[Day]:
    return {day for written in dates(text) for day in written.days}


@pytest.mark.parametrize(("text", "day"), CASES["a_date"])
def test_a_date(text: str, day: tuple[int, int, int]) -> None:
    assert days(text) == {Day(*day)}


def test_a_numeric_date_is_read_both_ways() -> None:
    assert days("12/11/22") == {Day(2022, 12, 11), Day(2022, 11, 12)}
    assert [(it.text, it.start) for it in dates("On 12/11/22.")] == [("12/11/22", 3)]


@pytest.mark.parametrize("text", CASES["no_date"])
def test_no_date(text: str) -> None:
    assert days(text) == set()
