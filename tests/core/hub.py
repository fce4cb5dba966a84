"""A hub on a loopback port: as much of its documented HTTP API as its own client needs to list and fetch a repository.

It keeps no files: what is served, and what goes wrong, is the test's to say.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """One repository, and the faults of its server.

    With `token` it is private. `cuts` are the next so many downloads that end after half of their bytes. `status`
    answers everything. A download waits halfway for `gate`, once that is cleared.
    """

    repository: str
    files: Mapping[str, bytes]
    revisions: tuple[str, ...] = ("main", COMMIT)
    token: str = ""
    is_gated: bool = False
    cuts: int = 0
    status: int = 0
    endpoint: str = ""
    fetched: list[str] = field(default_factory=list)
    authorized_by: set[str] = field(default_factory=set)
    gate: threading.Event = field(default_factory=threading.Event)
    is_halfway: threading.Event = field(default_factory=threading.Event)
    bytes_sent: int = 0

    def __post_init__(self) -> None:
        self.gate.set()


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a repository for the body."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        hub.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def hub(repository: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Serve one public repository for the body; yield the endpoint and the names of the files that were fetched."""
    with serving(Hub(repository, files)) as running:
        yield running.endpoint, running.fetched


def use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take an endpoint for the hub; its client reads the environment only when it is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.authorized_by.add(self.headers.get("Authorization", ""))
        revision, file = _resolved(self.hub, self.path)
        if self.hub.status:
            self.refuse(self.hub.status, "")
        elif self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.refuse(401, "RepoNotFound")
        elif self.hub.is_gated:
            self.refuse(403, "GatedRepo")
        elif file and revision in self.hub.revisions and file in self.hub.files:
            self.send_file(file)
        elif file:
            self.refuse(404, "EntryNotFound" if revision in self.hub.revisions else "RevisionNotFound")
        else:
            self.describe()

    def describe(self) -> None:
        """Answer what the API tells of the repository."""
        path = unquote(self.path.partition("?")[0])
        begin = f"/api/models/{self.hub.repository}"
        if path != begin and not path.startswith(f"{begin}/"):
            self.refuse(404, "RepoNotFound")
            return
        kind, _, rest = path.removeprefix(begin).strip("/").partition("/")
        revision, _, folder = rest.partition("/")
        if kind and revision not in self.hub.revisions:
            self.refuse(404, "RevisionNotFound")
        elif kind == "tree" and not (listing := _tree(self.hub, folder, is_deep="recursive=true" in self.path.lower())):
            self.refuse(404, "EntryNotFound")
        elif kind == "tree":
            self.answer(200, json.dumps(listing).encode())
        else:
            siblings = [{"rfilename": name} for name in self.hub.files]
            told = {"id": self.hub.repository, "sha": COMMIT, "siblings": siblings}
            self.answer(200, json.dumps(told).encode())

    def send_file(self, name: str) -> None:
        body = self.hub.files[name]
        digest = hashlib.sha256(body).hexdigest()
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            body = body[int(first) : int(last or len(body)) + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.hub.fetched.append(name)
        is_cut, self.hub.cuts = self.hub.cuts > 0, max(0, self.hub.cuts - 1)
        middle = len(body) // 2
        self.wfile.write(body[:middle])
        self.wfile.flush()
        if is_cut:
            self.close_connection = True
            return
        if not self.hub.gate.is_set():
            self.hub.is_halfway.set()
            self.hub.gate.wait(30)
        self.wfile.write(body[middle:])
        self.hub.bytes_sent += len(body)

    def refuse(self, code: int, reason: str) -> None:
        self.answer(code, json.dumps({"error": reason}).encode(), reason)

    def answer(self, code: int, body: bytes, reason: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        if reason:
            self.send_header("X-Error-Code", reason)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""


def _resolved(hub: Hub, path: str) -> tuple[str, str]:
    """Return the revision and the file that a download's path names; nothing for another path."""
    rest = unquote(path.partition("?")[0]).partition(f"/{hub.repository}/resolve/")[2]
    revision, _, file = rest.partition("/")
    return revision, file


def _tree(hub: Hub, folder: str, *, is_deep: bool) -> list[dict[str, object]]:
    """Return what lies in a folder of the repository: directly, or all below it."""
    found: dict[str, dict[str, object]] = {}
    begin = f"{folder}/" if folder else ""
    for name, body in hub.files.items():
        if not name.startswith(begin):
            continue
        first, inner, _ = name.removeprefix(begin).partition("/")
        path = name if is_deep else begin + first
        found[path] = (
            {"type": "directory", "path": path, "oid": path, "size": 0}
            if inner and not is_deep
            else {"type": "file", "path": path, "oid": path, "size": len(body)}
        )
    return list(found.values())
