"""What is written once rows and provenance stand: plots, Croissant, the card, the manifest last."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from builder.dataset_folder.manifest import FileEntry, Manifest
from builder.dataset_folder.read import read_facts
from builder.dataset_folder.write import file_entry
from mllmu_med.card_head import CARD
from mllmu_med.files import write_atomic

if TYPE_CHECKING:
    from eval.results import Report

VERSION: Final = 4  # of what describes a build; the rows have a version of their own
CROISSANT: Final = "croissant.json"
#: At the root of a repository on the Hub: its leaderboards.
EVAL: Final = "eval.yaml"
_PLOTS: Final = "card"


def write_card(
    folder: Path,
    manifest: Manifest,
    *,
    repo: str | None = None,
    gated: str | None = None,
    results: Mapping[str, Report] | None = None,
) -> Manifest:
    """Write plots, Croissant, card and manifest beside the rows and the provenance.

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
    from eval.hub_results import eval_yaml

    files = {
        path: entry
        for path, entry in manifest.files.items()
        if path not in (CARD, CROISSANT, EVAL) and not path.startswith(f"{_PLOTS}/")
    }
    shutil.rmtree(folder / _PLOTS, ignore_errors=True)
    facts = read_facts(folder, manifest.model_copy(update={"files": files}))
    written: dict[str, str | bytes] = {
        **plots(facts),
        CROISSANT: render_croissant(facts, repo=repo),
        CARD: render_card(facts, repo=repo, gated=gated, results=results),
        **({EVAL: eval_yaml(manifest.scenarios)} if repo else {}),
    }
    for path, content in written.items():
        write_atomic(folder / path, content)
        files[path] = FileEntry(**file_entry(folder / path))
    final = manifest.model_copy(update={"files": files})
    final.write(folder)
    return final
