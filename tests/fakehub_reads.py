"""What the loopback Hub answers to who looks and loads."""

from __future__ import annotations

import re

from fakehub_base import NO_REPO, NO_TOKEN, Answer, Call, State, User, give, refuse
from fakehub_repo import Commit


class Reads(State):
    def _whoami(self, _: Call, user: User | None) -> Answer:
        if user is None:
            return NO_TOKEN
        orgs = [{"name": name, "type": "org"} for name in user.orgs]
        token = {"displayName": "test", "role": user.role}
        found = {"type": "user", "name": user.name, "orgs": orgs}
        return give({**found, "auth": {"type": "access_token", "accessToken": token}})

    def _info(self, _: Call, user: User | None, repo: str, revision: str | None) -> Answer:
        found = self._readable(user, repo)
        if found is None:
            return NO_REPO
        commit = found.at(revision or "main")
        if commit is None:
            return refuse(404, "Invalid rev id", "RevisionNotFound")
        return give(found.info(commit))

    def _tree(
        self, call: Call, user: User | None, repo: str, revision: str, under: str | None
    ) -> Answer:
        found = self._readable(user, repo)
        commit = found.at(revision) if found else None
        if found is None or commit is None:
            return NO_REPO
        recursive = call.query.get("recursive", ["False"])[0].lower() in ("true", "1")
        entries = found.tree(commit, under or "", recursive)
        if under and not entries:
            return refuse(404, "no such folder", "EntryNotFound")
        return give(entries)

    def _refs(self, _: Call, user: User | None, repo: str) -> Answer:
        found = self._readable(user, repo)
        if found is None:
            return NO_REPO
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": found.head.oid}
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
            for name, oid in found.tags.items()
        ]
        return give({"branches": [main], "converts": [], "tags": tags})

    def _resolve(
        self, call: Call, user: User | None, repo: str, revision: str, name: str
    ) -> Answer:
        found = self._readable(user, repo)
        commit: Commit | None = found.at(revision) if found else None
        if found is None:
            return NO_REPO
        if commit is None:
            return refuse(404, "Invalid rev id", "RevisionNotFound")
        if found.gated and not (user and user.owns(found.owner)):
            return refuse(403, "Access to this dataset is restricted", "GatedRepo")
        blob = commit.files.get(name)
        if blob is None:
            return refuse(404, "Entry not found", "EntryNotFound")
        if not blob.large:
            headers = {"ETag": f'"{blob.oid}"', "X-Repo-Commit": commit.oid}
            return ranged(call, blob.data, headers)
        self.large.setdefault(blob.sha256, blob.data)
        linked = {"X-Linked-ETag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
        place = {"Location": f"{self.cdn}/cdn/{blob.sha256}", "X-Repo-Commit": commit.oid}
        return Answer(302, {**linked, **place}, b"")

    def _cdn(self, call: Call, _: User | None, oid: str) -> Answer:
        return ranged(call, self.large[oid], {"ETag": f'"{oid}"'})


def ranged(call: Call, data: bytes, headers: dict[str, str]) -> Answer:
    """The bytes, or those that a Range header asks for."""
    headers = {"Accept-Ranges": "bytes", **headers}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("range", ""))
    if wanted is None:
        return Answer(200, headers, data)
    first, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
    if first >= len(data):
        return Answer(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
    last = min(last, len(data) - 1)
    span = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
    return Answer(206, {**headers, **span}, data[first : last + 1])
