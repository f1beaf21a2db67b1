"""Files: listed, whole, of the schema; the card's configs, and that `datasets` reads them."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from builder.audit.run_checks import Check
from builder.dataset_folder.manifest import Manifest
from builder.dataset_folder.read import Folder
from builder.dataset_folder.write import MANIFEST, config_files
from builder.dataset_folder.write_card import EVAL
from mllmu_med.card_head import (
    CARD,
    CardHeadError,
    data_files,
    load_arguments,
    read_card_head,
)
from mllmu_med.disk import refused
from mllmu_med.files import file_digest

#: What the Hub and its client put beside the files.
_HUB: Final = (".gitattributes", ".cache/")
#: No pickle, script or archive: opening this dataset runs nobody's code.
_DATA: Final = frozenset({".parquet", ".json", ".jsonl", ".md", ".png"})
#: What `datasets` raises besides its own errors at a card that it cannot use.
_UNUSABLE: Final = (OSError, ValueError, LookupError, TypeError, AttributeError)
_LEFTOVER: Final = re.compile(
    r"\[More Information Needed\]|\bTODO\b|\bFIXME\b|\bTBD\b|\{\{ [a-z_]+|\{% |\blorem ipsum\b|"
    r"<!--|\[(?:insert|your|name of)\b[^\]]*\]",
    re.IGNORECASE,
)


def contents(path: Path, manifest: Manifest) -> Iterator[Check]:
    """What needs no more than the manifest and the bytes."""
    failed = []
    for name, entry in manifest.files.items():
        file = path / name
        if not file.is_file():
            failed.append(f"{name}: is not there")
        elif file.stat().st_size != entry.bytes:
            failed.append(f"{name}: {file.stat().st_size:,} bytes, not {entry.bytes:,}")
        elif file_digest(file) != entry.sha256:
            failed.append(f"{name}: other bytes than the manifest's sha256")
    yield Check("hashes match the manifest", len(manifest.files), failed)
    every = [file for file in path.rglob("*") if file.is_symlink() or not file.is_dir()]
    there = sorted(file.relative_to(path).as_posix() for file in every)
    there = [name for name in there if not name.startswith(_HUB)]
    named = {*manifest.files, MANIFEST}
    extra = [f"{name}: the manifest does not name it" for name in there if name not in named]
    yield Check("no file that the manifest does not name", len(there), extra)
    data = [name for name in there if Path(name).suffix in _DATA or name == EVAL]
    code = [f"{name}: is no data file" for name in there if name not in data]
    yield Check("files are data, no code", len(there), code)


def checks(folder: Folder) -> Iterator[Check]:
    manifest, tables = folder.manifest, folder.tables
    bad = [f"{name}: {table.problem}" for name, table in tables.items() if table.problem]
    yield Check("Parquet files are readable and of the schema", len(tables), bad)
    expected = {config.name: config.files for config in config_files(folder.scenarios)}
    other = [f"{name}: is not there" for name in expected if name not in manifest.configs]
    other += [f"{name}: is not wanted" for name in manifest.configs if name not in expected]
    other += [
        f"{name}: reads other files"
        for name, files in manifest.configs.items()
        if files != expected.get(name, files)
    ]
    yield Check("configs of the manifest are the recipe's", len(expected), other)
    name = "configs of the card are the manifest's"
    try:
        head = read_card_head(folder.path)
    except CardHeadError as error:
        yield Check(name, 1, [f"README.md: {error}"])
        return
    yield Check(name, len(manifest.configs), list(_card_failures(folder, head)))
    build = manifest.made_build()
    failed = [] if build == manifest.build else [f"{manifest.build}: the files make {build}"]
    yield Check("build id is made of the files", len(manifest.data), failed)
    text = (folder.path / CARD).read_text("utf-8")
    card = [f"README.md: {left}" for left in sorted({m[0] for m in _LEFTOVER.finditer(text)})]
    if not head.get("license"):
        card.append("README.md: names no license")
    yield Check("card is finished and names a license", 1, card)
    yield _loads(folder)


def _card_failures(folder: Folder, head: dict[str, Any]) -> Iterator[str]:
    manifest = folder.manifest
    entries = {str(c.get("config_name")): c for c in head["configs"] if isinstance(c, dict)}
    if len(entries) != len(head["configs"]):
        yield "README.md: two configs of one name, or one without"
    for name, splits in manifest.configs.items():
        if name not in entries:
            yield f"{name}: the card does not have it"
            continue
        entry = entries[name]
        if data_files({"configs": [entry]}, name) != splits:
            yield f"{name}: the card names other files"
        if manifest.build not in f"{entry.get('description')} {entry.get('version')}":
            yield f"{name}: no build {manifest.build}: datasets would serve an older one's rows"
    for name in entries.keys() - manifest.configs.keys():
        yield f"{name}: the manifest does not have it"
    default = [name for name, entry in entries.items() if entry.get("default")]
    if len(default) != 1:
        yield f"README.md: {len(default)} default configs, not one"


def _loads(folder: Folder) -> Check:
    """Every config through `load_dataset`, in a cache that nothing has been in."""
    import datasets
    import pyarrow as pa
    import yaml

    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    failed = []
    try:
        for name in folder.manifest.configs:
            with tempfile.TemporaryDirectory() as cache:
                try:
                    what = load_arguments(folder.path, name)
                    data = datasets.load_dataset(**what, cache_dir=cache, columns=["id"])
                    ids = {split: list(rows["id"]) for split, rows in data.items()}
                except (
                    datasets.exceptions.DatasetsError,
                    pa.ArrowException,
                    yaml.YAMLError,
                    *_UNUSABLE,
                ) as error:
                    if refused(error):  # the disk of the cache: nothing is wrong with the folder
                        raise
                    reason = str(error).strip().splitlines() or [type(error).__name__]
                    failed.append(f"{name}: does not load ({reason[0]})")
                    continue
            for split in folder.manifest.configs[name]:
                if ids.get(split) != [row.id for row in folder.config(name, split)]:
                    failed.append(f"{name}: {split} loads other rows than its files hold")
    finally:
        if not bars:
            datasets.enable_progress_bars()
    return Check("configs load", len(folder.manifest.configs), failed)
