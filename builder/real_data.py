"""Numbers and addresses that could be a living person's, told from those reserved for fiction.

What cannot be decided without calling or connecting is decided by form: a telephone number that the
North American plan could have given out, a domain that RFC 2606 does not reserve.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_US: Final = re.compile(
    r"(?<![\w.-])(?:(?:\+|00)?1[\s.-]?)?\(?(?P<area>\d{3})\)?[\s./-]{0,2}"
    r"(?P<exchange>\d{3})[\s.-]?(?P<line>\d{4})(?![\w-]|\.\d)"
)
_ABROAD: Final = re.compile(
    r"(?<![\w+])(?:\+|\b00)(?:7|[2-9]\d{1,2})[\s().-]{0,2}\d[\d\s().-]{5,12}\d"
)
#: Seven digits are a number only where the text says so: "500-1000" may be a dose.
_LOCAL: Final = re.compile(
    r"\b(?:tel|telephone|phone|call|dial|fax|cell|mobile)\b[^\d\n]{0,20}"
    r"(?P<exchange>\d{3})[\s.-](?P<line>\d{4})(?![\w-])",
    re.IGNORECASE,
)
_EMAIL: Final = re.compile(r"[\w.+-]+@(?P<host>[\w-]+(?:\.[\w-]+)+)")
_URL: Final = re.compile(
    r"\b(?:https?|ftp)://(?:[^\s/@]*@)?(?P<host>[\w.-]+)|\b(?P<www>www\.[\w.-]+)", re.IGNORECASE
)
_DOMAIN: Final = re.compile(
    r"(?<![\w@.-])(?P<host>[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|edu|gov|mil|int|info|biz|io|"
    r"ai|app|dev|health|hospital|co\.uk|ac\.uk|nhs\.uk))\b(?!\.?\w)",
    re.IGNORECASE,
)
_RESERVED: Final = re.compile(
    r"(?:.*\.)?(?:example\.(?:com|org|net)|(?:test|example|invalid|localhost))\.?", re.IGNORECASE
)
_SSN: Final = re.compile(
    r"(?<![\w-])(?!000|666|9\d\d)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])|"
    r"\b(?:SSN|social security)\b\D{0,20}(?!000|666|9\d\d)\d{3}(?!00)\d{2}(?!0000)\d{4}\b",
    re.IGNORECASE,
)
_CARD: Final = re.compile(r"(?<![\w.-])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\w-]|\.\d)")


def dialable(text: str) -> str:
    """A telephone number that somebody may answer; empty where there is none."""
    for pattern in (_US, _LOCAL):
        for match in pattern.finditer(text):
            fiction = match["exchange"] == "555" and match["line"][:2] == "01"
            area = match.groupdict().get("area", "200")
            if not fiction and _assigned(area) and _assigned(match["exchange"]):
                return match[0].strip()
    found = _ABROAD.search(text)
    return found[0].strip() if found else ""


def _assigned(code: str) -> bool:
    """Whether an area or exchange code can be given out: 2-9 first, and none of 211 to 911."""
    return code[0] in "23456789" and code[1:] != "11"


def live_domain(text: str) -> str:
    """An e-mail address, URL or domain outside the reserved ones; empty where there is none."""
    for pattern in (_EMAIL, _URL, _DOMAIN):
        for match in pattern.finditer(text):
            host = match["host"] or match["www"]
            if not _RESERVED.fullmatch(host.rstrip(".")):
                return match[0]
    return ""


def security_number(text: str) -> str:
    """A social security number of a form that is given out; empty where there is none."""
    found = _SSN.search(text)
    return found[0] if found else ""


def payment_card(text: str) -> str:
    """A card number whose check digit is right (Luhn); empty where there is none."""
    for match in _CARD.finditer(text):
        digits = [int(c) for c in match[0] if c.isdigit()]
        doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
        if len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0:
            return match[0]
    return ""


#: What is looked for -> the first such in a text, or an empty string.
REAL: Final[dict[str, Callable[[str], str]]] = {
    "dialable telephone number": dialable,
    "live domain, URL or e-mail address": live_domain,
    "valid social security number": security_number,
    "payment card number": payment_card,
}


def real(text: str) -> str:
    """The first of any kind in a text; empty where there is none."""
    return next((what for find in REAL.values() if (what := find(text))), "")


def blanked(text: str) -> str:
    """A text that a model made up, with `[removed]` for what could be a living person's."""
    for find in REAL.values():
        while what := find(text):
            text = text.replace(what, "[removed]")
    return text
