"""Pictures from web addresses: fetched from a real server, and never from where visitors may not go."""

import itertools
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import httpcore2
import pytest

from models.errors import BadInput
from models.pictures import addresses
from models.pictures.addresses import fetch, is_public

PICTURE = b"\x89PNG and so on"


class Site(BaseHTTPRequestHandler):
    """Answers by path; a path that is no method here is a place to be redirected to."""

    asked: list[str] = []  # of one test

    def do_GET(self) -> None:
        self.asked.append(f"{self.headers['Host']} {self.path}")
        assert self.headers["Accept-Encoding"] == "identity"  # or the limit would count packed bytes
        try:
            getattr(self, self.path.strip("/").split("?")[0].replace("-", "_"), self.send_missing)()
        except OSError:  # the client has had enough
            self.close_connection = True

    def picture(self) -> None:
        self.send(PICTURE)

    def send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_missing(self) -> None:
        self.send_error(404)

    def redirect(self, status: int = 302) -> None:
        self.send_response(status)
        self.send_header("Location", self.path.partition("?")[2])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def moved(self) -> None:
        status, _, self.path = self.path.partition("?")[2].partition("&")
        self.path = f"?{self.path}"
        self.redirect(int(status))

    def round_in_circles(self) -> None:
        self.path = "/redirect?/round-in-circles"
        self.redirect()

    def nowhere(self) -> None:
        self.send_response(302)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in itertools.count():
            self.wfile.write(b"x" * 65536)

    def drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        self._drip(b"x")

    def drip_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self._drip(b"X-More: y\r\n")

    def _drip(self, drop: bytes) -> None:
        while not self.server.over.wait(0.05):  # type: ignore[attr-defined]
            self.wfile.write(drop)

    def cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x")
        self.close_connection = True

    def rubbish(self) -> None:
        self.wfile.write(b"\0\1\2 rubbish\r\n\r\n")
        self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine, whose address counts as public."""
    monkeypatch.setattr(Site, "asked", [])
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.over = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.over.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.mark.parametrize("path", ["/picture", " /picture?名=字 ", "/redirect?/picture", "/redirect?picture"])
def test_a_picture_is_fetched(path: str, site: str) -> None:
    assert fetch(path.replace("/", f"{site}/", 1)) == PICTURE


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect_is_followed(status: int, site: str) -> None:
    assert fetch(f"{site}/moved?{status}&/picture") == PICTURE


def test_other_answers_with_a_location_are_not_followed(site: str) -> None:
    with pytest.raises(BadInput, match="answers 300"):
        fetch(f"{site}/moved?300&/picture")


def test_redirects_are_followed_but_not_forever(site: str) -> None:
    with pytest.raises(BadInput, match="redirects more than 5 times"):
        fetch(f"{site}/round-in-circles")
    assert len(Site.asked) == 6


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/missing", "answers 404"),
        ("/nowhere", "answers 302"),
        ("/cut", "no answer"),
        ("/rubbish", "no answer"),
        ("/redirect?ftp://127.0.0.1/x", "begins with http"),
        ("/redirect?file:///etc/passwd", "begins with http"),
        ("/redirect?http://[::1]/picture", "public internet"),
        ("/redirect?http://10.0.0.1/picture", "public internet"),
        ("/redirect?http://169.254.169.254/latest/meta-data", "public internet"),
        ("/redirect?//0x0a000001/picture", "public internet"),
    ],
)
def test_what_is_no_picture_of_the_internet_is_one_sentence(path: str, words: str, site: str) -> None:
    with pytest.raises(BadInput, match=words):
        fetch(site + path)
    assert len(Site.asked) == 1


def test_too_many_bytes_are_not_read(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "BYTES", 1_000_000)
    with pytest.raises(BadInput, match="more than 1 MB"):
        fetch(f"{site}/endless")
    monkeypatch.setattr(addresses, "BYTES", len(PICTURE))
    assert fetch(f"{site}/picture") == PICTURE
    monkeypatch.setattr(addresses, "BYTES", len(PICTURE) - 1)
    with pytest.raises(BadInput, match="more than 0 MB"):
        fetch(f"{site}/picture")


@pytest.mark.parametrize("path", ["/drip", "/drip-headers"])
def test_a_server_that_drips_is_left(path: str, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "SECONDS", 0.4)
    with pytest.raises(BadInput, match="longer than"):
        fetch(site + path)


def test_a_name_is_looked_up_once_and_connected_to_as_it_was_checked(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(site.rpartition(":")[2])
    answers = iter(["127.0.0.1", "10.0.0.1"])

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(
        socket, "create_connection", lambda address, *_, **__: _connected(address, ("127.0.0.1", port))
    )
    assert fetch(f"http://pictures.example:{port}/picture") == PICTURE
    assert Site.asked == [f"pictures.example:{port} /picture"]  # the name goes to the server
    with pytest.raises(BadInput, match="public internet"):
        fetch(f"http://pictures.example:{port}/picture")


def _connected(address: Any, expected: Any) -> socket.socket:
    assert address == expected
    found = socket.socket()
    found.connect(address)
    return found


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("127.0.0.1", "10.0.0.1")]
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(BadInput, match="public internet"):
        fetch("http://pictures.example/picture")
    assert Site.asked == []


# --- with the check as it is ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "localhost", "0.0.0.0",
        "0", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "100.64.0.1", "255.255.255.255",
        "224.0.0.1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[fe80::1]", "[fd00::1]",
        "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[ff02::1]", "127.0.0.1.", "192.0.0.192", "192.88.99.1",
        "168.63.129.16", "[3fff::1]",
    ],
)  # fmt: skip
def test_no_spelling_of_a_private_address_is_connected_to(
    host: str, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "is_public", is_public)
    with pytest.raises(BadInput, match="public internet|no answer|begins with http"):
        fetch(f"http://{host}:{site.rpartition(':')[2]}/picture")
    assert Site.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "93.184.215.14", "192.88.98.1", "168.63.129.17", "2606:4700:4700::1111", "2003::808:808",
        "2a00:1450::1:5efe:808:808",
    ],
)  # fmt: skip
def test_the_public_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("inside", ["8.8.8.8", "127.0.0.1"])
@pytest.mark.parametrize(
    "around",
    [
        "::ffff:{}", "::{}", "::ffff:0:{}",  # mapped, compatible, translated
        "64:ff9b::{}", "64:ff9b:1::{}",  # NAT64
        "2606:4700::5efe:{}", "2606:4700::200:5efe:{}",  # ISATAP
    ],
)  # fmt: skip
def test_an_address_inside_another_is_not_public_wherever_it_leads(around: str, inside: str) -> None:
    assert not is_public(around.format(inside))


@pytest.mark.parametrize(
    "address",
    [
        "2002:808:808::1", "2002:7f00:1::1",  # 6to4
        "2001:0:808:808::1", "2001:0:7f00:1:0:fbff:8080:8080",  # Teredo
        "192.0.0.8", "192.88.99.1", "3fff::1", "168.63.129.16", "fec0::1", "2001:db8::1", "239.1.1.1",
    ],
)  # fmt: skip
def test_tunnels_and_special_ranges_are_not_public(address: str) -> None:
    assert not is_public(address)


class Line:
    """A connection to a server that sends a byte a second for ever; `now` is the clock of the test."""

    now = 0.0

    def __init__(self, secure: bool = False) -> None:
        self._secure = secure
        self._left = b"HTTP/1.1 200 OK\r\n\r\n" if secure else b""

    def start_tls(self, context: Any, host: str | None, timeout: float | None) -> "Line":
        assert timeout == 20.0 - Line.now
        return Line(secure=True)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        assert timeout is not None and timeout <= 20.0 - Line.now, "longer than the deadline"
        Line.now += 1
        piece, self._left = self._left[:1] or b"x", self._left[1:]
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        assert self._secure and timeout is not None

    def close(self) -> None:
        pass

    def get_extra_info(self, info: str) -> None:
        return None


def test_the_deadline_holds_behind_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Line, "now", 0.0)
    monkeypatch.setattr(addresses, "time", SimpleNamespace(monotonic=lambda: Line.now))
    monkeypatch.setattr("httpcore2.SyncBackend.connect_tcp", lambda *_, **__: Line())
    with pytest.raises(BadInput, match="longer than 20 seconds"):
        fetch("https://8.8.8.8/picture")
    assert Line.now == 20


@pytest.mark.parametrize("failure", [httpcore2.ConnectError, httpcore2.ConnectTimeout])
def test_the_next_address_is_tried_where_one_does_not_answer(
    failure: type[Exception], site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(site.rpartition(":")[2])
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("9.9.9.9", "127.0.0.1")]
    connect = httpcore2.SyncBackend.connect_tcp

    def first_is_away(backend: Any, host: str, *arguments: Any) -> Any:
        if host == "9.9.9.9":
            raise failure
        return connect(backend, host, *arguments)

    monkeypatch.setattr(addresses, "is_public", lambda address: True)
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: both)
    monkeypatch.setattr("httpcore2.SyncBackend.connect_tcp", first_is_away)
    assert fetch(f"http://pictures.example:{port}/picture") == PICTURE
    both.pop()
    with pytest.raises(BadInput, match="no answer|longer than"):
        fetch(f"http://pictures.example:{port}/picture")


@pytest.mark.parametrize(
    "address",
    [
        "", " ", "x", "picture.png", "/etc/passwd", "file:///etc/passwd", "ftp://example.com/x", "http://",
        "http:///x", "data:image/png;base64,AA", "javascript:alert(1)", "http://[::1", "http://a b/",
        "http://example.com:99999/", "http://" + "a" * 70 + ".com/", "http://\0/", "gopher://127.0.0.1/",
        "http://127.0.0.1:22/\r\nHost: x", "http://example.com:99999999999999999999/", "http://\ud800/",
    ],
)  # fmt: skip
def test_what_is_no_address_is_one_sentence(address: str) -> None:
    with pytest.raises(BadInput):
        fetch(address)
