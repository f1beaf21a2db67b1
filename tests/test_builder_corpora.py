"""The mappings that are shipped, each on a tiny folder in its corpus' layout, with its traps.

No row is a corpus' own: texts are made up.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cases import cases
from corpora import image_data

from builder.core.corpus import PHANTOM, TABLE, Corpus, about, publishing, shipped, shipped_mapping
from builder.ingest.table import read

CASES = cases(__file__)


def laid_out(case: dict[str, Any], root: Path) -> None:
    for number, path in enumerate([*case["files"], *case["images"]]):
        place, rows = root / path, case["files"].get(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == ".parquet":
            kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
            schema = pa.schema({"image": kind, "question": pa.string(), "answer": pa.string()})
            for row in rows:
                row["image"]["bytes"] = image_data(7)
            pq.write_table(pa.Table.from_pylist(rows, schema), place)
        elif rows is None:
            place.write_bytes(image_data(number))
        else:
            place.write_text(rows if isinstance(rows, str) else json.dumps(rows), "utf-8")


@pytest.mark.parametrize("name", CASES)
def test_a_shipped_mapping_reads_its_layout(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    laid_out(case, tmp_path / "corpus")
    corpus = Corpus(name, tmp_path / "corpus", shipped_mapping(name))
    outcome = read(corpus, tmp_path / "work", "fail", b"key")
    kept = [
        (row.question, row.answer, row.split, row.content_type, row.modality, row.context)
        for row in outcome.kept
    ]
    told = [
        [*row.split("|"), *["", "", "", "unknown", ""][row.count("|") :]] for row in case["rows"]
    ]
    assert sorted(kept) == sorted(map(tuple, told))
    assert all(row.id.startswith(f"{row.image_id}/") for row in outcome.kept)
    assert all(row.image_id.startswith(f"{name}/") for row in outcome.kept)
    assert outcome.notes == case.get("notes", {})
    assert [drop.reason for drop in outcome.drops] == case.get("drops", [])


def test_each_corpus_says_what_is_known_of_it() -> None:
    assert {*CASES} == {*shipped()} - {"slake", "mm_skin"}
    for name in (*shipped(), PHANTOM, TABLE):
        known = about(name)
        assert known.licence_url.startswith("https://")
        assert not (known.licence == "other" and publishing(name) == "embed")
        if name not in (PHANTOM, TABLE):
            assert known.bibtex.count("{") == known.bibtex.count("}") > 3
            assert shipped_mapping(name).names == "kept"
