"""What is written once rows and provenance stand: plots, Croissant, the card, the manifest last."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from builder.dataset_folder.read import read_facts
from builder.dataset_folder.write import MANIFEST
from mllmu_med.files import file_digest, write_atomic

if TYPE_CHECKING:
    from eval.results import Report

VERSION: Final = 3  # of what describes a build; the rows have a version of their own
CARD: Final = "README.md"
CROISSANT: Final = "croissant.json"
_PLOTS: Final = "card"


def describe(
    folder: Path,
    manifest: Mapping[str, Any],
    *,
    repo: str | None = None,
    gated: str | None = None,
    results: Mapping[str, Report] | None = None,
) -> dict[str, Any]:
    """Describe a folder that holds the rows and the provenance which its manifest tells of.

    Args:
        folder: with the Parquet files and `provenance/`.
        manifest: `files` lists every file but those that are written here; what it lists of
            those, from an earlier description, is replaced.
        repo, gated, results: as in `render_card`.

    Returns:
        The manifest as it is written: with the hashes of every other file.
    """
    from builder.dataset_folder.card.croissant import render_croissant
    from builder.dataset_folder.card.plots import plots
    from builder.dataset_folder.card.render import render_card

    made = {CARD, CROISSANT}
    files = {
        path: entry
        for path, entry in manifest["files"].items()
        if path not in made and not path.startswith(f"{_PLOTS}/")
    }
    shutil.rmtree(folder / _PLOTS, ignore_errors=True)
    final = {**manifest, "files": files}
    _write_manifest(folder, final)
    facts = read_facts(folder)
    written: dict[str, str | bytes] = {
        **plots(facts),
        CROISSANT: render_croissant(facts, repo=repo),
        CARD: render_card(facts, repo=repo, gated=gated, results=results),
    }
    for path, content in written.items():
        write_atomic(folder / path, content)
        size = (folder / path).stat().st_size
        files[path] = {"bytes": size, "sha256": file_digest(folder / path)}
    final["files"] = dict(sorted(files.items()))
    _write_manifest(folder, final)
    return final


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomic(folder / MANIFEST, text)
