"""From a corpus' table to clean records, as its mapping says which column is what.

Rows without a question or an answer, in another language, and exact repeats are dropped with their
reason; any other wrong cell is refused with its file and row. Messages about a corpus of the user's
own name no cell's text.
"""

from __future__ import annotations

import hmac
import math
import re
import unicodedata
from collections import Counter
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Final, Literal, NamedTuple

from builder.core.corpus import Corpus
from builder.core.stage_cache import Drop, Outcome, Stamp
from builder.ingest.clean_rows import Rows, alike, drop_duplicates, tidy
from builder.ingest.image_files import ImageFiles
from builder.ingest.read_table import Row, Table, open_table, split_word
from builder.ingest.table_files import read_file
from mllmu_med.files import canonical_json, digest
from mllmu_med.image_bytes import ImageError, check_relative
from mllmu_med_dataset import Record, UserError

NOT_ENGLISH = "not English"
CONVERSATION = "a refusal or about the conversation"
#: What `--scenario own` takes for the marks of no forget row.
_UNMARKED: Final = ("", "0", "no", "false")
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
    reader.names.write(folder / "names.jsonl")
    return outcome


class _Names:
    """What rows, images and patients are called: as in the corpus, or by keyed pseudonyms."""

    def __init__(self, corpus: Corpus, key: bytes) -> None:
        self.corpus, self.key = corpus.name, key
        self.keyed = corpus.mapping.names == "keyed"
        self._known: dict[str, tuple[str, str]] = {}

    def of(self, kind: str, name: str, was: str = "") -> str:
        """A name as it leaves the work folder; `was`: what else tells the hospital whose it is."""
        if not self.keyed:
            return name
        pseudonym = hmac.new(self.key, f"{kind}\0{name}".encode(), "sha256").hexdigest()[:16]
        self._known[pseudonym] = (kind, was or name)
        return pseudonym

    def shown(self, text: str) -> str:
        """A cell's text for a message, with a space before it."""
        return "" if self.keyed else f" {text!r}"

    def with_image(self, record: Record) -> Record:
        """Name a record by the copy of its image."""
        if not self.keyed:
            return record
        image_id = f"{self.corpus}/{Path(record.image_path).stem}"
        row = record.id.rpartition("/")[2]
        return replace(record, image_id=image_id, id=f"{image_id}/{row}")

    def write(self, path: Path) -> None:
        """What the pseudonyms stand for, for this machine's user alone."""
        if self.keyed:
            path.touch(0o600)
            with path.open("w", encoding="utf-8") as stream:
                for name, (kind, was) in sorted(self._known.items()):
                    stream.write(canonical_json({"name": name, "kind": kind, "was": was}) + "\n")


class _Ids(NamedTuple):
    """A row's own id, where it has one, and what to call the row in a message."""

    own: str
    where: str


class _Reader:
    """Rows of a table, made into records one by one."""

    def __init__(self, corpus: Corpus, table: Table, folder: Path, key: bytes) -> None:
        self.corpus, self.mapping, self.table = corpus, corpus.mapping, table
        self.names = _Names(corpus, key)
        rename = (lambda name: self.names.of("image", name)) if self.names.keyed else None
        self.images = ImageFiles(corpus.mapping, table.root, folder, rename)
        self.rows = Rows(inputs=dict(table.inputs))
        self.notes: Counter[str] = Counter()
        self.marked = 0
        self._marks_met: set[str] = set()
        self._asked: dict[str, tuple[str, str]] = {}  # own id -> a hash of its row, and where
        self._columns = set(table.columns)
        self._dotted = [name for name in corpus.mapping.named_columns() if "." in name]
        self._beside: dict[str, dict[str, Any]] = {}
        self._read_beside()
        self._check_columns()

    def _check_columns(self) -> None:
        mapping, marks = self.mapping, self.corpus.marks
        needed: tuple[str, ...] = (*mapping.named_columns(), *filter(None, [marks.column]))
        if any(self.rows.inputs[name] is None for name in mapping.beside):
            needed = (mapping.image, *mapping.questions(), mapping.answers()[0])
        missing = [name for name in needed if name.partition(".")[0] not in self._columns]
        missing = [name for name in missing if name not in self._columns]
        if missing:
            files = [name for name, stamp in self.table.inputs.items() if stamp]
            raise UserError(
                f"{self.table.root / files[0]}: has no column {', '.join(missing)} (it has "
                f"{', '.join(self.table.columns) or 'none'}): map the columns by their names"
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
                    f"{', '.join(part.columns) or 'none'}): restore the file"
                )
            for where, cells in part.rows:
                row = Row(where, cells, "")
                name = self._image(row) if by_image else self._text(row, column)
                name = self.images.inner(name)
                more = {key: cells[key] for key in self.mapping.named_columns() if key in cells}
                del more[column]
                for field in self.mapping.codes:
                    self._coded(row, field)
                entry = self._beside.setdefault(name, more)
                if {key: alike(str(cell)) for key, cell in entry.items() if key in more} != {
                    key: alike(str(cell)) for key, cell in more.items() if key in entry
                }:
                    raise UserError(
                        f"{where}: differs from {first[name]}, which is of the same image"
                        f"{self.names.shown(name)}: remove one"
                    )
                first.setdefault(name, where)
                self._beside[name] = entry | more

    def add(self, row: Row) -> None:
        """Take a row: into the records, or into the drops."""
        mapping, raw = self.mapping, _without_bytes(row.cells)
        row = row._replace(cells={**self._inner_cells(row.cells), **row.cells})
        ids = self._ids(row)
        row = row._replace(where=ids.where)
        name = self._image(row)
        inner = self.images.inner(name)
        more = self._beside.get(inner) or self._beside.get(ids.own) or {}
        row = row._replace(cells=more | row.cells)
        parts = [self._text(row, column, needed=True) for column in mapping.questions()]
        asked, answered = " ".join(filter(str.strip, parts)), self._answer(row)
        question, answer = tidy(asked), tidy(answered)
        language = self._text(row, mapping.language).strip().lower()
        self._check_repeat(ids, [name, language, alike(question), alike(answer)])
        folder = inner.rpartition("/")[0] if mapping.image_id == "folder" else ""
        image = self.names.of("image", folder or inner)
        row_name = ids.own or digest([asked, answered])[:8]
        row_name = self.names.of("row", f"{inner}/{row_name}", f"{row.where} {ids.own}".strip())
        if not self.names.keyed:
            row_name = row_name.removeprefix(f"{inner}/")
        row_id = f"{self.corpus.name}/{image}/{row_name}"
        patient = self._patient(row)
        forget = self._is_marked(row, ids.own, patient)
        self.marked += forget
        if language and not language.startswith("en"):
            self.rows.drops.append(Drop(row_id, NOT_ENGLISH, raw))
            return
        if question and answer and (question, answer) != (asked, answered):
            self.notes["white space tidied"] += 1
        question, answer = self._with_options(row, question, answer)
        self.rows.add(
            ids.where,
            raw,
            question,
            answer,
            id=row_id,
            image_id=f"{self.corpus.name}/{image}",
            image_path=name,
            modality=self._coded(row, "modality") or "unknown",
            content_type=self._coded(row, "content_type"),
            source=self.corpus.name,
            context=tidy(self._text(row, mapping.caption)),
            split="forget" if forget else self._split(row),
            patient_id=self.names.of("patient", alike(patient), patient) if patient else "",
            private=self._private(row),
            **(self._clean(row, question) if forget else {}),
        )

    def _inner_cells(self, cells: dict[str, Any]) -> dict[str, Any]:
        """What objects in cells hold, by the mapping's names for it (`responses.content_en`)."""
        inner: dict[str, Any] = {}
        for name in self._dotted:
            column, _, key = name.partition(".")
            cell = cells.get(column)
            if isinstance(cell, dict):
                inner[name] = cell.get(key)
            elif isinstance(cell, list):
                inner[name] = [item.get(key) for item in cell if isinstance(item, dict)]
        return inner

    def _ids(self, row: Row) -> _Ids:
        own = tidy(self._text(row, self.mapping.id))
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

    def _text(self, row: Row, column: str | None, needed: bool = False) -> str:
        """A cell's text as it is written; of a number or a day, what one would write for it."""
        if needed and column not in row.cells:
            raise UserError(f"{row.where}: has no {column!r}: correct the row")
        value = row.cells.get(column) if column else None
        return self._plain(row, column, value, needed)

    def _plain(self, row: Row, column: str | None, value: Any, count: bool) -> str:
        if isinstance(value, str):
            return value
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if isinstance(value, datetime) and (value.hour, value.minute, value.second) == (0, 0, 0):
            value = value.date()
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal | date):
            kind = {bool: "true or false", dict: "an object", list: "a list"}.get(type(value), "")
            raise UserError(
                f"{row.where}: {column} is {kind or 'no text'}: expected a text or a number: "
                "correct the row"
            )
        if count:
            self.notes["numbers read as text"] += 1
        return str(value)

    def _answer(self, row: Row) -> str:
        """Of several answers the first that is not empty."""
        columns, separator = self.mapping.answers(), self.mapping.answer_separator
        if not any(column in row.cells for column in columns):
            raise UserError(f"{row.where}: has no {columns[0]!r}: correct the row")
        texts = []
        for column in columns:
            cell = row.cells.get(column)
            cells = cell if isinstance(cell, list) else [cell]
            written = [self._plain(row, column, value, True) for value in cells]
            texts += (
                [part for text in written for part in text.split(separator)]
                if separator
                else written
            )
        filled = [text for text in texts if text.strip()]
        if len(filled) > 1:
            self.notes["of several answers, the first"] += 1
        return (filled or texts or [""])[0]

    def _with_options(self, row: Row, question: str, answer: str) -> tuple[str, str]:
        """The options added to the question; an answer that is an option's letter, its text."""
        columns = self.mapping.options
        cells = [row.cells.get(column) for column in columns]
        if len(cells) == 1 and isinstance(cells[0], list):
            cells = cells[0]
        options = {}
        for letter, cell in zip(ascii_uppercase, cells, strict=False):
            text = tidy(self._plain(row, columns[0], cell, False))
            text = re.sub(rf"^\(?{letter}\s*[:.)]\s*", "", text)
            if text:
                options[letter] = text
        if options and question and answer:
            question += "".join(f" ({letter}) {text}" for letter, text in options.items())
            answer = options.get(answer.strip("().: ").upper(), answer)
        return question, answer

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
        text = self._plain(row, column, value, False).strip()
        if not text:
            return ""
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
        return self.images.by_last_parts(name)

    def _coded(self, row: Row, field: Literal["modality", "content_type"]) -> str:
        """A cell by what it begins with, where the mapping has codes for it."""
        text = tidy(self._text(row, getattr(self.mapping, field)))
        codes = self.mapping.codes.get(field)
        if not codes or text.lower() in ("", "unknown"):
            return text
        for beginning, word in codes.items():
            if text.lower().startswith(beginning.lower()):
                return word
        raise UserError(
            f"{row.where}: {field} is{self.names.shown(text) or ' another word'}: expected one "
            f"that begins with {', '.join(codes)}: correct the row"
        )

    def _split(self, row: Row) -> str:
        if not self.mapping.split:
            return row.split
        text = self._text(row, self.mapping.split).strip()
        split = split_word(self.mapping.split_names.get(text, text))
        if split is None:
            shown = self.names.shown(text) if text else " empty"
            raise UserError(
                f"{row.where}: {self.mapping.split} is{shown or ' another word'}: expected train, "
                "validation or test: correct the row, or say in the mapping what it means "
                "(split_names)"
            )
        return split

    def _patient(self, row: Row) -> str:
        text = tidy(unicodedata.normalize("NFC", self._text(row, self.mapping.patient)))
        if self.mapping.patient and not text:
            raise UserError(
                f"{row.where}: {self.mapping.patient} is empty (of merged cells only the first "
                "has a value): say whose image it is"
            )
        return text

    def _private(self, row: Row) -> tuple[tuple[str, str], ...]:
        values = {kind: tidy(self._text(row, name)) for kind, name in self.mapping.values.items()}
        return tuple((kind, value) for kind, value in values.items() if value)

    def _clean(self, row: Row, question: str) -> dict[str, str]:
        """What a forget row should say instead; empty where nobody says so."""
        answer = tidy(self._text(row, self.mapping.clean_answer))
        return {"clean_question": question if answer else "", "clean_answer": answer}

    def _is_marked(self, row: Row, own: str, patient: str) -> bool:
        """Whether the row is to be forgotten."""
        marks = self.corpus.marks
        if marks.column:
            value = row.cells.get(marks.column)
            if isinstance(value, bool | int | float):
                return bool(value) and not math.isnan(value)
            return self._text(row, marks.column).strip().lower() not in _UNMARKED
        met = {own} & marks.ids if marks.ids else {_same(patient)} & set(map(_same, marks.patients))
        self._marks_met |= met
        return bool(met)

    def finish(self) -> Rows:
        """What was read, with the rows to be forgotten first: of repeats the first one stays."""
        marks, marked = self.corpus.marks, self.marked
        named = len(marks.ids) or len(set(map(_same, marks.patients)))
        if len(self._marks_met) < named:
            raise UserError(
                f"{named - len(self._marks_met):,} of the {named:,} ids or patients to be "
                "forgotten are in no row: correct them"
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
