"""Real data: what could reach a living person, the building machine or somebody's account.

Numbers and addresses that are reserved for fiction are allowed (`builder.patients.find_real_data`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from builder.audit.all_texts import (
    Texts,
    every_text,
    gathered,
    provenance_texts,
    request_texts,
    row_texts,
)
from builder.audit.run_checks import Check
from builder.core.corpus import TABLE
from builder.dataset_folder.read import Folder
from builder.patients.find_real_data import REAL, real
from mllmu_med.files import packaged_yaml

_MACHINE: Final = re.compile(
    r"(?<![\w.:/~-])/(?:home|Users|root|tmp|mnt|media|Volumes|scratch|workspace|work|data|datasets|"
    r"srv|opt|nfs|net|gpfs|lustre|storage|usr|var|private/var)/[\w.~-]+|"
    r"\b[A-Za-z]:\\{1,2}(?:Users|Documents|Windows|temp)\b|\bfile:///?\w|(?<!\w)/content/drive\b|"
    r"(?<![\w/])/root(?![\w/-])",
    re.IGNORECASE,
)
_KEYS: Final[Mapping[str, str]] = packaged_yaml("builder.audit", "keys.yaml")


def checks(folder: Folder) -> Iterator[Check]:
    # Of a corpus of somebody's own the report says where, not what.
    quote = all(scenario.source != TABLE for scenario in folder.scenarios.values())
    if "own" in folder.scenarios:  # real patients' data: it cannot be pushed, and shows no value
        own = [text for text, _ in row_texts(folder)]
        real_texts = sum(bool(real(text)) for text in dict.fromkeys(own))
        note = f"{real_texts:,} texts hold some: scenario own is never pushed"
        yield Check("real personal data stays here", len(own), [], note)
    else:
        texts = gathered(row_texts(folder), provenance_texts(folder))
        for what, find in REAL.items():
            yield _check(f"no {what}", texts, find, quote)
    requests = gathered(request_texts(folder))
    live = _check("no live number or address in recorded requests", requests, real)
    why = "`python -m builder rebuild` leaves such requests out: build again"
    yield live if live.ok else live._replace(note=why)
    everything = every_text(folder)
    # Where the folder and this user's files lie now, if that can be told from other text.
    places = {str(Path.home()), str(Path.cwd()), str(folder.path.resolve().parent)}
    own = sorted(place for place in places if place.count("/") > 1 or "\\" in place)
    machine = "no path of the building machine"
    yield _check(machine, everything, lambda text: _machine(text, own), quote)
    # A key is not shown: this report may be shared.
    yield _check("no key or token", everything, _key)


def _check(name: str, texts: Texts, find: Callable[[str], str], quote: bool = True) -> Check:
    failed = [
        f"{place} holds {what!r}" if quote else place
        for text, places in texts.items()
        if (what := find(text))
        for place in places
    ]
    return Check(name, len(texts), failed, "" if texts else "none are shipped")


def _machine(text: str, own: list[str]) -> str:
    match = _MACHINE.search(text)
    return match[0] if match else next((place for place in own if place in text), "")


def _key(text: str) -> str:
    return next((kind for kind, form in _KEYS.items() if re.search(form, text)), "")
