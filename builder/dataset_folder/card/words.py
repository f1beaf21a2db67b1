"""What the card and Croissant say in words (`words.yaml`), and small pieces of English."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from mllmu_med.files import packaged_yaml


@cache
def words() -> dict[str, Any]:
    """The file, with the ranges that private values are taken from filled in."""
    from builder.patients.profiles import AREA_CODES, DOMAINS, FIRST_DAY, LAST_DAY, MRN_PREFIX

    tree: dict[str, Any] = packaged_yaml(__package__, "words.yaml")
    taken = {"codes": len(AREA_CODES), "domains": listed(DOMAINS, "or"), "prefix": MRN_PREFIX}
    for kind, text in tree["ranges"].items():
        tree["ranges"][kind] = text.format(**taken, first=FIRST_DAY, last=LAST_DAY)
    return tree


def counted(number: int, singular: str, many: str = "") -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {singular if number == 1 else many or singular + 's'}"


def listed(parts: Iterable[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, end = parts
    return f"{', '.join(first)} {last} {end}" if first else end


def share(part: int, whole: int) -> str:
    """`25.0 %`; `-` of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
