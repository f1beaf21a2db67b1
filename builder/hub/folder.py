"""The folder as it goes to the Hub: images in it or named by path and hash, the card for it."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from builder.core.corpus import publishing
from builder.dataset_folder import shipped_requests as shipped
from builder.dataset_folder.manifest import FileEntry, Manifest
from builder.dataset_folder.write import file_entry, parquet_writer
from mllmu_med.disk import writing
from mllmu_med.files import hidden
from mllmu_med.folders import make_folder
from mllmu_med.locks import lock_file
from mllmu_med_dataset import UsageError, UserError

MODES: Final = ("embed", "reference")


def image_modes(
    given: str | None, sources: Mapping[str, str], held: Mapping[str, str]
) -> dict[str, str]:
    """How each scenario's images go out, by `--images privacy=embed,incorrect=reference`.

    Args:
        sources: the source of each scenario.
        held: how the folder has the images.

    Raises:
        UsageError: an unknown scenario or mode, one named twice, or images to embed that the
            folder only names.
    """
    modes: dict[str, str] = {
        name: "reference" if held.get(name) == "reference" else publishing(source)
        for name, source in sources.items()
    }
    chosen: set[str] = set()
    for choice in (given or "").split(",") if given is not None else ():
        name, _, mode = choice.strip().partition("=")
        if name not in sources or mode not in MODES:
            raise UsageError(
                f"--images {choice.strip() or given!r}: write SCENARIO=MODE with SCENARIO "
                f"{' or '.join(sources)} and MODE {' or '.join(MODES)}, separated by commas"
            )
        if name in chosen:
            raise UsageError(f"--images: {name} is given twice")
        if mode == "embed" and held.get(name) == "reference":
            raise UsageError(
                f"--images {name}=embed: the folder only names these images: build it again from "
                "their source"
            )
        chosen.add(name)
        modes[name] = mode
    return modes


def check_kept_back(modes: Mapping[str, str], chosen: str, held: Mapping[str, str]) -> None:
    """Raise UserError where images would be embedded that the Hub's build only names.

    What has been handed on cannot be taken back: an option that was left out this time must not
    do it, only `--images` may say so.

    Args:
        chosen: `--images` as it was given.
        held: how the build that the repository holds has them.
    """
    said = {choice.partition("=")[0].strip() for choice in chosen.split(",")}
    for name, mode in modes.items():
        if mode == "embed" and held.get(name) == "reference" and name not in said:
            raise UserError(
                f"{name}: the Hub's build names its images by reference, this would hand them "
                f"on: say --images {name}=reference to keep it so, or --images {name}=embed"
            )


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """An empty hidden folder beside a dataset's, for one command at a time, gone afterwards."""
    place = hidden(folder, "hub")
    make_folder(folder.parent, "the folder that goes to the Hub")
    with lock_file(hidden(folder, "lock"), folder, instead="publish another folder"):
        shutil.rmtree(place, ignore_errors=True)  # of a push that was killed
        try:
            place.mkdir()
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def make_variant(
    folder: Path,
    manifest: Manifest,
    target: Path,
    modes: Mapping[str, str],
    *,
    repo: str,
    gated: str | None,
    results: Mapping[str, Any] | None,
) -> Manifest:
    """Write the folder that goes to the Hub; its manifest.

    Files that stay as they are share their bytes on the disk with the folder's.

    Args:
        folder: as the builder wrote it, with its manifest.
        target: an empty folder.
        modes: by scenario (`image_modes`).
        repo, gated, results: what the card says of the repository.
    """
    from builder.dataset_folder.write_card import write_card

    cut = {name for name, mode in modes.items() if mode != manifest.images.get(name, "embed")}
    files: dict[str, FileEntry] = {}
    left_out = 0
    for name, entry in manifest.files.items():
        source, place = folder / name, target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet") and name.partition("/")[0] in cut:
            without_images(source, place)
        elif name == shipped.REQUESTS and "reference" in modes.values():
            left_out = shipped.leave_out(source, place, shipped.tells_caption)
        if place.exists():
            entry = entry.model_copy(update=file_entry(place))
        else:
            _share(source, place)
        files[name] = entry
    changes: dict[str, Any] = {"images": dict(modes), "files": files}
    if left_out:
        changes["left_out"] = shipped.add_left_out(manifest.left_out, left_out, shipped.CAPTIONS)
    made = manifest.model_copy(update=changes).rebuilt()
    return write_card(target, made, repo=repo, gated=gated, results=results)


def without_images(source: Path, target: Path) -> None:
    """The same rows with `image` null: each names its image by `image_path` and its hash."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source)
    schema = file.schema_arrow
    others = [name for name in schema.names if name != "image"]
    with writing(target, half=target) as asked, parquet_writer(target, schema) as writer:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=others)
            column = pa.nulls(rows.num_rows, schema.field("image").type)
            table = rows.append_column("image", column).select(schema.names)
            asked.append(table.nbytes)
            writer.write_table(table.cast(schema), row_group_size=rows.num_rows)


def _share(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError:  # a file system without hard links
        with writing(place, source.stat().st_size, half=place):
            shutil.copyfile(source, place)
