"""Folders that are replaced as a whole: all or nothing, also when killed in between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mllmu_med.disk import remove, writing
from mllmu_med.errors import UserError


def hidden(target: Path, what: str) -> Path:
    """A place beside a folder that nobody else uses: `.mllmu-med.builder-old`."""
    return target.with_name(f".{target.name}.builder-{what}")


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """An empty folder for what `replace_folder` puts in a target's place; gone if that fails."""
    building = hidden(target, "new")
    _clear(building)
    try:
        with writing(building):
            building.mkdir(parents=True)
        yield building
    finally:
        remove(building)


def replace_folder(new: Path, target: Path) -> None:
    """Put a finished folder in a target's place; the old one is gone only when the new one stands.

    A kill between the two renames leaves the old folder under its hidden name: `restore_folder`.
    """
    old = hidden(target, "old")
    _clear(old)
    with writing(target):
        try:
            if target.exists():
                target.rename(old)
            new.rename(target)
        except OSError:
            restore_folder(target)
            raise
    remove(old)


def _clear(place: Path) -> None:
    """Take away what a run that was killed has left."""
    remove(place)
    if os.path.lexists(place):
        raise UserError(
            f"{place}: left by a run that was killed, and cannot be removed: remove it, then run "
            "the same command again"
        )


def restore_folder(target: Path) -> None:
    """Undo a `replace_folder` that was killed half-way."""
    old = hidden(target, "old")
    if old.is_dir() and not target.exists():
        old.rename(target)
