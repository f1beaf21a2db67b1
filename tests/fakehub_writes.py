"""What the loopback Hub answers to who publishes, told strictly.

What the real Hub would refuse is refused, and what no honest client does is noted as misuse: a
commit of a large file that was never uploaded, an upload of other bytes than announced, a deletion
of what is not there.
"""

from __future__ import annotations

import base64
import json
from hashlib import sha256

import yaml
from fakehub_base import NO_TOKEN, Answer, Call, State, User, give, refuse
from fakehub_repo import Blob, Repo


class Writes(State):
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

    def _preupload(self, call: Call, user: User | None, repo: str) -> Answer:
        found = self._writable(user, repo)
        if isinstance(found, Answer):
            return found
        ignored = found.files.get(".gitignore")
        names = ignored.data.decode().split() if ignored else []
        told = []
        for file in call.json["files"]:
            there = found.files.get(file["path"])
            oid = (there.sha256 if there.large else there.oid) if there else None
            large = file["path"].endswith((".parquet", ".png")) or file["size"] > 5_000_000
            mode = "lfs" if large else "regular"
            ignore = file["path"] in names
            told.append(
                {"path": file["path"], "uploadMode": mode, "oid": oid, "shouldIgnore": ignore}
            )
        return give({"files": told})

    def _batch(self, call: Call, user: User | None, repo: str) -> Answer:
        found = self._writable(user, repo)
        if isinstance(found, Answer):
            return found
        objects = []
        for one in call.json["objects"]:
            told = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.verified:
                upload = {"href": f"{self.cdn}/lfs/{one['oid']}?X-Amz-Signature=secret"}
                verify = {"href": f"{self.url}/lfs/{repo}/verify"}
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

    def _verify(self, call: Call, user: User | None, repo: str) -> Answer:
        found = self._writable(user, repo)
        if isinstance(found, Answer):
            return found
        if len(self.large.get(call.json["oid"], b"")) != call.json["size"]:
            return self.bad("verified what is not there")
        self.verified.add(call.json["oid"])
        return give({})

    def _commit(self, call: Call, user: User | None, repo: str) -> Answer:
        found = self._writable(user, repo)
        if isinstance(found, Answer):
            return found
        lines = [json.loads(line) for line in call.body.splitlines()]
        head = lines[0]["value"]
        if lines[0]["key"] != "header" or "parentCommit" not in head:
            return self.bad("a commit without its parent")
        if head["parentCommit"] != found.head.oid:
            return refuse(412, "A commit has happened since. Please refresh and try again.")
        files = dict(found.files)
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
        if files == found.files:
            return self.bad("an empty commit")
        made = found.commit(head["summary"], files)
        url = f"{self.url}/datasets/{repo}/commit/{made.oid}"
        return give({"commitOid": made.oid, "commitUrl": url})

    def _settings(self, call: Call, user: User | None, repo: str) -> Answer:
        found = self._writable(user, repo)
        if isinstance(found, Answer):
            return found
        asked = call.json
        if not asked or set(asked) - {"visibility", "gated"}:
            return self.bad(f"settings {asked}")
        if "visibility" in asked:
            found.private = asked["visibility"] == "private"
        found.gated = asked.get("gated", found.gated)
        return give(asked)

    def _tag(self, call: Call, user: User | None, repo: str, revision: str) -> Answer:
        found = self._writable(user, repo)
        if isinstance(found, Answer):
            return found
        commit = found.at(revision)
        if call.json["tag"] in found.tags:
            return refuse(409, "Tag reference exists already")
        if commit is None:
            return self.bad(f"tagged {revision}")
        found.tags[call.json["tag"]] = commit.oid
        return give({})
