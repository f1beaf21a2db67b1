"""The images of a corpus: where they lie, and each read once, checked and hashed.

They stay where they are, unless they come out of a zip file or a table's cells, are converted, or
the corpus is somebody's own: then clean copies of them go to the stage's folder.
"""

import os
import shutil
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from builder.core.corpus import Mapping
from builder.core.stage_cache import Drop, Outcome, Stamp
from builder.ingest.clean_rows import Rows, drop_duplicates, name_apart
from mllmu_med.files import stand_in, write_bytes
from mllmu_med.image_bytes import MAX_BYTES, Clean, ImageError, clean
from mllmu_med.progress import progress
from mllmu_med_dataset import Record, UserError

_UNNAMED = "is not named"
_KINDS = (
    *(_UNNAMED, "is not there", "is empty", "is no picture", "is damaged"),
    *("is a pointer", "is a link", "is a web page"),
)


class Seen(NamedTuple):
    """An image that has been read: its path in the dataset, its stamp on the disk, the hash of its
    clean bytes, and what was done to it (see `Clean`)."""

    path: str
    stamp: Stamp
    clean_sha256: str
    notes: tuple[str, ...]


class ImageFiles:
    """Where a corpus' images lie.

    Args:
        root: its folder; `image_path` and `Outcome.inputs` are relative to it.
        folder: the stage's folder; clean copies go to `folder/pictures`.
        rename: of a corpus with keyed names, the name of a copy without its suffix.
    """

    def __init__(
        self, mapping: Mapping, root: Path, folder: Path, rename: Callable[[str], str] | None
    ) -> None:
        self.mapping, self.root, self.rename = mapping, root, rename
        self.raw, self.copies = folder / "raw", folder / "pictures"
        self.packed = False
        self._bases: Counter[str] = Counter()
        self._entries: dict[Path, dict[str, list[Path]]] = {}  # folder -> what it holds, by `_same`

    def keep(self, data: bytes) -> str:
        """Store the bytes of a table's cell; the name by which the image goes."""
        name = sha256(data).hexdigest()[:32]
        if not (self.raw / name).exists():
            write_bytes(self.raw / name, data)
        return name

    def inner(self, name: str) -> str:
        """An image's name below the folder that holds all images."""
        for folder in self.mapping.images:
            name = name.removeprefix(f"{folder}/") if folder else name
        return name

    def by_last_parts(self, name: str) -> str:
        """The end of an absolute path, of any system, that names an image here; else its name."""
        parts = [part for part in PurePosixPath(name).parts if part[-1] not in "/:"]
        ends = ["/".join(parts[start:]) for start in range(len(parts))]
        there = (end for end in ends if any(map(_is_file, self._folders(end))))
        return next(there, ends[-1] if ends else "")

    def _folders(self, name: str) -> list[Path]:
        inner = self.inner(name)
        folders = (self.root / folder for folder in self.mapping.images)
        return [folder / (inner + end) for folder in folders for end in self.mapping.suffixes]

    def places(self, name: str) -> list[Path]:
        """Where the file of a name may be; the first that is there counts."""
        if _is_file(self.raw / name):
            return [self.raw / name]
        if self.packed:
            return [self.raw / self.mapping.images[0] / self.inner(name)]
        places = self._folders(name)
        base = PurePosixPath(name).name
        if self._bases[base] == 1:  # flat, only where no two images would be the same one there
            places += [self.root / (base + end) for end in self.mapping.suffixes]
        return list(dict.fromkeys(places))

    def collect(
        self,
        rows: Rows,
        on_bad: Literal["fail", "drop"],
        scenario: str,
        finish: Callable[[Record], Record],
    ) -> Outcome:
        """Look at every image of `rows`, and fill in paths and hashes.

        Args:
            rows: what the reader found, with images named as the rows name them.
            on_bad: stop at images that cannot be used, or drop their rows.
            scenario: whose recipe key `bad_pictures` says so, for the message.
            finish: the last change to a record that has its image.
        """
        names = sorted({record.image_path for record in rows.records})
        self._bases = Counter(PurePosixPath(name).name for name in names)
        self._unpack(names, rows)
        usable: dict[str, Seen] = {}
        bad: dict[str, str] = {}
        with (
            progress("looking at images", len(names)) as advance,
            ThreadPoolExecutor(os.cpu_count()) as threads,
        ):
            for name, path, seen in threads.map(self._look, names):
                advance()
                if isinstance(seen, Seen):
                    usable[name] = seen
                    if path and not path.is_relative_to(self.raw):
                        rows.inputs[self._inside(path)] = seen.stamp
                    continue
                bad[name] = seen
                if on_bad == "drop" and name:  # so that a restored image is noticed
                    for place in self.places(name):
                        stamp = Stamp.of(place) if _is_file(place) else None
                        rows.inputs[self._inside(place)] = stamp
        shutil.rmtree(self.raw, ignore_errors=True)
        if bad and (on_bad == "fail" or len(bad) == len(names)):
            raise self._refused(rows, bad, len(names), scenario)
        kept = Rows(drops=list(rows.drops), notes=rows.notes)
        for record in rows.records:
            if record.image_path in bad:
                kept.drops.append(Drop.of(record, f"its picture {_kind(bad[record.image_path])}"))
            else:
                seen = usable[record.image_path]
                whole = replace(record, image_path=seen.path, image_sha256=seen.clean_sha256)
                kept.records.append(finish(whole))
        drop_duplicates(kept)  # once more: two files can hold one image
        name_apart(kept)
        noted = Counter(note for seen in usable.values() for note in seen.notes)
        return Outcome(kept.records, kept.drops, rows.notes | noted, rows.inputs)

    def _look(self, name: str) -> tuple[str, Path | None, Seen | str]:
        path = None
        try:
            places = self.places(name) if name else []
            path = next((place for place in places if place.is_file()), None)
            path = path or next(filter(None, map(self._alike, places)), None)
            if path is None:
                problem = next(filter(None, map(stand_in, places)), "is not there")
                return name, None, problem if name else _UNNAMED
            stamp, image = read_image(path)
            digest = sha256(image.data).hexdigest()
            return name, path, Seen(self._published(path, image), stamp, digest, image.notes)
        except ImageError as error:
            return name, path, str(error)
        except OSError as error:  # a name that no file can have
            return name, None, f"cannot be read ({error.strerror})"

    def _alike(self, place: Path) -> Path | None:
        """The one file whose path differs from `place` in case or the form of its accents only."""
        found = self.root
        for part in place.relative_to(found).parts if place.is_relative_to(found) else ():
            if found not in self._entries:
                entries: dict[str, list[Path]] = {}
                for entry in found.iterdir() if found.is_dir() else ():
                    entries.setdefault(_same(entry.name), []).append(entry)
                self._entries[found] = entries
            alike = self._entries[found].get(_same(part), [])
            if len(alike) != 1:
                return None
            found = alike[0]
        return found if found.is_file() else None

    def _published(self, path: Path, image: Clean) -> str:
        """An image's path in the dataset; a copy is written where one is needed."""
        stored = path.is_relative_to(self.raw)
        name = path.relative_to(self.raw).as_posix() if stored else self._inside(path)
        if self.rename or (stored and not path.suffix):
            name = self.rename(name) if self.rename else name
            name += ".png" if image.data.startswith(b"\x89PNG") else ".jpg"
        if self.rename or stored or image.converted:
            write_bytes(self.copies / name, image.data)
        return name

    def _inside(self, path: Path) -> str:
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()

    def _refused(self, rows: Rows, bad: dict[str, str], names: int, scenario: str) -> UserError:
        name, problem = next(iter(bad.items()))
        shown = "" if self.rename or not name else f" {self.places(name)[0]}"
        more = f" (and {len(bad) - 1:,} more images)" if len(bad) > 1 else ""
        advice = f"restore it, or leave its rows out with --set {scenario}.bad_pictures=drop"
        if len(bad) == names:
            more = f", and so for all {names:,} images"
            advice = "give the folder that holds them beside the annotations"
            zips = [path.name for path in self.root.glob("*.zip")]
            advice += f" (unpack {zips[0]}?)" if zips and not self.rename else ""
        return UserError(f"{rows.named_in[name]}: image{shown} {problem}{more}: {advice}")

    def _unpack(self, names: Iterable[str], rows: Rows) -> None:
        """Copy the images that rows name out of the zip file, where they are not unpacked."""
        mapping = self.mapping
        archive = self.root / (mapping.archive or "")
        unpacked = any((self.root / folder).is_dir() for folder in mapping.images if folder)
        if unpacked or not archive.is_file():
            return
        self.packed = True
        needed = {self.inner(name) for name in names}
        try:
            with zipfile.ZipFile(archive) as packed:
                for member in packed.infolist():
                    name = self.inner(member.filename)
                    if name in needed and member.file_size <= MAX_BYTES:  # names are rows', checked
                        write_bytes(self.raw / mapping.images[0] / name, packed.read(member))
        except (
            OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error
        ) as error:  # fmt: skip
            if problem := stand_in(archive):
                raise UserError(f"{archive}: {problem}") from error
            raise UserError(f"{archive}: a broken zip file ({error}): download it again") from error
        rows.inputs[archive.name] = Stamp.of(archive)


def read_image(path: Path) -> tuple[Stamp, Clean]:
    """Read an image once: its stamp, and what ships of it."""
    try:
        status = path.stat()
        if status.st_size > MAX_BYTES:
            raise ImageError(f"has {status.st_size:,} bytes, over the limit of {MAX_BYTES:,}")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from error
    if problem := stand_in(data[:512]):
        raise ImageError(problem)
    return Stamp(status.st_size, status.st_mtime_ns, sha256(data).hexdigest()), clean(data)


def _kind(problem: str) -> str:
    """A reason without figures, so that equal problems are counted together."""
    for word in _KINDS:
        if problem.startswith(word):
            return word
    return "is too large" if problem.startswith("has") else "cannot be used"


def _same(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_file(path: Path) -> bool:
    """Whether a file is there; a text of a page is no name that one can have."""
    try:
        return path.is_file()
    except OSError:
        return False
