"""A model hub on a loopback port: as much of its protocol as fetching a snapshot takes."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(repository: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Serve one repository for the body; yield the endpoint and the names of the files that were fetched."""
    fetched: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(repository, files, fetched))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(repository: str, files: Mapping[str, bytes], fetched: list[str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            file = self.file()
            self.answer(200 if file in files else 404, files.get(file, b""), file)

        def do_GET(self) -> None:
            file, listing = self.file(), _listing(repository, files, self.path.partition("?")[0])
            if file in files:
                fetched.append(file)
                self.answer(200, files[file], file)
            else:
                self.answer(404 if listing is None else 200, json.dumps(listing).encode())

        def file(self) -> str:
            return self.path.partition(f"/{repository}/resolve/{COMMIT}/")[2]

        def answer(self, code: int, body: bytes, file: str = "") -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            if file:
                self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
            if code == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Stay silent."""

    return Handler


def _listing(repository: str, files: Mapping[str, bytes], path: str) -> object:
    """Return what the hub's API tells at a path; None for an unknown one."""
    if path.startswith(f"/api/models/{repository}/tree/"):
        return [{"type": "file", "path": name, "size": len(body), "oid": name} for name, body in files.items()]
    if path in (f"/api/models/{repository}", f"/api/models/{repository}/revision/main"):
        return {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
    return None
