"""Dates in a text: what is one, which day it is, and what only looks like one."""

import pytest

from eval.dates import Day, dates


def days(text: str) -> set[Day]:
    return {day for written in dates(text) for day in written.days}


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("November 20, 2024", (2024, 11, 20)),
        ("seen November 20,2024.", (2024, 11, 20)),  # dateutil alone: this year's
        ("20-Nov-2024", (2024, 11, 20)),
        ("20Nov2024", (2024, 11, 20)),
        ("Nov-20-2024", (2024, 11, 20)),
        ("20/Nov/2024", (2024, 11, 20)),
        ("NOVEMBER 20 2024", (2024, 11, 20)),
        ("Sept. 3rd, 2021", (2021, 9, 3)),
        ("Sept.3, 2021", (2021, 9, 3)),
        ("the 3rd of March 2021", (2021, 3, 3)),
        ("May 5th of 2021", (2021, 5, 5)),
        ("16th Nov '22", (2022, 11, 16)),
        ("3rd of March", (0, 3, 3)),
        ("3rd day of march", (0, 3, 3)),
        ("March the 5th", (0, 3, 5)),
        ("on May 5, she", (0, 5, 5)),
        ("(May 5)", (0, 5, 5)),
        ("may 5, 2022", (2022, 5, 5)),
        ("5 May.", (0, 5, 5)),
        ("Jan. 5", (0, 1, 5)),
        ("November 16-18", (0, 11, 16)),
        ("Feb 29", (0, 2, 29)),
        ("29 February 2024", (2024, 2, 29)),
        ("2022-11-16", (2022, 11, 16)),
        ("2022-11-16T10:00", (2022, 11, 16)),
        ("2022.11.16", (2022, 11, 16)),
        ("11/16/2022", (2022, 11, 16)),
        ("16.11.22", (2022, 11, 16)),
        ("16.11.30", (2030, 11, 16)),
        ("16.11.31", (1931, 11, 16)),  # a birth
        ("20. November 2024", (2024, 11, 20)),
        ("Nov20,2024", (2024, 11, 20)),
        ("Nov20 2024", (2024, 11, 20)),
        ("2024-Nov-20", (2024, 11, 20)),
        ("2024/November/20", (2024, 11, 20)),
        ("DOB-11/20/2024", (2024, 11, 20)),
        ("DOB-20 Nov 2024", (2024, 11, 20)),
        ("DOB-Nov. 20, 2024", (2024, 11, 20)),
        ("DOB.2024-11-20", (2024, 11, 20)),
        ("DOB11/20/2024", (2024, 11, 20)),
        ("-11/20/2024", (2024, 11, 20)),
        ("3.11/20/2024", (2024, 11, 20)),
        ("11/20/2024,10:30", (2024, 11, 20)),
        ("11/20/24,10:30", (2024, 11, 20)),
        ("2024-11-20,10:30", (2024, 11, 20)),
        ("11/20/2024at noon", (2024, 11, 20)),
        ("11/20/2024-2", (2024, 11, 20)),
    ],
)
def test_a_date(text: str, day: tuple[int, int, int]) -> None:
    assert days(text) == {Day(*day)}


def test_a_numeric_date_is_read_both_ways() -> None:
    assert days("12/11/22") == {Day(2022, 12, 11), Day(2022, 11, 12)}
    assert [(it.text, it.start) for it in dates("On 12/11/22.")] == [("12/11/22", 3)]


@pytest.mark.parametrize(
    "text",
    [
        *("decreased 5", "apremilast 30 mg", "margins 5", "marked 3", "septa 3", "octopus 5"),
        *("Marfan 2", "mayo 5", "5 marks", "junction 12", "12 months", "novo 5"),
        *("2021-02-31", "31/02/2021", "02/31/2021", "Feb 29, 2021", "Feb 30", "13/13/2022"),
        *("Mar 32", "May 55", "May 0", "Nov 2022", "June 2021", "16 lesions in 2022"),
        *("grade 3 may be", "1 or 2 may", "may 5", "May 5 mm", "OCT 5%", "Oct 2.5", "SEPT9"),
        *("grade 3. May be", "Item 3. October was", "in 2021 may 5 be", "20241-Nov-20", "SEPT9, 3"),
        *("11/20/20245", "11/20/2024/5", "2024-11-201", "5/11/20/2024", "x/11/20/2024"),
        *("1-2-2021-5", "3/4", "T1/T2", "1/2/3", "10-20", "5-10-20 mg", "2019-2021", "500-1000 mg"),
        *("ICD C44.3", "1.2.840.10008", "12.5.20.1", "0/10/20", "10.1016/j.x", ""),
    ],
)
def test_no_date(text: str) -> None:
    assert days(text) == set()
