"""Calendar dates in a text, as people write them.

Our patterns find where a date stands, `dateutil` says which day it is, or that there is none such
(31/02). It fills in what a text leaves open, so it is asked twice with other defaults: what differs
was not in the text. It never sees prose: read loosely, it takes "decreased 5" for the 5th of
December, and it reads "November 20,2024" as a day of this year.
"""

import datetime
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_NAMES: Final = (
    "january|february|march|april|may|june|july|august|september|october|november|december|"
    "jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec"
)
_DAY: Final = r"(?P<day>\d{1,2})(?P<th>st|nd|rd|th)?"
_MONTH: Final = rf"(?P<month>{_NAMES})"
_YEAR: Final = r"(?P<year>(?:19|20)\d\d|['’]\d\d)(?!\d)"
#: "The 5 mm" and "5.2" are no days, and "3/4" is none without a year.
_END: Final = r"(?![\w%]|[.,/:]\d|\s?(?:%|°|[cmµ]?m\b|[mµk]?g\b|m?l\b|cc\b|years?\b|times?\b))"
#: No part of a longer row of digits; a label or a bullet may stand before it: "DOB-11/20/2024".
_START: Final = r"(?<![\w/])(?<!\d[.,-])"
#: A day may end a range: "18-20 November", but not 12-18-20.
_DAY_START: Final = rf"(?:{_START}|(?<=(?<![\w.,/-])\d-)|(?<=(?<![\w.,/-])\d\d-))"
_WRITTEN: Final = (
    re.compile(
        rf"{_START}(?P<year>(?:19|20)\d\d)(?P<gap>[-/.]|,?\s+){_MONTH}(?:(?P=gap)|\.\s+)"
        rf"(?P<of>the\s+)?{_DAY}{_END}",
        re.I,
    ),
    re.compile(
        rf"(?<!\w)(?<!\d-){_MONTH}(?:\.\s*|\s+|-(?=\d\d?-\d)|"
        rf"(?=\d\d?(?:\s*,\s*|\s+|-)(?:19|20)\d\d))(?P<of>the\s+)?{_DAY}"
        rf"(?:(?:\s*,\s*|\s+|-)(?:of\s+)?{_YEAR}|{_END})",
        re.I,
    ),
    re.compile(
        rf"{_DAY_START}{_DAY}(?:\s*|(?P<tie>[-/.])|(?P<stop>\.\s+))(?P<of>(?:day\s+)?of\s+)?{_MONTH}"
        rf"(?:(?:\.?,?\s*|[-/.])(?:of\s+)?{_YEAR}|(?P=tie)(?P<short>\d\d)(?![\w/-]|\.\d)|"
        r"\b(?![-/]\w))",
        re.I,
    ),
)
#: After a year of four digits, or before, only more digits of the same row make it another thing.
_NUMERIC: Final = re.compile(
    rf"(?:{_START}|(?<=[a-z]{{2}})|(?<=^\d\.)(?=\d\d?/)|(?<=^\d\d\.)(?=\d\d?/))(?:"
    r"(?:19|20)\d\d([-/.])\d{1,2}\1\d{1,2}(?!\d|\1\d|\.\d)|"
    r"(?<![.,-])(?:19|20)\d{6}(?![\w-]|[.,]\d)|"
    r"\d{1,2}([-/.])\d{1,2}\2(?:\d{4}(?!\d|\2\d)|"
    rf"\d\d(?:(?=,\d\d?:\d\d)|{_END})(?!-\d)))",
    re.I | re.M,
)
#: Words of other meanings: no month in small letters, unless a year or "3rd of" says so.
_VERBS: Final = frozenset(("may", "march"))
#: Both leap years, with a day that every month has.
_DEFAULTS: Final = (datetime.datetime(2000, 1, 1), datetime.datetime(2004, 12, 28))


class Day(NamedTuple):
    year: int  # 0: none was named
    month: int
    day: int


class Written(NamedTuple):
    """A date as it stands in a text, and the days that it may be."""

    text: str
    days: frozenset[Day]
    start: int  # its place


def dates(text: str) -> Iterator[Written]:
    """Every date in a text; 11/12/2022 may be the 12th of November and its converse."""
    if not any(c.isdigit() for c in text):
        return
    for pattern in _WRITTEN:
        for match in pattern.finditer(text):
            parts = match.groupdict()
            month, year = match["month"], match["year"] or parts.get("short") or ""
            spaced = (parts.get("gap") or "").isspace()  # "in 2021 may 5 ..."
            if month in _VERBS and (spaced or not (year or match["th"] or match["of"])):
                continue
            if parts.get("stop") and not year:  # "grade 3. May be"
                continue
            if day := _read(f"{match['day']} {month} {_full(year) or ''}", year):
                yield Written(match[0], frozenset([day]), match.start())
    for match in _NUMERIC.finditer(text):
        written = re.sub(r"^(\d{4})(\d\d)(?=\d\d$)", r"\1-\2-", match[0])  # 20221116
        first, second, last = re.split(r"[-/.]", written)
        if len(first) == 4:
            candidates = {_read(f"{first}-{second}-{last}", first)}
        else:
            whole = f"{first}/{second}/{_full(last)}"
            day, month = (_read(whole, last, day_first) for day_first in (True, False))
            candidates = {day or month} if "." in written else {day, month}
        if days := frozenset(day for day in candidates if day):
            yield Written(match[0], days, match.start())


def _full(year: str) -> int:
    """A year of two digits is the last century's from 31 on (a birth); 0 where none was named."""
    number = int(year.strip("'’") or 0)
    return number if len(year) == 4 or not year else number + (2000 if number <= 30 else 1900)


def _read(text: str, year: str, day_first: bool = False) -> Day | None:
    """The day that a date names; None where there is no such day."""
    from dateutil import parser

    try:
        day, other = (parser.parse(text, default=d, dayfirst=day_first) for d in _DEFAULTS)
    except (parser.ParserError, OverflowError):
        return None
    full = _full(year)
    sure = (day.month, day.day) == (other.month, other.day) and full in (0, day.year)
    return Day(full, day.month, day.day) if sure else None
