"""What stands in a Hub repository, and what a commit would have to change in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from builder.dataset_folder.write import MANIFEST
from builder.hub.errors import told
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

CARD: Final = "README.md"
#: What the Hub itself puts into a new repository, and the card that people write there first.
_NEW: Final = frozenset({".gitattributes", CARD})


class Blob(NamedTuple):
    """A remote file: its git object, and its sha256 where it is stored as a large file."""

    oid: str
    sha256: str | None
    size: int

    @classmethod
    def of(cls, file: RepoFile) -> Blob:
        return cls(file.blob_id, file.lfs.sha256 if file.lfs else None, file.size)

    def holds(self, path: Path, entry: Mapping[str, Any]) -> bool:
        """Whether a local file, with its manifest's entry, has the same bytes."""
        if self.size != int(entry["bytes"]):
            return False
        if self.sha256 is not None:
            return self.sha256 == str(entry["sha256"])
        return self.oid == git_oid(path.read_bytes())


@dataclass(frozen=True)
class Remote:
    """A repository at one commit."""

    head: str
    private: bool
    gated: str | None  # auto or manual
    files: Mapping[str, Blob]
    manifest: Mapping[str, Any] | None  # of the build of ours that stands there
    card_sha256: str | None
    tags: Mapping[str, str]  # name -> commit


class Changes(NamedTuple):
    """What one commit has to do, and what it leaves alone."""

    add: list[str]
    delete: list[str]  # files of an earlier build of ours that this one does not have
    foreign: list[str]  # files that are not ours
    size: int  # bytes of `add`
    edited_card: bool  # README.md was changed on the Hub since we put it there


def git_oid(data: bytes) -> str:
    """The name git gives a file of these bytes."""
    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def read_remote(api: HfApi, repo: str, who: str, into: Path) -> Remote | None:
    """The repository as it stands, or None when there is none that the user can see.

    Args:
        into: a folder for the two files that are downloaded.

    Raises:
        UserError: the Hub cannot be asked.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    with told(repo, "looking at the repository", who):
        try:
            info = api.dataset_info(repo)
        except RepositoryNotFoundError:
            return None
        head = str(info.sha)
        files = read_files(api, repo, head)
        refs = api.list_repo_refs(repo, repo_type="dataset")
        manifest, card = (
            _download(api, repo, head, name, into) if name in files else None
            for name in (MANIFEST, CARD)
        )
    return Remote(
        head=head,
        private=bool(info.private),
        gated=info.gated or None,
        files=files,
        manifest=_ours(manifest),
        card_sha256=sha256(card).hexdigest() if card is not None else None,
        tags={ref.name: ref.target_commit for ref in refs.tags},
    )


def read_files(api: HfApi, repo: str, revision: str) -> dict[str, Blob]:
    """Every file of the repository at a revision."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo, repo_type="dataset", revision=revision, recursive=True)
    return {file.path: Blob.of(file) for file in tree if isinstance(file, RepoFile)}


def _download(api: HfApi, repo: str, head: str, name: str, into: Path) -> bytes:
    place = api.hf_hub_download(repo, name, repo_type="dataset", revision=head, local_dir=into)
    return Path(place).read_bytes()


def _ours(manifest: bytes | None) -> Mapping[str, Any] | None:
    try:
        found = json.loads(manifest or b"")
    except ValueError:
        return None
    ours = isinstance(found, dict) and isinstance(found.get("files"), dict) and "build" in found
    return found if ours else None


def check_ours(repo: str, remote: Remote) -> None:
    """Refuse a repository that holds files and no build of ours.

    Raises:
        UserError: names a file that is in the way.
    """
    foreign = sorted(set(remote.files) - _NEW)
    if remote.manifest is None and foreign:
        raise UserError(
            f"{repo}: holds {foreign[0]} and no build of ours ({MANIFEST}): choose another "
            "ORG/NAME, or empty the repository on the Hub first"
        )


def compare(folder: Path, manifest: Mapping[str, Any], remote: Remote | None) -> Changes:
    """What has to change in a repository so that it holds this folder."""
    there = remote.files if remote is not None else {}
    entries = wanted(folder, manifest)
    add = [
        name
        for name, entry in entries.items()
        if name not in there or not there[name].holds(folder / name, entry)
    ]
    before = remote.manifest["files"] if remote is not None and remote.manifest else {}
    old = {*before, MANIFEST} if before else set()
    delete = sorted((old & set(there)) - set(entries))
    foreign = sorted(set(there) - set(entries) - old - _NEW)
    card = before.get(CARD, {}).get("sha256")
    edited = remote is not None and bool(card) and remote.card_sha256 not in (card, None)
    size = sum(entries[name]["bytes"] for name in add)
    return Changes(add, delete, foreign, size, edited and CARD in add)


def wanted(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Every file that the repository is to hold, the manifest included."""
    data = (folder / MANIFEST).read_bytes()
    own = {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    return {**manifest["files"], MANIFEST: own}
