"""Pseudonyms: no name of a corpus of somebody's own leaves the work folder.

Ids, image ids and paths of such rows are hashes with a key that stays there, and so are patients.
Where the work folder is at hand, the corpus' own names are looked for in every file as well.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from builder.audit.all_texts import file_texts, strings
from builder.audit.run_checks import Check
from builder.core.corpus import TABLE
from builder.dataset_folder.manifest import read_manifest
from builder.dataset_folder.read import Folder, read_folder
from builder.ingest.keyed_names import NAMES
from mllmu_med.files import read_jsonl
from mllmu_med_dataset import Record

_FORMS: Final = {
    "id": re.compile(rf"{TABLE}/[0-9a-f]+/[0-9a-f]+(?:-\d+)?"),
    "image_id": re.compile(rf"{TABLE}/[0-9a-f]+"),
    "image_path": re.compile(r"(?:[0-9a-f]+/)*[0-9a-f]+\.(?:png|jpe?g)"),
    "patient_id": re.compile(r"(?:[0-9a-f]{12,})?"),
}
#: Shorter names, and numbers of fewer digits, stand in a file by chance.
_LEAST: Final = 5
_DIGITS: Final = 8
_RUN: Final = re.compile(r"\w+")


def checks(folder: Folder) -> Iterator[Check]:
    keyed = [name for name, scenario in folder.scenarios.items() if scenario.source == TABLE]
    rows = [row for name in keyed for row in folder.rows(name)]
    failed = [line for row in rows for line in _row(row)]
    note = "" if keyed else "no corpus of one's own"
    yield Check("ids, paths and patients are pseudonyms", len(rows), failed, note)


def _row(row: Record) -> Iterator[str]:
    wrong = [name for name, form in _FORMS.items() if not form.fullmatch(getattr(row, name))]
    if wrong:
        yield f"a row of rank {row.rank} in {row.split}: {', '.join(wrong)} is no pseudonym"


def own_names(path: Path, work: Path) -> Check:
    """Whether a written folder holds a name of the corpus that a work folder's key hides.

    Texts of the rows are looked at elsewhere: they are the corpus' own.
    """
    what = "no name of the corpus in any file"
    lists = sorted(work.glob(f"*/ingest/{NAMES}"))
    if not lists:
        return Check(what, 0, [], "no corpus of one's own")
    names = {name for file in lists for row in read_jsonl(file) for name in _hidden(**row)}
    names = {name for name in names if len(name) >= (_DIGITS if name.isdigit() else _LEAST)}
    texts = dict(_texts(read_folder(path, read_manifest(path))))
    runs = {run for text in texts for run in _RUN.findall(text)}
    likely = [name for name in names if runs.issuperset(_RUN.findall(name))]
    failed = [
        f"{place}: holds a name of the corpus"  # which one, the report must not say
        for text, place in texts.items()
        if any(name in text for name in likely)
    ]
    return Check(what, len(names), failed)


def _hidden(pseudonym: str, kind: str, name: str, where: str) -> Iterator[str]:
    """What a pseudonym hides: an image's file, a patient, or a row's own id; and the table."""
    yield Path(name).name if kind == "image" else name
    if kind == "image" and re.search(r"\d", Path(name).stem):  # else a word as `image` or `right`
        yield Path(name).stem
    if where:
        yield Path(where.partition(", row ")[0]).name  # its stem may be a word as `patients`


def _texts(folder: Folder) -> Iterator[tuple[str, str]]:
    """Whole lines of the card, strings of JSON: a number of bytes is no patient's."""
    for text, place in file_texts(folder):
        try:
            found: Sequence[str] = list(strings(json.loads(text)))
        except ValueError:
            found = [text]
        yield from ((part, place) for part in found)
