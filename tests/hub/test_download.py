"""Bytes from an address to a file: how requests go on, when they give up, and what is said meanwhile."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from models.errors import Cancelled, CheckpointCorrupt, DoesNotFit
from models.hub import download
from models.hub.download import ATTEMPTS, CHUNK, Remote, Transfer, fetch_all, require_space, sha256_of
from models.schema import Progress

BODY = bytes(range(256)) * 4
HASH = hashlib.sha256(BODY).hexdigest()


class Server:
    """Answers with what is next in its script: a status, or a function of the request."""

    def __init__(self, *script: int | Callable[[httpx2.Request], Any]) -> None:
        self.script = list(script)
        self.ranges: list[str | None] = []
        self.client = httpx2.Client(transport=httpx2.MockTransport(self._answer))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.ranges.append(request.headers.get("Range"))
        step = self.script.pop(0) if self.script else part
        if callable(step):
            answered: httpx2.Response = step(request)
            return answered
        return httpx2.Response(step)


def part(request: httpx2.Request, body: bytes = BODY) -> httpx2.Response:
    """What was asked for."""
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    return httpx2.Response(206 if start else 200, content=body[start:])


def first(count: int) -> Callable[[httpx2.Request], httpx2.Response]:
    """Only so many bytes of it."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        whole = part(request)
        return httpx2.Response(whole.status_code, content=whole.content[:count])

    return answer


def broken(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("no")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, without waiting."""
    found: list[float] = []
    monkeypatch.setattr(Transfer, "pause", lambda self, seconds: found.append(seconds))
    return found


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote("a.bin", "http://hub.test/a.bin", tmp_path / "blobs" / "a.bin", len(BODY), HASH)


# --- requests ------------------------------------------------------------------------------------


def test_a_whole_file_arrives_at_once(remote: Remote, pauses: list[float]) -> None:
    server = Server()
    fetch_all(server.client, [remote], Transfer())
    assert remote.target.read_bytes() == BODY and not remote.part.exists()
    assert (server.ranges, pauses) == ([None], [])
    fetch_all(server.client, [remote], Transfer())  # is there
    assert server.ranges == [None]


def test_what_is_there_is_continued(remote: Remote, pauses: list[float]) -> None:
    remote.part.parent.mkdir()
    remote.part.write_bytes(BODY[:100])
    server = Server()
    fetch_all(server.client, [remote], Transfer())
    assert server.ranges == ["bytes=100-"] and remote.target.read_bytes() == BODY


def test_a_whole_part_is_only_renamed(remote: Remote, pauses: list[float]) -> None:
    remote.part.parent.mkdir()
    remote.part.write_bytes(BODY)
    server = Server()
    fetch_all(server.client, [remote], Transfer())
    assert server.ranges == [] and remote.target.read_bytes() == BODY


def test_a_broken_connection_goes_on_where_it_was_and_waits_longer_each_time(
    remote: Remote, pauses: list[float]
) -> None:
    server = Server(broken, 503, 429, first(10), broken, first(5))
    fetch_all(server.client, [remote], Transfer())
    assert server.ranges == [None, None, None, None, "bytes=10-", "bytes=10-", "bytes=15-"]
    assert pauses == [0.5, 1.0, 2.0, 0.25, 0.5, 0.25]  # what brought bytes was no failure
    assert remote.target.read_bytes() == BODY


def test_it_gives_up_when_nothing_comes(remote: Remote, pauses: list[float]) -> None:
    server = Server(*[broken] * 9)
    with pytest.raises(httpx2.ConnectError):
        fetch_all(server.client, [remote], Transfer())
    assert len(server.ranges) == ATTEMPTS and len(pauses) == ATTEMPTS - 1
    assert max(pauses) <= 8


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_not_asked_again(status: int, remote: Remote, pauses: list[float]) -> None:
    server = Server(status)
    with pytest.raises(httpx2.HTTPStatusError):
        fetch_all(server.client, [remote], Transfer())
    assert len(server.ranges) == 1 and not remote.target.exists()


def test_a_server_without_ranges_begins_anew(remote: Remote, pauses: list[float]) -> None:
    remote.part.parent.mkdir()
    remote.part.write_bytes(b"x" * 100)
    server = Server(lambda request: httpx2.Response(200, content=BODY))
    fetch_all(server.client, [remote], Transfer())
    assert remote.target.read_bytes() == BODY


def test_a_part_that_the_server_cannot_continue_begins_anew(remote: Remote, pauses: list[float]) -> None:
    remote.part.parent.mkdir()
    remote.part.write_bytes(b"x" * 100)
    server = Server(416)
    fetch_all(server.client, [remote], Transfer())
    assert server.ranges == ["bytes=100-", None] and remote.target.read_bytes() == BODY


@pytest.mark.parametrize("size", [None, len(BODY)])
@pytest.mark.parametrize("sha256", [None, HASH])
def test_what_the_publisher_does_not_say_is_not_asked_for(
    size: int | None, sha256: str | None, tmp_path: Path, pauses: list[float]
) -> None:
    remote = Remote("a", "http://hub.test/a", tmp_path / "a", size, sha256)
    fetch_all(Server().client, [remote], Transfer())
    assert remote.target.read_bytes() == BODY


@pytest.mark.parametrize(("size", "sha256"), [(len(BODY), "0" * 64), (len(BODY) - 1, None)])
def test_other_bytes_are_removed(size: int, sha256: str | None, tmp_path: Path, pauses: list[float]) -> None:
    remote = Remote("a", "http://hub.test/a", tmp_path / "a", size, sha256)
    with pytest.raises(CheckpointCorrupt, match="a arrived damaged"):
        fetch_all(Server().client, [remote], Transfer())
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_renamed_before_all_are_there(tmp_path: Path, pauses: list[float]) -> None:
    good = Remote("a", "http://hub.test/a", tmp_path / "a", len(BODY), HASH)
    bad = Remote("b", "http://hub.test/b", tmp_path / "b", len(BODY), HASH)
    with pytest.raises(httpx2.HTTPStatusError):
        fetch_all(Server(part, 404).client, [good, bad], Transfer())
    assert good.part.read_bytes() == BODY and not good.target.exists()


def test_parts_of_other_versions_have_other_names(tmp_path: Path) -> None:
    one = Remote("a", "", tmp_path / "a", 1, "1" * 64)
    assert one.part.name == "a.111111111111.part"
    assert Remote("a", "", tmp_path / "a", 1, "2" * 64).part != one.part
    assert Remote("a", "", tmp_path / "a").part.name == "a..part"


def test_one_content_under_two_names_is_fetched_once(tmp_path: Path, pauses: list[float]) -> None:
    server = Server()
    both = [Remote(name, f"http://hub.test/{name}", tmp_path / "same", len(BODY), HASH) for name in "ab"]
    fetch_all(server.client, both, Transfer())
    assert len(server.ranges) == 1


def test_a_file_of_another_size_is_not_there(remote: Remote) -> None:
    remote.target.parent.mkdir()
    assert not remote.done
    remote.target.write_bytes(BODY)
    assert remote.done
    remote.target.write_bytes(BODY[:-1])
    assert not remote.done
    assert Remote("a", "", remote.target).done  # where the size is not known


# --- space -----------------------------------------------------------------------------------------


def test_the_disk_has_to_hold_what_is_missing_and_more(
    remote: Remote, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.part.parent.mkdir()
    remote.part.write_bytes(BODY[:24])
    free = SimpleNamespace(free=len(BODY) - 24 + 500)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: free)
    with pytest.raises(DoesNotFit, match="GB more is needed"):
        fetch_all(Server().client, [remote], Transfer(), extra=501)
    fetch_all(Server().client, [remote], Transfer(), extra=500)
    assert remote.target.exists()


def test_space_is_looked_for_where_the_folder_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> Any:
        asked.append(path)
        return SimpleNamespace(free=10)

    monkeypatch.setattr(download.shutil, "disk_usage", usage)
    require_space(tmp_path / "not" / "yet", 10)
    with pytest.raises(DoesNotFit, match="QUINTET_CACHE") as caught:
        require_space(tmp_path / "not" / "yet", 11)
    assert str(tmp_path) not in caught.value.en + caught.value.zh
    assert asked == [tmp_path] * 2


# --- progress ----------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=50.0)
    monkeypatch.setattr(download, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_progress_has_speed_and_time_left(clock: SimpleNamespace) -> None:
    told: list[Progress] = []
    transfer = Transfer(report=told.append)
    transfer.begin("download", 1000, 200)
    for _ in range(4):
        clock.seconds += 0.5
        transfer.advance(100, "a.bin")
    assert told[0] == Progress("download", 200, 1000)
    assert [step.done for step in told] == [200, 300, 400, 500, 600]
    assert told[-1].rate == pytest.approx(200) and told[-1].left == pytest.approx(2.0)
    assert told[-1].detail == "a.bin" and told[-1].total == 1000
    clock.seconds += 0.5
    transfer.advance(200)
    assert told[-1].rate == pytest.approx(200 + 0.3 * 200)  # the newest speed counts for a third


def test_progress_is_told_ten_times_a_second_at_most(clock: SimpleNamespace) -> None:
    told: list[Progress] = []
    transfer = Transfer(report=told.append)
    transfer.begin("verify", 100)
    for _ in range(10):
        clock.seconds += 0.02
        transfer.advance(1)
    assert [step.done for step in told] == [0, 5, 10] and told[-1].rate == 0.0 and told[-1].left is None
    transfer.begin("unpack", 7)
    assert told[-1] == Progress("unpack", 0, 7)


def test_what_has_to_be_fetched_anew_is_no_progress(
    remote: Remote, pauses: list[float], clock: SimpleNamespace
) -> None:
    remote.part.parent.mkdir()
    remote.part.write_bytes(b"x" * 40)
    told: list[Progress] = []

    def anew(request: httpx2.Request) -> httpx2.Response:
        clock.seconds += 1.0
        return httpx2.Response(200, content=BODY)

    fetch_all(Server(anew).client, [remote], Transfer(report=told.append))
    assert [step.done for step in told if step.stage == "download"] == [40, 0]


def test_a_total_that_is_not_known_has_no_time_left(
    clock: SimpleNamespace, tmp_path: Path, pauses: list[float]
) -> None:
    told: list[Progress] = []
    unknown = Remote("a", "http://hub.test/a", tmp_path / "a")
    known = Remote("b", "http://hub.test/b", tmp_path / "b", len(BODY))
    fetch_all(Server().client, [unknown, known], Transfer(report=told.append))
    assert told[0] == Progress("download", 0, 0)
    told.clear()
    more = Remote("c", "http://hub.test/c", tmp_path / "c", len(BODY))
    more.part.write_bytes(BODY[:24])
    fetch_all(Server().client, [unknown, known, more], Transfer(report=told.append))
    assert told[0] == Progress("download", 24, len(BODY))


def test_nobody_waits_any_more() -> None:
    stop = threading.Event()
    transfer = Transfer(stop)
    transfer.begin("download", 10)
    transfer.advance(1)
    stop.set()
    for step in (lambda: transfer.advance(1), lambda: transfer.begin("find"), lambda: transfer.pause(60.0)):
        with pytest.raises(Cancelled):
            step()


def test_a_files_hash_advances_by_what_was_read(clock: SimpleNamespace, tmp_path: Path) -> None:
    told: list[Progress] = []
    transfer = Transfer(report=told.append)
    file = tmp_path / "a.bin"
    file.write_bytes(bytes(CHUNK + 5))
    transfer.begin("verify", CHUNK + 5)
    clock.seconds += 1
    assert sha256_of(file, transfer) == hashlib.sha256(bytes(CHUNK + 5)).hexdigest()
    clock.seconds += 1
    transfer.advance(0)
    assert [step.done for step in told] == [0, CHUNK, CHUNK + 5] and told[1].detail == "a.bin"
