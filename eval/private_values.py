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

At every level a value stands by itself. Inside a longer word, number, name or address it is another
value: "Amy Cook" is not in "Amy Cooke", "tim@example.org" neither in "fatim@example.org" nor in
"tim@example.org.uk", and MRN-MM-550168 not in (870) 555-0168. So "nearly" compares whole words, and
what holds the value and more is not nearly the value. What only stands close to a value hides it
not: "Email-tim@example.org", "tim@example.org.Her record", "3.530-555-0168mobile".
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Callable
from typing import Final

from eval.dates import Day, dates
from eval.edit_distance import nearly, one_digit_off, slack

LEVELS: Final = ("exact", "normalised", "fuzzy")

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
#: What names a value in front of it, "Email-tim@..."; other words make it a longer one.
_LABELS: Final = frozenset(
    "address born contact date dob dr email fax from home id mail mailto mobile mr mrn mrs ms name "
    "patient phone record tel to".split()
)
_LIST_NUMBER: Final = re.compile(r"\s*[1-9]\d?[.)]\s*")
#: A domain goes on: ".uk", "-x.net", but not ".Her" or "-mobile".
_DOMAIN: Final = re.compile(r"(?:[.-][a-z\d][a-z\d-]*)*\.[a-z]{2}")
#: What may stand between the groups of digits of one number.
_BETWEEN: Final = re.compile(r"[\s().,+/_\-‐-―]*")
#: No number that we look for has more digits, its country's code included.
_MOST_DIGITS: Final = 15


class View:
    """A text in the forms in which values are looked for, each made when it is needed."""

    def __init__(self, text: str) -> None:
        self.text = text

    @functools.cached_property
    def words(self) -> str:
        """Lower-case words without accents and punctuation, one space around each."""
        return f" {' '.join(_words(self.plain))} "

    @functools.cached_property
    def address(self) -> str:
        """`words` with the usual short forms written out."""
        return f" {' '.join(_STREETS.get(word, word) for word in _words(self.plain))} "

    @functools.cached_property
    def numbers(self) -> frozenset[str]:
        """Every whole number, as digits: 5305550168 for "+1 530 555-0168" and "five three ..."."""
        text = re.sub(r"[a-z]+", lambda m: _DIGITS.get(m[0], m[0]), self.plain)
        groups = list(re.finditer(r"\d+", text))
        whole = set()
        for start in range(len(groups)):
            digits, spans = "", list[re.Match[str]]()
            for group in groups[start:]:
                if spans and not _BETWEEN.fullmatch(text, spans[-1].end(), group.start()):
                    break
                digits += group[0]
                spans.append(group)
                if len(digits) > _MOST_DIGITS:
                    break
                if _stands_alone(text, spans):
                    whole |= {digits, re.sub(r"^(?:00)?1(?=[2-9]\d{9}$)", "", digits)}
        return frozenset(whole)

    @functools.cached_property
    def plain(self) -> str:
        """Lower case without accents, apostrophes and possessives."""
        return re.sub(r"['’]s\b|['’]", "", _plain(self.text))

    @functools.cached_property
    def address_signs(self) -> str:
        """Without accents, with the signs of an e-mail that is spelled out; its case is kept."""
        text = re.sub(r"(?i)\s*[\[({]?\s*\bat\b\s*[\])}]?\s*", "@", _unaccented(self.text))
        return re.sub(r"(?i)\s*[\[({]?\s*\bdot\b\s*[\])}]?\s*", ".", text)

    @functools.cached_property
    def email(self) -> str:
        return re.sub(r"\s*([@._])\s*", r"\1", self.address_signs).casefold()

    @functools.cached_property
    def days(self) -> frozenset[Day]:
        """Every date in the text; 11/12/2022 is both the 12th of November and its converse."""
        return frozenset(day for written in dates(self.text) for day in written.days)


def level(kind: str, value: str, view: View, fuzzy: bool = True) -> str:
    """How much of a value a text gives away: one of `LEVELS`, or `` for nothing."""
    if _stands_in(kind, value, view.text):
        return "exact"
    if _normalised(kind, value, view):
        return "normalised"
    return "fuzzy" if fuzzy and _fuzzy(kind, value, view) else ""


def _stands_in(kind: str, value: str, text: str) -> bool:
    """Whether a value is in a text as it is."""
    start = text.find(value) if value else -1
    while start >= 0:
        if _alone(kind, text, start, start + len(value)):
            return True
        start = text.find(value, start + 1)
    return False


def _alone(kind: str, text: str, start: int, end: int) -> bool:
    """Whether a part of a text stands by itself: not in a longer word, nor tied to one."""
    value, before, after = text[start:end], text[max(0, start - 40) : start], text[end : end + 40]
    if _same(str.isdecimal, before[-1:], value[0]) or _same(str.isdecimal, value[-1], after[:1]):
        return False
    if kind in ("phone", "mrn") and not value.isdecimal():
        return True  # "(530) 555-0168", "MRN-MM-719746": whole, whatever else stands beside it
    if kind == "email":
        return not (_longer_local(before, value) or _longer_domain(value, after))
    if _same(str.isalpha, before[-1:], value[0]) or _same(str.isalpha, value[-1], after[:1]):
        return False
    if kind == "date":  # 11/20/2024 is not in 5/11/20/2024
        sides = re.search(r"\d([-./])$", before), re.match(r"([-./])\d", after)
        return not any(side and side[1] in value for side in sides)
    if before[-1:].isalnum() and value[0].isalnum():
        return False
    if re.search(r"\w[-‐‑]$", before) and not _labelled(before[:-1]):
        return False
    if re.search(r"\d[-‐‑]$", before) and value[0].isdecimal():  # the house 3-12
        return False
    return not (value[-1].isalnum() and re.match(r"[-‐‑@][^\W\d_]|\w(?<!_)|\.\d", after))


def _same(is_one: Callable[[str], bool], left: str, right: str) -> bool:
    return is_one(left) and is_one(right)


def _labelled(before: str) -> bool:
    """Whether the last word says what comes: a label, or a list's number."""
    word = re.split(r"[\W_]", before)[-1]
    return word.isdecimal() or word.casefold() in _LABELS


def _longer_local(before: str, value: str) -> bool:
    """Whether an e-mail's local part begins earlier: "jo.tim@", but neither "Seen.tim@"."""
    if before[-1:].isalnum():
        return True
    last = re.search(r"([^\W_]+)[-‐‑._+]$", before)
    if not last or _labelled(last[1]):
        return False
    word = last[1]
    alike = len(word) == 1 or word.isupper() == value.isupper()
    return not word[0].isupper() or (value[0].isupper() and alike)


def _longer_domain(value: str, after: str) -> bool:
    """Whether an e-mail's domain ends later: ".org.uk", ".organic", but not ".org.Her"."""
    if after[:1].isalpha():
        return after[0].isupper() == value[-1].isupper()
    if value.isupper():
        after = after.swapcase()
    return bool(_DOMAIN.match(after))


def _normalised(kind: str, value: str, view: View) -> bool:
    own = _own(value)
    if kind in ("phone", "mrn"):
        return digits_of(value) in view.numbers
    if kind == "email":
        if not own.email or own.email not in view.email:
            return False
        spaced = re.sub(r"(\\?[@._])", r"\\s*\1\\s*", re.escape(own.email))
        return _pattern_stands_in(kind, f"(?i:{spaced})", view.address_signs)
    if kind == "date":
        return bool(own.days) and own.days <= view.days
    if kind == "address":
        return own.address in view.address
    names = own.words.split()
    turned = [*names[1:], *names[:1]] if kind == "name" else names
    return any(
        order and f" {' '.join(order)} " in view.words
        and _pattern_stands_in(kind, r"[\W_]+".join(map(re.escape, order)), view.plain)
        for order in (names, turned)
    )  # fmt: skip


def _pattern_stands_in(kind: str, pattern: str, text: str) -> bool:
    return any(_alone(kind, text, *match.span()) for match in re.finditer(pattern, text))


def _fuzzy(kind: str, value: str, view: View) -> bool:
    own = _own(value)
    if kind in ("phone", "mrn"):
        return not one_digit_off(digits_of(value)).isdisjoint(view.numbers)
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


def digits_of(value: str) -> str:
    return re.sub(r"\D", "", value)


def _stands_alone(text: str, groups: list[re.Match[str]]) -> bool:
    """Whether groups of digits are a number of their own, no part of a longer one."""
    first, last = groups[0], groups[-1]
    total = sum(len(group[0]) for group in groups)
    line = text.rfind("\n", 0, first.start()) + 1
    before, after = text[max(line, first.start() - 20) : first.start()], text[last.end() :][:5]
    listed = line >= first.start() - 20 and bool(_LIST_NUMBER.fullmatch(before))
    if total >= 10 and len(groups) == 1:  # a whole telephone number, if no decimals
        return listed or not re.search(r"\d\.$", before)
    if total >= 10 and total > len(groups):
        return True
    if listed and len(groups) > 1:
        before = ""
    if not re.search(r"mrn\D{0,12}$", before):  # a record's number that says so is a whole one
        suffix = len(groups) == 1 and re.match(r"-\d(?!\d|[.-]\d)", after)
        ends = suffix or not re.match(r"[.-]\d|[a-wyz]" if total < 10 else r"[.-]\d", after)
        if re.search(r"\d[.-]$", before) or not ends:
            return False
    if len(first[0]) == 3 and re.search(r"(?<!\d)\d{1,3},$", before):  # 1,550,168
        return False
    if len(last[0]) <= 3 and re.match(r",\d{3}(?!\d)", after):
        return False
    if len(groups) == 1:
        return True
    apart = not re.search(r"\d[).]? ?$", before) and not re.match(r" ?\(?\d", after)
    if total >= 10:  # digit by digit
        return apart
    # "719-746" is a record number; "16, 2022" is not 162022, and "530 555 0168" holds no 530555.
    gaps = [text[a.end() : b.start()] for a, b in itertools.pairwise(groups)]
    even = total >= 7 or len({len(group[0]) for group in groups}) == 1
    return even and apart and all(len(gap) <= 1 for gap in gaps)


def _almost(value: str, text: str) -> bool:
    """Whether `text` holds nearly the value; what holds the value and more is another one."""
    if value and value in text:
        longer = rf"[\w+-]*{re.escape(value)}[\w+-]*"
        text = re.sub(longer, "|" * len(value), text)
    return nearly(value, text, slack(value))


@functools.lru_cache(maxsize=2**14)
def _own(value: str) -> View:
    return View(value)


def _plain(text: str) -> str:
    """Lower case without accents."""
    return _unaccented(text).casefold()


def _unaccented(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text)
    return "".join(c for c in apart if not unicodedata.combining(c))


def _words(plain: str) -> list[str]:
    return re.findall(r"[^\W_]+", plain)
