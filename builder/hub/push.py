"""Publishing to the Hub: one commit of what changed, restrictions before it, openness after it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from builder.dataset_folder.manifest import Manifest
from builder.hub.remote import Changes, Remote, differing, hub_errors, read_files
from mllmu_med.disk import readable
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TYPE: Final = "dataset"
#: Seconds that the Hub may be silent: it takes long over a large commit, but not for ever.
_PATIENCE: Final = 300.0


class Wish(NamedTuple):
    """How the repository is to be; None leaves it as it is (a new one is private)."""

    repo: str
    private: bool | None
    gated: str | None  # auto or manual


class Account(NamedTuple):
    """Whose token it is."""

    api: HfApi
    name: str


class Done(NamedTuple):
    """What a push did."""

    commit: str
    committed: bool
    created: bool
    settings: list[str]  # that were changed


def log_in(repo: str) -> Account:
    """Ask the Hub whose token the environment or huggingface-hub's own store holds.

    Raises UserError where there is none, or one that the Hub does not know or that may only read.
    """
    from huggingface_hub import HfApi, get_session, get_token
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    if not get_token():
        raise UserError(f"{repo}: not logged in: run `hf auth login` or set HF_TOKEN")
    if not sys.stderr.isatty():
        disable_progress_bars()
    get_session().timeout = _PATIENCE
    api = HfApi(library_name="mllmu-med")
    with hub_errors(repo, "logging in"):
        user = api.whoami()
    name = str(user.get("name", ""))
    access = user.get("auth", {}).get("accessToken", {})
    if access.get("role") == "read":
        raise UserError(
            f"{repo}: the token of user {name} may only read: make one with write access on the "
            "Hub and run `hf auth login`, or set HF_TOKEN"
        )
    return Account(api, name)


def push(
    account: Account,
    wish: Wish,
    folder: Path,
    manifest: Manifest,
    remote: Remote | None,
    changes: Changes,
) -> Done:
    """Make the repository hold the folder: create it, close it, commit, open it.

    A failure leaves the last commit as it was; what has been uploaded is not uploaded again.

    Raises:
        UserError: what the Hub refused, or where the connection failed.
    """
    api, repo = account.api, wish.repo
    settings: list[str] = []

    def change(name: str, **values: Any) -> None:
        with hub_errors(repo, "changing its settings", account.name):
            api.update_repo_settings(repo, repo_type=TYPE, **values)
        settings.append(name)

    created = remote is None
    if remote is None:
        with hub_errors(repo, "creating the repository", account.name):
            api.create_repo(repo, repo_type=TYPE, private=True)
        say(f"created {repo}, private")
        with hub_errors(repo, "looking at the repository", account.name):
            remote = Remote(str(api.dataset_info(repo).sha), private=True)
    if wish.gated is not None and wish.gated != remote.gated:
        change(f"gated {wish.gated}", gated=wish.gated)
    if wish.private and not remote.private:
        change("private", private=True)
    head, committed = remote.head, bool(changes.add or changes.delete)
    if committed:
        head = _commit(account, repo, folder, manifest, head, changes)
    if wish.private is False and remote.private:
        change("public", private=False)
    return Done(head, committed, created, settings)


def _commit(
    account: Account, repo: str, folder: Path, manifest: Manifest, parent: str, changes: Changes
) -> str:
    """One commit; the id of what then stands on the Hub, looked at."""
    from huggingface_hub import CommitOperation, CommitOperationAdd, CommitOperationDelete

    api = account.api

    say(f"uploading {len(changes.add):,} files ({readable(changes.size)})")
    with hub_errors(repo, "uploading", account.name):
        operations: list[CommitOperation] = [
            *(CommitOperationAdd(name, str(folder / name)) for name in changes.add),
            *(CommitOperationDelete(name, is_folder=False) for name in changes.delete),
        ]
        head = api.create_commit(
            repo,
            operations,
            commit_message=f"Publish build {manifest.build}",
            repo_type=TYPE,
            parent_commit=parent,
        ).oid
        there = read_files(api, repo, head)
    differs = differing(folder, manifest, there) + [n for n in changes.delete if n in there]
    if differs:
        raise UserError(
            f"{repo}: commit {head[:12]} does not hold {differs[0]} as it was sent (a .gitignore "
            "in the repository keeps files out): see the repository on the Hub"
        )
    return head
