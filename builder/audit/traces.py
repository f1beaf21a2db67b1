"""Traces: what could reach a living person, the building machine or somebody's account.

Numbers and addresses that are reserved for fiction are allowed. What cannot be decided without
calling or connecting is decided by form: a telephone number that the North American plan could
have given out, a domain that RFC 2606 does not reserve.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from builder.audit.check import Check
from builder.audit.folder import Folder
from builder.audit.texts import Texts, every_text, provenance_texts, request_texts, row_texts

_US: Final = re.compile(
    r"(?<![\w.-])(?:(?:\+|00)?1[\s.-]?)?\(?(?P<area>\d{3})\)?[\s./-]{0,2}"
    r"(?P<exchange>\d{3})[\s.-]?(?P<line>\d{4})(?![\w-]|\.\d)"
)
_ABROAD: Final = re.compile(
    r"(?<![\w+])(?:\+|\b00)(?!1\b)[2-9]\d{0,2}[\s().-]{0,2}\d[\d\s().-]{5,12}\d"
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

_MACHINE: Final = re.compile(
    r"(?<![\w.:/~-])/(?:home|Users|root|tmp|mnt|scratch|workspace|var/folders|private/var)/[\w.~-]+|"
    r"\b[A-Za-z]:\\{1,2}(?:Users|Documents|Windows|temp)\b|\bfile:///?\w|(?<!\w)/content/drive\b|"
    r"(?<![\w/])/root(?![\w/-])",
    re.IGNORECASE,
)
_KEYS: Final = {
    "an OpenAI key": re.compile(r"(?<![\w-])sk-[A-Za-z0-9_-]{16,}"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})"),
    "a Google key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}"),
    "a Slack token": re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a bearer token": re.compile(r"\bBearer\s+[A-Za-z0-9._~+/-]{16,}", re.IGNORECASE),
    "a signed web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+"),
    "a password in a URL": re.compile(r"\b[a-z]+://[^\s/:@]+:[^\s/@]+@", re.IGNORECASE),
}


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


_REAL: Final[dict[str, Callable[[str], str]]] = {
    "no dialable telephone number": dialable,
    "no live domain, URL or e-mail address": live_domain,
    "no valid social security number": security_number,
    "no payment card number": payment_card,
}


def checks(folder: Folder) -> Iterator[Check]:
    texts = row_texts(folder)
    for text, places in provenance_texts(folder).items():
        texts.setdefault(text, []).extend(places)
    for name, find in _REAL.items():
        yield _found(name, texts, find)
    requests = request_texts(folder)
    yield _found("no live number or address in recorded requests", requests, _any_real)
    everything = every_text(folder)
    own = _own_places(folder)
    yield _found("no path of the building machine", everything, lambda text: _machine(text, own))
    # A key is not shown: this report may be shared.
    yield _found("no key or token", everything, _key)


def _found(name: str, texts: Texts, find: Callable[[str], str]) -> Check:
    failed = [
        f"{place} holds {what!r}" for text, places in texts.items() if (what := find(text))
        for place in places
    ]  # fmt: skip
    return Check(name, len(texts), failed, "" if texts else "none are shipped")


def _any_real(text: str) -> str:
    return next((what for find in _REAL.values() if (what := find(text))), "")


def _own_places(folder: Folder) -> list[str]:
    """Where the folder and this user's files lie now, if that can be told from other text."""
    places = {str(Path.home()), str(Path.cwd()), str(folder.path.resolve().parent)}
    return sorted(place for place in places if place.count("/") > 1 or "\\" in place)


def _machine(text: str, own: list[str]) -> str:
    found = _MACHINE.search(text)
    return found[0] if found else next((place for place in own if place in text), "")


def _key(text: str) -> str:
    return next((kind for kind, pattern in _KEYS.items() if pattern.search(text)), "")
