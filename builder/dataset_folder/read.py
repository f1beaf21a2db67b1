"""All that can be told of a published folder, read from the folder alone.

The rows come from the Parquet files (no picture is decoded), everything else from `provenance/`:
the manifest, the fictional patients and the ratings. What a card, Croissant metadata or a variant
for the Hub says is computed from these facts and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from builder.core.recipe import Calibration, Privacy, Recipe, Scenario
from builder.dataset_folder.write import MANIFEST
from mllmu_med.files import read_jsonl
from mllmu_med_dataset import MAIN_RATIO, SPLITS, PiiSpan, Record, UserError, config_name

if TYPE_CHECKING:
    from builder.core.ratings import Rated
    from builder.patients.profiles import Profile


class DataFile(NamedTuple):
    """A Parquet file: its rows, its size on the disk and in `datasets`' cache, its sha256."""

    path: str
    records: list[Record]
    size: int
    cached: int  # bytes in the Arrow cache: every row has its picture there
    sha256: str


class Config(NamedTuple):
    """What `load_dataset(..., name)` reads."""

    name: str
    scenario: str
    ratio: int  # percent of retain
    files: Mapping[str, Sequence[DataFile]]  # by split

    def rows(self, split: str) -> list[Record]:
        return [record for file in self.files[split] for record in file.records]

    def every_file(self) -> list[DataFile]:
        return [file for files in self.files.values() for file in files]


@dataclass(frozen=True)
class Facts:
    """What a published folder holds and how it was made."""

    manifest: Mapping[str, Any]
    recipe: Recipe
    features: Any  # datasets.Features, as the files themselves have them
    configs: Sequence[Config]  # the default one first
    profiles: Sequence[Profile]
    ratings: Mapping[str, Sequence[Rated]]  # by scenario; empty without calibration

    @property
    def build(self) -> str:
        return str(self.manifest["build"])

    @property
    def scenarios(self) -> dict[str, Scenario]:
        return self.recipe.scenarios()

    @cached_property
    def main(self) -> dict[str, Config]:
        """Each scenario's config of the paper's forget ratio."""
        return {one.scenario: one for one in self.configs if one.ratio == MAIN_RATIO}

    @cached_property
    def sources(self) -> list[str]:
        """slake, mm_skin, phantom: those that rows come from, in the scenarios' order."""
        return list(dict.fromkeys(scenario.source for scenario in self.scenarios.values()))

    @property
    def privacy(self) -> Privacy:
        """The recipe of `privacy`, where the folder has it."""
        if self.recipe.privacy is None:
            raise ValueError("no privacy in this dataset")
        return self.recipe.privacy

    @property
    def calibration(self) -> Calibration:
        """How candidates were calibrated, where they were."""
        if self.recipe.calibration is None:
            raise ValueError("this dataset was not calibrated")
        return self.recipe.calibration

    @property
    def referenced(self) -> list[str]:
        """Scenarios whose rows name their pictures instead of holding them."""
        images = self.manifest.get("images", {})
        return [name for name in self.scenarios if images.get(name) == "reference"]

    def records(self, scenario: str) -> list[Record]:
        """Every row of the scenario's files once, harmful where it has a harmful version."""
        found: dict[str, Record] = {}
        for config in (one for one in self.configs if one.scenario == scenario):
            for record in (row for split in SPLITS for row in config.rows(split)):
                if record.harm != "none" or record.id not in found:
                    found[record.id] = record
        return list(found.values())

    def stages(self, scenario: str) -> dict[str, Any]:
        """What each stage kept, dropped and noted, in the order of the work."""
        from builder.core.plan import STAGES

        told = self.manifest["stages"][scenario]
        return {name: told[name] for name in STAGES if name in told}

    def note(self, scenario: str, prefix: str) -> dict[str, int]:
        """The stages' notes that begin with `prefix`, without it."""
        return {
            note.removeprefix(prefix): count
            for stage in self.stages(scenario).values()
            for note, count in stage["notes"].items()
            if note.startswith(prefix)
        }


def read_facts(folder: Path) -> Facts:
    """Read a published folder.

    Raises:
        UserError: it is no folder that the builder wrote, or something is missing in it.
    """
    from builder.core.ratings import Rated
    from builder.patients.profiles import Profile

    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        recipe = Recipe.model_validate(manifest["recipe"])
        files, features = _data_files(folder, manifest)
        provenance = folder / "provenance"
        profiles = [Profile(**row) for row in _rows(provenance / "profiles.jsonl")]
        ratings = {
            name: [Rated(**row) for row in _rows(provenance / f"{name}-ratings.jsonl")]
            for name in recipe.scenarios()
            if recipe.calibration is not None
        }
        configs = [
            Config(
                name,
                scenario,
                ratio,
                {s: [files[path] for path in manifest["configs"][name][s]] for s in SPLITS},
            )
            for name, scenario, ratio in _ordered(recipe)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: cannot be read as a published dataset ({type(error).__name__}: {error}): "
            "build it again with `python -m builder rebuild`"
        ) from error
    return Facts(manifest, recipe, features, configs, profiles, ratings)


def _ordered(recipe: Recipe) -> Iterator[tuple[str, str, int]]:
    """Every config with its scenario and ratio, the main one of each scenario first."""
    for name, scenario in recipe.scenarios().items():
        for ratio in sorted(scenario.ratios, key=lambda ratio: (ratio != MAIN_RATIO, ratio)):
            yield config_name(name, ratio / 100), name, ratio


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    return read_jsonl(path) if path.is_file() else iter(())


def _data_files(folder: Path, manifest: Mapping[str, Any]) -> tuple[dict[str, DataFile], Any]:
    import datasets
    import pyarrow.parquet as pq

    paths = {p for splits in manifest["configs"].values() for some in splits.values() for p in some}
    files: dict[str, DataFile] = {}
    features: Any = None
    for path in sorted(paths):
        entry = manifest["files"][path]
        features = datasets.Features.from_arrow_schema(pq.read_schema(folder / path))
        with pq.ParquetFile(folder / path, read_dictionary=["image.bytes"]) as parquet:
            texts = parquet.read([name for name in features if name != "image"])
            cached = texts.nbytes + sum(
                _picture_bytes(parquet.read_row_group(group, ["image"]))
                for group in range(parquet.num_row_groups)
            )
        records = [_record(row) for row in texts.to_pylist()]
        files[path] = DataFile(path, records, entry["bytes"], cached, entry["sha256"])
    return files, features


def _picture_bytes(table: Any) -> int:
    """What a column of pictures takes when each row has its own copy."""
    import pyarrow as pa
    import pyarrow.compute as pc

    total = 0
    for chunk in table.column("image").chunks:
        data, path = chunk.field("bytes"), chunk.field("path")
        lengths = pc.binary_length(data.dictionary if pa.types.is_dictionary(data.type) else data)
        if pa.types.is_dictionary(data.type):
            lengths = lengths.take(data.indices)
        total += (pc.sum(lengths).as_py() or 0) + 4 * len(chunk) + path.nbytes
    return total


def _record(row: dict[str, Any]) -> Record:
    known = {name: value for name, value in row.items() if name in Record.__slots__}
    return Record(
        **{"image_path": "", **known, "pii": tuple(PiiSpan(**span) for span in row["pii"])}
    )
