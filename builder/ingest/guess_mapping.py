"""Which column of a table is what: guessed from its name and from what stands in its cells."""

import re
import unicodedata
from collections.abc import Mapping as Cells
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from builder.core.corpus import NEEDED, named_columns, shipped, shipped_mapping
from builder.ingest.read_table import open_table
from mllmu_med.files import packaged_yaml
from mllmu_med_dataset import PII_KINDS, UserError

_KNOWN: Final[dict[str, dict[str, str]]] = packaged_yaml("builder.ingest", "guess_mapping.yaml")
_WORDS: Final = _KNOWN["names"]
#: In the languages of these words; rows count as closed in English alone.
YES_NO: Final = re.compile(r"yes|no|ja|nein|oui|non|s[ií]|是|否|不是|有|没有", re.IGNORECASE)
_LOOKS: Final = _KNOWN["looks"] | {"answer": YES_NO.pattern}
_ALONE: Final = ("image", "question", "split", "modality", "email", "date")  # no name is needed
_MUST: Final = ("image", "question", "split", "language", "forget")  # a name alone is too little
_OPTIONS: Final = r"(option|choice)?[ _-]?[a-f]"
_USUAL: Final = {"image", "question", "answer", "caption", "id", "source", "modality"}
_WHOLE: Final = 1.5  # the score of a column that is called just so


class Guess(NamedTuple):
    """The fields of a mapping as its YAML has them; it may lack some that are needed."""

    fields: dict[str, Any]
    why: dict[str, str]  # column -> what it was known by
    forget: str = ""  # the column that marks rows, for --scenario own


def guess_mapping(columns: Sequence[str], rows: Sequence[Cells[str, Any]]) -> Guess:
    """The likeliest mapping of a table, of which the first rows are given."""
    cells = {column: [row[column] for row in rows if _text(row.get(column))] for column in columns}
    options = [column for column in columns if re.fullmatch(_OPTIONS, column, re.IGNORECASE)]
    why = dict.fromkeys(options, "its name") if len(options) > 1 else {}
    chosen: dict[str, str] = {}
    scores = [
        (_score(field, column, cells[column]), -rank, -place)
        for rank, field in enumerate(_WORDS)
        for place, column in enumerate(columns)
    ]
    for (score, reason), rank, place in sorted(scores, reverse=True):
        field, column = [*_WORDS][-rank], columns[-place]
        if score >= 0.8 and field not in chosen and column not in why:
            chosen[field], why[column] = column, reason
    if _looks("image", chosen.get("image", "")):
        del chosen["image"]  # the table has no names of columns, and its first row is one of data
    if "question" in chosen and "answer" not in chosen:
        following = columns[columns.index(chosen["question"]) + 1 :]
        column = next((name for name in following if name not in why and cells[name]), "")
        if column:
            chosen["answer"], why[column] = column, "follows the question"
    forget = chosen.pop("forget", "")
    fields: dict[str, Any] = {f: chosen[f] for f in (*NEEDED, *chosen) if f in chosen}
    stem = re.fullmatch(r"(.*\D)\d", chosen.get("answer", ""))
    if stem:  # answer_1, answer_2, ...
        fields["answer"] = [c for c in columns if re.fullmatch(re.escape(stem[1]) + r"\d", c)]
        why |= dict.fromkeys(fields["answer"], "its name; of several, the first that is not empty")
    values = {kind: fields.pop(kind) for kind in PII_KINDS if kind in fields}
    more = {"options": options if len(options) > 1 else None, "values": values}
    return Guess(fields | {name: value for name, value in more.items() if value}, why, forget)


def _score(field: str, column: str, cells: Sequence[Any]) -> tuple[float, str]:
    """How well a column fits a field, and by what."""
    words, tokens = _WORDS[field].split(), _tokens(column)
    name = 0.0
    if "".join(tokens) in words or "_".join(tokens) == field:
        name = _WHOLE
    elif set(tokens) & set(words) or any(word in column for word in words if not word.isascii()):
        name = 1.0
    elif any(token.startswith(word) for token in tokens for word in words if len(word) > 3):
        name = 0.8
    look = sum(_looks(field, cell) for cell in cells) / max(len(cells), 1)
    if field == "id" and len({_text(cell) for cell in cells}) < len(cells):
        return 0, ""  # what repeats is not a row's
    if field in _MUST and look < 0.3 and (name < _WHOLE or field in ("split", "language")):
        return 0, ""
    reasons = ["its name"] * bool(name)
    if look >= 0.3:
        reasons.append(f"{100 * look:.0f} % of its cells look so")
    return name + look * (1 if field in _ALONE else 0.2 * bool(name)), ", ".join(reasons)


def _looks(field: str, cell: Any) -> bool:
    if field == "image" and not isinstance(cell, str):
        return not isinstance(cell, int | float)  # bytes, {bytes, path}, an image, or a list
    return bool(re.fullmatch(_LOOKS.get(field, "(?!)"), _text(cell), re.IGNORECASE | re.DOTALL))


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell)[:200].strip()


def _tokens(column: str) -> list[str]:
    """`PatientenName (lang)` -> patienten, name, lang; without accents and figures."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)
    plain = unicodedata.normalize("NFKD", parted).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[^\W\d_]+", plain)


def recognised(path: Path) -> str:
    """The shipped corpus that this is, or nothing: by its name, its files or its columns."""
    try:
        columns = open_table(path).columns
    except UserError:  # what only its own mapping can read; if there is none, that says it again
        columns = ()
    for name in shipped():
        mapping = shipped_mapping(name)
        needed = {column.partition(".")[0] for _, column in named_columns(mapping)}
        files = [file for group in mapping.files.values() for file in group]
        there = [file for file in files if path.is_dir() and next(path.glob(file), None)]
        called = path.name.lower().replace("-", "_") == name
        # Any table may have a column `question` and a file train.json.
        telling = called or len(needed - _USUAL) > 1 or "vqa" in str(there).lower()
        if telling and (called or there):
            try:
                columns = open_table(path, mapping).columns
            except UserError:  # another corpus of that name or layout; the guess says what it is
                continue
        # Columns alone tell nothing: a hospital's table may have the same ones.
        if telling and (called or there) and needed <= {*columns}:
            return name
    return ""


def image_places(folder: Path, names: Sequence[str]) -> tuple[dict[str, Any], int]:
    """Where the images of these names lie, as fields of a mapping, and how many are there."""
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    below = [path for outer in inside for path in sorted(outer.iterdir()) if path.is_dir()]
    best: dict[str, Any] = {}
    most = 0
    for place in (folder, *inside, *below):
        for suffix in ("", ".jpg", ".png", ".jpeg", ".dcm"):
            there = sum((place / (name.replace("\\", "/") + suffix)).is_file() for name in names)
            if there > most:
                most, best = there, {"images": [place.relative_to(folder).as_posix()]}
                best |= {"suffixes": [suffix]} if suffix else {}
    return {field: value for field, value in best.items() if value != ["."]}, most
