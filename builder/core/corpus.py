"""Corpora: a table of questions about images, which of its columns is what, and what is known of it.

A mapping is YAML: one that is shipped (`builder/corpora/*.yaml`), a file of the user's, or
`--map image=COLUMN` on the command line. It never says where the corpus lies.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from mllmu_med.files import packaged_yaml

#: Where phantom images are drawn on the spot, and a table of the user's own.
PHANTOM: Final = "phantom"
TABLE: Final = "table"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class About(_Model):
    """What the card says of a corpus."""

    name: str
    by: str = ""  # who made it
    homepage: str = ""
    what: str  # a sentence
    test: str = "The test set has images of its own"
    licence: str = "other"  # the Hub's identifier
    licence_url: str = ""  # where it was read; else the place that states none
    terms: str
    hub_source: str = ""  # for the card's `source_datasets`
    people: str = ""  # whom the images show
    limit: str = ""  # what is wrong with it
    bibtex: str = ""


class Mapping(_Model):
    """Which column is what (a name, or several names), and how the files are laid out."""

    image: str  # a path, bytes, or {bytes, path}; a list of them: see several_images
    question: str
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
    values: dict[str, str] = {}  # kind of private value -> column; --scenario own

    several_images: Literal["refuse", "first"] = "refuse"
    split_names: dict[str, str] = {}  # the file's word -> train, validate or test
    codes: dict[str, dict[str, str]] = {}  # field -> beginning of the file's word -> ours

    #: Where the corpus is a folder: the files of each split ("" for one without); of the names of
    #: one file, the first that is there.
    files: dict[str, tuple[str, ...]] = {}
    columns: tuple[str, ...] = ()  # of files without a header
    delimiter: str | None = None
    beside: tuple[str, ...] = ()  # files with more columns of the same image (or id), if there
    images: tuple[str, ...] = ("",)  # folders beside the annotations that hold the images
    suffixes: tuple[str, ...] = ("",)  # of image names that lack theirs: [.jpg]
    archive: str | None = None  # a zip file of the images, where they are not unpacked
    image_id: Literal["path", "folder"] = "path"  # folder: the images' folders name them

    #: keyed: no name of the corpus' files, patients and rows leaves the work folder.
    names: Literal["kept", "keyed"] = "keyed"
    publish: Literal["embed", "reference"] = "reference"  # the images
    about: About | None = None


class Marks(NamedTuple):
    """Which rows are to be forgotten (`--scenario own`): one of the three."""

    column: str = ""  # any cell but an empty one, 0, no and false
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


@cache
def shipped_mapping(name: str) -> Mapping:
    """The mapping of a corpus that is known."""
    tree: Any = packaged_yaml("builder", f"corpora/{name}.yaml")
    return Mapping.model_validate(tree)
