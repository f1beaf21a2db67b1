"""Where clean records come from: one module a source, each yielding records and drops.

A reader returns rows whose images nobody has looked at yet; `collect` reads every image once,
checks it and fills in its hash. Images stay where they are until publishing, or in the stage's
own folder when they come out of a zip file or are drawn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from builder.core.stage_cache import Drop, Outcome, Stamp
from mllmu_med.files import canonical_json
from mllmu_med.image_bytes import MAX_BYTES, ImageError, check_relative, clean_image
from mllmu_med.progress import progress
from mllmu_med_dataset import Record, UserError

EMPTY_QUESTION = "empty question"
EMPTY_ANSWER = "empty answer"
DUPLICATE = "the same picture, question and answer as another row"


@dataclass
class Rows:
    """What a reader found in the annotation files."""

    records: list[Record] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, Stamp | None] = field(default_factory=dict)
    #: image path -> the file and row that named it first, for messages
    named_in: dict[str, str] = field(default_factory=dict)

    def add(self, where: str, raw: Any, question: str, answer: str, **more: Any) -> None:
        """A row whose texts are tidied; it is dropped, as it came, where one of them is empty."""
        if not question or not answer:
            self.drops.append(Drop(more["id"], EMPTY_ANSWER if question else EMPTY_QUESTION, raw))
            return
        self.named_in.setdefault(more["image_path"], where)
        self.records.append(
            Record(
                image_sha256="",
                question=question,
                answer=answer,
                answer_type=answer_type(answer),
                clean_question=question,
                clean_answer=answer,
                **more,
            )
        )


class Seen(NamedTuple):
    """An image that has been read: its stamp on the disk and the hash of its clean bytes."""

    stamp: Stamp
    clean_sha256: str


def tidy(text: str) -> str:
    """Runs of white space as one blank: 'Transverse  Plane' is the answer 'Transverse Plane'."""
    return " ".join(text.split())


def answer_type(answer: str) -> Literal["open", "closed"]:
    """closed = the answer is yes or no, which is what the paper's accuracies count."""
    return "closed" if answer.strip(" .!").lower() in ("yes", "no") else "open"


def alike(text: str) -> str:
    """Equal for texts that differ in white space or case alone."""
    return tidy(text).casefold()


def drop_duplicates(rows: Rows) -> None:
    """Of rows that say the same of the same image, keep the first and drop the others.

    Images are the same by their bytes, or, before anybody has looked at them, by their id.
    """
    seen: set[tuple[str, str, str]] = set()
    kept = []
    for record in rows.records:
        image = record.image_sha256 or record.image_id
        key = (image, alike(record.question), alike(record.answer))
        if key in seen:
            rows.drops.append(Drop.of(record, DUPLICATE))
        else:
            kept.append(record)
        seen.add(key)
    rows.records = kept


def name_apart(rows: Rows) -> None:
    """Of rows that share an id the first keeps it, the others become `ID-2`, `ID-3`, ...

    Kept rows come before dropped ones, so that no repeat changes an id in a set; after that the
    rows' own text decides, never their place in the file.
    """
    records, drops = rows.records, rows.drops
    taken = {record.id for record in records} | {drop.id for drop in drops}
    given: set[str] = set()

    def own(row_id: str) -> str:
        if row_id in given:
            names = (f"{row_id}-{number}" for number in count(2))
            row_id = next(name for name in names if name not in taken)
        taken.add(row_id)
        given.add(row_id)
        return row_id

    def text(index: int) -> tuple[str, str, str]:
        record = records[index]
        return record.question, record.answer, record.image_path

    for i in sorted(range(len(records)), key=text):
        records[i] = replace(records[i], id=own(records[i].id))
    for i in sorted(range(len(drops)), key=lambda i: canonical_json(drops[i].row)):
        drops[i] = drops[i]._replace(id=own(drops[i].id))


def annotation(
    root: Path, names: tuple[str, ...], what: str
) -> tuple[Path | None, dict[str, Stamp | None]]:
    """The first of the files that is there, and what that choice depends on, for `Outcome.inputs`.

    Raises UserError where `root` is no folder; `what` should be in it.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder: give the one that holds {what}")
    inputs: dict[str, Stamp | None] = {}
    for name in names:
        if (root / name).is_file():
            return root / name, {**inputs, name: Stamp.of(root / name)}
        inputs[name] = None
    return None, inputs


def checked_image_path(name: str, where: str) -> str:
    """A row's image path, checked to stay inside the source's folder."""
    try:
        return str(check_relative(name))
    except ImageError as error:
        raise UserError(f"{where}: image {name!r} {error}: correct the row") from error


def collect(
    rows: Rows,
    places: Callable[[str], Sequence[Path]],
    root: Path,
    on_bad: Literal["fail", "drop"],
    key: str,
) -> Outcome:
    """Look at every image of `rows` and fill in paths and hashes.

    Args:
        rows: what the reader found, with images named as the rows name them.
        places: where the file of such a name may be; the first that is there counts.
        root: the folder that `image_path` and `Outcome.inputs` are relative to.
        on_bad: stop at images that cannot be used, or drop their rows.
        key: the recipe key of `on_bad`, for the message.
    """
    names = sorted({record.image_path for record in rows.records})
    usable: dict[str, tuple[str, Seen]] = {}
    bad: dict[str, str] = {}

    def look(name: str) -> tuple[str, Path | None, Seen | str]:
        path = None
        try:
            path = next((place for place in places(name) if place.is_file()), None)
            return name, path, look_at(path) if path else "is not there"
        except ImageError as error:
            return name, path, str(error)
        except OSError as error:  # a name that no file can have
            return name, None, f"cannot be read ({error.strerror})"

    inputs = dict(rows.inputs)
    with (
        progress("looking at images", len(names)) as advance,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        for name, path, seen in threads.map(look, names):
            advance()
            if path is None or isinstance(seen, str):
                bad[name] = str(seen)
                if on_bad == "drop":  # so that a restored image is noticed
                    stamps = {p: Stamp.of(p) if p.is_file() else None for p in places(name)}
                    inputs |= {_inside(place, root): stamp for place, stamp in stamps.items()}
            else:
                usable[name] = (_inside(path, root), seen)
                inputs[_inside(path, root)] = seen.stamp
    if bad and len(bad) == len(names):
        name = next(iter(bad))
        raise UserError(
            f"{rows.named_in[name]}: image {places(name)[0]} {bad[name]}, and so for all "
            f"{len(names):,} images: give the folder that holds them beside the annotations"
        )
    if bad and on_bad == "fail":
        name = next(iter(bad))
        more = f" (and {len(bad) - 1:,} more images)" if len(bad) > 1 else ""
        raise UserError(
            f"{rows.named_in[name]}: image {places(name)[0]} {bad[name]}{more}: "
            f"restore it, or leave its rows out with --set {key}=drop"
        )
    kept = Rows(drops=list(rows.drops))
    for record in rows.records:
        if record.image_path in bad:
            kept.drops.append(Drop.of(record, f"its picture {_kind(bad[record.image_path])}"))
        else:
            path_name, seen = usable[record.image_path]
            whole = replace(record, image_path=path_name, image_sha256=seen.clean_sha256)
            kept.records.append(whole)
    drop_duplicates(kept)  # once more: two files can hold one image
    name_apart(kept)
    return Outcome(kept.records, kept.drops, rows.notes, inputs)


def _inside(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def look_at(path: Path) -> Seen:
    """Read an image once: its stamp, and the hash of its bytes without metadata."""
    try:
        status = path.stat()
        if status.st_size > MAX_BYTES:
            raise ImageError(f"has {status.st_size:,} bytes, over the limit of {MAX_BYTES:,}")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from error
    stamp = Stamp(status.st_size, status.st_mtime_ns, sha256(data).hexdigest())
    return Seen(stamp, sha256(clean_image(data)).hexdigest())


def _kind(problem: str) -> str:
    """A reason without figures, so that equal problems are counted together."""
    for word in ("is not there", "is empty", "is no picture", "is damaged"):
        if problem.startswith(word):
            return word
    return "is too large" if problem.startswith("has") else "cannot be used"
