"""Folders that are replaced as a whole: all or nothing, also when killed in between."""

from __future__ import annotations

import shutil
from pathlib import Path


def hidden(target: Path, what: str) -> Path:
    """A place beside a folder that nobody else uses: `.mllmu-med.builder-old`."""
    return target.with_name(f".{target.name}.builder-{what}")


def replace_folder(new: Path, target: Path) -> None:
    """Put a finished folder in a target's place; the old one is gone only when the new one stands.

    A kill between the two renames leaves the old folder under its hidden name: `restore_folder`.
    """
    old = hidden(target, "old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def restore_folder(target: Path) -> None:
    """Undo a `replace_folder` that was killed half-way."""
    old = hidden(target, "old")
    if old.is_dir() and not target.exists():
        old.rename(target)
