"""Images: whole, the ones that the rows name, and with nothing in them but the image."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, NamedTuple

from builder.audit.run_checks import Check
from builder.dataset_folder.read import Folder
from builder.dataset_folder.read_rows import Table
from mllmu_med.errors import first_line
from mllmu_med.image_bytes import ImageError, check_relative, clean_image
from mllmu_med.image_folder import Images, OtherImageError
from mllmu_med.progress import progress
from mllmu_med_dataset import Record


class Look(NamedTuple):
    """What is wrong with an image's bytes; empty where nothing is."""

    decode: str = ""
    metadata: str = ""


class _Group(NamedTuple):
    """A row group: each row with its image's hash (or why it has none), and the new bytes."""

    rows: list[tuple[Record, str, str]]
    new_bytes: dict[str, bytes]


def checks(folder: Folder) -> Iterator[Check]:
    hashes: list[str] = []
    decode: dict[str, str] = {}
    metadata: dict[str, str] = {}
    stored: list[str] = []
    looked = skipped = referred = 0
    known: dict[str, Look] = {}
    every = sum(1 for _ in folder.rows())
    with progress("looking at images", every) as advance:
        for table in folder.tables.values():
            by_reference = folder.by_reference(table.scenario)
            unseen = by_reference and table.scenario not in folder.sources
            referred += len(table.rows) * by_reference
            skipped += len(table.rows) * unseen
            for group in _groups(folder, table):
                _look(group, known)
                looked += len(group.rows)
                for row, sha, problem in group.rows:
                    if problem:
                        decode.setdefault(row.id, f"{row.id}: {problem}")
                        continue
                    if sha != row.image_sha256:
                        hashes.append(f"{row.id}: its image has the sha256 {sha[:12]}...")
                    look = known.get(sha, Look())
                    if look.decode:
                        decode.setdefault(row.id, f"{row.id}: its image {look.decode}")
                    if look.metadata:
                        metadata.setdefault(row.id, f"{row.id}: its image holds {look.metadata}")
                    if unseen:
                        stored.append(f"{row.id}: its image is stored, not referred to")
                advance(len(group.rows))
    note = f"{skipped:,} rows by reference: not looked at without --images" if skipped else ""
    yield Check("images decode", looked, list(decode.values()), note)
    yield Check("image hashes match their rows", looked, hashes)
    plots = sorted(folder.path.rglob("*.png"))
    for plot in plots:
        name = plot.relative_to(folder.path).as_posix()
        look = _look_at(plot.read_bytes())
        if look.decode or look.metadata:
            metadata[name] = f"{name}: {look.decode or f'holds {look.metadata}'}"
    count = len(known) + len(plots)
    yield Check("no EXIF, comments or DICOM in images", count, list(metadata.values()))
    places = [(f"{row.id}: the image's path", row.image_path) for row in folder.rows()]
    for table in folder.tables.values():
        places += [(f"{table.path}: an image's path", path) for path in sorted(table.images)]
    wrong = [f"{what} {path!r} {why}" for what, path in places if (why := _outside(path))]
    yield Check("image paths are relative", every, wrong)
    note = "" if referred else "every config embeds its images"
    yield Check("images by reference are not stored", referred, stored, note)


def _outside(path: str) -> str:
    try:
        check_relative(path)
    except ImageError as error:
        return str(error)
    return ""


def _groups(folder: Folder, table: Table) -> Iterator[_Group]:
    """The images of a file, a row group at a time, each distinct one hashed once a group."""
    if not table.rows:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    by_reference = folder.by_reference(table.scenario)
    source = folder.sources.get(table.scenario) if by_reference else None
    at = 0
    try:
        with pq.ParquetFile(table.file, read_dictionary=["image.bytes"]) as file:
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=["image.bytes"]).column("image")
                # One chunk, so that there is one dictionary.
                picked = column.combine_chunks().flatten()[0]
                if isinstance(picked, pa.ChunkedArray):
                    picked = picked.combine_chunks()
                rows = table.rows[at : at + len(picked)]
                at += len(picked)
                yield _referred(source, rows) if source else _embedded(rows, picked, by_reference)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = f"its image cannot be read ({first_line(error)})"
        yield _Group([(row, "", reason) for row in table.rows[at:]], {})


def _embedded(rows: list[Record], picked: Any, by_reference: bool) -> _Group:
    data = [value.as_py() for value in picked.dictionary]
    shas = [sha256(image).hexdigest() for image in data]
    images = []
    for row, index in zip(rows, picked.indices.to_pylist(), strict=True):
        if index is not None:
            images.append((row, shas[index], ""))
        elif not by_reference:
            images.append((row, "", "has no image"))
    return _Group(images, dict(zip(shas, data, strict=True)))


def _referred(images: Images, rows: list[Record]) -> _Group:
    """The images that the rows name, out of the source's folder, without their metadata."""
    read: dict[tuple[str, str], tuple[str, str]] = {}
    new_bytes = {}
    for row in rows:
        key = (row.image_path, row.image_sha256)
        if key not in read:
            try:
                new_bytes[row.image_sha256] = images.find(*key).data
                read[key] = row.image_sha256, ""
            except OtherImageError as error:
                read[key] = error.digest, ""
            except ImageError as error:
                read[key] = "", f"{row.image_path!r} {error}"
            except OSError as error:
                read[key] = "", f"{row.image_path!r} cannot be read ({error.strerror})"
    return _Group([(row, *read[row.image_path, row.image_sha256]) for row in rows], new_bytes)


def _look(group: _Group, known: dict[str, Look]) -> None:
    """Decode every image that is new, on all cores: Pillow lets other threads run meanwhile."""
    new = [sha for sha in group.new_bytes if sha not in known]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        known.update(
            zip(new, pool.map(_look_at, (group.new_bytes[sha] for sha in new)), strict=True)
        )


def _look_at(data: bytes) -> Look:
    """Metadata is what cleaning would take away: it changes a clean image in nothing."""
    if data[128:132] == b"DICM":
        return Look("is DICOM", "a DICOM header")
    try:
        clean = clean_image(data)
    except ImageError as error:
        return Look(str(error))
    if clean == data:
        return Look()
    return Look("", "more than the image: metadata, a comment or other bytes")
