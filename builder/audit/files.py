"""Files: listed, whole, of the schema; the card's configs, and that `datasets` reads them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from builder.audit.folder import Folder, Manifest
from builder.audit.run_checks import Check
from builder.dataset_folder import write
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
    there = sorted(
        name
        for name in (
            file.relative_to(path).as_posix() for file in path.rglob("*") if not _is_folder(file)
        )
        if not name.startswith(_HUB)
    )
    named = {*manifest.files, write.MANIFEST}
    extra = [f"{name}: the manifest does not name it" for name in there if name not in named]
    yield Check("no file that the manifest does not name", len(there), extra)
    code = [f"{name}: is no data file" for name in there if Path(name).suffix not in _DATA]
    yield Check("files are data, no code", len(there), code)


def _is_folder(file: Path) -> bool:
    return file.is_dir() and not file.is_symlink()


def checks(folder: Folder) -> Iterator[Check]:
    manifest, tables = folder.manifest, folder.tables
    bad = [f"{name}: {table.problem}" for name, table in tables.items() if table.problem]
    yield Check("Parquet files are readable and of the schema", len(tables), bad)
    wanted = _layout(manifest)
    yield _listed("configs of the manifest are the recipe's", manifest.configs, wanted)
    front, text = _card(folder.path)
    if isinstance(front, str):
        yield Check("configs of the card are the manifest's", 1, [f"README.md: {front}"])
        return
    yield Check(
        "configs of the card are the manifest's",
        len(manifest.configs),
        list(_card_failures(folder, front)),
    )
    yield _build(manifest, front)
    left = sorted({match[0] for match in _LEFTOVER.finditer(text)})
    card = [f"README.md: {what}" for what in left]
    if not front.get("license"):
        card.append("README.md: names no license")
    yield Check("card is finished and names a license", 1, card)
    yield _loads(folder, front)


def _layout(manifest: Manifest) -> dict[str, dict[str, list[str]]]:
    """The configs that the recipe's ratios make, with their files."""
    parts = [write.Part(name, one, [], lambda _: b"") for name, one in manifest.scenarios.items()]
    return {config.name: config.files for part in parts for config in write.config_files(part)}


def _listed(name: str, found: dict[str, Any], wanted: dict[str, Any]) -> Check:
    failed = [f"{key}: is not there" for key in wanted if key not in found]
    failed += [f"{key}: is not wanted" for key in found if key not in wanted]
    failed += [f"{key}: reads other files" for key in found if found[key] != wanted.get(key)]
    return Check(name, len(wanted), list({entry.split(":")[0]: entry for entry in failed}.values()))


def _card(path: Path) -> tuple[dict[str, Any] | str, str]:
    """The card's YAML (or what is wrong with it) and the whole text."""
    import yaml

    try:
        text = (path / "README.md").read_text("utf-8")
    except FileNotFoundError:
        return "is not there", ""
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read ({error})", ""
    parts = text.split("---\n", 2)
    if len(parts) != 3 or parts[0]:
        return "has no YAML at its head", text
    try:
        # libyaml's, eight times faster, where PyYAML was built with it
        front = yaml.load(parts[1], getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        return f"its head is no YAML ({' '.join(str(error).split())})", text
    if not isinstance(front, dict) or not isinstance(front.get("configs"), list):
        return "names no configs", text
    return front, text


def _entries(front: dict[str, Any]) -> dict[str, dict[str, Any]]:
    entries = [entry for entry in front["configs"] if isinstance(entry, dict)]
    return {str(entry.get("config_name")): entry for entry in entries}


def _card_failures(folder: Folder, front: dict[str, Any]) -> Iterator[str]:
    manifest, entries = folder.manifest, _entries(front)
    if len(entries) != len(front["configs"]):
        yield "README.md: two configs of one name, or one without"
    for name, splits in manifest.configs.items():
        if name not in entries:
            yield f"{name}: the card does not have it"
            continue
        entry = entries[name]
        if _split_files(entry.get("data_files")) != splits:
            yield f"{name}: the card names other files"
        if manifest.build not in f"{entry.get('description')} {entry.get('version')}":
            yield f"{name}: no build {manifest.build}: datasets would serve an older one's rows"
    for name in entries.keys() - manifest.configs.keys():
        yield f"{name}: the manifest does not have it"
    default = [name for name, entry in entries.items() if entry.get("default")]
    if len(default) != 1:
        yield f"README.md: {len(default)} default configs, not one"
    yield from _info_failures(folder, front.get("dataset_info"))


def _split_files(listed: Any) -> dict[str, list[str]]:
    found = {}
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict):
            paths = entry.get("path")
            found[str(entry.get("split"))] = [paths] if isinstance(paths, str) else paths or []
    return found


def _info_failures(folder: Folder, info: Any) -> Iterator[str]:
    """`dataset_info`, where the card has one, must count what is there."""
    for one in info if isinstance(info, list) else [info] if info else []:
        name = str(one.get("config_name")) if isinstance(one, dict) else ""
        if name not in folder.manifest.configs:
            yield f"README.md: dataset_info of no config: {name or one!r}"
            continue
        for split in one.get("splits") or []:
            if not isinstance(split, dict) or "num_examples" not in split:
                continue
            there = len(folder.config(name, str(split.get("name"))))
            if split["num_examples"] != there:
                yield f"{name}: dataset_info counts {split['num_examples']}, there are {there}"


def _build(manifest: Manifest, front: dict[str, Any]) -> Check:
    """The build id is a hash of the data files and configs, in the card's order."""
    order = [name for name in _entries(front) if name in manifest.configs]
    configs = [write.ConfigFiles(name, manifest.configs[name]) for name in order]
    data = {name: entry for name, entry in manifest.files.items() if entry.rows is not None}
    entries = {name: {"sha256": entry.sha256} for name, entry in data.items()}
    made = write.build_id(entries, configs)
    failed = [] if made == manifest.build else [f"{manifest.build}: the files make {made}"]
    return Check("build id is made of the files", len(data), failed)


def _loads(folder: Folder, front: dict[str, Any]) -> Check:
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
                    data = datasets.load_dataset(
                        str(folder.path), name, cache_dir=cache, columns=["id"]
                    )
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
