"""A Hub on the loopback for huggingface-hub's own client: real sockets, and faults on demand."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

from fakehub_answers import Answers
from fakehub_base import NO_TOKEN, Answer, Call, User, refuse
from fakehub_repo import Repo

__all__ = ["FakeHub", "Fault", "Repo", "User", "serve"]


@dataclass
class Fault:
    """What goes wrong with requests `METHOD PATH` that match: an error status, or a cut line.

    meanwhile: what happens on the Hub just before the request is carried out.

    cut: "before" the request is looked at, "mid" in its body, or "after" it was carried out.
    times: how often; -1 for always.
    """

    pattern: str
    status: int = 0
    cut: str = ""
    times: int = -1
    meanwhile: Callable[[], object] | None = None
    retry_after: int | None = 0  # the client waits a second more than this, not longer and longer

    def strikes(self, call: str) -> bool:
        if self.times == 0 or not re.search(self.pattern, call):
            return False
        self.times -= 1
        return True


class FakeHub(Answers):
    """A Hub with these repositories; `requests` are those that it got."""

    def __init__(self, *repos: Repo) -> None:
        super().__init__()
        self.repos = {repo.name: repo for repo in repos}
        self.faults: list[Fault] = []
        self.requests: list[str] = []  # "METHOD /path"
        self.lock = Lock()
        repo, revision = r"(?P<repo>[\w.-]+/[\w.-]+)", r"(?P<revision>[^/]+)"
        self._routes: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", r"/api/whoami-v2", self._whoami),
            ("POST", r"/api/repos/create", self._create),
            ("POST", r"/api/validate-yaml", self._validate),
            ("GET", rf"/api/datasets/{repo}(?:/revision/{revision})?", self._info),
            ("GET", rf"/api/datasets/{repo}/tree/{revision}(?:/(?P<under>.+))?", self._tree),
            ("POST", rf"/api/datasets/{repo}/preupload/main", self._preupload),
            ("POST", rf"/datasets/{repo}\.git/info/lfs/objects/batch", self._batch),
            ("PUT", r"/lfs/(?P<oid>\w{64})", self._put),
            ("POST", rf"/lfs/{repo}/verify", self._verify),
            ("POST", rf"/api/datasets/{repo}/commit/main", self._commit),
            ("PUT", rf"/api/datasets/{repo}/settings", self._settings),
            ("GET", rf"/datasets/{repo}/resolve/{revision}/(?P<name>.+)", self._resolve),
            ("GET", r"/cdn/(?P<oid>\w{64})", self._cdn),
        ]

    def answer(self, call: Call) -> Answer:
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.users and not call.path.startswith(("/cdn", "/lfs/")):
            return NO_TOKEN
        method = "GET" if call.method == "HEAD" else call.method
        for wanted, pattern, route in self._routes:
            found = re.fullmatch(pattern, call.path)
            if found and method == wanted:
                user, named = self.users.get(token), found.groupdict()
                if "repo" in named:
                    named["repo"] = self._opened(user, named["repo"], to_read=method == "GET")
                    if isinstance(named["repo"], Answer):
                        return named["repo"]
                return route(call, user, **named)
        return refuse(404, "no such endpoint", "RepoNotFound")

    def count(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, line)) for line in self.requests)

    def changes(self) -> list[str]:
        """The requests that changed something for others to see, in order."""
        calls = (line.partition("/datasets/")[2] for line in self.requests)
        words = (line.split("/") for line in calls)
        return [part[2] for part in words if part[2:3] and part[2] in ("commit", "settings")]


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = f"{self.command} {self.path.partition('?')[0]}"
            with hub.lock:
                hub.requests.append(name)
                fault = next((one for one in hub.faults if one.strikes(name)), None)
            if fault and fault.cut == "before":
                return self._cut()
            if fault and fault.cut == "mid":
                self.rfile.read(min(1000, self._length()))
                return self._cut()
            body = self._body()
            headers = {key.lower(): value for key, value in self.headers.items()}
            call = Call.of(self.command, self.path, headers, body)
            if fault and fault.status:
                answer = refuse(fault.status, f"told to say {fault.status}")
                if fault.retry_after is not None:
                    answer.headers["Retry-After"] = str(fault.retry_after)
                return self._send(answer)
            with hub.lock:
                if fault and fault.meanwhile:
                    fault.meanwhile()
                answer = hub.answer(call)
            if fault and fault.cut == "after":
                return self._cut()
            return self._send(answer)

        do_HEAD = do_POST = do_PUT = do_GET

        def _length(self) -> int:
            return int(self.headers.get("Content-Length") or 0)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(self._length())
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def _cut(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    port = server.server_address[1]
    hub.url, hub.cdn = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def folder_hub(folder: Path, repo: str, revision: str) -> FakeHub:
    """A Hub with one public repository that holds a folder at one revision."""
    return FakeHub(Repo.of_folder(repo, folder, revision))
