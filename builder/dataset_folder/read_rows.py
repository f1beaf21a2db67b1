"""The rows of a Parquet file as the builder writes them, or what is wrong with the file."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from builder.dataset_folder.manifest import MISSING, FileEntry
from mllmu_med.errors import first_line
from mllmu_med_dataset import PiiSpan, Record


@dataclass
class Table:
    """A Parquet file of a config: its rows without images, or why there are none."""

    path: str
    file: Path
    scenario: str
    split: str
    entry: FileEntry  # the manifest's
    rows: list[Record] = field(default_factory=list)  # of this split
    problem: str = ""
    nulls: list[str] = field(default_factory=list)  # ids of rows in which a value is missing
    metadata: list[str] = field(default_factory=list)  # texts of the file's own metadata
    images: set[str] = field(default_factory=set)  # paths inside the column `image`
    text_bytes: int = 0  # of all columns but the image, in memory

    @cached_property
    def cached(self) -> int:
        """Bytes in `datasets`' cache, where every row has its image."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        total = self.text_bytes
        with pq.ParquetFile(self.file, read_dictionary=["image.bytes"]) as file:
            for group in range(file.num_row_groups):
                for chunk in file.read_row_group(group, ["image"]).column("image").chunks:
                    images, paths = chunk.field("bytes"), chunk.field("path")
                    lengths = pc.binary_length(images.dictionary).take(images.indices)
                    total += (pc.sum(lengths).as_py() or 0) + 4 * len(chunk) + paths.nbytes
        return total


def fill(table: Table) -> None:
    """Read a table's rows and texts, or say in it why it has none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mllmu_med_dataset import FEATURES

    try:
        with pq.ParquetFile(table.file) as file:
            schema = file.schema_arrow
            meta = (schema.metadata or {}).values()
            table.metadata = [value.decode("utf-8", "replace") for value in meta]
            table.metadata.append(file.metadata.created_by or "")
            table.problem = _schema_problem(schema)
            if table.problem:
                return
            texts = file.read(columns=[column for column in FEATURES if column != "image"])
            images = file.read(columns=["image.path"]).column("image").to_pylist()
    except FileNotFoundError:
        table.problem = MISSING
    except (OSError, ValueError, pa.ArrowException) as error:
        table.problem = f"cannot be read ({first_line(error)})"
    else:
        table.rows = [_record(row, table) for row in texts.to_pylist()]
        table.images = {str((image or {}).get("path") or "") for image in images} - {""}
        table.text_bytes = texts.nbytes


def _record(row: dict[str, Any], table: Table) -> Record:
    whole = {n: _EMPTY.get(n, "") if value is None else value for n, value in row.items()}
    spans = [span for span in whole["pii"] if span and None not in span.values()]
    if None in row.values() or len(spans) < len(whole["pii"]):
        table.nulls.append(str(row["id"]))
    whole["pii"] = tuple(PiiSpan(**span) for span in spans)
    return Record(**whole, split=table.split)


#: What stands for a value that is missing.
_EMPTY: Final[dict[str, Any]] = {"pii": [], "calibration": 0, "rank": -1, "round": 0}


def _schema_problem(schema: Any) -> str:
    import datasets

    from mllmu_med_dataset import FEATURES

    expected = FEATURES.arrow_schema
    for name in expected.names:
        if name not in schema.names:
            return f"has no column {name}"
        if schema.field(name).type != expected.field(name).type:
            return f"column {name} is {schema.field(name).type}, not {expected.field(name).type}"
    extra = [name for name in schema.names if name not in expected.names]
    if extra:
        return f"has a column {extra[0]}, which the schema does not know"
    if schema.names != expected.names:
        return "has its columns in another order"
    if datasets.Features.from_arrow_schema(schema) != FEATURES:
        return "its metadata describes other features"
    return ""
