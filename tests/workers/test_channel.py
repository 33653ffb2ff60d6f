"""What goes into the line comes out of it, in its own kind."""

import io
import struct
import threading
from math import inf
from typing import Any

import numpy as np
import pytest

from models.errors import BadInput, Cancelled
from models.schema import (
    ChatOptions,
    Checkpoint,
    Done,
    Placement,
    Segment,
    Shape,
    SpeechOptions,
    Text,
    ToolCall,
    Usage,
    Word,
)
from models.workers.channel import Channel
from tests.fakes.waiting import WAIT


def there_and_back(message: Any) -> Any:
    Channel(io.BytesIO(), line := io.BytesIO()).send(message)
    other = Channel(io.BytesIO(line.getvalue()), io.BytesIO())
    received = other.receive()
    with pytest.raises(EOFError):
        other.receive()
    return received


@pytest.mark.parametrize(
    "message",
    [
        None,
        [True, 0, -1.5, inf, "", "世界 \ud83d half", ()],
        {"$": "dict", "items": [1]},
        {1: {2.5: None}, (1, "a"): [], "$": b"\x00\xff"},
        [b"first", {"in": [b"", b"second"]}, b"third"],
        frozenset({"text", "json_object"}),
        Text("a sentence.", "一句话。"),
        ChatOptions(stop=("a", "b"), seed=3),
        SpeechOptions(language="zh", clips="0-3"),
        Checkpoint("n", "gemma", "chat", "gguf", shape=Shape(1, 2, 3, 4, 5), options={"top_k": 1}, note=Text("a", "b")),
        Placement("cuda:0", "bf16", 512, 4, ("cuda:0", "cuda:1")),
        Segment(0.0, 1.5, " hm", words=(Word(0.0, 0.5, " hm", 0.25),), tokens=(1, 2), doubts=("silence",)),
        ToolCall("f", {"a": (1, [2]), 3: True}, "f(…)"),
        Done("stop", Usage(1, 2, 3, 0.5, 7.25)),
    ],
)  # fmt: skip
def test_it_comes_as_it_was_sent(message: Any) -> None:
    received = there_and_back(message)
    assert received == message and type(received) is type(message)


def test_errors_keep_both_languages() -> None:
    for error in (BadInput("one.", "一。"), Cancelled()):
        received = there_and_back(error)
        assert type(received) is type(error) and (received.en, received.zh) == (error.en, error.zh)


def test_numpys_numbers_are_numbers_and_its_arrays_arrays() -> None:
    assert there_and_back([np.float32(0.5), np.int64(3)]) == [0.5, 3]
    for array in (np.zeros((0,), np.float32), np.arange(12, dtype=np.int16).reshape(3, 4)[:, ::2]):
        received = there_and_back({"audio": array})["audio"]
        assert received.dtype == array.dtype and (received == array).all() and received.shape == array.shape


@pytest.mark.parametrize("message", [object(), {1, 2}, [lambda: 0], np.array([object()]), Exception("x")])
def test_what_cannot_pass_sends_nothing(message: Any) -> None:
    channel = Channel(io.BytesIO(), line := io.BytesIO())
    with pytest.raises(TypeError):
        channel.send([b"bytes", message])
    assert line.getvalue() == b""


def test_a_line_that_breaks_off_is_the_end() -> None:
    Channel(io.BytesIO(), line := io.BytesIO()).send({"a": b"12345678"})
    for length in range(len(line.getvalue())):
        with pytest.raises(EOFError):
            Channel(io.BytesIO(line.getvalue()[:length]), io.BytesIO()).receive()


def test_only_words_of_ours_are_made() -> None:
    for name in ("os.system", "Field", "Mapping", "eval"):
        text = f'{{"$": "{name}", "args": ["x"]}}'.encode()
        with pytest.raises(KeyError):
            Channel(io.BytesIO(struct.pack(">Q", len(text)) + text), io.BytesIO()).receive()


def test_it_says_whether_more_has_come() -> None:
    Channel(io.BytesIO(), line := io.BytesIO()).send("one")
    Channel(io.BytesIO(), line).send("two")
    channel = Channel(io.BytesIO(line.getvalue()), io.BytesIO())
    assert (channel.receive(), channel.drained) == ("one", False)
    assert (channel.receive(), channel.drained) == ("two", True)


def test_a_message_is_not_begun_in_the_middle_of_another() -> None:
    class Line(io.BytesIO):
        """Lets another thread send as soon as something was written."""

        def write(self, data: Any) -> int:
            written = super().write(data)
            if not other.ident:
                other.start()
                other.join(0.1)
            return written

    channel = Channel(io.BytesIO(), line := Line())
    other = threading.Thread(target=lambda: channel.send({"second": b"2"}), daemon=True)
    channel.send({"first": b"1"})
    other.join(WAIT)
    received = Channel(io.BytesIO(line.getvalue()), io.BytesIO())
    assert [received.receive(), received.receive()] == [{"first": b"1"}, {"second": b"2"}]
