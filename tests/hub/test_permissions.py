"""What the operator lets visitors fetch, with whose token, and onto how much of the disk."""

from pathlib import Path

import pytest

from models.catalog import find
from models.errors import AccessDenied, CheckpointNotFound, DoesNotFit
from models.hub import Hub
from models.hub.download import require_space
from models.permissions import keeps, kept_free, kept_in_all, kept_per_visitor, key_for, may_fetch
from tests.fakes.hub import TINY, FakeHub

GATED = find("llama-2-7b-chat")


@pytest.mark.parametrize(
    ("setting", "fetched"),
    [
        (None, "offered named typed"), ("", "offered named typed"), ("Anything", "offered named typed"),
        ("catalog", "offered named"), ("nothing", ""), ("no-such-word", ""),
    ],
)  # fmt: skip
def test_what_may_be_fetched(setting: str | None, fetched: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUINTET_FETCH", raising=False)
    if setting is not None:
        monkeypatch.setenv("QUINTET_FETCH", setting)
    monkeypatch.setenv("GEMMA_MODEL_PATH", "me/private")
    asked = {"offered": (GATED.name, True), "named": ("me/private", False), "typed": ("org/tiny", False)}
    assert [kind for kind, it in asked.items() if may_fetch(*it)] == fetched.split()


@pytest.mark.parametrize(
    ("listed", "address", "key"),
    [
        ("example.org sesame", "http://example.org/v1", None),  # whose port of the host is not said
        ("example.org:80 sesame", "http://example.org:80/v1", "sesame"),
        ("example.org:80 sesame", "http://example.org:8080/v1", None),
        ("http://example.org/v1 sesame", "http://example.org/v1", "sesame"),
        ("http://example.org/v1", "http://example.org/v1", "general"),
        ("example.org", "http://example.org/v1", None),
    ],
)
def test_a_key_goes_to_one_server_and_not_to_its_host(
    listed: str, address: str, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUINTET_REMOTE_KEY", "general")
    monkeypatch.setenv("QUINTET_REMOTES", listed)
    assert key_for(address) == key


def test_what_may_not_be_fetched_is_asked_of_nobody_and_used_once_it_is_there(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUINTET_FETCH", "catalog")
    with pytest.raises(AccessDenied, match="QUINTET_FETCH") as caught:
        Hub().fetch(TINY)
    assert server.requests == [] and caught.value.zh.endswith("。")
    monkeypatch.setenv("QUINTET_FETCH", "anything")
    path = Hub().fetch(TINY)
    monkeypatch.setenv("QUINTET_FETCH", "nothing")
    assert Hub().fetch(TINY) == path


@pytest.mark.parametrize(
    ("listed", "shown"),
    [
        (None, True),
        ("org/*", True),
        ("me/x, org/tiny", True),
        ("", False),
        ("me/*", False),
        ("org/tin", False),
    ],
)
def test_the_token_is_used_for_what_the_operator_listed(
    listed: str | None, shown: bool, server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("QUINTET_TOKEN_FOR", raising=False)
    if listed is not None:
        monkeypatch.setenv("QUINTET_TOKEN_FOR", listed)
    Hub().fetch(TINY)
    assert {request.authorization for request in server.requests} == {"Bearer hf_secret" if shown else None}


def test_the_token_is_used_for_the_catalog_and_what_the_operator_offers(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("QUINTET_TOKEN_FOR", "")
    with pytest.raises(CheckpointNotFound):  # this hub does not have it
        Hub().fetch(GATED)
    monkeypatch.setenv("MODEL_PATH", "org/tiny")
    Hub().fetch(TINY)
    assert {request.authorization for request in server.requests} == {"Bearer hf_secret"}


def test_space_is_kept_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_space(tmp_path, 1)
    monkeypatch.setenv("QUINTET_KEEP_FREE", "1e9")
    with pytest.raises(DoesNotFit):
        require_space(tmp_path, 1)
    monkeypatch.setenv("QUINTET_KEEP_FREE", "2.5")
    assert kept_free() == 2_500_000_000
    monkeypatch.setenv("QUINTET_KEEP_FREE", "much")
    assert kept_free() == 0


def test_what_is_kept_of_visitors(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, kept in (("0", False), (" 0 ", False), ("", True), ("1", True)):
        monkeypatch.setenv("QUINTET_KEEP", value)
        assert keeps() is kept
    assert (kept_per_visitor(), kept_in_all()) == (2 * 10**9, 50 * 10**9)
    monkeypatch.setenv("QUINTET_KEEP_VISITOR", "0.5")
    monkeypatch.setenv("QUINTET_KEEP_ALL", "inf")
    assert (kept_per_visitor(), kept_in_all()) == (5 * 10**8, 50 * 10**9)
