"""What `python -m builder corpus` finds in a table before anything is built from it."""

from __future__ import annotations

import secrets
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from builder import draw
from builder.core.corpus import TABLE, Corpus, Marks, mapping_of, named_columns, pairs_of, shipped
from builder.core.load_recipe import load_recipe
from builder.ingest import table
from builder.ingest.clean_rows import DUPLICATE
from builder.ingest.guess_mapping import Guess, guess_mapping, image_places, recognised
from builder.ingest.read_table import Table, open_table
from builder.patients.find_real_data import REAL
from mllmu_med_dataset import Record, UserError

_SAMPLE: Final = 300  # rows that a guess is made from
_TESTED: Final = ("validate", "test")
_SHARED: Final = {
    "an image": ("image_sha256",),
    "a patient": ("patient_id",),
    "image and question": ("image_sha256", "question"),
}


class Known(NamedTuple):
    """Which column is what, and what that was known by."""

    corpus: Corpus
    columns: tuple[str, ...]
    named: str  # the mapping that is named, by the user or by the corpus' layout, or nothing
    guess: Guess

    @property
    def used(self) -> list[tuple[str, str]]:
        """Field and column; `forget` is the column that marks rows."""
        column = self.corpus.marks.column
        return [*named_columns(self.corpus.mapping), *([("forget", column)] if column else [])]

    @property
    def own(self) -> bool:
        """Whether the corpus looks like somebody's own patients."""
        return bool(self.corpus.mapping.values) or self.corpus.marks != Marks()

    def pairs(self, typed: Sequence[str], scenario: str) -> list[str]:
        """What `--map` says of it on the command line, private values only where they are used."""
        if self.named:
            return list(typed)
        return pairs_of(self.corpus.mapping, private=scenario == "own")


class Found(NamedTuple):
    """What would become of the rows."""

    records: Sequence[Record]
    counts: dict[str, Any]  # for programs as it is


def look(
    path: Path, named: str | None, pairs: Sequence[str], revision: str | None, marks: Marks | None
) -> Known:
    """The mapping that is given, recognised or guessed; a UserError where it lacks a field."""
    name = named or recognised(path, revision)
    mapping = mapping_of(name, pairs) if name else None
    rows = open_table(path, mapping, revision)
    guess = Guess({}, {})
    if mapping is None:
        guess = _guess(rows)
        mapping = mapping_of(None, pairs, rows.columns, guess.fields)
    marks = marks or Marks(column=guess.forget)
    corpus = Corpus(name if name in shipped() else TABLE, path, mapping, marks, revision)
    return Known(corpus, rows.columns, name, guess)


def _guess(rows: Table) -> Guess:
    first = [row.cells for row in islice(rows.rows, _SAMPLE)]
    guess = guess_mapping(rows.columns, first)
    column = guess.fields.get("image", "")
    names = {cell for row in first if isinstance(cell := row.get(column), str) and cell}
    if not names:
        return guess
    places, there = image_places(rows.root, sorted(names))
    why = guess.why[column] + f"; {there} of {len(names)} files are there"
    return guess._replace(fields=guess.fields | places, why=guess.why | {column: why})


def count(known: Known, scenarios: Sequence[str]) -> Found:
    """Read the whole corpus as a build would; what comes of it is left nowhere."""
    # With names that are kept, images need no copies; the folder is for those in no file.
    mapping = known.corpus.mapping.model_copy(update={"names": "kept"})
    marks = known.corpus.marks if "own" in scenarios else Marks()
    corpus = known.corpus._replace(mapping=mapping, marks=marks)
    with tempfile.TemporaryDirectory() as folder:
        outcome = table.read(corpus, Path(folder), "drop", secrets.token_bytes(32))
    records = outcome.kept
    sizes, refused = _sizes(records, scenarios)
    texts = {text for record in records for text in (record.question, record.answer)}
    counts = {
        "rows": len(records) + len(outcome.drops),
        "kept": len(records),
        "images": len({record.image_sha256 for record in records}),
        "patients": len({record.patient_id for record in records} - {""}),
        "closed": sum(record.answer_type == "closed" for record in records),
        "dropped": dict(Counter(drop.reason for drop in outcome.drops)),
        "notes": outcome.notes,
        "splits": dict(Counter(record.split for record in records if record.split)),
        "repeats in test": sum(
            drop.reason == DUPLICATE and drop.row.get("split") in _TESTED for drop in outcome.drops
        ),
        "leaks": _leaks(records),
        "real": {kind: n for kind, find in REAL.items() if (n := sum(map(bool, map(find, texts))))},
        "sizes": sizes,
        "refused": refused,
    }
    return Found(records, counts)


def _sizes(
    records: Sequence[Record], names: Sequence[str]
) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """The sets that a build would have; where the given split is refused, those of a new one."""
    sizes: dict[str, dict[str, int]] = {}
    refused: dict[str, str] = {}
    recipe = load_recipe("own" if "own" in names else "table")
    owner = draw.share_out(records, names, recipe.seed) if len(names) > 1 else {}
    for name in names:
        mine = [record for record in records if not owner or owner[record.id] == name]
        for splits in ("given", "new"):
            cut = recipe.scenarios()[name].model_copy(update={"splits": splits})
            try:
                done = draw.sized(mine, cut, name, recipe.seed, draw.margin(cut, offline=True))
            except UserError as error:
                refused.setdefault(name, str(error))
            else:
                sizes[name] = {key: getattr(done, key) for key in ("forget", "retain", "test")}
                break
    return sizes, refused


def _leaks(records: Sequence[Record]) -> dict[str, int]:
    """How many test rows share something with the training rows."""
    tested = [record for record in records if record.split in _TESTED]
    trained = [record for record in records if record.split not in _TESTED]

    def keys(rows: Sequence[Record], columns: tuple[str, ...]) -> list[tuple[str, ...]]:
        return [tuple(getattr(row, column) for column in columns) for row in rows]

    shared = {}
    for what, columns in _SHARED.items():
        known = {key for key in keys(trained, columns) if "" not in key}
        shared[what] = sum(key in known for key in keys(tested, columns))
    return {what: rows for what, rows in shared.items() if rows}
