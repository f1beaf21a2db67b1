"""What the loopback Hub answers, to who looks and loads and, told strictly, to who publishes.

What the real Hub would refuse is refused, and what no honest client does is noted as misuse: a
commit of a large file that was never uploaded, an upload of other bytes than announced, a deletion
of what is not there. Whoever may not read, or change, a repository never gets here.
"""

import base64
import json
import re
from hashlib import sha256

import yaml
from fakehub_base import NO_REPO, NO_TOKEN, Answer, Call, State, User, give, refuse
from fakehub_repo import Blob, Repo

NO_REVISION = refuse(404, "Invalid rev id", "RevisionNotFound")


class Answers(State):
    """A method for each route of `fakehub`, in two parts: reading, then publishing."""

    def _whoami(self, _: Call, user: User | None) -> Answer:
        if user is None:
            return NO_TOKEN
        orgs = [{"name": name, "type": "org"} for name in user.orgs]
        token = {"displayName": "test", "role": user.role}
        found = {"type": "user", "name": user.name, "orgs": orgs}
        return give({**found, "auth": {"type": "access_token", "accessToken": token}})

    def _info(self, _: Call, user: User | None, repo: Repo, revision: str | None) -> Answer:
        commit = repo.at(revision or "main")
        return give(repo.info(commit)) if commit else NO_REVISION

    def _tree(
        self, call: Call, _: User | None, repo: Repo, revision: str, under: str | None
    ) -> Answer:
        commit = repo.at(revision)
        if commit is None:
            return NO_REPO
        recursive = call.query.get("recursive", ["False"])[0].lower() in ("true", "1")
        entries = repo.tree(commit, under or "", recursive)
        if under and not entries:
            return refuse(404, "no such folder", "EntryNotFound")
        return give(entries)

    def _resolve(
        self, call: Call, user: User | None, repo: Repo, revision: str, name: str
    ) -> Answer:
        commit = repo.at(revision)
        if commit is None:
            return NO_REVISION
        if repo.gated and not (user and user.owns(repo.owner)):
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

    def _create(self, call: Call, user: User | None) -> Answer:
        asked = call.json
        owner = asked["organization"] or (user.name if user else "")
        if user is None:
            return NO_TOKEN
        if not user.owns(owner):
            known = {one.name for one in self.users.values()} | {
                repo.owner for repo in self.repos.values()
            }
            if owner not in known:
                return refuse(404, "Organization not found")
            return refuse(403, f"You don't have the rights to create a dataset under {owner}")
        name = f"{owner}/{asked['name']}"
        if asked.get("type") != "dataset" or asked.get("visibility") not in ("private", "public"):
            return self.bad(f"created as {asked}")
        if name in self.repos:
            return refuse(409, "You already created this dataset repo")
        self.repos[name] = Repo.new(name, asked["visibility"] == "private")
        return give({"url": f"{self.url}/datasets/{name}", "name": name})

    def _validate(self, call: Call, _: User | None) -> Answer:
        content = call.json["content"]
        front = content.split("---\n", 2)[1] if content.startswith("---\n") else ""
        if not isinstance(yaml.safe_load(front), dict):
            return give({"errors": [{"message": "no metadata"}], "warnings": []}, 400)
        return give({"errors": [], "warnings": []})

    def _preupload(self, call: Call, _: User | None, repo: Repo) -> Answer:
        ignored = repo.files.get(".gitignore")
        names = ignored.data.decode().split() if ignored else []
        told = []
        for file in call.json["files"]:
            there = repo.files.get(file["path"])
            oid = (there.sha256 if there.large else there.oid) if there else None
            large = file["path"].endswith((".parquet", ".png")) or file["size"] > 5_000_000
            mode = "lfs" if large else "regular"
            ignore = file["path"] in names
            told.append(
                {"path": file["path"], "uploadMode": mode, "oid": oid, "shouldIgnore": ignore}
            )
        return give({"files": told})

    def _batch(self, call: Call, _: User | None, repo: Repo) -> Answer:
        objects = []
        for one in call.json["objects"]:
            told = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.verified:
                upload = {"href": f"{self.cdn}/lfs/{one['oid']}?X-Amz-Signature=secret"}
                verify = {"href": f"{self.url}/lfs/{repo.name}/verify"}
                told["actions"] = {"upload": upload, "verify": verify}
            objects.append(told)
        return give({"transfer": "basic", "objects": objects})

    def _put(self, call: Call, _: User | None, oid: str) -> Answer:
        if "authorization" in call.headers:
            return self.bad("the token was sent to the storage")
        if sha256(call.body).hexdigest() != oid:
            return self.bad(f"{oid[:12]}: other bytes than announced")
        if oid in self.verified:
            return self.bad(f"{oid[:12]}: uploaded again")
        self.large[oid] = call.body
        return Answer(200, {}, b"")

    def _verify(self, call: Call, _: User | None, repo: Repo) -> Answer:
        if len(self.large.get(call.json["oid"], b"")) != call.json["size"]:
            return self.bad("verified what is not there")
        self.verified.add(call.json["oid"])
        return give({})

    def _commit(self, call: Call, _: User | None, repo: Repo) -> Answer:
        lines = [json.loads(line) for line in call.body.splitlines()]
        head = lines[0]["value"]
        if lines[0]["key"] != "header" or "parentCommit" not in head:
            return self.bad("a commit without its parent")
        if head["parentCommit"] != repo.head.oid:
            return refuse(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repo.files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.verified:
                    return self.bad(f"{value['path']}: committed and never uploaded")
                files[value["path"]] = Blob(self.large[value["oid"]], large=True)
            elif line["key"] == "deletedFile" and value["path"] in files:
                del files[value["path"]]
            else:
                return self.bad(f"{line['key']} {value['path']}")
        if files == repo.files:
            return self.bad("an empty commit")
        made = repo.commit(head["summary"], files)
        url = f"{self.url}/datasets/{repo.name}/commit/{made.oid}"
        return give({"commitOid": made.oid, "commitUrl": url})

    def _settings(self, call: Call, _: User | None, repo: Repo) -> Answer:
        asked = call.json
        if not asked or set(asked) - {"visibility", "gated"}:
            return self.bad(f"settings {asked}")
        if "visibility" in asked:
            repo.private = asked["visibility"] == "private"
        repo.gated = asked.get("gated", repo.gated)
        return give(asked)


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
