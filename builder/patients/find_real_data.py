"""Numbers and addresses that could be a living person's, told from those reserved for fiction.

What cannot be decided without calling or connecting is decided by form: a telephone number that the
North American plan could have given out, or that `phonenumbers` knows to be one of another country,
a domain that RFC 2606 does not reserve.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

_US: Final = re.compile(
    r"(?<![\w.-])(?:(?:\+|00)?1[\s.-]?)?\(?(?P<area>\d{3})\)?[\s./-]{0,2}"
    r"(?P<exchange>\d{3})[\s.-]?(?P<line>\d{4})(?![\w-]|\.\d)"
)
#: Where a number is read as if dialled from: 011 and 00 lead abroad, 0 to another town. With more
#: regions rows of figures become numbers ("05 10 15 20 25" is one in France).
_REGIONS: Final = ("US", "GB")
#: How a number begins that is not in our own rules' form, and is no decimal.
_DIALLED: Final = re.compile(r"\(?(?:\+|0(?!\.))")
_SEVEN_DIGITS: Final = re.compile(r"\d(?:\D{0,4}\d){6}")
#: Seven digits are a number only where the text says so: "500-1000" may be a dose.
_LOCAL: Final = re.compile(
    r"\b(?:tel|telephone|phone|call|dial|fax|cell|mobile)\b[^\d\n]{0,20}"
    r"(?P<exchange>\d{3})[\s.-](?P<line>\d{4})(?![\w-])",
    re.IGNORECASE,
)
_EMAIL: Final = re.compile(r"[\w.+-]{1,64}@(?P<host>[\w-]+(?:\.[\w-]+)+)")
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
_GROUPS: Final = re.compile(r"\d+(?:[\s./‐-―−-]{1,3}\d+)*")
#: What a number without a gap does not follow: part of a name or a decimal; "Visa" and "No." may.
_NAMED: Final = re.compile(
    r"(?:^|[^a-z])[a-z]{1,2}$|_$|(?:^|\D)-$|(?:^|[^a-z\d])\.$", re.IGNORECASE
)
#: Beginnings and lengths that are given out; without a gap any of 13 to 19 digits is looked at.
_ISSUED: Final = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|"
    r"3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|35\d{14}|6(?:011|[2-5]\d\d|[79]\d\d)\d{12,15}|"
    r"5(?:0|[6-9])\d{14}"
)


def dialable(text: str) -> str:
    """A telephone number that somebody may answer; empty where there is none."""
    for pattern in (_US, _LOCAL):
        for match in pattern.finditer(text):
            fiction = match["exchange"] == "555" and match["line"][:2] == "01"
            area = match.groupdict().get("area", "200")
            if not fiction and _assigned(area) and _assigned(match["exchange"]):
                return match[0].strip()
    return next(_abroad(text), "") if _SEVEN_DIGITS.search(text) else ""


def _abroad(text: str) -> Iterator[str]:
    import phonenumbers

    for region in _REGIONS:
        for match in phonenumbers.PhoneNumberMatcher(text, region):
            number = match.number
            fiction = number.country_code == 1 and str(number.national_number)[3:8] == "55501"
            if _DIALLED.match(match.raw_string) and not fiction:
                yield match.raw_string


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
    match = _SSN.search(text)
    return match[0] if match else ""


def payment_card(text: str) -> str:
    """A card number whose check digit is right (Luhn); empty where there is none."""
    for chain in _GROUPS.finditer(text):
        groups = [group.span() for group in re.finditer(r"\d+", chain[0])]
        for number, (begin, _) in enumerate(groups):
            for _, finish in groups[number : number + 19]:
                start, end = chain.start() + begin, chain.start() + finish
                if _is_card(text, start, end):
                    return text[start:end]
    return ""


def _is_card(text: str, start: int, end: int) -> bool:
    number = re.sub(r"\D", "", text[start:end])
    if not 13 <= len(number) <= 19 or not _luhn(number):
        return False
    if len(number) == end - start:  # a decimal has no gap, nor has what only looks like a card
        before, after = text[max(0, start - 3) : start], text[end : end + 2]
        part = re.search(r"\d\.$", before) or re.match(r"\w|-[a-z]|\.\d", after, re.IGNORECASE)
        return not part and not _NAMED.search(before) and number[0] in "23456"
    gaps = re.findall(r"\D+", text[start:end])
    alike = len({gap.strip() for gap in gaps}) == 1  # "4/12/2020 - 11/20/2024" is no number
    single = all(len(gap) == 1 and gap != "/" for gap in gaps)
    return (alike or single) and bool(_ISSUED.fullmatch(number))


def _luhn(number: str) -> bool:
    digits = [int(digit) for digit in number]
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


#: What is looked for -> the first such in a text, or an empty string.
REAL: Final[dict[str, Callable[[str], str]]] = {
    "dialable telephone number": dialable,
    "live domain, URL or e-mail address": live_domain,
    "valid social security number": security_number,
    "payment card number": payment_card,
}

_DAY: Final = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH: Final = r"(?:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-zä]*\.?"
#: What says of a corpus' own text that its patients have not been taken out: a day of the calendar,
#: a record number, a name after a title. -> what it looks like
LIKELY: Final = {
    "full date": re.compile(
        rf"\b(?:{_DAY}[./-]{_DAY}[./-](?:19|20)\d\d|(?:19|20)\d\d[./-]{_DAY}[./-]{_DAY}|"
        rf"{_DAY}(?:st|nd|rd|th|\.)?\s+{_MONTH},?\s+(?:19|20)\d\d|"
        rf"{_MONTH}\s+{_DAY}(?:st|nd|rd|th)?,?\s+(?:19|20)\d\d)\b",
        re.IGNORECASE,
    ),
    "record number": re.compile(
        r"\b(?:MRN|(?:medical )?record|patient|accession|chart|case)"
        r"\s*+(?:(?:number|no|nr|id)\b\.?|[#:])\s*+(?:[:#]\s*+)?(?=[\w-]*\d{3})[\w-]{4,}",
        re.IGNORECASE,
    ),
    "name after a title": re.compile(
        r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Herr|Frau|Mme|Sr|Sra)\b\.? +[A-ZÀ-Þ][\w'’-]+"
    ),
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
