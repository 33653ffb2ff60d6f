"""Who may ask, and how much."""

from typing import Any

import httpx2
import pytest

from tests.fakes.waiting import until


def test_without_keys_only_this_machine_under_its_own_name_is_served(api: Any) -> None:
    assert httpx2.get(f"{api.url}/v1/models").status_code == 200
    foreign = httpx2.get(f"{api.url}/v1/models", headers={"Host": "rebound.example"})
    assert foreign.status_code == 401 and foreign.json()["error"]["code"] == "no_keys"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic second"}, 401),
        ({"Authorization": "Bearer second"}, 200),
        ({"x-api-key": "first"}, 200),
        ({"Authorization": "Bearer second", "Host": "models.example"}, 200),
    ],
)
def test_with_keys_one_of_them_is_needed(
    api: Any, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], status: int
) -> None:
    monkeypatch.setenv("QUINTET_API_KEYS", "first, second")
    answer = httpx2.get(f"{api.url}/v1/models", headers=headers)
    assert answer.status_code == status
    assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)


def test_a_balancer_needs_no_key(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_API_KEYS", "first")
    assert httpx2.get(f"{api.url}/health", headers={"Host": "x"}).json() == {"status": "ok"}


def test_bodies_are_counted_as_they_come(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_API_BYTES", "1")
    parts = (b" " * 600_000 for _ in range(4))  # of a length that nobody says
    answer = httpx2.post(
        f"{api.url}/v1/chat/completions", content=parts, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "request_too_large"


def test_no_other_site_gets_an_answer(api: Any) -> None:
    """A page elsewhere can send a text without asking first, and reads no answer without a header that allows it."""
    asked = '{"model": "chat.gguf", "messages": [{"role": "user", "content": "a"}]}'
    simple = {"Content-Type": "text/plain", "Origin": "https://elsewhere.example"}
    answer = httpx2.post(f"{api.url}/v1/chat/completions", content=asked, headers=simple)
    assert answer.status_code == 415
    assert httpx2.options(f"{api.url}/v1/models", headers=simple).status_code == 405
    assert "access-control-allow-origin" not in httpx2.get(f"{api.url}/v1/models", headers=simple).headers


def test_what_is_not_there_is_said_in_the_same_form(api: Any) -> None:
    for method, path, status in (("GET", "/v1/nothing", 404), ("DELETE", "/v1/models", 405)):
        answer = httpx2.request(method, api.url + path)
        assert answer.status_code == status
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


def test_names_are_those_of_the_operator(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_ALIASES", "gpt-4=chat.gguf, other=nothing")
    rows = {row["id"]: row for row in httpx2.get(f"{api.url}/v1/models").json()["data"]}
    assert {"chat.gguf", "gpt-4", "smollm2-135m-instruct"} <= rows.keys() and "other" not in rows
    assert not any("/" in name for name in rows)  # of a path the last part is enough
    assert httpx2.get(f"{api.url}/v1/models/gpt-4").json()["id"] == "gpt-4"
    assert "llama-3.1-8b-instruct" not in rows
    asked = {"model": "gpt-4", "messages": [{"role": "user", "content": "hello"}]}
    answer = httpx2.post(f"{api.url}/v1/chat/completions", json=asked).json()
    assert answer["model"] == "gpt-4" and answer["choices"][0]["message"]["content"] == "hello "


def test_what_the_operator_lists_may_be_loaded(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def status() -> int:
        return httpx2.get(f"{api.url}/v1/models/some/repository").status_code

    assert status() == 404
    monkeypatch.setenv("QUINTET_API_MODELS", "some/*")
    assert status() == 200


def test_numbers_are_there_for_prometheus(api: Any) -> None:
    httpx2.get(f"{api.url}/v1/models")
    said = httpx2.get(f"{api.url}/metrics").text
    assert 'quintet_requests_total{route="/v1/models",status="200"}' in said
    assert "quintet_models_loaded" in said


def test_the_document_is_there_and_its_page_loads_nothing(api: Any) -> None:
    document = httpx2.get(f"{api.url}/openapi.json").json()
    assert "/v1/chat/completions" in document["paths"]
    page = httpx2.get(f"{api.url}/docs").text
    assert "/v1/chat/completions" in page and "repetition_penalty" in page
    assert "http://" not in page and "https://" not in page and "<script" not in page


def test_a_load_that_takes_too_long_goes_on_for_the_next_request(
    api: Any, stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUINTET_API_LOAD", "1")
    stage.go.clear()
    asked = {"model": "chat.gguf", "messages": [{"role": "user", "content": "hello"}]}
    for _ in range(2):
        answer = httpx2.post(f"{api.url}/v1/chat/completions", json=asked)
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "model_loading"
    stage.go.set()
    until(lambda: bool(api.app.state.engines.loader.loaded()))
    assert httpx2.post(f"{api.url}/v1/chat/completions", json=asked).status_code == 200
    assert stage.diary.count("load chat.gguf") == 1
