"""Images that rows only name, by path and hash, put back out of the source's own folder.

A source without a licence is published without its images. Whoever has the source gives its
folder; a file counts only when its bytes, without their metadata, have the row's hash. So it does
not matter where in that folder it lies: as it lay when the dataset was built, one folder higher or
lower, flat, or packed in SLAKE's `imgs.zip`.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from mllmu_med.errors import UsageError, UserError
from mllmu_med.image_bytes import MAX_BYTES, ImageError, check_relative, clean
from mllmu_med.schema import CONFIGS

#: Names the source's folder where none is given: for commands, which have no option for it.
VARIABLE: Final = "MLLMU_MED_IMAGES"
ARCHIVE: Final = "imgs.zip"  # as SLAKE's Hub mirror packs them
_TOPS: Final = ("imgs", "dataset")  # where SLAKE and MM-Skin keep their images
_Cell = dict[str, Any]  # of the column `image`


class OtherImageError(ImageError):
    """A file of that name is another image; `digest` is the sha256 of its bytes."""

    def __init__(self, place: str, digest: str) -> None:
        super().__init__(f"{place}: another image than the dataset was built from")
        self.digest = digest


class ImageFile(NamedTuple):
    """An image in its place, and its bytes without metadata."""

    place: str
    data: bytes
    opens: bool  # by `datasets`, in its place


class Images:
    """The images in a source's folder."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            UserError: no such folder, or its `imgs.zip` is broken.
        """
        if not folder.is_dir():
            raise UserError(
                f"images {folder}: no such folder: give the one that holds the source's images"
            )
        self.folder = folder
        self._packed: dict[str, str] = {}  # an image's name -> its name in the archive
        archive = folder / ARCHIVE
        if archive.is_file():
            try:
                with zipfile.ZipFile(archive) as packed:
                    self._packed = {_short(name): name for name in packed.namelist()}
            except (zipfile.BadZipFile, OSError, RuntimeError, ValueError) as error:
                raise UserError(f"{archive}: a broken zip file ({error}): restore it") from error

    def find(self, name: str, digest: str) -> ImageFile:
        """The image of that path whose clean bytes have that sha256; else an ImageError."""
        problem = ImageError("is not there")
        for place, data in self._candidates(name):
            try:
                image = clean(data)
            except ImageError as error:
                problem = ImageError(f"{place}: {error}")
                continue
            clean_digest = sha256(image.data).hexdigest()
            if clean_digest == digest:
                return ImageFile(place, image.data, not image.notes)
            problem = OtherImageError(place, clean_digest)
        raise problem

    def _candidates(self, name: str) -> Iterator[tuple[str, bytes]]:
        path = check_relative(name)
        inner = path.relative_to(path.parts[0]) if len(path.parts) > 1 else path
        inside = [path, inner, *(Path(top) / path for top in _TOPS), Path(path.name)]
        for place in dict.fromkeys(map(str, inside)):
            file = self.folder / place
            if file.is_file() and file.stat().st_size <= MAX_BYTES:
                yield str(file.absolute()), file.read_bytes()
        member = self._packed.get(_short(name))
        if member is not None:
            archive = self.folder / ARCHIVE
            try:
                with zipfile.ZipFile(archive) as packed:
                    if packed.getinfo(member).file_size <= MAX_BYTES:
                        yield f"zip://{member}::{archive.absolute()}", packed.read(member)
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
                raise ImageError(f"cannot be read from {archive} ({error})") from error


def _short(name: str) -> str:
    """An image's name without the folder that all images of a source lie in."""
    return name.removeprefix("imgs/").removeprefix("imgs/").removeprefix("dataset/")


def images_folder(
    given: str | Path | Mapping[str, str | Path] | None, config: str
) -> Images | None:
    """What `load(images=...)` says of a config, else what the environment says; None for neither.

    A folder that is not there is a UserError, a mapping that names another config a UsageError.
    """
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in CONFIGS]
        if unknown:
            raise UsageError(f"images of {unknown[0]!r}: use {' or '.join(CONFIGS)}")
        given = given.get(config)
    given = given or os.environ.get(VARIABLE) or None
    return Images(Path(given).expanduser()) if given is not None else None


def put_back(data: Any, images: Images, where: str) -> Any:
    """The dataset (one or several splits) with the images that it names.

    Rows that hold their image keep it. Every distinct image is looked at once, now, and opened in
    its place when a row is read.

    Args:
        where: what to call the dataset in a message.

    Raises:
        UserError: images are missing or others; nothing is put back then.
        UsageError: the dataset was loaded without the columns that name the images.
    """
    splits = data if isinstance(data, dict) else {"": data}
    if any("image" not in split.column_names for split in splits.values()):
        return data
    if any({"image_path", "image_sha256"} - {*split.column_names} for split in splits.values()):
        raise UsageError("images: needs the columns image_path and image_sha256: load them too")
    empty = {name: split for name, split in splits.items() if lacks_images(split)}
    keys = {key for split in empty.values() for key in _named(split)}
    cells = _look(images, keys, where)
    filled = {name: _mapped(split, cells) for name, split in empty.items()}
    if isinstance(data, dict):
        return type(data)({**data, **filled})
    return filled.get("", data)


def lacks_images(split: Any) -> bool:
    """Whether rows of a mapped split have no image."""
    return bool(split.data.column("image").null_count)


def no_images(where: str) -> UserError:
    """What to tell somebody who looks at images that the rows only name."""
    return UserError(
        f"{where}: its rows name their images by path only: set {VARIABLE} to the folder of "
        "their source (in Python: load(..., images=DIR))"
    )


def row_image(row: Mapping[str, Any]) -> bytes:
    """A row's image out of the folder that the environment names; else a UserError."""
    where = f"row {row['id']}"
    images = images_folder(None, "")
    if images is None:
        raise no_images(where)
    try:
        return images.find(row["image_path"], row["image_sha256"]).data
    except (ImageError, OSError) as error:
        raise _missing(where, images, (row["image_path"], str(error)), "its image") from error


def _named(split: Any) -> list[tuple[str, str]]:
    return list(zip(split["image_path"], split["image_sha256"], strict=True))


def _look(images: Images, keys: set[tuple[str, str]], where: str) -> dict[tuple[str, str], _Cell]:
    """What `datasets` opens of each image; told on one line when some are not there."""

    def look(key: tuple[str, str]) -> tuple[_Cell, str]:
        try:
            image = images.find(*key)
        except (ImageError, OSError) as error:
            return {}, str(error)
        return {"bytes": None if image.opens else image.data, "path": image.place}, ""

    ordered = sorted(keys)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        seen = dict(zip(ordered, threads.map(look, ordered), strict=True))
    bad = [(name, problem) for (name, _), (_, problem) in seen.items() if problem]
    if bad:
        raise _missing(where, images, bad[0], f"{len(bad):,} of {len(ordered):,} images")
    return {key: cell for key, (cell, _) in seen.items()}


def _missing(where: str, images: Images, first: tuple[str, str], many: str) -> UserError:
    return UserError(
        f"{where}: {many} cannot be put back from {images.folder}, the first being {first[0]} "
        f"({first[1]}): give the whole folder of the source that the dataset was built from"
    )


def _mapped(split: Any, cells: dict[tuple[str, str], _Cell]) -> Any:
    from datasets import Image

    order = split.column_names
    column = [cells[key] for key in _named(split)]
    filled = split.remove_columns("image").add_column("image", column, feature=Image())
    return filled.select_columns(order)
