"""What is sent to and read from servers that speak the OpenAI form: pictures, calls and figures."""

import base64
import io
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.chat.openai_form import events, refusal
from models.engines.remote import RemoteEngine
from models.errors import BadInput
from models.schema import Checkpoint, Delta, Done, Placement, ToolCall
from tests.fakes.llama_cpp import Llama, called, ended, said


@pytest.fixture
def llama() -> Iterator[Llama]:
    with Llama().listening() as llama:
        yield llama


def remote(llama: Llama, context: int = 0) -> RemoteEngine:
    address = f"{llama.listening_address}/v1"
    return RemoteEngine(
        Path(), Checkpoint(address, "other", "chat", "openai-api"), Placement("remote", "remote", context)
    )


# --- texts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["a\ud83c", "\udf0db"], ["a", "\U0001f30db"]),
        (["\ud83c", "\udf0d", "!"], ["\U0001f30d", "!"]),
        (["a\ud83c"], ["a", "\ufffd"]),
        (["\ud83c", "a\udf0d"], ["\ufffda\ufffd"]),
    ],
)
def test_halves_of_characters_are_joined(pieces: list[str], expected: list[str]) -> None:
    chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    found = list(events(iter(chunks), threading.Event(), 0.0))
    assert [event.text for event in found if isinstance(event, Delta)] == expected


# --- what is sent ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "webp", "jpeg"])
def test_pictures_are_sent_as_data(kind: str, llama: Llama) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2, 3), "red").save(file, kind)
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image", "image": file.getvalue()}]
    remote(llama).count_tokens([{"role": "system", "content": "Say."}, {"role": "user", "content": parts}])
    sent = [body["messages"] for path, body, _ in llama.posted if path == "/apply-template"][-1]
    url = f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
    assert sent[0] == {"role": "system", "content": "Say."}
    assert sent[1]["content"] == [parts[0], {"type": "image_url", "image_url": {"url": url}}]


def test_a_picture_that_is_an_address_already_is_sent_as_it_is(llama: Llama) -> None:
    address = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    remote(llama).count_tokens([{"role": "user", "content": [address]}])
    assert llama.posted[-2][1]["messages"] == [{"role": "user", "content": [address]}]


def test_tools_are_counted_too(llama: Llama) -> None:
    tool = {"name": "look", "description": "", "parameters": {"type": "object", "properties": {}}}
    remote(llama).count_tokens([{"role": "user", "content": "a"}], [tool])
    asked = [body for path, body, _ in llama.posted if path == "/apply-template"][-1]
    assert asked["tools"] == [{"type": "function", "function": tool}]


def test_llama_cpp_says_how_long_its_context_is_and_counts(llama: Llama) -> None:
    engine = remote(llama)
    assert (engine.model, engine.context_length) == ("tiny", 256)
    assert (remote(llama, 99).context_length, remote(llama, 999).context_length) == (99, 256)
    assert engine.count_tokens("two words") == 2
    assert engine.count_tokens([{"role": "user", "content": "two words"}]) == 3
    assert llama.posted[-1][1] == {"content": "user two words", "add_special": True, "parse_special": True}
    assert [note.en for note in engine.report.notes] == ["tiny answers"]


# --- what is read ----------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at it is one second after the last; the first says 10."""
    ticks = itertools.count(10)
    monkeypatch.setattr("models.chat.openai_form.time.monotonic", lambda: float(next(ticks)))


def read(chunks: list[Any], began: float = 8.0) -> list[Any]:
    return list(events(iter(chunks), threading.Event(), began))


def done(chunks: list[Any], began: float = 8.0) -> Any:
    last = read(chunks, began)[-1]
    assert isinstance(last, Done)
    return last.usage


@pytest.mark.usefixtures("clock")
def test_the_first_piece_is_waited_for_and_the_speed_counts_from_it() -> None:
    figures = {"prompt_tokens": 4, "completion_tokens": 6}
    usage = done([said(""), said("a"), said("b"), ended(usage=figures)])
    assert usage.seconds_to_first_token == 2.0  # from 8 to 10, and the later pieces change nothing
    assert usage.tokens_per_second == 6.0  # in the one second from the first piece to the end
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (4, 6, 0)


@pytest.mark.usefixtures("clock")
def test_a_call_is_a_first_piece_too() -> None:
    usage = done([called(0, name="f", arguments="{}"), ended()])
    assert (usage.seconds_to_first_token, usage.completion_tokens) == (2.0, 1)


@pytest.mark.usefixtures("clock")
def test_an_answer_without_a_word() -> None:
    usage = done([ended(usage={"completion_tokens": 4})])
    assert (usage.seconds_to_first_token, usage.tokens_per_second) == (2.0, 2.0)  # of all the time


@pytest.mark.usefixtures("clock")
def test_no_time_at_all_is_no_speed() -> None:
    usage = done([ended()], began=10.0)
    assert (usage.tokens_per_second, usage.completion_tokens, usage.prompt_tokens) == (0.0, 0, 0)


def test_figures_that_a_later_chunk_leaves_out_are_kept() -> None:
    figures = {"prompt_tokens": 4, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": None}}
    usage = done(
        [said("a", usage=figures, timings={"predicted_per_second": 3.5}), ended(usage=None, timings=None)]
    )
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (4, 6, 0)
    assert usage.tokens_per_second == 3.5
    assert done([said("a"), ended(usage={**figures, "prompt_tokens_details": None})]).cached_tokens == 0


def test_pieces_of_calls_may_lack_what_they_do_not_add() -> None:
    bare = {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "{}", "name": None}}]}}]}
    nothing = {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": None}]}}, {"delta": None}]}
    call, last = read([called(0, name="f"), bare, nothing, {"choices": None}, ended("tool_calls")])
    assert isinstance(call, ToolCall) and (call.name, dict(call.arguments), call.text) == ("f", {}, "{}")
    assert last.finish_reason == "tool_calls"


def test_a_reason_given_before_the_last_chunk_counts() -> None:
    text, last = read([said("a"), ended("length"), {"choices": []}])
    assert (text, last.finish_reason) == (Delta("a"), "length")


def test_an_answer_stopped_after_its_last_chunk_is_whole() -> None:
    stopped = threading.Event()
    stopped.set()
    whole = list(events(iter([said("a"), ended()]), stopped, 0.0))
    cut = list(events(iter([said("a"), called(0, name="f", arguments="{}")]), stopped, 0.0))
    assert [getattr(answer[-1], "finish_reason", None) for answer in (whole, cut)] == ["stop", "cancelled"]
    assert len(cut) == 2  # nothing is called that was being written


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ("no room.\nTraceback", "It refused the request: no room; change"),
        ({"message": "  too hot.  "}, "It refused the request: too hot; change"),
        ({"code": 3}, r"It refused the request: \{'code': 3\}; change"),
        ({"message": "x" * 300}, f"It refused the request: {'x' * 200}; change"),
    ],
)
def test_refusals_are_one_sentence(told: Any, sentence: str) -> None:
    with pytest.raises(Exception, match=sentence) as raised:
        raise refusal(told, "It")
    assert "x" * 201 not in str(raised.value)


def test_a_name_that_comes_with_every_piece_is_one_name() -> None:
    pieces = [
        {
            "choices": [
                {
                    "delta": {
                        "tool_calls": [
                            {"index": 0, "id": "a", "function": {"name": "look", "arguments": bit}}
                        ]
                    }
                }
            ]
        }
        for bit in ('{"at"', ": 1}")
    ]
    last = {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}
    made = events([*pieces, last], threading.Event(), 0.0)
    assert [(call.name, call.arguments) for call in made if isinstance(call, ToolCall)] == [
        ("look", {"at": 1})
    ]


# --- what a chat template refuses --------------------------------------------------------------------

REPORT = """Unable to generate parser for this template. Automatic parser generation failed:\x20
------------
While executing CallExpression at line 1, column 54 in source:
...[0].content == 'a' %}{{ raise_exception('user and assistant have to take turns')...
                                           ^
Error: """


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Jinja Exception: user and assistant have to take turns", "user and assistant have to take turns"),
        ("Jinja Exception: two\nlines: failed: ;", "two lines: failed: ;"),
        ("Unknown (built-in) filter 'f' for type String", "Unknown (built-in) filter 'f' for type String"),
    ],
)
def test_a_templates_reason_is_told(said: str, reason: str) -> None:
    error = refusal({"code": 400, "message": REPORT + said}, "llama.cpp", "tiny")
    assert isinstance(error, BadInput)
    assert str(error) == f"The chat template of tiny refuses this conversation: {reason}."
    assert reason in refusal({"message": REPORT + said}, "http://h/v1").zh
