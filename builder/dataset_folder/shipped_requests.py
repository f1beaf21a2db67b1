"""The request ledger as it ships: without requests that may not be handed on.

A request counts by the hash of its whole text, so nothing in it can be blanked: it goes as a whole,
with its reply, and a replay asks for it again.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from builder.harm.prompts import ABOUT_IMAGE
from builder.patients.find_real_data import real
from mllmu_med.files import atomic_file

REQUESTS: Final = "provenance/requests.parquet"
#: Columns of hashes and settings: runs of digits there are no numbers.
IDS: Final = frozenset(("key", "structured"))
CAPTIONS: Final = "they tell captions of images that go out by reference only"
REAL: Final = "a text in them holds a number or address that could be somebody's"


def holds_real(request: Mapping[str, Any]) -> bool:
    """Whether what was asked or replied holds what could be a living person's."""
    return any(real(v) for k, v in request.items() if isinstance(v, str) and k not in IDS)


def tells_caption(request: Mapping[str, Any]) -> bool:
    """Whether an image's caption was sent: it is no more free than the image."""
    return ABOUT_IMAGE in request["request"]


def leave_out(source: Path, target: Path, unwanted: Callable[[Mapping[str, Any]], bool]) -> int:
    """Write an export without the unwanted requests; how many are left out.

    Nothing is written where none is. `target` may be `source`.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(source)
    keep = [not unwanted(request) for request in table.to_pylist()]
    if not all(keep):
        with atomic_file(target, table.nbytes) as stream:
            pq.write_table(table.filter(keep), stream, compression="zstd")
    return keep.count(False)


def add_left_out(before: Mapping[str, Any], requests: int, why: str) -> dict[str, Any]:
    """`left_out` of a manifest, with so many requests more."""
    if not requests:
        return dict(before)
    was = before.get(REQUESTS, {"requests": 0, "why": ""})
    reasons = [was["why"]] if was["why"] else []
    why = " or ".join(dict.fromkeys([*reasons, why]))
    return {**before, REQUESTS: {"requests": was["requests"] + requests, "why": why}}
