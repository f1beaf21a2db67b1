"""Writing the dataset folder: Parquet files and what lies beside them.

Each distinct image is stored once for all its rows of a file (again only where they cross two row
groups): rows are sorted by image and the bytes are dictionary-encoded. The folder is built beside
its place, and only then moved there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from builder.core.recipe import Scenario
from builder.split import Band, bands
from mllmu_med.disk import writing
from mllmu_med.files import digest, file_digest
from mllmu_med.progress import progress
from mllmu_med_dataset import MAIN_RATIO, SPLITS, Record, UserError, config_name

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from builder.dataset_folder.manifest import AnyBuild

VERSION: Final = 2
ROW_GROUP_ROWS: Final = 500
# A row group of 2 GiB of logical bytes is written without complaint and can then not be loaded.
ROW_GROUP_BYTES: Final = 256 * 2**20
MANIFEST: Final = "provenance/manifest.json"


class Part(NamedTuple):
    """One scenario, ready to be written."""

    name: str
    scenario: Scenario
    records: list[Record]  # out of the stage `split`
    read_image: Callable[[Record], bytes]


class DataFile(NamedTuple):
    """A Parquet file and its rows, sorted by (image_id, id)."""

    path: str
    records: list[Record]


class ConfigFiles(NamedTuple):
    """What `load_dataset(..., name)` reads, by split."""

    name: str
    scenario: str
    ratio: int  # percent of retain
    files: dict[str, list[str]]


def data_files(part: Part) -> list[DataFile]:
    """The files of one scenario: each band harmful and clean, retain and test."""
    by_split: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for record in sorted(part.records, key=lambda record: (record.image_id, record.id)):
        by_split[record.split].append(record)
    files = []
    for band in bands(part.scenario):
        rows = [row for row in by_split["forget"] if band.start <= row.rank < band.end]
        files.append(DataFile(_forget_path(part.name, band), rows))
        if band.start > 0:  # a row of the first band is never retained
            clean = [record.cleaned() for record in rows]
            files.append(DataFile(f"{part.name}/retain-{band.name}.parquet", clean))
    files.append(DataFile(_retain_path(part.name, part.scenario), by_split["retain"]))
    files.append(DataFile(f"{part.name}/test.parquet", by_split["test"]))
    return files


def config_files(scenarios: Mapping[str, Scenario]) -> list[ConfigFiles]:
    """One config a ratio, composed of the same files; the main one of each scenario first."""
    configs = []
    for name, scenario in scenarios.items():
        cut = bands(scenario)
        for ratio in sorted(scenario.ratios, key=lambda ratio: (ratio != MAIN_RATIO, ratio)):
            forget = scenario.forget_at(ratio)
            files = {
                "forget": [_forget_path(name, band) for band in cut if band.end <= forget],
                "retain": [
                    _retain_path(name, scenario),
                    *(f"{name}/retain-{b.name}.parquet" for b in cut if b.start >= forget),
                ],
                "test": [f"{name}/test.parquet"],
            }
            configs.append(ConfigFiles(config_name(name, ratio / 100), name, ratio, files))
    return configs


def _forget_path(name: str, band: Band) -> str:
    return f"{name}/forget-{band.name}.parquet" if band.name else f"{name}/forget.parquet"


def _retain_path(name: str, scenario: Scenario) -> str:
    core = "-core" if len(scenario.ratios) > 1 else ""
    return f"{name}/retain{core}.parquet"


def write_data(folder: Path, parts: Sequence[Part]) -> dict[str, dict[str, Any]]:
    """Write every Parquet file; the manifest's entry (rows, bytes, sha256) by path."""
    listed = [(part, file) for part in parts for file in data_files(part)]
    entries = {}
    with progress("writing rows", sum(len(file.records) for _, file in listed)) as advance:
        for part, file in listed:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_parquet(path, file.records, part.read_image, advance)
            entries[file.path] = {"rows": len(file.records), **file_entry(path)}
    return entries


def file_entry(path: Path) -> dict[str, Any]:
    """What the manifest tells of any file."""
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def _write_parquet(
    path: Path,
    records: Sequence[Record],
    read_image: Callable[[Record], bytes],
    advance: Callable[[int], None],
) -> None:
    import pyarrow as pa

    from mllmu_med_dataset import FEATURES

    schema = FEATURES.arrow_schema
    with writing(path, half=path) as asked, parquet_writer(path, schema) as writer:
        for rows in _row_groups(records, read_image):
            images = {row["image"]["path"]: len(row["image"]["bytes"]) for row in rows}
            asked.append(sum(images.values()))  # each once; texts are few beside them
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=len(rows))
            advance(len(rows))


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Writes rows as every data file holds them: each image once for all its rows of a group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    # The leaf columns, e.g. pii.list.element.kind, as Parquet names them.
    leaves = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    names = [leaves.column(index).path for index in range(len(leaves.names))]
    return pq.ParquetWriter(
        path,
        schema,
        use_dictionary=True,
        dictionary_pagesize_limit=1 << 30,
        # Images are compressed already; left alone, an edited text moves no image bytes on
        # storage that stores equal chunks once.
        compression={name: "none" if name == "image.bytes" else "zstd" for name in names},
        write_page_index=True,
    )


def _row_groups(
    records: Sequence[Record], read_image: Callable[[Record], bytes]
) -> Iterator[list[dict[str, Any]]]:
    from mllmu_med_dataset import FEATURES

    rows: list[dict[str, Any]] = []
    size = 0
    path, data = "", b""
    for record in records:
        if record.image_path != path:
            path, data = record.image_path, read_image(record)
        if rows and (len(rows) == ROW_GROUP_ROWS or size + len(data) > ROW_GROUP_BYTES):
            yield rows
            rows, size = [], 0
        row = record.to_json()
        row["image"] = {"bytes": data, "path": path}
        rows.append({name: row[name] for name in FEATURES})
        size += len(data)
    if rows:
        yield rows


def build_id(hashes: Mapping[str, str], configs: Mapping[str, Any]) -> str:
    """Twelve hex digits that change whenever a row, a file or a config does.

    Args:
        hashes: the sha256 of every data file.
        configs: the files of every config by split, in the order of `config_files`.
    """
    listed = [{"name": name, "files": files} for name, files in configs.items()]
    return digest([VERSION, dict(hashes), listed])[:12]


def check_target(out: Path, build: AnyBuild | None) -> None:
    """Raise UserError where a target holds anything but this build of ours."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file: choose another --out")
    if out.is_mount():  # it cannot be moved away for the new folder
        raise UserError(
            f"{out}: a file system is mounted here: name a folder in it, e.g. --out {out / 'data'}"
        )
    if not out.exists():
        return
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    if there and build is None:
        raise UserError(
            f"{out}: holds {min(there)} and is no dataset of ours: choose another --out or empty it"
        )
    foreign = there - set(build.files if build else ()) - {MANIFEST}
    if foreign:
        raise UserError(
            f"{out}: holds {min(foreign)}, which the builder did not write: move it away or choose "
            "another --out"
        )


def copy_into(folder: Path, files: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Copy provenance files; their manifest entries by path."""
    entries = {}
    for name, source in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with writing(target, source.stat().st_size):
            shutil.copyfile(source, target)
        entries[name] = file_entry(target)
    return entries
