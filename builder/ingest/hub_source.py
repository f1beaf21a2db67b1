"""A corpus on the Hugging Face Hub: fetched once, at one commit."""

import re
from functools import partial
from pathlib import Path
from typing import Final

from mllmu_med.errors import first_line
from mllmu_med.progress import say
from mllmu_med.table_files import READERS
from mllmu_med_dataset import UserError

_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def local_copy(path: Path, revision: str | None) -> Path:
    """A path as it is; of a Hub id (ORG/NAME, and nothing of that name lies here) its snapshot."""
    # A mistyped path must not leave this machine.
    local = path.exists() or path.suffix.lower() in (*READERS, ".xls") or path.parent.is_dir()
    is_hub_id = _HUB_ID.fullmatch(str(path)) and not local
    return download(str(path), revision) if is_hub_id else path


def download(
    hub_id: str,
    revision: str | None = None,
    files: tuple[str, ...] = (),
    fetch: bool = True,
    advice: str = "with --corpus DIR",
) -> Path:
    """A snapshot in huggingface-hub's cache, whose folder's name is the commit; fetched once.

    Args:
        files: what is needed of it; everything without.
        fetch: else a folder that is not there, where nothing has been fetched before.
        advice: how to give a folder that was downloaded elsewhere.

    Raises:
        UserError: the Hub cannot be reached, or holds no such dataset or revision.
    """
    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    snapshot = partial(
        snapshot_download,
        hub_id,
        repo_type="dataset",
        revision=revision,
        allow_patterns=list(files) or None,
    )
    if not fetch or (files and _COMMIT.fullmatch(revision or "")):
        try:  # a commit never changes, so what is here whole needs no network
            folder = Path(snapshot(local_files_only=True))
            if all((folder / name).is_file() for name in files):
                return folder
        except LocalEntryNotFoundError:
            pass
    if not fetch:
        return Path(f"{hub_id} (not fetched yet)")
    say(f"{hub_id}: fetching {(revision or 'its newest commit')[:20]} from the Hub, once")
    try:
        folder = Path(snapshot())
    except (httpx2.HTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"{hub_id}: cannot be fetched ({first_line(error)}): check its name and the "
            f"connection, or download it elsewhere and give the folder {advice}"
        ) from error
    if revision != folder.name:
        say(f"{hub_id}: is at commit {folder.name}: --revision takes it again")
    return folder
