"""From a corpus' table to clean records, as its mapping says which column is what.

Rows without a question or an answer, in another language, and exact repeats are dropped with their
reason; any other wrong cell is refused with its file and row. Messages about a corpus of the user's
own name no cell's text.
"""

import math
import re
import unicodedata
from base64 import b64decode
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from builder.core.corpus import NEEDED, Corpus, named_columns, nearest, shown_columns
from builder.core.stage_cache import Drop, Outcome, Stamp
from builder.ingest.cells import Cells
from builder.ingest.clean_rows import Rows, alike, drop_duplicates, tidy
from builder.ingest.image_files import ImageFiles
from builder.ingest.keyed_names import NAMES, Names
from builder.ingest.read_table import Row, Table, open_table
from mllmu_med.files import digest
from mllmu_med.image_bytes import ImageError, check_relative
from mllmu_med.table_files import read_file
from mllmu_med_dataset import Record, UserError

VERSION: Final = 4
NOT_ENGLISH = "not English"
CONVERSATION = "a refusal or about the conversation"
#: What `--scenario own` takes for the marks of no forget row.
_UNMARKED: Final = frozenset(
    "|no|n|false|f|none|nan|null|-|nein|non|nee|nej|nie|não|falsch|faux|否|没有|无".split("|")
)
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)
_ROOT: Final = re.compile(r"([A-Za-z]:)?[/\\]+")  # of an absolute path, on any system

# Texts that a language model wrote: in some rows it refuses, or talks about the talk itself.
_REFUSAL: Final = re.compile(
    r"\b(i'?m|i am) sorry\b|\bas an ai\b|\b(i'?m|i am) (unable|not able) to (answer|provide)"
    r"|\bi (can ?not|can'?t) (provide|answer)",
    re.IGNORECASE,
)
_ABOUT_TALK: Final = re.compile(
    r"\banything else (you('d| would| want| need)|i can (help|do|assist))|\bthank you\b"
    r"|\bany (other|more|further) questions|\bgenerated q&a\b",
    re.IGNORECASE,
)


def is_conversation(record: Record) -> bool:
    """Whether the row is about the talk with the model that wrote it, not about the image."""
    return bool(_REFUSAL.search(record.answer) or _ABOUT_TALK.search(record.question))


def read(
    corpus: Corpus,
    folder: Path,
    on_bad: Literal["fail", "drop"],
    key: bytes,
    drop_conversation: bool = False,
    scenario: str = "SCENARIO",
) -> Outcome:
    """Clean records of a corpus; `split` is its own (train, validate, test), or empty.

    Rows that are marked to be forgotten have the split `forget`.

    Args:
        folder: the stage's folder, for copies of images and for what keyed names stand for.
        on_bad: what to do about images that cannot be used.
        key: of the names of a corpus that is somebody's own.
        scenario: whose `bad_pictures` is `on_bad`, for the message.

    Raises:
        UserError: a file is missing or broken, or a row's cell is wrong.
    """
    table = open_table(corpus.path, corpus.mapping, corpus.revision)
    reader = _Reader(corpus, table, folder, key)
    for row in table.rows:
        reader.add(row)
    rows = reader.finish()
    drop_duplicates(rows)
    talk = [record for record in rows.records if is_conversation(record)]
    if talk:
        rows.notes["refusals or about the conversation"] = len(talk)
    if talk and drop_conversation:
        rows.drops += [Drop.of(record, CONVERSATION) for record in talk]
        rows.records = [record for record in rows.records if not is_conversation(record)]
    outcome = reader.images.collect(rows, on_bad, scenario, reader.names.with_image)
    lost = reader.marked - sum(record.split == "forget" for record in outcome.kept)
    if lost:
        outcome.notes["rows to be forgotten that were dropped"] = lost
    reader.names.write(folder / NAMES)
    return outcome


class _Ids(NamedTuple):
    """A row's own id, where it has one, and what to call the row in a message."""

    own: str
    where: str


class _Reader:
    """Rows of a table, made into records one by one."""

    def __init__(self, corpus: Corpus, table: Table, folder: Path, key: bytes) -> None:
        self.corpus, self.mapping, self.table = corpus, corpus.mapping, table
        self.names = Names(corpus, key)
        rename = (lambda name: self.names.of("image", name)) if self.names.keyed else None
        self.images = ImageFiles(corpus.mapping, table.root, folder, rename)
        self.rows = Rows(inputs=dict(table.inputs))
        self.notes: Counter[str] = Counter()
        self.cells = Cells(corpus.mapping, self.names.shown, self.notes)
        self.marked = 0
        self._to_meet = corpus.marks.ids or {_same(name) for name in corpus.marks.patients}
        self._met: set[str] = set()
        self._absolute: dict[str, str] = {}  # a file here -> the absolute path that it is for
        self._asked: dict[str, tuple[str, str]] = {}  # own id -> a hash of its row, and where
        self._columns = set(table.columns)
        self._beside: dict[str, dict[str, Any]] = {}
        self._read_beside()
        self._check_columns()

    def _check_columns(self) -> None:
        mapping, marks = self.mapping, self.corpus.marks
        fields = [*named_columns(mapping), *([("", marks.column)] if marks.column else [])]
        if any(self.rows.inputs[name] is None for name in mapping.beside):
            fields = [(field, name) for field, name in fields if field in NEEDED]
        missing = [
            name
            for _, name in fields
            if name not in self._columns and name.partition(".")[0] not in self._columns
        ]
        if missing:
            files = [name for name, stamp in self.table.inputs.items() if stamp]
            raise UserError(
                f"{self.table.root / files[0]}: has no column {', '.join(missing)} (it has "
                f"{shown_columns(self.table.columns) or 'none'}): map the columns by their names"
                f"{nearest(missing[0], self._columns)}"
            )
        if (marks.ids and not mapping.id) or (marks.patients and not mapping.patient):
            field = "id" if marks.ids else "patient"
            raise UserError(
                f"rows to be forgotten are named by {field}, and no column is mapped to it: give "
                f"--map {field}=COLUMN"
            )

    def _read_beside(self) -> None:
        """More columns of the same image, or of the same row where the file names no images."""
        first: dict[str, str] = {}
        for file in self.mapping.beside:
            path = self.table.root / file
            self.rows.inputs[file] = Stamp.of(path) if path.is_file() else None
            if not path.is_file():
                continue
            part = read_file(path, self.mapping.layout("beside"))
            self._columns |= set(part.columns)
            by_image = self.mapping.image in part.columns
            column = self.mapping.image if by_image else self.mapping.id
            if column not in part.columns:
                raise UserError(
                    f"{path}: has no column {self.mapping.image} (it has "
                    f"{shown_columns(part.columns) or 'none'}): restore the file"
                )
            for where, cells in part.rows:
                row = Row(where, cells, "")
                name = self._image(row) if by_image else self.cells.text(row, column)
                name = self.images.inner(name)
                more = {key: cells[key] for _, key in named_columns(self.mapping) if key in cells}
                del more[column]
                for field in self.mapping.codes:
                    self.cells.coded(row, field)
                entry = self._beside.get(name, {})
                both = entry.keys() & more.keys()
                if any(tidy(str(entry[key])) != tidy(str(more[key])) for key in both):
                    raise UserError(
                        f"{where}: differs from {first[name]}, which is of the same image"
                        f"{self.names.shown(name)}: remove one"
                    )
                first.setdefault(name, where)
                self._beside[name] = entry | more

    def add(self, row: Row) -> None:
        """Take a row: into the records, or into the drops."""
        mapping, raw = self.mapping, _without_bytes(row.cells)
        ids = self._ids(row)
        row = row._replace(where=ids.where)
        name = self._image(row)
        inner = self.images.inner(name)
        more = self._beside.get(inner) or self._beside.get(ids.own) or {}
        row = row._replace(cells=more | row.cells)
        asked, answered = self.cells.question(row), self.cells.answer(row)
        question, answer = tidy(asked), tidy(answered)
        language = self.cells.text(row, mapping.language).strip().lower()
        self._check_repeat(ids, [name, language, alike(question), alike(answer)])
        folder = inner.rpartition("/")[0] if mapping.image_id == "folder" else ""
        image = self.names.of("image", folder or inner)
        row_name = ids.own or digest([asked, answered])[:8]
        row_name = self.names.of("row", row_name, inner, row.where)
        row_id = f"{self.corpus.name}/{image}/{row_name}"
        patient = self.cells.patient(row)
        forget = self._is_marked(row, ids.own, patient)
        self.marked += forget
        if language and not language.startswith("en"):
            self.rows.drops.append(Drop(row_id, NOT_ENGLISH, raw))
            return
        if question and answer and (question, answer) != (asked, answered):
            self.notes["white space tidied"] += 1
        question, answer = self.cells.with_options(row, question, answer)
        self.rows.add(
            ids.where,
            raw,
            question,
            answer,
            id=row_id,
            image_id=f"{self.corpus.name}/{image}",
            image_path=name,
            modality=self.cells.coded(row, "modality") or "unknown",
            content_type=self.cells.coded(row, "content_type"),
            source=self.corpus.name,
            context=tidy(self.cells.text(row, mapping.caption)),
            split="forget" if forget else self.cells.split(row),
            patient_id=self.names.of("patient", patient) if patient else "",
            private=self.cells.private(row),
            **(self._clean(row, question) if forget else {}),
        )

    def _ids(self, row: Row) -> _Ids:
        own = tidy(self.cells.text(row, self.mapping.id))
        if self.mapping.id and not own:
            raise UserError(f"{row.where}: {self.mapping.id} is empty: give each row its id")
        shown = f" ({self.mapping.id} {own})" if own and not self.names.keyed else ""
        return _Ids(own, row.where + shown)

    def _check_repeat(self, ids: _Ids, row: list[str]) -> None:
        if not ids.own:
            return
        asked = digest(row)
        same, first = self._asked.setdefault(ids.own, (asked, ids.where))
        if same != asked:
            raise UserError(
                f"{ids.where}: its {self.mapping.id} stands in {first} already, with another "
                "image, question or answer: remove one"
            )

    def _image(self, row: Row) -> str:
        """The name of a row's image inside the corpus; empty where it names none."""
        column, where = self.mapping.image, row.where
        if column not in row.cells:
            raise UserError(f"{where}: has no {column!r}: correct the row")
        value = row.cells[column]
        if isinstance(value, list):
            if len(value) > 1 and self.mapping.several_images == "refuse":
                raise UserError(
                    f"{where}: {column} is a list of {len(value)} images: map one image a row, or "
                    "take the first with several_images: first"
                )
            self.notes["of several images, the first"] += len(value) > 1
            value = value[0] if value else None
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return self.images.keep(value)
        text = self.cells.plain(row, column, value, False).strip()
        if not text:
            return ""
        packed = text.rpartition("base64,")[2]
        if len(packed) > 200 and re.fullmatch(r"[A-Za-z0-9+/\s]+=*", packed):  # no path is so long
            with suppress(ValueError):
                return self.images.keep(b64decode(packed))
        if _URL.match(text):
            raise UserError(
                f"{where}: image{self.names.shown(text)} is a URL: download the images and name "
                "their files"
            )
        inner = _ROOT.sub("", text, count=1) if _ROOT.match(text) else text
        try:
            name = str(check_relative(inner))
        except ImageError as error:
            raise UserError(
                f"{where}: image{self.names.shown(text)} {error}: correct the row"
            ) from error
        if inner == text:
            return name
        self.notes["absolute image paths, looked for by their last parts"] += 1
        found = self.images.by_last_parts(name)
        if self._absolute.setdefault(found, inner) != inner:
            raise UserError(
                f"{where}: image{self.names.shown(text)} and another path end in one file here: "
                "keep the folders that tell them apart"
            )
        return found

    def _clean(self, row: Row, question: str) -> dict[str, str]:
        """What a forget row should say instead; empty where nobody says so."""
        answer = tidy(self.cells.text(row, self.mapping.clean_answer))
        _, answer = self.cells.with_options(row, question, answer)
        return {"clean_question": question if answer else "", "clean_answer": answer}

    def _is_marked(self, row: Row, own: str, patient: str) -> bool:
        """Whether the row is to be forgotten."""
        marks = self.corpus.marks
        if marks.column:
            value = row.cells.get(marks.column)
            if isinstance(value, bool | int | float):
                return bool(value) and not math.isnan(value)
            text = self.cells.text(row, marks.column).strip().lower()
            return text not in _UNMARKED and not re.fullmatch(r"0+([.,]0+)?", text)
        met = {own if marks.ids else _same(patient)} & self._to_meet
        self._met |= met
        return bool(met)

    def finish(self) -> Rows:
        """What was read, with the rows to be forgotten first: of repeats the first one stays."""
        marks, marked = self.corpus.marks, self.marked
        if missed := self._to_meet - self._met:
            raise UserError(
                f"{len(missed):,} of the {len(self._to_meet):,} ids or patients to be forgotten "
                "are in no row: correct them"
            )
        if marks.column and not marked:
            raise UserError(f"no row is marked in the column {marks.column}: mark those to forget")
        if marked:
            self.rows.records.sort(key=lambda record: record.split != "forget")
        self.rows.notes |= {what: count for what, count in self.notes.items() if count}
        return self.rows


def _same(patient: str) -> str:
    """Equal for two ways to write a patient's name."""
    return alike(unicodedata.normalize("NFC", patient))


def _without_bytes(value: Any) -> Any:
    """A row for the drops, as JSON can have it."""
    if isinstance(value, dict):
        return {key: _without_bytes(cell) for key, cell in value.items()}
    if isinstance(value, list):
        return [_without_bytes(cell) for cell in value]
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return value if isinstance(value, str | int | float | None) else str(value)
