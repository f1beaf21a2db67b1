"""What `python -m builder corpus` finds in a table before anything is built from it, and prints."""

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from io import StringIO
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from rich.text import Text

from builder import draw
from builder.core.corpus import (
    TABLE,
    Corpus,
    Marks,
    check_columns,
    mapping_of,
    named_columns,
    shipped,
)
from builder.core.load_recipe import load_recipe
from builder.ingest import table
from builder.ingest.guess_mapping import YES_NO, Guess, guess_mapping, image_places, recognised
from builder.ingest.hub_source import local_copy
from builder.ingest.read_table import Table, open_table
from builder.patients.find_real_data import LIKELY, REAL
from mllmu_med.console import make_console, print_table
from mllmu_med.templates import environment
from mllmu_med_dataset import PII_KINDS, Record, UserError

_SAMPLE: Final = 300  # rows that a guess is made from
_EXAMPLES: Final = 10


class Known(NamedTuple):
    """Which column is what, and what that was known by."""

    corpus: Corpus
    columns: tuple[str, ...]
    named: str  # the mapping that the user names or the corpus is recognised by, or nothing
    guess: Guess

    @property
    def used(self) -> list[tuple[str, str]]:
        """Field and column; `forget` is the column that marks rows."""
        column = self.corpus.marks.column
        return [*named_columns(self.corpus.mapping), *([("forget", column)] if column else [])]


class Found(NamedTuple):
    """What would become of the rows."""

    examples: Sequence[Record]
    counts: dict[str, Any]


def look(
    path: Path, named: str | None, pairs: Sequence[str], revision: str | None, marks: Marks | None
) -> Known:
    """The mapping that is given, recognised or guessed; a UserError where it lacks a field."""
    folder = local_copy(path, revision)
    with redirect_stderr(StringIO()):  # what is missing of a corpus is told as its rows are read
        name = named or recognised(folder)
        mapping = mapping_of(name, pairs) if name else None
        rows = open_table(folder, mapping)
    guess = Guess({}, {})
    if mapping is None:
        guess = _guess(rows, {pair.partition("=")[2] for pair in pairs})
        mapping = mapping_of(None, pairs, rows.columns, guess.fields)
    elif not mapping.beside:
        check_columns(mapping, rows.columns)
    marks = marks or Marks(column=guess.forget)
    corpus = Corpus(name if name in shipped() else TABLE, path, mapping, marks, revision)
    return Known(corpus, rows.columns, name, guess)


def _guess(rows: Table, typed: set[str]) -> Guess:
    """Which of the columns that nobody has said anything of is what."""
    first = [row.cells for row in islice(rows.rows, _SAMPLE)]
    guess = guess_mapping([column for column in rows.columns if column not in typed], first)
    column = guess.fields.get("image", "")
    names = {c for row in first if isinstance(c := row.get(column), str) and 0 < len(c) < 250}
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
        outcome = table.read(corpus, Path(folder), "drop", key=b"")
    records = outcome.kept
    sizes, refused = _sizes(records, scenarios)
    texts = {text for record in records for text in (record.question, record.answer)}
    opened = [record.answer for record in records if record.answer_type == "open"]
    likely = {kind: pattern.search for kind, pattern in LIKELY.items()}
    finders: dict[str, Callable[[str], object]] = {**REAL, **likely}
    counts = {
        "rows": len(records) + len(outcome.drops),
        "kept": len(records),
        "images": len({record.image_sha256 for record in records}),
        "patients": len({record.patient_id for record in records} - {""}),
        "closed": len(records) - len(opened),
        "foreign": sum(bool(YES_NO.fullmatch(answer.strip(" .!"))) for answer in opened),
        "dropped": dict(Counter(drop.reason for drop in outcome.drops)),
        "notes": outcome.notes,
        "splits": dict(Counter(record.split for record in records if record.split)),
        "real": {kind: n for kind, f in finders.items() if (n := sum(map(bool, map(f, texts))))},
        "sizes": sizes,
        "refused": refused,
    }
    chosen = Random(0).sample(range(len(records)), min(_EXAMPLES, len(records)))
    return Found([records[index] for index in sorted(chosen)], counts)


def _sizes(
    records: Sequence[Record], names: Sequence[str]
) -> tuple[dict[str, dict[str, int]], str]:
    """The sets that a build would have, and why the corpus is refused as it stands, if it is.

    Where its own split is refused they are those of a new one.
    """
    recipe, refused = load_recipe("own" if "own" in names else "table"), ""
    owner = draw.share_out(records, names, recipe.seed) if len(names) > 1 else {}
    for splits in ("given", "new"):
        sizes = {}
        try:
            for name in names:
                cut = recipe.scenarios()[name].model_copy(update={"splits": splits})
                mine = [
                    record for record in records if owner.get(record.image_sha256, name) == name
                ]
                if owner:
                    draw.refuse_leaks(records, cut, names)
                done = draw.sized(mine, cut, name, recipe.seed, draw.margin(cut, offline=True))
                sizes[name] = {key: getattr(done, key) for key in ("forget", "retain", "test")}
        except UserError as error:
            refused = refused or str(error)
        else:
            return sizes, refused
    return {}, refused


def print_known(known: Known) -> None:
    """Which column is what and why, which are not used, and what is unsure or missing."""
    used, why = known.used, known.guess.why
    by = known.named or ("as guessed" if why else "as given")
    print(f"{known.corpus.path}: {len(known.columns)} columns, {by}")
    own = " (a private value, for --scenario own)"
    rows = [
        (field, column, why.get(column, "the mapping") + own * (field in PII_KINDS))
        for field, column in used
    ]
    print_table(make_console(), ("field", "column", "known by"), rows)
    told = {"columns": known.columns, "patient": known.corpus.mapping.patient}
    print(_worded("corpus_columns", used=used, why=why, **told), end="")


def print_found(known: Known, found: Found) -> None:
    """What the rows would become, what is dropped, what stands in the way, and the sizes."""
    console = make_console()
    print(f"\n{len(found.examples)} rows as they would become:")
    for number, row in enumerate(found.examples, 1):
        about = (row.answer_type, row.split, row.image_path, row.patient_id)
        lines = (row.question, f"-> {row.answer}", ", ".join(filter(None, about)))
        for head, line in zip((f"{number:>3}", "", ""), lines, strict=True):
            console.print(Text(f"{head:4} {line}"), no_wrap=True, overflow="ellipsis")
    if known.corpus.mapping.names == "keyed":
        print("(in the dataset, keyed pseudonyms stand for its images, rows and patients)")
    counts = found.counts
    dropped = sorted(counts["dropped"].items(), key=lambda item: -item[1])
    print_table(console, ("#rows", "would be dropped"), [(n, why) for why, n in dropped])
    print(_worded("corpus_rows", **counts), end="")
    sizes = [(name, *sets.values()) for name, sets in counts["sizes"].items()]
    print_table(console, ("scenario", "#forget", "#retain", "#test"), sizes)
    if counts["refused"]:
        print(f"\nrefused as it stands: {counts['refused']}")


def _worded(name: str, **values: Any) -> str:
    templates = environment(__package__)
    return templates.get_template(f"{name}.txt.jinja").render(values)
