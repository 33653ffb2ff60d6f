"""/v1/chat/completions and /v1/completions, as OpenAI's client sees them."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import httpx2
import pytest

from tests.fakes.engines import FakeEngine
from tests.fakes.waiting import until

MODEL = "chat.gguf"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def ask(client: Any, text: str, **more: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **more)


def loaded(api: Any) -> Any:
    (engine,) = api.app.state.engines.loader.loaded()
    return engine


@contextmanager
def nobody_is_served(engine: Any) -> Iterator[None]:
    """All places of its queue are taken."""
    with ExitStack() as places:
        for _ in range(engine.placement.slots):
            places.enter_context(engine.queue.enter())
        yield


def refused(client: Any, **asked: Any) -> Any:
    """The error of a request, which has to be one."""
    from openai import APIStatusError

    with pytest.raises(APIStatusError) as raised:
        client.chat.completions.create(
            **{"model": MODEL, "messages": [{"role": "user", "content": "a"}], **asked}
        )
    return raised.value


def test_an_answer_comes_whole(openai: Any) -> None:
    answer = ask(openai, "one two three")
    assert answer.object == "chat.completion" and answer.model == MODEL
    (choice,) = answer.choices
    assert choice.message.content == "one two three " and choice.finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 3)


def test_an_answer_comes_in_pieces(openai: Any) -> None:
    chunks = list(ask(openai, "one two", stream=True, stream_options={"include_usage": True}))
    assert len({(chunk.id, chunk.created, chunk.object) for chunk in chunks}) == 1
    first, *rest, last = chunks
    assert first.choices[0].delta.role == "assistant" and first.choices[0].delta.content == ""
    assert [chunk.choices[0].delta.content for chunk in rest] == ["one ", "two ", None]
    assert rest[-1].choices[0].finish_reason == "stop"
    assert last.choices == [] and last.usage.total_tokens == 5


def test_several_answers_have_their_numbers(openai: Any) -> None:
    answer = ask(openai, "one", n=3, seed=5)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage.prompt_tokens == 2  # of one prompt
    assert {options.seed for options in FakeEngine.stage.options} == {5, 6, 7}


def test_options_reach_the_engine(openai: Any) -> None:
    more = {"top_k": -1, "min_p": 0.1, "repetition_penalty": 1.5}
    ask(openai, "a", temperature=0.5, top_p=0.25, stop="x", max_completion_tokens=7, extra_body=more)
    (options,) = FakeEngine.stage.options
    assert (options.temperature, options.top_p, options.stop) == (0.5, 0.25, ("x",))
    assert (options.max_new_tokens, options.top_k, options.min_p) == (7, 0, 0.1)
    assert options.repetition_penalty == 1.5


def test_without_a_limit_the_context_is_one(api: Any, openai: Any) -> None:
    ask(openai, "one two")
    (options,) = FakeEngine.stage.options
    assert options.max_new_tokens == loaded(api).context_length - 3
    error = refused(openai, messages=[{"role": "user", "content": "a " * 40_000}])
    assert error.code == "context_length_exceeded" and error.param == "messages"


def test_calls_of_tools_are_numbered(openai: Any) -> None:
    asked = 'call weather {"city": "Oslo"}'
    (choice,) = ask(openai, asked, tools=[TOOL]).choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    with openai.chat.completions.stream(
        model=MODEL, messages=[{"role": "user", "content": asked}], tools=[TOOL]
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.name == "weather"
    told = [
        {"role": "user", "content": asked},
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "cold"},
    ]
    answer = openai.chat.completions.create(model=MODEL, messages=told, tools=[TOOL])
    assert answer.choices[0].message.content == "cold "


def test_tools_are_left_out_when_the_choice_is_none(api: Any, openai: Any) -> None:
    ask(openai, "a", tools=[TOOL], tool_choice="none")
    engine = loaded(api)
    assert engine.requests[-1].tools == []


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_call_can_be_demanded(api: Any, openai: Any, monkeypatch: pytest.MonkeyPatch, choice: Any) -> None:
    monkeypatch.setattr(FakeEngine, "response_formats", frozenset({"text", "json_schema"}))
    call = '{"name": "weather", "arguments": {"city": "Oslo"}}'  # what the fake repeats
    other = {"type": "function", "function": {"name": "other"}}
    (said,) = ask(openai, call, tools=[TOOL, other], tool_choice=choice).choices
    assert said.finish_reason == "tool_calls" and said.message.content is None
    assert said.message.tool_calls[0].function.arguments == '{"city": "Oslo"}'
    request = loaded(api).requests[-1]
    names = [each["properties"]["name"] for each in request.response_format["json_schema"]["schema"]["anyOf"]]
    assert names == [{"const": "weather"}, {"const": "other"}][: 1 + (choice == "required")]
    assert "weather" in str(request.messages[0])  # the model is told of it, whatever its template knows


@pytest.mark.parametrize(
    ("asked", "status", "param"),
    [
        ({"model": "nothing"}, 404, "model"),
        ({"model": "/etc/passwd"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"temperature": 3}, 400, "temperature"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"frequency_penalty": 1.0}, 400, "frequency_penalty"),
        ({"logit_bias": {"1": 5}}, 400, "logit_bias"),
        ({"extra_body": {"mirostat": 2}}, 400, "mirostat"),
        ({"tool_choice": "required"}, 400, "tool_choice"),
        ({"n": 0}, 400, "n"),
        ({"messages": [{"role": "robot", "content": "a"}]}, 400, None),
        (
            {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
            400,
            "messages content of type video",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    openai: Any, asked: dict[str, Any], status: int, param: str | None
) -> None:
    error = refused(openai, **asked)
    assert (error.status_code, error.param) == (status, param)
    assert {"message", "type", "param", "code"} <= error.body.keys() and error.body["message"].endswith(".")


def test_what_changes_nothing_is_taken(openai: Any) -> None:
    more = {"user": "me", "metadata": {}, "frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": False}
    assert ask(openai, "one", store=False, extra_body=more).choices[0].message.content == "one "


def test_errors_are_in_the_language_that_is_asked_for(api: Any) -> None:
    headers = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}
    asked = {"model": "nothing", "messages": [{"role": "user", "content": "a"}]}
    answer = httpx2.post(f"{api.url}/v1/chat/completions", json=asked, headers=headers)
    assert answer.status_code == 404 and "没有" in answer.json()["error"]["message"]


def test_an_error_in_the_middle_of_a_stream_is_its_last_event(openai: Any) -> None:
    from openai import APIError

    FakeEngine.stage.breaks = 1, RuntimeError("of a library")
    heard = []
    with pytest.raises(APIError) as raised:
        for chunk in ask(openai, "one two", stream=True):
            heard.append(chunk.choices[0].delta.content)
    assert heard == ["", "one "] and "of a library" not in str(raised.value)


def test_whoever_leaves_frees_the_engine(api: Any, openai: Any) -> None:
    ask(openai, "load it")
    engine = loaded(api)
    with nobody_is_served(engine):
        answers = [begin(api, stream) for stream in (True, False)]
        until(lambda: engine.active == 2)
        for connection in answers:
            connection.close()
        until(lambda: engine.active == 0 and api.app.state.admission.present == 0)


def begin(api: Any, stream: bool) -> Any:
    """A connection on which an answer is waited for."""
    import http.client

    connection = http.client.HTTPConnection(api.url.removeprefix("http://"))
    asked = {"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": "a"}]}
    connection.request(
        "POST", "/v1/chat/completions", json.dumps(asked), {"Content-Type": "application/json"}
    )
    return connection


def test_too_many_are_asked_to_come_again(api: Any, openai: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(openai, "load it")
    monkeypatch.setenv("QUINTET_API_REQUESTS", "1")
    with closing(begin(api, False)) as connection:
        with nobody_is_served(loaded(api)):
            until(lambda: api.app.state.admission.present == 1)
            error = refused(openai)
        assert error.status_code == 429 and int(error.response.headers["retry-after"]) > 0
        assert connection.getresponse().status == 200


def test_the_server_ends_its_streams_when_it_is_stopped(api: Any, openai: Any) -> None:
    from openai import APIError

    ask(openai, "load it")
    engine = loaded(api)
    failed: list[str] = []

    def listen() -> None:
        try:
            list(ask(openai, "a", stream=True))
        except APIError as error:
            failed.append(str(error))

    with nobody_is_served(engine):
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        until(lambda: engine.active == 1)
        api.app.state.admission.ending = True
        listener.join(60)
    assert failed and "being stopped" in failed[0]
    assert refused(openai).status_code == 503


def test_texts_are_continued(openai: Any) -> None:
    answer = openai.completions.create(
        model="base.gguf", prompt=["one two", "three"], echo=True, max_tokens=5
    )
    assert [choice.text for choice in answer.choices] == ["one twoone two ", "threethree "]
    chunks = list(openai.completions.create(model="base.gguf", prompt="one", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "one "


def test_a_base_model_knows_no_conversations(openai: Any) -> None:
    error = refused(openai, model="base.gguf")
    assert error.status_code == 400 and "/v1/completions" in error.message


def test_a_model_that_hears_does_not_chat(openai: Any) -> None:
    assert refused(openai, model="whisper").param == "model"


def test_embeddings_are_refused_in_a_sentence(openai: Any) -> None:
    from openai import BadRequestError

    with pytest.raises(BadRequestError, match="embeddings"):
        openai.embeddings.create(model=MODEL, input="a")
