"""A row's cells as texts, by the mapping's fields; a wrong cell is refused with file and row."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from string import ascii_uppercase
from typing import Any, Literal

from builder.core.corpus import Mapping
from builder.ingest.clean_rows import tidy
from builder.ingest.read_table import Row, split_word
from mllmu_med.csv_tables import SHEET_ERRORS
from mllmu_med_dataset import UserError


class Cells:
    """Reads the cells of a table's rows.

    Args:
        shown: a cell's text for a message, with a space before it; empty where it may not be told.
        notes: what is counted of what was read otherwise than it stands.
    """

    def __init__(self, mapping: Mapping, shown: Callable[[str], str], notes: Counter[str]) -> None:
        self.mapping, self.shown, self.notes = mapping, shown, notes

    def text(self, row: Row, column: str | None, needed: bool = False) -> str:
        """A cell's text as it is written; of a number or a day, what one would write for it."""
        values = self._cells(row, column, needed) if column else []
        return self.plain(row, column, values[0], needed) if values else ""

    def _cells(self, row: Row, column: str, needed: bool = False) -> list[Any]:
        """What stands in a column; of `a.b`, what each object in the column a holds under b."""
        if column in row.cells:
            return [row.cells[column]]
        outer, _, inner = column.partition(".")
        value = row.cells.get(outer) if inner else None
        if value is None and needed:
            raise UserError(f"{row.where}: has no {column!r}: correct the row")
        objects = value if isinstance(value, list) else [value]
        return [each.get(inner) for each in objects if isinstance(each, dict)]

    def plain(self, row: Row, column: str | None, value: Any, count: bool) -> str:
        if isinstance(value, str):
            if value.strip() in SHEET_ERRORS:
                raise UserError(
                    f"{row.where}: {column} is {value.strip()}, what a spreadsheet leaves of a "
                    "formula: correct it there, and save it again"
                )
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
        if isinstance(value, float) and value.is_integer():  # as a column with gaps holds 12345
            value = int(value)
        if count:
            self.notes["numbers read as text"] += 1
        return str(value)

    def question(self, row: Row) -> str:
        columns = self.mapping.question
        columns = (columns,) if isinstance(columns, str) else columns
        texts = [self.text(row, column, needed=True) for column in columns]
        return " ".join(text for text in texts if text.strip()) or texts[0]

    def answer(self, row: Row) -> str:
        """Of several answers the first that is not empty."""
        texts: list[str] = []
        columns = self.mapping.answer
        columns = (columns,) if isinstance(columns, str) else columns
        for column in columns:
            for cell in self._cells(row, column, needed=column == columns[0]):
                cells = cell if isinstance(cell, list) else [cell]
                texts += [self.plain(row, column, value, True) for value in cells]
        separator = self.mapping.answer_separator
        if separator:
            texts = [part for text in texts for part in text.split(separator)]
        filled = [text for text in texts if text.strip()]
        if len(filled) > 1:
            self.notes["of several answers, the first"] += 1
        return (filled or texts or [""])[0]

    def with_options(self, row: Row, question: str, answer: str) -> tuple[str, str]:
        """The options added to the question; an answer that is an option's letter, its text."""
        columns = self.mapping.options
        cells = [row.cells.get(column) for column in columns]
        if len(cells) == 1 and isinstance(cells[0], list | dict):
            cells = list(cells[0].values()) if isinstance(cells[0], dict) else cells[0]
        texts = [tidy(self.plain(row, columns[0], cell, False)) for cell in cells]
        pairs = zip(ascii_uppercase, texts, strict=False)
        options = {letter: text for letter, text in pairs if text}
        marked = {  # as in "A: the left lung"
            letter: match[1]
            for letter, text in options.items()
            if (match := re.match(rf"\(?{letter}\s*[:.)]\s*(.*)", text))
        }
        if len(marked) == len(options):
            options = {letter: text for letter, text in marked.items() if text}
        if options and question and answer:
            question += "".join(f" ({letter}) {text}" for letter, text in options.items())
            answer = options.get(answer.strip("().: ").upper(), answer)
        return question, answer

    def coded(self, row: Row, field: Literal["modality", "content_type"]) -> str:
        """A cell by what it begins with, where the mapping has codes for it."""
        text = tidy(self.text(row, getattr(self.mapping, field)))
        codes = self.mapping.codes.get(field)
        if not codes or text.lower() in ("", "unknown"):
            return text
        for beginning, word in codes.items():
            if text.lower().startswith(beginning.lower()):
                return word
        raise UserError(
            f"{row.where}: {field} is{self.shown(text) or ' another word'}: expected one "
            f"that begins with {', '.join(codes)}: correct the row"
        )

    def split(self, row: Row) -> str:
        if not self.mapping.split:
            return row.split
        text = self.text(row, self.mapping.split).strip()
        split = split_word(self.mapping.split_names.get(text, text))
        if split is None:
            shown = self.shown(text) if text else " empty"
            raise UserError(
                f"{row.where}: {self.mapping.split} is{shown or ' another word'}: expected train, "
                "validation or test: correct the row, or say in the mapping what it means "
                "(split_names)"
            )
        return split

    def patient(self, row: Row) -> str:
        text = tidy(unicodedata.normalize("NFC", self.text(row, self.mapping.patient)))
        if self.mapping.patient and not text:
            raise UserError(
                f"{row.where}: {self.mapping.patient} is empty (of merged cells only the first "
                "has a value): say whose image it is"
            )
        return text

    def private(self, row: Row) -> tuple[tuple[str, str], ...]:
        values = {kind: tidy(self.text(row, name)) for kind, name in self.mapping.values.items()}
        return tuple((kind, value) for kind, value in values.items() if value)
