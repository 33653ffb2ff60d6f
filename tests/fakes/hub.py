"""A model hub and a package index on 127.0.0.1, as far as fetching needs them, with faults on request."""

import hashlib
import json
import random
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit

from models.schema import Checkpoint

COMMIT = "c0ffee" + "0" * 34
NOWHERE = "http://127.0.0.1:9"  # the discard port: connections are refused


@dataclass
class Request:
    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class FakeHub:
    """Serves ``repositories`` (id -> file name -> bytes) the way Hugging Face and ModelScope do.

    ``refuse`` answers every API and file request with (status, X-Error-Code), ``refuse_files``
    those for files only, ``refuse_token`` those that bring a token. ``drop`` cuts the
    connection after so many bytes of a body, once per entry. While ``hold`` is cleared, bodies stop
    after ``CHUNK`` bytes. ``replaced`` is sent in place of a file, whatever the listing promises.
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    pages: dict[str, bytes] = field(default_factory=dict)  # plain files, such as a package index
    refuse: tuple[int, str] | None = None
    refuse_files: int | None = None
    refuse_token: int | None = None
    probe_status: int = 200
    drop: list[int] = field(default_factory=list)
    replaced: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    ranges: bool = True

    CHUNK = 1 << 16

    def __post_init__(self) -> None:
        self.hold = threading.Event()
        self.hold.set()
        self.held = threading.Event()  # set once a body waits for ``hold``

        class Handler(_Handler):
            hub = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeHub":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    def asked(self, part: str, method: str = "GET") -> list[Request]:
        return [request for request in self.requests if part in request.path and request.method == method]


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._note()
        path = urlsplit(self.path).path
        for name, files in self.hub.repositories.items():
            if path.startswith(f"/{name}/resolve/{COMMIT}/"):
                body = files[path.split(COMMIT + "/")[1]]
                tag = hashlib.sha256(body).hexdigest()
                found = {"Content-Length": str(len(body)), "ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}
                return self._start(200, found)
        page = self.hub.pages.get(path)
        status = self.hub.probe_status if page is None else 200
        return self._start(status, {"Content-Length": str(len(page or b""))})

    def do_GET(self) -> None:
        self._note()
        address = urlsplit(self.path)
        path, query = unquote(address.path), parse_qs(address.query)
        if path in self.hub.pages:
            return self._send(self.hub.pages[path], "text/html" if path.endswith("/") else "application/zip")
        if self.hub.refuse_token and self.headers.get("Authorization"):
            return self._start(self.hub.refuse_token, {"Content-Length": "0"})
        if self.hub.refuse:
            status, code = self.hub.refuse
            return self._start(status, {"X-Error-Code": code, "Content-Length": "0"})
        for name, files in self.hub.repositories.items():
            if path.startswith(f"/api/models/{name}/revision/"):
                return self._send(json.dumps(_hugging_face(files)).encode())
            if path == f"/api/v1/models/{name}/repo/files":
                return self._send(json.dumps(_modelscope(files)).encode())
            if path == f"/api/v1/models/{name}/repo":
                return self._file(files, query["FilePath"][0])
            if path.startswith(f"/{name}/resolve/{COMMIT}/"):
                return self._file(files, path.split(COMMIT + "/")[1])
        return self._start(404, {"X-Error-Code": "RepoNotFound", "Content-Length": "0"})

    def _note(self) -> None:
        headers = self.headers
        self.hub.requests.append(
            Request(self.command, self.path, headers.get("Range"), headers.get("Authorization"))
        )

    def _start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _file(self, files: dict[str, bytes], name: str) -> None:
        if self.hub.refuse_files:
            return self._start(self.hub.refuse_files, {"X-Error-Code": "GatedRepo", "Content-Length": "0"})
        return self._send(self.hub.replaced.get(name, files[name]), "application/octet-stream")

    def _send(self, body: bytes, kind: str = "application/json") -> None:
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.hub.ranges else 0
        if start >= len(body) > 0:
            return self._start(416, {"Content-Length": "0"})
        self._start(206 if start else 200, {"Content-Type": kind, "Content-Length": str(len(body) - start)})
        large = kind in ("application/octet-stream", "application/zip")
        limit = self.hub.drop.pop(0) if large and self.hub.drop else len(body)
        for offset in range(start, min(len(body), start + limit), self.hub.CHUNK):
            self.wfile.write(body[offset : min(offset + self.hub.CHUNK, start + limit)])
            if large and not self.hub.hold.is_set():
                self.hub.held.set()
                self.hub.hold.wait(60)
        return None


def _hugging_face(files: dict[str, bytes]) -> dict[str, object]:
    siblings = []
    for name, body in files.items():
        entry: dict[str, object] = {"rfilename": name, "size": len(body)}
        entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        if not name.endswith((".json", ".txt", ".py", ".md")):
            entry["lfs"] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}
        siblings.append(entry)
    return {"id": "x", "sha": COMMIT, "siblings": siblings}


def _modelscope(files: dict[str, bytes]) -> dict[str, object]:
    listed = [
        {"Path": name, "Type": "blob", "Size": len(body), "Sha256": hashlib.sha256(body).hexdigest()}
        for name, body in files.items()
    ]
    return {"Code": 200, "Data": {"Files": [{"Path": "onnx", "Type": "tree", "Size": 0}, *listed]}}


# --- a small repository --------------------------------------------------------------------------

WEIGHTS = random.Random(0).randbytes(3 * FakeHub.CHUNK + 123)
REPOSITORY = {
    "config.json": b"{}",
    "tokenizer.json": b'{"a": 1}',
    "vocab.json": b'{"a": 1}',  # the same bytes under another name
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"the same again",
    "tf_model.h5": b"and again",
    "modeling_tiny.py": b"raise SystemExit",
    "onnx/model.onnx": b"and again",
}
TINY = Checkpoint("org/tiny", "other", "chat", "unknown", hub_id="org/tiny")
