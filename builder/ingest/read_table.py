"""Tables as rows of cells: a file, a folder of them in its splits, or a dataset on the Hub."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from builder.core.corpus import Mapping
from builder.core.stage_cache import Stamp
from builder.ingest.hub_source import local_copy
from mllmu_med.errors import first_line
from mllmu_med.files import stand_in
from mllmu_med.progress import say
from mllmu_med.table_files import BATCH, READERS, Layout, Part, arrow_part, read_file
from mllmu_med_dataset import UserError

_SPLIT_WORDS: Final = {
    "train": "train", "training": "train", "val": "validate", "valid": "validate",
    "validate": "validate", "validation": "validate", "dev": "validate", "test": "test",
    "testing": "test",
}  # fmt: skip


class Row(NamedTuple):
    where: str  # file and row, for messages
    cells: dict[str, Any]
    split: str  # its file's: train, validate, test or ""


class Table(NamedTuple):
    root: Path  # where the paths of `inputs` and of the images begin
    columns: tuple[str, ...]
    rows: Iterable[Row]  # read once, as they are needed
    inputs: dict[str, Stamp | None]


def split_word(word: str) -> str | None:
    """train, validate or test; None for a word that means none of them."""
    return _SPLIT_WORDS.get(word.strip().lower())


def open_table(path: Path, mapping: Mapping | None = None, revision: str | None = None) -> Table:
    """The rows of a corpus, with every file checked to be what its name says.

    Args:
        path: a file, a folder or a Hub id.
        mapping: how a folder is laid out; None where that is not known yet.

    Raises:
        UserError: a file is missing or broken; also while the rows are read.
    """
    path = local_copy(path, revision)
    if not path.exists():
        if problem := stand_in(path):
            raise UserError(f"{path}: {problem}")
        raise UserError(f"{path}: no such file or folder: give a table, its folder or ORG/NAME")
    inputs: dict[str, Stamp | None] = {}
    if path.is_file():
        root, files = path.parent, [("", path)]
    elif any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return _saved(path)
    else:
        root = path
        named = mapping is not None and mapping.files
        files = _mapped(path, mapping, inputs) if mapping and named else _guessed(path)
        _refuse_gaps([file for _, file in files])
    layout = mapping.layout if mapping else lambda split: Layout()
    parts = [(split, read_file(file, layout(split))) for split, file in files]
    inputs |= {file.relative_to(root).as_posix(): Stamp.of(file) for _, file in files}
    return _joined(root, parts, inputs)


def table_names(path: Path, mapping: Mapping) -> list[str]:
    """The files that a corpus' rows would come from, as far as names tell: another is noticed."""
    if path.is_file():
        return [path.name]
    patterns = [name for names in mapping.files.values() for name in names if "*" in name]
    fits = [file for pattern in patterns for file in path.glob(pattern) if _is_data(file)]
    files = fits if mapping.files else _tables_in(path)
    return sorted({file.relative_to(path).as_posix() for file in files})


def _joined(root: Path, parts: list[tuple[str, Part]], inputs: dict[str, Stamp | None]) -> Table:
    columns = tuple(dict.fromkeys(chain.from_iterable(part.columns for _, part in parts)))
    rows = (Row(where, cells, split) for split, part in parts for where, cells in part.rows)
    return Table(root, columns, rows, inputs)


def _mapped(
    path: Path, mapping: Mapping, inputs: dict[str, Stamp | None]
) -> list[tuple[str, Path]]:
    """The files that a mapping names; those that are not there are an input too."""
    files: list[tuple[str, Path]] = []
    for split, names in mapping.files.items():
        there: list[Path] = []
        for name in names:
            fits = sorted(filter(_is_data, path.glob(name))) if "*" in name else [path / name]
            there = [file for file in fits if file.is_file()]
            if there:
                break
            inputs[name] = None
        files += [(split, file) for file in there]
        if there:
            continue
        if split in ("train", ""):
            whose = f"{mapping.about.name}'s" if mapping.about else "the corpus'"
            inside = _inside(path, names) or f"{whose} own folder"
            raise UserError(f"{path}: holds none of {', '.join(names)}: give {inside}")
        else:
            say(f"{path}: holds no {' or '.join(names)}: built without its {split} rows")
    return files


def _tables_in(path: Path) -> list[Path]:
    """The tables of a folder and of its `data`."""
    return [
        file
        for folder in (path, path / "data")
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in READERS and _is_data(file)
    ]


def _is_data(file: Path) -> bool:
    """Whether a file is a corpus' own: not what macOS, Excel or `datasets` lays beside."""
    return not file.name.startswith((".", "~$")) and file.name != "dataset_infos.json"


def _inside(path: Path, names: Iterable[str]) -> Path | None:
    """The folder in a folder, as zip files have it, that holds a file of these names."""
    found = (file for name in names for up in ("*", "*/*") for file in path.glob(f"{up}/{name}"))
    return next((file.parent for file in found if _is_data(file)), None)


def _refuse_gaps(files: Iterable[Path]) -> None:
    """A UserError where a file is one of several, by its name, and another is not there."""
    names = {file: re.fullmatch(r"(.*)-\d{5}-of-(\d{5})(-\w+)?", file.stem) for file in files}
    sets = Counter((file.parent, name[1], name[2]) for file, name in names.items() if name)
    for (folder, name, all_of), there in sets.items():
        if there < int(all_of):
            raise UserError(
                f"{folder}: holds {there:,} of the {int(all_of):,} files {name}-...-of-{all_of}: "
                "download the others, too, or give one file itself"
            )


def _guessed(path: Path) -> list[tuple[str, Path]]:
    """The tables of a folder, or of its `data`, with the splits that their names begin with."""
    files = _tables_in(path)
    splits = [split_word(re.split(r"[-_.]", file.name)[0]) for file in files]
    if len(files) == 1:
        return [(splits[0] or "", files[0])]
    if not files:
        if inside := _inside(path, [f"*{suffix}" for suffix in READERS]):
            raise UserError(f"{path}: holds no table, {inside} does: give that")
        raise UserError(
            f"{path}: holds no table ({', '.join(sorted(READERS))}): give the file, or name the "
            "files of each split in a mapping (--mapping FILE, files:)"
        )
    for file, split in zip(files, splits, strict=True):
        if split is None:
            raise UserError(
                f"{path}: holds {len(files)} tables, and {file.name} begins with no split (train, "
                "validation, test): give one file, or a mapping (--mapping FILE, files:)"
            )
    return sorted(zip(map(str, splits), files, strict=True), key=lambda entry: entry[0] == "test")


def _saved(path: Path) -> Table:
    """A folder that `datasets.save_to_disk` wrote: a dataset, or one for each split."""
    import datasets

    _refuse_pointers(path)
    try:
        data = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: no whole folder of save_to_disk ({first_line(error)}): save it again"
        ) from error
    splits = data if isinstance(data, dict) else {"": data}
    parts = []
    for name, split in splits.items():
        word = split_word(str(name)) if name else ""
        if word is None:
            raise UserError(f"{path}: the split {name} is none of train, validation and test")
        batches = split.with_format("arrow").iter(batch_size=BATCH)
        where = f"{path / name}" if name else str(path)
        parts.append((word, arrow_part(where, split.features.arrow_schema, batches)))
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return _joined(path, parts, {str(file.relative_to(path)): Stamp.of(file) for file in files})


def _refuse_pointers(path: Path) -> None:
    for file in path.rglob("*.arrow"):
        if problem := stand_in(file):
            raise UserError(f"{file}: {problem}")
