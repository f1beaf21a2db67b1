"""Corpora: tables of questions about images, which column is what, and what is known of each.

A mapping is YAML: one that is shipped (`builder/corpora/*.yaml`), a file of the user's, or
`--map image=COLUMN` on the command line. It never says where the corpus lies.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from mllmu_med.files import packaged_yaml, read_text
from mllmu_med.recipe_files import checked, yaml_tree
from mllmu_med.table_files import Layout
from mllmu_med_dataset import PII_KINDS, UsageError

#: Where phantom images are drawn on the spot, and a table of the user's own.
PHANTOM: Final = "phantom"
TABLE: Final = "table"

#: Fields of a mapping that name a column, `answer` and `options` several.
COLUMN_FIELDS: Final = (
    *("image", "question", "answer", "id", "patient", "split", "modality", "content_type"),
    *("caption", "language", "clean_answer", "options"),
)
NEEDED: Final = COLUMN_FIELDS[:3]

Kind = Literal["name", "phone", "email", "address", "date", "mrn"]  # PII_KINDS


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class About(_Model):
    """What the card says of a corpus."""

    name: str
    by: str = ""  # who made it
    homepage: str = ""
    what: str  # a sentence
    shows: str = "medical images"
    tags: tuple[str, ...] = ()
    test: str = "The test set has images of its own"  # where the corpus' own split is taken
    language: str = "en"
    licence: str = "other"  # the Hub's identifier
    licence_url: str  # where it was read; else the place that states none
    terms: str = "No licence is stated: nothing here grants a right to its images or texts."
    hub_source: str = ""  # for the card's `source_datasets`
    people: str = ""  # whom the images show, where more is known than that they are patients
    limit: str = ""  # what is wrong with it
    bibtex: str = ""


class Mapping(_Model):
    """Which column is what (a name, or several names), and how the files are laid out.

    `a.b` is what a cell of objects holds under b; of a list, the first object's.
    """

    image: str  # a path, bytes, or {bytes, path}; a list of them: see several_images
    question: str | tuple[str, ...]  # several are joined
    answer: str | tuple[str, ...]  # of several that are not empty, the first
    id: str | None = None
    patient: str | None = None
    split: str | None = None
    modality: str | None = None
    content_type: str | None = None
    caption: str | None = None
    language: str | None = None  # rows in another one than English are dropped
    clean_answer: str | None = None  # --scenario own
    options: tuple[str, ...] = ()  # of a multiple-choice question, added to it
    values: dict[Kind, str] = {}  # kind of private value -> column; --scenario own

    several_images: Literal["refuse", "first"] = "refuse"
    answer_separator: str | None = None  # in a cell with several answers, of which the first counts
    #: The file's word -> the split.
    split_names: dict[str, Literal["train", "validate", "test"]] = {}
    #: Field -> beginning of the file's word -> ours.
    codes: dict[Literal["modality", "content_type"], dict[str, str]] = {}

    #: Where the corpus is a folder: the files of each split ("" for one without); of the names of
    #: one file, the first that is there; a pattern with * is all that it fits.
    files: dict[str, tuple[str, ...]] = {}
    #: Of files without a header; by split where they differ, `beside` for those files.
    columns: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    beside: tuple[str, ...] = ()  # files with more columns of the same image (or id), if there
    images: tuple[str, ...] = ("",)  # folders beside the annotations that hold the images
    suffixes: tuple[str, ...] = ("",)  # of image names that lack theirs: [.jpg]
    archive: str | None = None  # a zip file of the images, where they are not unpacked
    image_id: Literal["path", "folder"] = "path"  # folder: the images' folders name them

    #: keyed: no name of the corpus' files, patients and rows leaves the work folder.
    names: Literal["kept", "keyed"] = "keyed"
    publish: Literal["embed", "reference"] = "reference"  # the images
    about: About | None = None

    def layout(self, split: str) -> Layout:
        """That of a split's file; `beside` is the split of those with more columns."""
        columns = self.columns.get(split, ()) if isinstance(self.columns, dict) else self.columns
        names = tuple(name for _, name in named_columns(self))
        may_miss = () if isinstance(self.answer, str) else self.answer[1:]
        return Layout(names, self.delimiter, columns, may_miss)


class Marks(NamedTuple):
    """Which rows are to be forgotten (`--scenario own`): one of the three."""

    column: str = ""  # any cell but an empty one, 0, false and no (nein, non)
    ids: frozenset[str] = frozenset()
    patients: frozenset[str] = frozenset()


class Corpus(NamedTuple):
    """A corpus on the disk: a file, a folder or a Hub id with its revision."""

    name: str  # a shipped mapping's, or `table`
    path: Path
    mapping: Mapping
    marks: Marks = Marks()
    revision: str | None = None  # of a Hub id

    @property
    def folder(self) -> Path:
        """Where the paths of its files begin."""
        return self.path.parent if self.path.is_file() else self.path


def shipped() -> list[str]:
    """Names of the corpora whose mapping comes with the package."""
    folder = resources.files("builder") / "corpora"
    return sorted(entry.name[: -len(".yaml")] for entry in folder.iterdir())


def about(source: str) -> About:
    """What is known of a scenario's source: phantom, a shipped corpus, or a table of the user's."""
    if source in (PHANTOM, TABLE):
        tree: Any = packaged_yaml("builder", "core/about.yaml")
        return About.model_validate(tree[source])
    known = shipped_mapping(source).about
    if known is None:
        raise RuntimeError(f"corpora/{source}.yaml says nothing about it")
    return known


def publishing(source: str) -> Literal["embed", "reference"]:
    """How the images of a source go to the Hub unless it is said otherwise."""
    if source in (PHANTOM, TABLE):
        return "embed" if source == PHANTOM else "reference"
    return shipped_mapping(source).publish


@cache
def shipped_mapping(name: str) -> Mapping:
    """The mapping of a corpus that is known."""
    tree: Any = packaged_yaml("builder", f"corpora/{name}.yaml")
    return Mapping.model_validate(tree)


def mapping_of(
    name_or_file: str | None,
    pairs: Iterable[str] = (),
    columns: Sequence[str] | None = None,
    guess: dict[str, Any] | None = None,
) -> Mapping:
    """The mapping of `--mapping NAME|FILE`, changed by each `--map FIELD=COLUMN`.

    Args:
        columns: those of the table, once they are known.
        guess: the fields to begin with where no mapping is named.

    Raises:
        UsageError: an unknown name, field or column, a field twice, or one that is needed missing.
    """
    tree = {**(guess or {})} if name_or_file is None else _named_tree(name_or_file)
    for field, value in _typed(pairs):
        section, _, key = field.rpartition(".")
        if section:
            tree[section] = {**(tree.get(section) or {}), key: value}
        else:
            tree[field] = value
    missing = [field for field in NEEDED if not tree.get(field)]
    if missing:
        where = "--map" if name_or_file is None else f"mapping {name_or_file}"
        guesses = "`python -m builder corpus` guesses it"
        has = guesses if columns is None else f"the table has {shown_columns(columns)}"
        raise UsageError(
            f"{where}: no column is given for {', '.join(missing)}: add --map {missing[0]}=COLUMN "
            f"({has})"
        )
    mapping = checked(Mapping, tree, f"mapping {name_or_file or 'on the command line'}")
    if columns is not None:
        check_columns(mapping, columns)
    return mapping


def check_columns(mapping: Mapping, columns: Sequence[str]) -> None:
    """Refuse, as a UsageError, a column that the table lacks, and one that is two things."""
    uses: dict[str, str] = {}
    for field, column in named_columns(mapping):
        if column not in columns and column.partition(".")[0] not in columns:
            raise UsageError(
                f"--map {field}={column}: the table has no such column{nearest(column, columns)}: "
                f"it has {shown_columns(columns)}"
            )
        if field in NEEDED and uses.setdefault(column, field) != field:
            raise UsageError(
                f"--map {field}={column}: the column is the {uses[column]} already: name another"
            )


def shown_columns(columns: Iterable[str]) -> str:
    """A table's columns for a message; none where its first row looks like data, not names."""
    names = list(columns)
    if any(re.search(r"\d{4}|[\\/]|\.\w{3,4}$", name) for name in names):
        return f"{len(names)} columns, and its first row looks like data, not like their names"
    return ", ".join(names)


def named_columns(mapping: Mapping) -> Iterator[tuple[str, str]]:
    """Each field that names a column, and that column; of private values, their kind."""
    for field in COLUMN_FIELDS:
        value = getattr(mapping, field)
        for column in (value,) if isinstance(value, str) else value or ():
            yield field, column
    yield from mapping.values.items()


def pairs_of(mapping: Mapping, private: bool) -> list[str]:
    """What `--map` says for a mapping, with or without the private values."""
    pairs = []
    for field, value in mapping.model_dump(exclude_unset=True).items():
        if isinstance(value, tuple):
            line = io.StringIO()
            csv.writer(line, lineterminator="").writerow(value)
            pairs.append(f"{field}={line.getvalue()}")
        elif isinstance(value, dict):
            head = "" if field == "values" else f"{field}."
            parts = value.items() if private or head else ()
            pairs += [f"{head}{key}={inner}" for key, inner in parts]
        else:
            pairs.append(f"{field}={value}")
    return pairs


def nearest(word: str, known: Iterable[str]) -> str:
    """` (nearest: ...)`, whatever its case, or nothing."""
    by_small = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold(), by_small, n=1)
    return f" (nearest: {by_small[near[0]]})" if near else ""


def _typed(pairs: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Each `--map` as a field of the mapping, `values.KIND` for a private value, and its value."""
    seen = set()
    for pair in pairs:
        typed, _, value = pair.partition("=")
        field = typed.strip()
        if not (field and value):
            raise UsageError(f"--map {pair}: write FIELD=COLUMN, e.g. --map question=Frage")
        name = f"values.{field}" if field in PII_KINDS else field
        section, _, key = name.partition(".")
        kind = _kind(section)
        if kind not in (("section",) if key else ("one", "several")):
            known = (*COLUMN_FIELDS, *PII_KINDS)
            near = nearest(field, (*known, *(name for name in Mapping.model_fields if _kind(name))))
            raise UsageError(f"--map {pair}: no field {field!r}{near}: use {', '.join(known)}")
        if name in seen:
            raise UsageError(f"--map {pair}: {field} is given twice: give it once")
        seen.add(name)
        # Several as in a line of CSV, so that the name of a column may hold a comma.
        yield name, next(csv.reader([value])) if kind == "several" else value


def _kind(field: str) -> Literal["", "one", "several", "section"]:
    """What a field of a mapping holds on the command line, where it may stand there."""
    annotation = str(getattr(Mapping.model_fields.get(field), "annotation", None))
    if field in ("files", "codes", "about") or annotation == "None":  # in a YAML file only
        return ""
    if annotation.startswith("dict"):
        return "section"
    return "several" if "tuple" in annotation else "one"


def _named_tree(name_or_file: str) -> dict[str, Any]:
    """A shipped mapping or a YAML file as plain values."""
    if name_or_file in shipped():
        return shipped_mapping(name_or_file).model_dump(exclude_unset=True)
    path = Path(name_or_file).expanduser()
    if not path.is_file():
        names = shipped()
        raise UsageError(
            f"--mapping {name_or_file}: neither a file nor one of {', '.join(names)}"
            f"{nearest(name_or_file, names)}: correct it, or use --map FIELD=COLUMN"
        )
    return yaml_tree(read_text(path), f"mapping {name_or_file}", "see docs/add-a-corpus.md")
