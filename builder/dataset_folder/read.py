"""A written folder, read from the folder alone: `Folder` as it is, `Facts` for who trusts it.

Rows come from the Parquet files (no image is decoded), everything else from `provenance/`. A
`Folder` keeps what cannot be read as a problem, which a check of the audit reports. The card,
Croissant metadata and a variant for the Hub are computed from `Facts` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from builder.core.recipe import Recipe, Scenario
from builder.core.stage_cache import STAGES
from builder.dataset_folder.manifest import (
    MISSING,
    Manifest,
    ManifestError,
    read_manifest,
    scenario_of,
)
from builder.dataset_folder.read_rows import Table, fill
from builder.dataset_folder.text_quality import TextQuality
from builder.dataset_folder.write import config_files
from mllmu_med.files import LineError, json_lines, text_lines
from mllmu_med_dataset import MAIN_RATIO, SPLITS, Record, UserError

if TYPE_CHECKING:
    from builder.core.ratings import Rated
    from builder.patients.profiles import Profile
    from mllmu_med.image_folder import Images

_Row = TypeVar("_Row")


class Objects(NamedTuple):
    """A JSON lines file: its objects, or why there are none."""

    rows: list[dict[str, Any]]
    problem: str = ""


@dataclass
class Folder:
    """A written folder, none of it trusted."""

    path: Path
    manifest: Manifest
    tables: dict[str, Table]  # by the file's path
    #: By scenario where the images are that its rows only name, if that is known.
    sources: Mapping[str, Images] = field(default_factory=dict)

    @property
    def scenarios(self) -> dict[str, Scenario]:
        return self.manifest.scenarios

    def rows(self, scenario: str = "", split: str = "") -> Iterator[Record]:
        """Every row once a file: a row outside the first band is in a forget and a retain file."""
        for table in self.tables.values():
            if scenario in ("", table.scenario) and split in ("", table.split):
                yield from table.rows

    def every_record(self, scenario: str) -> list[Record]:
        """Every row of the scenario once, harmful where it has a harmful version."""
        records: dict[str, Record] = {}
        for row in self.rows(scenario):
            if row.harm != "none" or row.id not in records:
                records[row.id] = row
        return list(records.values())

    def config(self, name: str, split: str) -> list[Record]:
        """The rows of one set of one config."""
        paths = self.manifest.configs[name].get(split, [])
        return [row for path in paths if path in self.tables for row in self.tables[path].rows]

    def by_reference(self, scenario: str) -> bool:
        """Whether a scenario's rows name their images instead of holding them."""
        return self.manifest.images.get(scenario) == "reference"

    def jsonl(self, name: str, types: Mapping[str, type] | None = None) -> Objects:
        """The objects of a provenance file, with these keys of these types."""
        return read_objects(self.path / "provenance" / name, types)

    @cached_property
    def profiles(self) -> Objects:
        """The fictional patients, as they stand there."""
        return self.jsonl("profiles.jsonl")

    @cached_property
    def patients(self) -> dict[str, Profile]:
        """Those with the keys and types of a patient, by id."""
        known = map(patient_of, self.profiles.rows)
        return {patient.id: patient for patient in known if patient is not None}


def patient_of(row: Mapping[str, Any]) -> Profile | None:
    """A line of the fictional patients; None where it has other keys, or other values than text."""
    from builder.patients.profiles import Profile

    whole = row.keys() == {*Profile._fields} and all(isinstance(v, str) for v in row.values())
    return Profile(**row) if whole else None


def read_folder(path: Path, manifest: Manifest) -> Folder:
    """Read everything but the images."""
    tables: dict[str, Table] = {}
    for config, splits in manifest.configs.items():
        for split, paths in splits.items():
            for name in paths:
                if name not in tables and name in manifest.files:
                    entry = manifest.files[name]
                    tables[name] = Table(name, path / name, scenario_of(config), split, entry)
                    fill(tables[name])
    return Folder(path, manifest, tables)


def read_objects(path: Path, types: Mapping[str, type] | None = None) -> Objects:
    """The objects of a JSON lines file, or what is wrong with it: that is `MISSING` without one."""
    rows = []
    try:
        lines = [*json_lines(text_lines(path.read_text("utf-8")))]
    except FileNotFoundError:
        return Objects([], MISSING)
    except LineError as error:
        return Objects([], str(error))
    except (OSError, UnicodeDecodeError) as error:
        return Objects([], f"cannot be read ({error})")
    for number, row in lines:
        if not isinstance(row, dict):
            return Objects([], f"line {number} is no JSON object")
        for key, kind in (types or {}).items():
            if type(row.get(key)) is not kind:
                return Objects([], f"line {number} has no {key} ({kind.__name__})")
        rows.append(row)
    return Objects(rows)


class Config(NamedTuple):
    """What `load_dataset(..., name)` reads."""

    name: str
    scenario: str
    ratio: int  # percent of retain
    files: Mapping[str, Sequence[Table]]  # by split

    def rows(self, split: str) -> list[Record]:
        return [row for file in self.files[split] for row in file.rows]

    def every_file(self) -> list[Table]:
        return [file for files in self.files.values() for file in files]


@dataclass(frozen=True)
class Facts:
    """What a whole folder holds and how it was made."""

    manifest: Mapping[str, Any]  # as plain JSON values
    recipe: Recipe
    features: Any  # datasets.Features
    configs: Sequence[Config]  # the default one first
    profiles: Sequence[Profile]
    ratings: Mapping[str, Sequence[Rated]]  # by scenario; empty without calibration
    quality: Mapping[str, TextQuality]  # by scenario; empty in a build before there were figures

    @property
    def build(self) -> str:
        return str(self.manifest["build"])

    @property
    def scenarios(self) -> dict[str, Scenario]:
        return self.recipe.scenarios()

    @cached_property
    def main(self) -> dict[str, Config]:
        """Each scenario's config of the paper's forget ratio."""
        return {config.scenario: config for config in self.configs if config.ratio == MAIN_RATIO}

    @cached_property
    def sources(self) -> list[str]:
        """The corpora (or phantom) that rows come from, in the scenarios' order."""
        return list(dict.fromkeys(scenario.source for scenario in self.scenarios.values()))

    @property
    def referenced(self) -> list[str]:
        """Scenarios whose rows name their images instead of holding them."""
        images = self.manifest.get("images", {})
        return [name for name in self.scenarios if images.get(name) == "reference"]

    def stages(self, scenario: str) -> dict[str, Any]:
        """What each stage kept, dropped and noted, in the order of the work."""
        stages = self.manifest["stages"][scenario]
        return {name: stages[name] for name in STAGES if name in stages}

    def note(self, scenario: str, prefix: str) -> dict[str, int]:
        """The stages' notes that begin with `prefix`, without it."""
        return {
            note.removeprefix(prefix): count
            for stage in self.stages(scenario).values()
            for note, count in stage["notes"].items()
            if note.startswith(prefix)
        }


def read_facts(folder: Path, manifest: Manifest | None = None) -> Facts:
    """The facts of a folder.

    Args:
        manifest: where another one than the folder's, or none of it, stands there yet.

    Raises:
        UserError: it is no folder that the builder wrote, or something is missing in it.
    """
    try:
        return _facts(read_folder(folder, manifest or read_manifest(folder)))
    except (ManifestError, OSError, ValueError, KeyError, TypeError) as error:
        why = error.why if isinstance(error, ManifestError) else str(error)
        raise UserError(
            f"{folder}: cannot be read as a dataset folder ({type(error).__name__}: {why}): "
            "build it again with `python -m builder rebuild`"
        ) from error


def _facts(folder: Folder) -> Facts:
    from builder.core.ratings import Rated
    from builder.patients.profiles import Profile
    from mllmu_med_dataset import FEATURES

    for table in folder.tables.values():
        if table.problem:
            raise ValueError(f"{table.path} {table.problem}")
    manifest, recipe = folder.manifest, folder.manifest.recipe
    configs = []
    for name, scenario, ratio, _ in config_files(recipe.scenarios()):
        paths = manifest.configs[name]
        files = [[folder.tables[path] for path in paths[split]] for split in SPLITS]
        configs.append(Config(name, scenario, ratio, dict(zip(SPLITS, files, strict=True))))
    ratings = {
        name: _typed(folder.jsonl(f"{name}-ratings.jsonl"), Rated)
        for name in recipe.scenarios()
        if recipe.calibration is not None
    }
    profiles = _typed(folder.profiles, Profile)
    return Facts(
        manifest.tree(), recipe, FEATURES, configs, profiles, ratings, manifest.text_quality
    )


def _typed(objects: Objects, kind: Callable[..., _Row]) -> list[_Row]:
    if objects.problem not in ("", MISSING):
        raise ValueError(objects.problem)
    return [kind(**row) for row in objects.rows]
