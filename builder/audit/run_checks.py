"""What a check is, and the run through all of them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mllmu_med.card_head import CARD
from mllmu_med.image_folder import images_folder
from mllmu_med_dataset import CONFIGS, UserError

#: Of what the checks look at: another one makes a rebuild look again. A changed check raises it.
VERSION: Final = 3
SHOWN_IDS: Final = 3  # of each failing check, on one line


class Check(NamedTuple):
    """One thing that must hold.

    checked: how many things were looked at; 0 where there was nothing to look at (`note` says why).
    failed: an entry `ID: what is wrong` for each that fails, ID being a row's id, a file or a
        config.
    """

    name: str
    checked: int
    failed: list[str]
    note: str = ""

    @property
    def ok(self) -> bool:
        return not self.failed


#: Folders with images: one for all scenarios, or one for each.
Given = str | Path | Mapping[str, str | Path] | None


def run(folder: Path, images: Given = None) -> list[Check]:
    """Audit a dataset folder.

    Args:
        folder: what the builder wrote, or a copy of it.
        images: the source's images, as `load(images=...)` takes them, to look at those that rows
            name by path and hash only.

    Raises:
        UserError: no such folder, or one that holds neither a card nor a manifest.
    """
    return list(_checks(folder, images))


def failing(checks: Sequence[Check]) -> str:
    """Which checks fail, each with the first ids, on one line; empty where all hold."""
    lines = []
    for check in checks:
        ids = [*dict.fromkeys(entry.partition(": ")[0] for entry in check.failed)]
        more = f" and {len(ids) - SHOWN_IDS:,} more" if len(ids) > SHOWN_IDS else ""
        if ids:
            lines.append(f"{check.name} ({', '.join(ids[:SHOWN_IDS])}{more})")
    head = f"{len(lines)} of {len(checks)} checks of the audit fail"
    return f"{head}: {'; '.join(lines)}" if lines else ""


def _checks(path: Path, images: Given) -> Iterator[Check]:
    if not path.is_dir():
        raise UserError(f"{path}: no such folder: name one that the builder wrote")
    from builder.audit import (
        files,
        image_files,
        people,
        provenance,
        pseudonyms,
        real_data,
        rows,
        sets,
        wording,
    )
    from builder.dataset_folder.manifest import ManifestError, read_manifest
    from builder.dataset_folder.read import read_folder
    from builder.dataset_folder.write import MANIFEST

    if not (path / MANIFEST).is_file() and not (path / CARD).is_file():
        raise UserError(f"{path}: not a dataset folder (no README.md, no {MANIFEST})")
    name = "manifest is there and readable"
    try:
        manifest = read_manifest(path)
    except ManifestError as error:
        yield Check(name, 1, [f"{MANIFEST}: {error.why}"], "nothing else can be looked at")
        return
    yield Check(name, 1, [])
    yield from files.contents(path, manifest)
    folder = read_folder(path, manifest)
    if images:
        named = {name: images_folder(images, name) for name in CONFIGS if folder.by_reference(name)}
        folder.sources = {name: source for name, source in named.items() if source is not None}
    themes = (files, sets, rows, people, pseudonyms, image_files, provenance, real_data, wording)
    for theme in themes:
        yield from theme.checks(folder)
