"""A published folder, read: manifest, card, rows without their pictures, profiles.

Nothing here trusts the folder: what cannot be read is kept as a problem, which a check reports.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ValidationError, field_validator

from builder.core.recipe import Recipe, Scenario
from mllmu_med.files import text_lines
from mllmu_med.image_bytes import PictureError, check_relative
from mllmu_med.image_folder import Images
from mllmu_med_dataset import CONFIGS, SPLITS, PiiSpan, Record

#: A published row; `split` is the set that its file belongs to.
Row = Record


class FileEntry(BaseModel):
    bytes: int
    sha256: str
    rows: int | None = None  # of data files


class StageCounts(BaseModel):
    kept: int
    dropped: dict[str, int]
    notes: dict[str, Any] = {}


class Reviewed(BaseModel):
    """What the manifest says of one scenario's review by people."""

    mode: Literal["people", "accept-all"]
    items: int
    accepted: int
    edited: int
    rejected: dict[str, int] = {}
    unseen: int = 0


class Manifest(BaseModel):
    """`provenance/manifest.json`, as far as it is looked at."""

    build: str
    recipe: Recipe
    configs: dict[str, dict[str, list[str]]]
    pictures: dict[str, int]
    stages: dict[str, dict[str, StageCounts]]
    files: dict[str, FileEntry]
    versions: dict[str, str]
    images: dict[str, Literal["embed", "reference"]] = {}
    review: dict[str, Reviewed] = {}

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            try:
                check_relative(name)
            except PictureError as error:
                raise ValueError(f"{name!r} {error}") from error
        return files

    @field_validator("configs")
    @classmethod
    def _known(cls, configs: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
        for name, splits in configs.items():
            if scenario_of(name) not in CONFIGS or not splits.keys() <= {*SPLITS}:
                raise ValueError(f"{name}: no config of this dataset")
        return configs

    @classmethod
    def read(cls, path: Path) -> Self | str:
        """The manifest, or why it cannot be used."""
        try:
            return cls.model_validate(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            return "is not there"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            return f"{place}: {first['msg']}" if place else first["msg"]
        except (ValueError, RecursionError) as error:  # no UTF-8, no JSON
            return f"is no JSON ({error})"

    @property
    def scenarios(self) -> dict[str, Scenario]:
        return self.recipe.scenarios()


def scenario_of(config: str) -> str:
    """The scenario that a config is a forget ratio of: `privacy_r05` belongs to `privacy`."""
    return config.partition("_")[0]


@dataclass
class Table:
    """A Parquet file of a config: its rows without pictures, or why there are none."""

    path: str
    scenario: str
    split: str
    rows: list[Row] = field(default_factory=list)
    problem: str = ""
    nulls: list[str] = field(default_factory=list)  # ids of rows in which a value is missing
    metadata: list[str] = field(default_factory=list)  # texts of the file's own metadata
    pictures: set[str] = field(default_factory=set)  # paths inside the column `image`


@dataclass
class Folder:
    path: Path
    manifest: Manifest
    images: Mapping[str, Images]  # by scenario: the source's pictures, where they are given
    tables: dict[str, Table]
    profiles: list[dict[str, Any]]
    profiles_problem: str

    @property
    def scenarios(self) -> dict[str, Scenario]:
        return self.manifest.scenarios

    def rows(self, scenario: str = "", split: str = "") -> Iterator[Row]:
        """Every row once a file: a row outside the first band is in a forget and a retain file."""
        for table in self.tables.values():
            if scenario in ("", table.scenario) and split in ("", table.split):
                yield from table.rows

    def config(self, name: str, split: str) -> list[Row]:
        """The rows of one set of one config."""
        paths = self.manifest.configs[name].get(split, [])
        return [row for path in paths if path in self.tables for row in self.tables[path].rows]

    def by_reference(self, scenario: str) -> bool:
        return self.manifest.images.get(scenario) == "reference"

    def jsonl(self, name: str) -> list[dict[str, Any]] | str | None:
        """The objects of a provenance file; None where there is none, or why it cannot be read."""
        return read_objects(self.path / "provenance" / name)


def read_objects(path: Path) -> list[dict[str, Any]] | str | None:
    """The objects of a JSON lines file, None when it is not there, or what is wrong with it."""
    try:
        lines = text_lines(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read ({error})"
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            return f"line {number} is no JSON ({error})"
        if not isinstance(row, dict):
            return f"line {number} is no JSON object"
        rows.append(row)
    return rows


def read_folder(path: Path, manifest: Manifest, images: Mapping[str, Images]) -> Folder:
    """Read everything but the pictures."""
    tables: dict[str, Table] = {}
    for config, splits in manifest.configs.items():
        for split, paths in splits.items():
            for name in paths:
                if name not in tables and name in manifest.files:
                    tables[name] = _read_table(path / name, name, scenario_of(config), split)
    profiles = read_objects(path / "provenance/profiles.jsonl")
    problem = profiles if isinstance(profiles, str) else "" if profiles else "is not there"
    return Folder(
        path, manifest, images, tables, profiles if isinstance(profiles, list) else [], problem
    )


def _read_table(path: Path, name: str, scenario: str, split: str) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mllmu_med_dataset import FEATURES

    table = Table(name, scenario, split)
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            meta = schema.metadata or {}
            table.metadata = [
                *(value.decode("utf-8", "replace") for value in meta.values()),
                file.metadata.created_by or "",
            ]
            table.problem = _schema_problem(schema)
            if table.problem:
                return table
            columns = [column for column in FEATURES if column != "image"]
            read = file.read(columns=columns).to_pylist()
            paths = file.read(columns=["image.path"]).column("image").to_pylist()
    except FileNotFoundError:
        table.problem = "is not there"
    except (OSError, ValueError, pa.ArrowException) as error:
        table.problem = f"cannot be read ({str(error).splitlines()[0]})"
    else:
        for row, picture in zip(read, paths, strict=True):
            table.rows.append(_record(row, table))
            table.pictures |= {str((picture or {}).get("path") or "")} - {""}
    return table


def _record(row: dict[str, Any], table: Table) -> Row:
    whole = {name: _filled(name, value) for name, value in row.items()}
    spans = [span for span in whole["pii"] if span and None not in span.values()]
    if None in row.values() or len(spans) < len(whole["pii"]):
        table.nulls.append(str(row["id"]))
    whole["pii"] = tuple(PiiSpan(**span) for span in spans)
    return Record(**whole, split=table.split)


def _filled(name: str, value: Any) -> Any:
    if value is not None:
        return value
    return {"pii": [], "calibration": 0, "rank": -1, "round": 0}.get(name, "")


def _schema_problem(schema: Any) -> str:
    import datasets

    from mllmu_med_dataset import FEATURES

    wanted = FEATURES.arrow_schema
    for name in wanted.names:
        if name not in schema.names:
            return f"has no column {name}"
        if schema.field(name).type != wanted.field(name).type:
            return f"column {name} is {schema.field(name).type}, not {wanted.field(name).type}"
    extra = [name for name in schema.names if name not in wanted.names]
    if extra:
        return f"has a column {extra[0]}, which the schema does not know"
    if schema.names != wanted.names:
        return "has its columns in another order"
    if datasets.Features.from_arrow_schema(schema) != FEATURES:
        return "its metadata describes other features"
    return ""
