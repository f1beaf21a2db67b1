"""A Hub on the loopback that serves one dataset repository to huggingface-hub's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


class FakeHub:
    """Answers for `repo` at `revision` only; every other question is a 404 as the Hub gives it."""

    def __init__(self, folder: Path, repo: str, revision: str) -> None:
        self.folder, self.repo, self.revision = folder, repo, revision
        self.requests: list[str] = []
        self.url = ""

    def answer(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(f"{method} {path}")
        names = [p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*")]
        files = sorted(name for name in names if (self.folder / name).is_file())
        if path == f"/api/datasets/{self.repo}/revision/{self.revision}":
            siblings = [{"rfilename": name} for name in files]
            info = {"id": self.repo, "sha": self.revision, "siblings": siblings}
            return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()
        if path.startswith(f"/api/datasets/{self.repo}/tree/{self.revision}"):
            entries = [
                {"type": "file", "path": name, "size": (self.folder / name).stat().st_size}
                | {"oid": sha256((self.folder / name).read_bytes()).hexdigest()[:40]}
                for name in files
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(entries).encode()
        prefix = f"/datasets/{self.repo}/resolve/{self.revision}/"
        name = path.removeprefix(prefix)
        if path.startswith(prefix) and name in files:
            data = (self.folder / name).read_bytes()
            etag = f'"{sha256(data).hexdigest()}"'
            return 200, {"ETag": etag, "X-Repo-Commit": self.revision}, data
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = hub.answer(self.command, self.path.partition("?")[0])
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
