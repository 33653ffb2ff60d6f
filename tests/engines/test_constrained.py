"""Answers that are held to a JSON schema, on models that would write anything but JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

import models
from models.errors import BadInput
from models.schema import ChatOptions, Delta, Done
from tests.fakes.hf_engine import HELLO, load
from tests.fakes.tiny_models import save_llama

SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "green", "蓝"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "parts": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
    },
    "required": ["colour", "count", "parts"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}


def written(engine: Any, messages: Any, form: Any, **options: Any) -> tuple[str, Done]:
    *events, last = engine.stream(
        messages, ChatOptions(**{"max_new_tokens": 120, **options}), response_format=form
    )
    assert isinstance(last, Done)
    return "".join(event.text for event in events if isinstance(event, Delta)), last


def check(text: str) -> None:
    thing = json.loads(text)
    assert thing.keys() == {"colour", "count", "parts"} and thing["colour"] in ("red", "green", "蓝")
    assert 0 <= thing["count"] <= 99 and len(thing["parts"]) <= 2


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tiny")
    save_llama(folder)
    return load(folder)


@pytest.mark.slow
@pytest.mark.parametrize("messages", [HELLO, "a text to continue"])
@pytest.mark.parametrize("seed", range(4))
def test_random_weights_write_what_the_schema_says(tiny: Any, messages: Any, seed: int) -> None:
    text, last = written(tiny, messages, FORM, temperature=2.0, top_p=1.0, top_k=0, seed=seed)
    assert last.finish_reason == "stop"
    check(text)
    assert "  " not in text and "\n" not in text  # no white space to fill an answer with


@pytest.mark.slow
def test_the_next_answer_is_free_again(tiny: Any) -> None:
    free, _ = written(tiny, HELLO, None, temperature=0.0, max_new_tokens=8)
    check(written(tiny, HELLO, FORM, temperature=0.0)[0])
    assert written(tiny, HELLO, {"type": "text"}, temperature=0.0, max_new_tokens=8)[0] == free


@pytest.mark.slow
def test_any_object_will_do(tiny: Any) -> None:
    text, _ = written(tiny, HELLO, {"type": "json_object"}, temperature=0.0, max_new_tokens=40)
    assert text.startswith("{")


@pytest.mark.slow
def test_a_schema_that_cannot_be_held_to_is_refused(tiny: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "banana"}}}
    with pytest.raises(BadInput, match="response_format"):
        written(tiny, HELLO, form)
    assert written(tiny, HELLO, None, max_new_tokens=2)[1].usage.completion_tokens > 0  # it goes on


@pytest.mark.weights
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "chatglm3-tiny", "qwen-vl-tiny"])
def test_the_starters_write_what_the_schema_says(name: str, own_cache: Path) -> None:
    engine = models.Loader().load(name, context=512)
    question = [{"role": "user", "content": "How many green things are there?"}]
    text, last = written(engine, question, FORM, temperature=1.5, seed=0, max_new_tokens=60)
    assert last.finish_reason == "stop"
    check(text)
