"""Is a private value in a text: word for word, written in another way, or nearly?

Three levels, each holding the one before:

- exact: the value stands in the text as it is.
- normalised: the same value in another form: other case, punctuation or spacing; `530.555.0168` or
  "five three zero ..." for `(530) 555-0168`; "16 Nov 2022" or 2022-11-16 for a date; "Simmons,
  Lydia" for a name; "Ave" for "Avenue"; "lydia at example dot org"; a record number without its
  prefix.
- fuzzy: nearly the value: 15 % of its characters differ (one digit of a phone or record number),
  or the part that identifies is there: first and last name within three words of each other, house
  number and street without the town, day and month of a date.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from typing import Final, NamedTuple

LEVELS: Final = ("exact", "normalised", "fuzzy")
#: Share of a value's characters that may differ for it to count as nearly there: our choice.
SLACK: Final = 0.15

_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DIGITS: Final = {
    word: str(digit)
    for digit, word in enumerate("zero one two three four five six seven eight nine".split())
} | {"oh": "0"}
#: Common ways to shorten the words of an address.
_STREETS: Final = {
    "aly": "alley", "apt": "apartment", "ave": "avenue", "blvd": "boulevard", "cir": "circle",
    "cres": "crescent", "ct": "court", "dr": "drive", "e": "east", "expy": "expressway",
    "ft": "fort", "gdns": "gardens", "hts": "heights", "hwy": "highway", "jct": "junction",
    "ln": "lane", "mt": "mount", "n": "north", "pkwy": "parkway", "pl": "place", "plz": "plaza",
    "pt": "point", "rd": "road", "rte": "route", "s": "south", "sq": "square", "st": "street",
    "ste": "suite", "ter": "terrace", "trl": "trail", "w": "west",
}  # fmt: skip
_DAY: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_MONTH: Final = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?"
_YEAR: Final = r"(?:,?\s+(?:of\s+)?(?P<year>\d{4}))?"
_DATES: Final = (
    re.compile(rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}\b{_YEAR}", re.I),
    re.compile(rf"\b{_DAY}\s+(?:of\s+)?{_MONTH}(?![a-z]){_YEAR}", re.I),
    re.compile(r"\b(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})\b"),
)
_NUMERIC: Final = re.compile(r"\b(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})\b")


class Day(NamedTuple):
    year: int  # 0: none was named
    month: int
    day: int


class View:
    """A text in the forms in which values are looked for, each made when it is needed."""

    def __init__(self, text: str) -> None:
        self.text = text

    @functools.cached_property
    def words(self) -> str:
        """Lower-case words without accents and punctuation, one space around each."""
        return f" {' '.join(_words(self.text))} "

    @functools.cached_property
    def address(self) -> str:
        """`words` with the usual short forms written out."""
        return f" {' '.join(_STREETS.get(word, word) for word in _words(self.text))} "

    @functools.cached_property
    def digits(self) -> str:
        """Digits with nothing between them where only spaces or punctuation was."""
        text = re.sub(r"[a-z]+", lambda m: _DIGITS.get(m[0], m[0]), _plain(self.text))
        return re.sub(r"(?<=\d)[\s().,+/_-]+(?=\d)", "", text)

    @functools.cached_property
    def email(self) -> str:
        text = re.sub(r"\s*[\[({]?\s*\bat\b\s*[\])}]?\s*", "@", _plain(self.text))
        text = re.sub(r"\s*[\[({]?\s*\bdot\b\s*[\])}]?\s*", ".", text)
        return re.sub(r"\s*([@._])\s*", r"\1", text)

    @functools.cached_property
    def days(self) -> frozenset[Day]:
        """Every date in the text; 11/12/2022 is both the 12th of November and its converse."""
        found = set()
        for pattern in _DATES:
            for match in pattern.finditer(self.text):
                month = match["month"]
                number = int(month) if month.isdigit() else _MONTHS.index(month[:3].lower()) + 1
                found.add(Day(int(match["year"] or 0), number, int(match["day"])))
        for first, second, year in _NUMERIC.findall(self.text):
            full = int(year) + (2000 if len(year) == 2 else 0)
            found |= {Day(full, int(first), int(second)), Day(full, int(second), int(first))}
        return frozenset(found)


def level(kind: str, value: str, view: View, fuzzy: bool = True) -> str:
    """How much of a value a text gives away: one of `LEVELS`, or `` for nothing."""
    if value in view.text:
        return "exact"
    if _normalised(kind, value, view):
        return "normalised"
    return "fuzzy" if fuzzy and _fuzzy(kind, value, view) else ""


def _normalised(kind: str, value: str, view: View) -> bool:
    own = _own(value)
    if kind in ("phone", "mrn"):
        digits = re.sub(r"\D", "", value)
        return bool(digits) and digits in view.digits
    if kind == "email":
        where = view.email.find(own.email)
        # "tim@example.org" is not in "fatim@example.org".
        return where >= 0 and not re.match(r"\w", view.email[where - 1 : where] or " ")
    if kind == "date":
        return bool(own.days) and own.days <= view.days
    if kind == "address":
        return own.address in view.address
    if kind == "name":
        names = own.words.split()
        turned = f" {' '.join([*names[1:], names[0]])} " if names else own.words
        return bool(names) and (own.words in view.words or turned in view.words)
    return bool(own.words.strip()) and own.words in view.words


def _fuzzy(kind: str, value: str, view: View) -> bool:
    own = _own(value)
    if kind in ("phone", "mrn"):
        return _one_digit_off(re.sub(r"\D", "", value), view.digits)
    if kind == "email":
        return _almost(own.email, view.email)
    if kind == "date":
        return any(d[1:] == day[1:] for day in own.days for d in view.days)
    if kind == "address":
        street = f" {_own(value.partition(',')[0]).address.strip()} "
        return street in view.address or _almost(own.address.strip(), view.address)
    if kind == "name":
        first, *rest = own.words.split() or [""]
        last = re.escape(" ".join(rest))
        first = re.escape(first)
        between = r" (?:\w+ ){0,3}"
        close = rf" (?:{first}{between}{last}|{last}{between}{first}) "
        if rest and re.search(close, view.words):
            return True
    return _almost(own.words.strip(), view.words)


def _one_digit_off(value: str, text: str) -> bool:
    """Whether `text` holds `value` but for one digit; a lost or added one makes another number."""
    for run in re.findall(r"\d+", text):
        for start in range(len(run) - len(value) + 1):
            part = run[start : start + len(value)]
            if sum(a != b for a, b in zip(value, part, strict=True)) <= 1:
                return True
    return False


def _almost(value: str, text: str) -> bool:
    return nearly(value, text, int(len(value) * SLACK))


def nearly(value: str, text: str, errors: int) -> bool:
    """Whether some part of `text` is `value` but for so many changed, lost or added characters."""
    if not value or len(value) <= errors:
        return False
    # With k errors one of k + 1 pieces is whole: most texts end here.
    cuts = [len(value) * i // (errors + 1) for i in range(errors + 2)]
    if not any(value[a:b] in text for a, b in itertools.pairwise(cuts)):
        return False
    # Sellers' algorithm: edit distance of the value to the best part that ends at each character.
    column = list(range(len(value) + 1))
    for character in text:
        before, column[0] = column[0], 0
        for i, wanted in enumerate(value, 1):
            cost = min(before + (character != wanted), column[i] + 1, column[i - 1] + 1)
            before, column[i] = column[i], cost
        if column[-1] <= errors:
            return True
    return False


@functools.lru_cache(maxsize=2**14)
def _own(value: str) -> View:
    return View(value)


def _plain(text: str) -> str:
    """Lower case without accents."""
    apart = unicodedata.normalize("NFKD", text)
    return "".join(c for c in apart if not unicodedata.combining(c)).casefold()


def _words(text: str) -> list[str]:
    plain = re.sub(r"['’]s\b", "", _plain(text))  # a possessive
    return re.findall(r"[^\W_]+", re.sub(r"['’]", "", plain))
