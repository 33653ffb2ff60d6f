"""A token that a hub does not take: asked again without it, and said."""

import logging

import pytest

from models.catalog import find
from models.errors import AccessDenied, CheckpointNotFound
from models.hub import Hub
from tests.fakes.hub import TINY, FakeHub


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("name", ["org/tiny", "modelscope.cn/models/org/tiny"])
def test_a_public_repository_needs_none(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int, name: str
) -> None:
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
    for variable in ("HF_TOKEN", "MODELSCOPE_API_TOKEN"):
        monkeypatch.setenv(variable, "expired")
    server.refuse_token = status
    with caplog.at_level(logging.WARNING):
        folder = Hub().fetch(find(name))
    assert (folder / "model.safetensors").is_file()
    assert [record.getMessage() for record in caplog.records] == [
        "127.0.0.1 refuses the token: it may have expired; asked without"
    ]
    with_token = [request for request in server.requests if request.authorization]
    assert len(with_token) == 1


@pytest.mark.parametrize("refusal", [(401, "GatedRepo"), (401, "RepoNotFound"), (404, "")])
def test_where_one_is_needed_the_sentence_is_about_it(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch, refusal: tuple[int, str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "expired")
    server.refuse_token, server.refuse = 401, refusal
    with pytest.raises(AccessDenied, match="expired or mistyped") as caught:
        Hub().fetch(TINY)
    assert "HF_TOKEN" in caught.value.en and "HF_TOKEN" in caught.value.zh


def test_one_that_is_known_and_not_enough_is_told_where_to_ask(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "good")
    server.refuse_token, server.refuse = 403, (401, "GatedRepo")
    with pytest.raises(AccessDenied, match="ask for access"):
        Hub().fetch(TINY)


def test_a_good_one_is_kept(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "good")
    Hub().fetch(TINY)
    assert {request.authorization for request in server.requests} == {"Bearer good"}
    server.repositories.clear()
    with pytest.raises(CheckpointNotFound, match="There is no"):
        Hub().fetch(find("org/other"))
