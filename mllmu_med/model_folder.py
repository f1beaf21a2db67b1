"""Folders: a model's is there whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mllmu_med.errors import UserError
from mllmu_med.files import make_folder


@contextmanager
def new_folder(path: Path, what: str) -> Iterator[Path]:
    """A temporary folder beside `path`, moved there when the block ends well, else removed.

    Raises:
        UserError: `path` exists already, or its parent cannot be written to.
    """
    exists = f"{path}: exists already: name a new folder for {what}, or remove this one"
    if path.exists():
        raise UserError(exists)
    make_folder(path.absolute().parent, what)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    try:
        made = temporary / path.name  # mkdtemp's own folder is private to its maker
        made.mkdir()
        yield made
        try:
            made.rename(path)
        except OSError as error:
            if not path.exists():
                raise
            raise UserError(exists) from error  # made by another command meanwhile
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
