"""A submission: one zip of run folders, with their figures and the hash of every file.

    submission.json                 what is held: `About`
    figures.jsonl                   every figure, a line each (`eval.results.Figure`)
    runs/01/scores.json, ...        run folders, as `eval score`, `leak` and `likelihood` write them
    runs/01/attacks/NAME/...        and as `eval attack` does

It is read as what it is, a stranger's file: bounds first, then names, then strict JSON.
"""

from __future__ import annotations

import io
import math
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eval import leak, likelihood, score
from eval.attack_results import ATTACK, FOLDER
from eval.results import Figure
from eval.run_folder import RECORD
from mllmu_med.files import canonical_json, json_lines, text_lines
from mllmu_med_dataset import UserError

ABOUT: Final = "submission.json"
FIGURES: Final = "figures.jsonl"
#: What is taken of a run's folder, and of an attack's outcome in it.
OF_RUN: Final = (
    *(score.SCORES, score.ROWS, leak.LEAK, leak.ROWS, likelihood.RUN, likelihood.ROWS, RECORD),
)
OF_ATTACK: Final = (ATTACK, score.SCORES, score.ROWS, leak.LEAK, leak.ROWS)
#: More than the paper's sizes need, twenty runs with their attacks; less than hurts.
MOST_FILES: Final = 20_000
MOST_BYTES: Final = 1 << 29
DEEPEST: Final = 30
_NAME: Final = re.compile(
    rf"{re.escape(ABOUT)}|{re.escape(FIGURES)}"
    rf"|runs/\d\d\d?/({'|'.join(map(re.escape, OF_RUN))})"
    rf"|runs/\d\d\d?/{FOLDER}/[a-z]+(-[a-z]+)?(-\d+)?/({'|'.join(map(re.escape, OF_ATTACK))})"
)
#: ValueError: a name that is no UTF-8.
_READS: Final = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile)

#: What names a place, whatever stands there.
_PLACES: Final = ("model", "path", "server", "server_model", "source", "root", "parent")
#: Absolute paths, those of a home or from here, others of more than a Hub id's two parts; URLs.
_PLACE: Final = re.compile(
    r"[/~\\]|\.\.?[/\\]|[A-Za-z]:[/\\]|[^\s/\\]+([/\\][^\s/\\]+){2,}[/\\]?$|\S+://"
)

#: A file's rows, or the object that it is.
Content = Any


class About(BaseModel):
    """What a submission says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1]
    #: Rows of real patients are not handed on.
    config: str = Field(pattern=r"^(privacy|incorrect)(_r\d\d)?$")
    #: `rows_hash` of the dataset that was asked.
    data: str = Field(pattern=r"^[0-9a-f]{12}$")
    #: The sha256 of every other file.
    files: dict[str, str]


class Submission(NamedTuple):
    """A submission as it was read; `wrong` says which files have another hash than it says."""

    about: About
    runs: dict[str, dict[str, Content]]  # by folder, e.g. runs/01; then by the name in it
    figures: list[Figure]
    wrong: list[str]


def pack(config: str, data: str, runs: Mapping[str, Mapping[str, Content]], figures: Any) -> bytes:
    """The file's bytes: the same for the same runs."""
    files = {
        f"{folder}/{name}": _bytes(of) for folder, held in runs.items() for name, of in held.items()
    }
    files[FIGURES] = _bytes([figure.model_dump(exclude_defaults=True) for figure in figures])
    hashes = {name: sha256(content).hexdigest() for name, content in files.items()}
    about = About(version=1, config=config, data=data, files=hashes)
    return to_zip({ABOUT: _bytes(about.model_dump()), **files})


def to_zip(files: Mapping[str, bytes]) -> bytes:
    """A zip without times, owners or an order of its own."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return stream.getvalue()


def _bytes(content: Content) -> bytes:
    rows = content if isinstance(content, list) else [content]
    return "".join(canonical_json(row) + "\n" for row in rows).encode()


def read_submission(path: Path) -> Submission:
    """A submission's files, bounded and of the right names and shapes.

    Raises:
        UserError: it is none; the line says which file in it, and why.
    """
    packed = unpack(path)
    for name in (ABOUT, FIGURES):
        if name not in packed:
            raise UserError(f"{path}: no submission: {name} is missing")
    content = {name: parse(f"{path}: {name}", of) for name, of in packed.items()}
    about: About = _valid(About, content.pop(ABOUT), f"{path}: {ABOUT}")
    others = {*packed} - {ABOUT}
    for what, names in (("not there", {*about.files} - others), ("extra", others - {*about.files})):
        if names:
            raise UserError(f"{path}: {min(names)}: {what}, by the list in {ABOUT}")
    wrong = []
    for name, said in about.files.items():
        found = sha256(packed[name]).hexdigest()
        if found != said:
            wrong.append(f"{name}: its sha256 is {found[:12]}, said to be {said[:12]}")
    figures = [
        _valid(Figure, row, f"{path}: {FIGURES}, line {number}")
        for number, row in enumerate(content.pop(FIGURES), 1)
    ]
    runs: dict[str, dict[str, Content]] = {}
    for name in sorted(content):
        folder = "/".join(name.split("/")[:2])
        runs.setdefault(folder, {})[name.removeprefix(f"{folder}/")] = content[name]
    if not runs:
        raise UserError(f"{path}: holds no run")
    return Submission(about, runs, figures, wrong)


def unpack(path: Path) -> dict[str, bytes]:
    """A zip's files; a UserError for one too large, named otherwise, or there twice."""
    if not path.exists():
        raise UserError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check(path, entries)
            return {entry.filename: archive.read(entry) for entry in entries}
    except (*_READS, zlib.error) as error:
        raise UserError(f"{path}: cannot be read as a zip ({error})") from error


def _check(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    size = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_FILES or size > MOST_BYTES:
        raise UserError(
            f"{path}: {len(entries):,} files of {size:,} bytes: more than {MOST_FILES:,} files or "
            f"{MOST_BYTES:,} bytes: not read"
        )
    seen = set[str]()
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if not _NAME.fullmatch(entry.filename) or kind not in (0, stat.S_IFREG):
            raise UserError(f"{path}: {entry.filename[:80]!r} is no file of a submission")
        if entry.filename in seen:
            raise UserError(f"{path}: {entry.filename} is there twice")
        seen.add(entry.filename)


def parse(where: str, content: bytes) -> Content:
    """A file's object, or its rows; a UserError for what is no JSON, or a number that is none."""
    rows = where.endswith(".jsonl")
    try:
        text = content.decode()
        lines = text_lines(text) if rows else [text]
        values = [_sound(value) for _, value in json_lines(lines)]
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise UserError(f"{where}, line {number}: no JSON object")
    return values if rows else values[0]


def _sound(value: Any) -> Any:
    """A JSON value, as it is; a ValueError where it holds NaN, an infinite number, or too deep."""
    left = [(value, 0)]
    while left:
        one, depth = left.pop()
        if isinstance(one, float) and not math.isfinite(one):
            raise ValueError(f"holds {one}, which is no number")
        if depth > DEEPEST:
            raise ValueError("is nested too deeply")
        if isinstance(one, dict | list):
            inner = one.values() if isinstance(one, dict) else one
            left += [(each, depth + 1) for each in inner]
    return value


def _valid(model: Any, value: Any, where: str) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        why = error.errors()[0]
        raise UserError(f"{where}: {'.'.join(map(str, why['loc']))}: {why['msg']}") from error


def plain_json(value: Any) -> Any:
    """JSON without the places of a machine: of a path, or a server's address, its last name."""
    return _mapped(value, _last)


def seven_digits(value: Any) -> Any:
    """JSON with its numbers as float32 holds them: half of a file would be digits of no meaning."""
    return _mapped(value, lambda one, _: float(f"{one:.7g}") if isinstance(one, float) else one)


def _mapped(value: Any, change: Callable[[Any, str], Any], key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _mapped(inner, change, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(inner, change, key) for inner in value]
    return change(value, key)


def _last(value: Any, key: str) -> Any:
    if not isinstance(value, str) or not (key in _PLACES or _PLACE.match(value)):
        return value
    path = re.sub(r"^\w+://[^/]*|\?.*", "", value)
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
