"""What the loopback Hub's answers are made of: calls, answers, users, and what everybody may do."""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from fakehub_repo import Repo


class Call(NamedTuple):
    """A request; `path` without the query, unquoted."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @classmethod
    def of(cls, method: str, target: str, headers: dict[str, str], body: bytes) -> Call:
        parts = urlsplit(target)
        return cls(method, unquote(parts.path), parse_qs(parts.query), headers, body)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class User(NamedTuple):
    name: str
    role: str = "write"  # of the token: write or read
    orgs: tuple[str, ...] = ()

    def owns(self, owner: str) -> bool:
        return owner == self.name or owner in self.orgs


def give(value: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(
        status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()
    )


def refuse(status: int, message: str, code: str = "") -> Answer:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return give({"error": message}, status, **headers)


NO_REPO = refuse(404, "Repository not found", "RepoNotFound")
NO_TOKEN = refuse(401, "Invalid credentials in Authorization header")


class State:
    """What a Hub knows. `misuse` notes what no honest client does, for a test to look at."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}  # by token
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}  # uploaded, by sha256
        self.verified: set[str] = set()
        self.misuse: list[str] = []
        self.url = ""
        self.cdn = ""  # where large files lie: another host, which must not see the token

    def bad(self, what: str) -> Answer:
        self.misuse.append(what)
        return refuse(400, what)

    def _opened(self, user: User | None, repo: str, to_read: bool) -> Repo | Answer:
        """A repository, to who may read or change it."""
        found = self.repos.get(repo)
        if found is None or (found.private and not (user and user.owns(found.owner))):
            return NO_REPO
        if not to_read and user is None:
            return NO_TOKEN
        if not to_read and (user.role != "write" or not user.owns(found.owner)):
            return refuse(403, f"Forbidden: pass write access to {repo}")
        return found
