"""What stands in a Hub repository, what a commit would change in it, and what the Hub refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from builder.dataset_folder.manifest import AnyBuild, FileEntry, Manifest, any_build
from builder.dataset_folder.write import MANIFEST, file_entry
from mllmu_med.card_head import CARD
from mllmu_med.files import file_digest, packaged_yaml
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

AGAIN = "the same command goes on from here"


@contextmanager
def hub_errors(repo: str, doing: str, who: str = "") -> Iterator[None]:
    """Turn huggingface-hub's errors into one line.

    Only calls of huggingface-hub belong inside: it also raises RuntimeError and ValueError for
    what a server did.

    Args:
        repo: ORG/NAME.
        doing: what was tried, e.g. "committing".
        who: the user that the token belongs to, where that is known.
    """
    import httpx2

    try:
        yield
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{repo}: {doing}: {_line(error, who)}") from error


def _line(error: BaseException, who: str) -> str:
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HfHubHTTPError):
        cause = cause.__cause__
    if isinstance(error, LocalTokenNotFoundError):
        return "not logged in: run `hf auth login` or set HF_TOKEN"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it to publish"
    if not isinstance(cause, HfHubHTTPError):
        reason = error.__cause__ or error
        return f"the connection failed ({_plain(reason)}): {AGAIN}"
    status = cause.response.status_code
    said = _plain(cause.server_message or "")
    known = {} if status < 500 else {status: "try later; {again}"}
    known |= packaged_yaml("builder.hub", "advice.yaml")
    user = f"user {who}" if who else "the token's user"
    advice = known.get(status, "see what it says").format(user=user, again=AGAIN)
    return f"the Hub said {status}{f' ({said})' if said else ''}: {advice}"


def _plain(what: object) -> str:
    """The first line, without anything that looks like a token or a signed address."""
    text = str(what).strip()
    line = text.splitlines()[0] if text else type(what).__name__
    return re.sub(r"hf_\w+|\?\S+", "...", line).rstrip(".:")[:300]


#: What the Hub itself puts into a new repository, and the card that people write there first.
_NEW: Final = frozenset({".gitattributes", CARD})


@dataclass(frozen=True)
class Remote:
    """A repository at one commit."""

    head: str
    private: bool
    gated: str | None = None  # auto or manual
    files: Mapping[str, RepoFile] = field(default_factory=dict)
    build: AnyBuild | None = None  # of ours, that stands there
    card_sha256: str | None = None


class Changes(NamedTuple):
    """What one commit has to do, and what it leaves alone."""

    add: list[str]
    delete: list[str]  # files of an earlier build of ours that this one does not have
    foreign: list[str]  # files that are not ours
    size: int  # bytes of `add`
    edited_card: bool  # README.md was changed on the Hub since we put it there


def read_remote(api: HfApi, repo: str, who: str, into: Path) -> Remote | None:
    """The repository as it stands, or None when there is none that the user can see.

    into: an empty folder for the two files that are downloaded.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    with hub_errors(repo, "looking at the repository", who):
        try:
            info = api.dataset_info(repo)
        except RepositoryNotFoundError:
            return None
        head = str(info.sha)
        files = read_files(api, repo, head)
        for name in sorted({MANIFEST, CARD} & files.keys()):
            api.hf_hub_download(repo, name, repo_type="dataset", revision=head, local_dir=into)
    return Remote(
        head=head,
        private=bool(info.private),
        gated=info.gated or None,
        files=files,
        build=any_build(into),
        card_sha256=file_digest(into / CARD) if CARD in files else None,
    )


def read_files(api: HfApi, repo: str, revision: str) -> dict[str, RepoFile]:
    """Every file of the repository at a revision."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo, repo_type="dataset", revision=revision, recursive=True)
    return {file.path: file for file in tree if isinstance(file, RepoFile)}


def check_ours(repo: str, remote: Remote) -> None:
    """Raise UserError where a repository holds files and no build of ours."""
    foreign = sorted(set(remote.files) - _NEW)
    if remote.build is None and foreign:
        raise UserError(
            f"{repo}: holds {foreign[0]} and no build of ours ({MANIFEST}): choose another "
            "ORG/NAME, or empty the repository on the Hub first"
        )


def compare(folder: Path, manifest: Manifest, remote: Remote | None) -> Changes:
    """What has to change in a repository so that it holds this folder."""
    there = remote.files if remote is not None else {}
    before = remote.build.files if remote is not None and remote.build else {}
    entries = listed(folder, manifest)
    add = differing(folder, manifest, there)
    old = {*before, MANIFEST} if before else set()
    card = before.get(CARD, {}).get("sha256")
    edited = remote is not None and bool(card) and remote.card_sha256 not in (card, None)
    return Changes(
        add,
        delete=sorted((old & set(there)) - set(entries)),
        foreign=sorted(set(there) - set(entries) - old - _NEW),
        size=sum(entries[name].bytes for name in add),
        edited_card=edited and CARD in add,
    )


def differing(folder: Path, manifest: Manifest, there: Mapping[str, RepoFile]) -> list[str]:
    """Files of the folder that a repository lacks, or holds with other bytes."""

    def holds(file: RepoFile, path: Path, entry: FileEntry) -> bool:
        from huggingface_hub.utils.sha import git_hash

        if file.lfs:
            return (file.size, file.lfs.sha256) == (entry.bytes, entry.sha256)
        return file.size == entry.bytes and file.blob_id == git_hash(path.read_bytes())

    return [
        name
        for name, entry in listed(folder, manifest).items()
        if name not in there or not holds(there[name], folder / name, entry)
    ]


def listed(folder: Path, manifest: Manifest) -> dict[str, FileEntry]:
    """Every file that the repository is to hold, the manifest included."""
    return {**manifest.files, MANIFEST: FileEntry(**file_entry(folder / MANIFEST))}
