"""SLAKE (Liu et al. 2021): radiology questions in English and Chinese; the English ones are read.

A folder in the official layout (`train.json`, `validate.json`, `test.json`, `imgs/xmlabN/`) or in
that of the Hub mirror (`validation.json`, `imgs.zip`). Licence CC BY 4.0.
"""

from __future__ import annotations

import json
import stat
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from builder.core.stage_cache import Drop, Outcome, Stamp
from builder.ingest.clean_rows import (
    Rows,
    alike,
    annotation,
    checked_image_path,
    collect,
    drop_duplicates,
    tidy,
)
from mllmu_med.errors import first_line
from mllmu_med.files import canonical_json, read_text, write_bytes
from mllmu_med.image_bytes import MAX_BYTES, ImageError, check_relative
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

VERSION: Final = 3
HUB_ID: Final = "BoKelvin/SLAKE"
HUB_REVISION: Final = "a9083ce6c34ac3ffb17671a605962924d8a8f9e9"
HUB_FILES: Final = ("train.json", "validation.json", "test.json", "imgs.zip")
SPLITS: Final = {
    "train": ("train.json",),
    "validate": ("validate.json", "validation.json"),
    "test": ("test.json",),
}
NOT_ENGLISH = "not English"


class _Row(BaseModel):
    model_config = ConfigDict(strict=True)

    qid: int
    img_name: str
    question: str
    answer: str
    q_lang: Literal["en", "zh"]
    modality: Literal["CT", "MRI", "X-Ray"]
    content_type: str


def download(fetch: bool = True) -> Path:
    """The Hub mirror at its pinned revision, in huggingface-hub's cache; fetched once.

    Without `fetch` and with nothing fetched before, a folder that is not there.

    Raises:
        UserError: the Hub cannot be reached, or holds no such revision.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    def snapshot(local: bool) -> Path:
        return Path(
            snapshot_download(
                HUB_ID,
                repo_type="dataset",
                revision=HUB_REVISION,
                allow_patterns=list(HUB_FILES),
                local_files_only=local,
            )
        )

    try:  # the revision never changes, so what is here whole needs no network
        folder = snapshot(local=True)
        if all((folder / name).is_file() for name in HUB_FILES):
            return folder
    except LocalEntryNotFoundError:
        pass
    if not fetch:
        return Path(f"{HUB_ID} (not fetched yet)")
    say(f"SLAKE: fetching {HUB_ID} at {HUB_REVISION[:12]} (about 210 MB, once)")
    try:
        return snapshot(local=False)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = first_line(error)
        raise UserError(
            f"{HUB_ID}: cannot be fetched ({reason}): check the connection, or download it "
            "elsewhere and give the folder with --slake DIR"
        ) from error


def read(root: Path, folder: Path, on_bad: Literal["fail", "drop"]) -> Outcome:
    """Clean records of all splits, `split` being the source's own (train, validate, test).

    Args:
        root: the source's folder.
        folder: the stage's folder; images out of `imgs.zip` go to `folder/pictures`.
        on_bad: what to do about images that cannot be used.

    Raises:
        UserError: a file is missing, broken or holds rows of another form.
    """
    rows = Rows()
    seen: dict[int, tuple[str, str]] = {}
    for split, names in SPLITS.items():
        path, inputs = annotation(root, names, "SLAKE's train.json")
        rows.inputs |= inputs
        if path is not None:
            _read_split(path, split, rows, seen)
        elif split == "train":
            raise UserError(f"{root}: holds no train.json: give SLAKE's folder (Slake1.0)")
        else:
            say(f"SLAKE: no {' or '.join(names)} in {root}: built without it")
    drop_duplicates(rows)
    archive = root / "imgs.zip"
    if (root / "imgs").is_dir() or not archive.is_file():

        def places(name: str) -> list[Path]:
            return [root / prefix / name for prefix in ("imgs", "", "imgs/imgs")]

        return collect(rows, places, root, on_bad, "privacy.bad_pictures")
    images = folder / "pictures"
    _unpack(archive, {record.image_path for record in rows.records}, images)
    outcome = collect(
        rows, lambda name: [images / "imgs" / name], images, on_bad, "privacy.bad_pictures"
    )
    # The copies are outputs of this stage; its input is the archive.
    outcome.inputs = {**rows.inputs, archive.name: Stamp.of(archive)}
    return outcome


def _read_split(path: Path, split: str, rows: Rows, seen: dict[int, tuple[str, str]]) -> None:
    """Read a file; `seen` holds what each qid asks of which image, and where."""
    try:
        raw = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}, column {error.colno}: broken JSON ({error.msg}): "
            "restore the file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}): restore the file") from error
    if not isinstance(raw, list):
        raise UserError(f"{path}: not a list of rows: give SLAKE's own {path.name}")
    for number, item in enumerate(raw, 1):
        where = f"{path}, row {number}"
        row = _parse(item, where)
        where += f" (qid {row.qid})"
        name = checked_image_path(row.img_name, where)
        image = name.rpartition("/")[0] or name
        row_id = f"slake/{image}/{row.qid}"
        question, answer = tidy(row.question), tidy(row.answer)
        asked = canonical_json([name, row.q_lang, alike(question), alike(answer)])
        same, first = seen.setdefault(row.qid, (asked, where))
        if same != asked:
            raise UserError(
                f"{where}: the qid stands in {first} already, with another image, question or "
                "answer: remove one"
            )
        if row.q_lang != "en":
            rows.drops.append(Drop(row_id, NOT_ENGLISH, item))
            continue
        if question and answer and (question, answer) != (row.question, row.answer):
            rows.notes["white space tidied"] = rows.notes.get("white space tidied", 0) + 1
        rows.add(
            where,
            item,
            question,
            answer,
            id=row_id,
            image_id=f"slake/{image}",
            image_path=name,
            content_type=row.content_type,
            modality=row.modality,
            source="slake",
            split=split,
        )


def _parse(item: Any, where: str) -> _Row:
    try:
        canonical_json(item).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: holds half a character ({error}): correct the row") from error
    try:
        return _Row.model_validate(item)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "missing":
            message = f"has no {key!r}"
        elif not key:
            message = "is not a JSON object"
        else:
            message = f"{key} is {problem['input']!r}: {problem['msg'].replace('Input', 'it')}"
        raise UserError(f"{where}: {message}: correct the row") from error


def _unpack(archive: Path, names: set[str], target: Path) -> None:
    """Copy the images that rows name out of the zip, to `target/imgs/NAME`."""
    try:
        with zipfile.ZipFile(archive) as packed:
            members: dict[str, zipfile.ZipInfo] = {}
            for member in packed.infolist():
                name = _member_name(archive, member)
                members[name.removeprefix("imgs/").removeprefix("imgs/")] = member
            for name in sorted(names & members.keys()):
                write_bytes(target / "imgs" / name, packed.read(members[name]))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise UserError(f"{archive}: a broken zip file ({error}): download it again") from error


def _member_name(archive: Path, member: zipfile.ZipInfo) -> str:
    try:
        name = str(check_relative(member.filename))
    except ImageError as error:
        raise UserError(
            f"{archive}: its entry {member.filename!r} {error}: not a zip to be trusted"
        ) from error
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(
            f"{archive}: its entry {name!r} is a symbolic link: not a zip to be trusted"
        )
    if member.file_size > MAX_BYTES:
        raise UserError(f"{archive}: its entry {name!r} unpacks to {member.file_size:,} bytes")
    return name
