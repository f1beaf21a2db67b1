"""A dataset repository as the Hub keeps one: commits over blobs, visibility, gating."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

GITATTRIBUTES = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"


@dataclass(frozen=True)
class Blob:
    """A file of a commit; a large one counts in git by its pointer."""

    data: bytes
    large: bool = False

    @property
    def sha256(self) -> str:
        return sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        data = self.data
        if self.large:
            head = "version https://git-lfs.github.com/spec/v1\n"
            data = f"{head}oid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()
        return sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    summary: str
    files: dict[str, Blob]


@dataclass
class Repo:
    """`files` of the newest commit is what stands there."""

    name: str
    private: bool = True
    gated: str | bool = False
    commits: list[Commit] = field(default_factory=list)

    @classmethod
    def new(cls, name: str, private: bool) -> Repo:
        repo = cls(name, private)
        repo.commit("initial commit", {".gitattributes": Blob(GITATTRIBUTES)})
        return repo

    @classmethod
    def of_folder(cls, name: str, folder: Path, oid: str | None = None) -> Repo:
        """A public repository that holds a folder in one commit, of that id if one is given."""
        repo = cls(name, private=False)
        files = {
            path.relative_to(folder).as_posix(): Blob(path.read_bytes(), path.suffix == ".zip")
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        repo.commit("all", files, oid)
        return repo

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    @property
    def files(self) -> dict[str, Blob]:
        return self.head.files

    def commit(self, summary: str, files: dict[str, Blob], oid: str | None = None) -> Commit:
        parent = self.commits[-1].oid if self.commits else None
        text = f"{self.name} {parent} {summary} {sorted((n, b.oid) for n, b in files.items())}"
        made = Commit(oid or sha1(text.encode()).hexdigest(), parent, summary, files)
        self.commits.append(made)
        return made

    def at(self, revision: str) -> Commit | None:
        if revision == "main":
            return self.head
        return next((one for one in self.commits if one.oid == revision), None)

    def info(self, commit: Commit) -> dict[str, Any]:
        return {
            "id": self.name,
            "sha": commit.oid,
            "private": self.private,
            "gated": self.gated,
            "siblings": [{"rfilename": name} for name in sorted(commit.files)],
        }

    def tree(self, commit: Commit, under: str, recursive: bool) -> list[dict[str, Any]]:
        """Files and folders below a folder, as the Hub lists them."""
        prefix = f"{under}/" if under else ""
        found: dict[str, dict[str, Any]] = {}
        for name, blob in sorted(commit.files.items()):
            if not name.startswith(prefix):
                continue
            parts = name.removeprefix(prefix).split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                folder = prefix + "/".join(parts[:depth])
                oid = sha1(folder.encode()).hexdigest()
                found[folder] = {"type": "directory", "path": folder, "oid": oid, "size": 0}
            if recursive or len(parts) == 1:
                found[name] = self._entry(name, blob)
        return list(found.values())

    @staticmethod
    def _entry(name: str, blob: Blob) -> dict[str, Any]:
        entry = {"type": "file", "path": name, "oid": blob.oid, "size": len(blob.data)}
        if blob.large:
            lfs = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": 134}
            entry["lfs"] = lfs
        return entry
