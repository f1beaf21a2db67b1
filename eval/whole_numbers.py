"""Telephone and record numbers in a text: whole ones only, in digits and in words.

A number is one row of groups of digits that stands alone: no part of a longer number, decimal or
date. Our own rule finds it, for reserved numbers (555-01xx) and record numbers, too, which
`phonenumbers` does not know; that library says how a number of another country is dialled.
"""

import functools
import itertools
import re
from typing import Final

_DIGITS: Final = {
    word: str(digit)
    for digit, word in enumerate("zero one two three four five six seven eight nine".split())
} | {"oh": "0"}
_LIST_NUMBER: Final = re.compile(r"\s*[1-9]\d?[.)]\s*")
#: What may stand between the groups of digits of one number.
_BETWEEN: Final = re.compile(r"[\s()\[\].,+/_*\-‐-―−]*")
_AREA_CODE: Final = re.compile(
    r"\barea code\W*(?:is\W+)?(\d{3})\W+(?:[a-z]+\W+){0,5}(?=\d{3}\W?\d{4}\b)"
)
#: No number that we look for has more digits, its country's code included.
_MOST_DIGITS: Final = 15


def whole_numbers(plain: str) -> frozenset[str]:
    """Every whole number of a lower-case text: 5305550168 for "+1 530 555-0168"."""
    text = re.sub(r"[a-z]+", lambda m: _DIGITS.get(m[0], m[0]), plain)
    text = _AREA_CODE.sub(r"\1 ", text)
    groups = list(re.finditer(r"\d+", text))
    whole = set()
    for start in range(len(groups)):
        digits, spans = "", list[re.Match[str]]()
        for group in groups[start : start + _MOST_DIGITS + 1]:
            if spans and not _BETWEEN.fullmatch(text, spans[-1].end(), group.start()):
                break
            digits += group[0]
            spans.append(group)
            if len(digits) > _MOST_DIGITS:
                break
            if _stands_alone(text, spans):
                whole |= {digits, re.sub(r"^(?:00)?1(?=[2-9]\d{9}$)", "", digits)}
    return frozenset(whole | _codes(plain))


def _codes(plain: str) -> set[str]:
    """Up to six neighbouring words as one, of letters and digits: a102377 for "A-1023/77"."""
    words = re.findall(r"[^\W_]+", plain) if re.search(r"\d", plain) else []
    starts = range(len(words))
    runs = {"".join(words[start : start + size]) for start in starts for size in range(1, 7)}
    return {run for run in runs if re.search(r"\d", run) and not run.isdecimal()}


@functools.lru_cache(maxsize=2**14)
def numbers_of(value: str) -> frozenset[str]:
    """The digits of a number; of "+44 20 ..." also as it is dialled at home, and with 00 or (0)."""
    digits = re.sub(r"\D", "", value)
    forms = {digits}
    if re.match(r"\+(?!1)", value):
        import phonenumbers as phones

        for match in phones.PhoneNumberMatcher(value, None):
            national = phones.format_number(match.number, phones.PhoneNumberFormat.NATIONAL)
            home = re.sub(r"\D", "", national)
            forms |= {f"00{digits}", home, f"{match.number.country_code}{home}"}
    return frozenset(forms)


def _stands_alone(text: str, groups: list[re.Match[str]]) -> bool:
    """Whether groups of digits are a number of their own, no part of a longer one."""
    first, last = groups[0], groups[-1]
    total = sum(len(group[0]) for group in groups)
    start, end = first.start(), last.end()
    line = text.rfind("\n", max(0, start - 21), start) + 1
    if total >= 10 and re.search(r"\+(?!1\D)\d{1,3}\D{1,2}$", text[max(0, start - 8) : start]):
        return False  # of another country
    before, after = text[max(line, start - 20) : start], text[end : end + 5]
    listed = line >= start - 20 and bool(_LIST_NUMBER.fullmatch(before))
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
    return even and apart and all(len(gap) <= 1 and gap not in (".", ",") for gap in gaps)
