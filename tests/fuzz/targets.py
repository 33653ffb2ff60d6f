"""One function for each kind of text or file from outside. Whatever the bytes are, it may take no longer than
two seconds and 500 MB, and raises nothing: a ModelError is an answer, and so is what the function documents."""

import json
import math
import random
import socket
import struct
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from models.catalog import describe, find
from models.chat.calls import check, parse_call, parse_json_call
from models.chatglm.prompt import Reply, first_reply
from models.documents.plain import decode
from models.errors import ModelError
from models.pictures.addresses import fetch
from models.pictures.boxes import find_boxes, without_tags
from models.pictures.drawing import boxes_by_picture, named_picture
from models.placement import plan
from models.schema import Device, Segment
from models.transcripts import documents, edit, formats
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.markdown_file import write_markdown
from pages.shared.markdown import literal, readable, typed
from tests.fakes.tiny_checkpoints import LLAMA, QWEN_VL, write_gguf, write_safetensors

CPU = Device("cpu", "Processor", 8 << 30, 8 << 30, ("bf16", "fp32"))


def _text(data: bytes) -> str:
    """Also half a character for each byte that is none: JSON can bring such."""
    return data.decode("utf-8", "surrogateescape")


# --- files -----------------------------------------------------------------------------------------


def headers(data: bytes) -> None:
    """A weight file of one of five kinds, which the first byte chooses, described and planned for."""
    kind, content = data[:1], data[1:]
    with tempfile.TemporaryDirectory() as folder, suppress(ModelError):
        path = Path(folder)
        (path / "tokenizer.json").write_text("{}")
        match kind:
            case b"g":
                path = path / "a.gguf"
                path.write_bytes(b"GGUF" + content)
            case b"s":
                (path / "config.json").write_text(json.dumps(LLAMA))
                (path / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content)
            case b"p":
                path = path / "a.pt"
                with zipfile.ZipFile(path, "w") as archive:
                    archive.writestr("a/data.pkl", content)
            case b"z":
                path = path / "a.pt"
                path.write_bytes(b"PK\3\4" + content)
            case _:
                (path / "config.json").write_text('{"alignment_heads": []}')
                (path / "vocabulary.txt").write_text("a")
                (path / "model.bin").write_bytes(content)
        plan(describe(path), found=[CPU])


def configs(data: bytes) -> None:
    """A config in which a few values are others; the bytes are the seed of what."""
    chosen = random.Random(data)
    config: dict[str, Any] = dict(chosen.choice([LLAMA, QWEN_VL, {"alignment_heads": []}]))
    keys = [
        *config, "text_config", "quantization_config", "sliding_window", "layer_types", "head_dim", "visual",
        "padded_vocab_size", "num_layers", "d_model", "decoder_layers", "use_sliding_window", "_name_or_path",
    ]  # fmt: skip
    for _ in range(chosen.randint(1, 4)):
        config[chosen.choice(keys)] = _value(chosen)
    config["model_type"] = chosen.choice(
        ["llama", "qwen", "chatglm", "whisper", "gemma3", config.get("model_type")]
    )
    with tempfile.TemporaryDirectory() as folder, suppress(ModelError):
        path = Path(folder)
        (path / "tokenizer.json").write_text("{}")
        (path / "tokenizer_config.json").write_text(json.dumps(_value(chosen)))
        (path / "config.json").write_text(json.dumps(config))
        write_safetensors(path / "model.safetensors", {"model.embed_tokens.weight": (4, 4)})
        plan(describe(path), found=[CPU])


def _value(chosen: random.Random, depth: int = 0) -> Any:
    values: list[Any] = [
        None, True, 0, 1, -1, 7, 2**31, 2**64, 10**40, 0.5, -1e308, math.inf, math.nan, "", "x", "\ud800", "1",
    ]  # fmt: skip
    if depth < 2:
        values += [[_value(chosen, depth + 1)], {"bits": _value(chosen, depth + 1)}]
    return chosen.choice(values)


# --- what models write -------------------------------------------------------------------------------


def boxes(data: bytes) -> None:
    text = _text(data)
    for box in find_boxes(text):
        assert all(0 <= side <= 1000 for side in (box.left, box.top, box.right, box.bottom))
        box.pixels(640, 480)
        str(box)
    assert all(number >= 0 for number in boxes_by_picture(text, 1))
    named_picture(text)
    without_tags(text)


def replies(data: bytes) -> None:
    """An answer of ChatGLM, in pieces as long as the first byte says."""
    step, text = (data[0] if data else 0) + 1, _text(data[1:])[:20_000]
    for generation in ("chatglm2", "chatglm3"):
        reply = Reply(generation, ("get_weather",) if step % 2 else None)  # type: ignore[arg-type]
        shown = "".join(reply.feed(text[at : at + step]) for at in range(0, len(text), step))
        shown += reply.feed("", last=True)
        for part in reply.calls:
            parse_call(part.metadata, part.content)
    first_reply(text)


SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": ["integer", "string"], "minimum": 0}},
    "required": ["a"],
}


def calls(data: bytes) -> None:
    text = _text(data)
    read = parse_call("get", text), parse_call("get", f"tool_call({text})"), parse_json_call("get", text)
    for call in (*read, parse_call("interpreter", text)):
        json.dumps(dict(call.arguments)).encode()
        with suppress(ModelError):
            check(call.name, SCHEMA, call.arguments)


# --- what visitors send ------------------------------------------------------------------------------


def conversations(data: bytes) -> None:
    with suppress(ValueError):  # as documented
        conversation = Conversation.from_json(data)
        written = conversation.to_json()
        written.encode()
        assert Conversation.from_json(written).to_json() == written
        conversation.messages()
        write_markdown(conversation, "en")


def transcripts(data: bytes) -> None:
    """Lines, and changes of them; the first bytes choose."""
    chosen = random.Random(data[:4])
    texts = _text(data[4:]).split("\n")
    lines: edit.Lines = tuple(
        Segment(float(n), n + 1.0, text, edit.spread(edit.units(text), n, n + 1.0))
        for n, text in enumerate(texts)
    )
    for _ in range(4):
        index, text = chosen.randint(-1, len(lines)), chosen.choice(texts)
        times = [chosen.choice([0.0, 0.5, 2.0, -1.0, math.inf, math.nan, 1e300]) for _ in range(2)]
        with suppress(ModelError):
            match chosen.randrange(6):
                case 0:
                    lines = edit.rewrite(lines, index, text, *times)
                case 1:
                    lines = edit.split(lines, index, chosen.randint(-5, 50))
                case 2:
                    lines = edit.merge(lines, index)
                case 3:
                    lines = edit.remove(lines, index)
                case 4:
                    lines, _count = edit.substitute(lines, text[:3], text)
                case 5:
                    lines = edit.put(lines, index, lines[:2])
    width = chosen.choice([None, 0, 1, 10, 42])
    with suppress(ModelError):
        written = {
            f"a.{format}": formats.write(lines, format, "en", width, chosen.choice([None, 1, 2]), lines[1:])
            for format in formats.FORMATS
        }
        papers = {
            f"a.{format}": documents.write_document(lines, format, text, chosen.random() < 0.5, lines[1:])
            for format in documents.DOCUMENTS
        }
        formats.archive({**written, **papers})


def _no_address(*_: object, **__: object) -> None:
    raise socket.gaierror


def addresses(data: bytes) -> None:
    """A name of a checkpoint, or of a picture; nothing is looked up."""
    text = _text(data)
    with patch("socket.getaddrinfo", _no_address):
        for ask in (fetch, find):
            for address in (text, f"http://{text}", f"https://{text}/v1"):
                with suppress(ModelError):
                    ask(address)


def markdown(data: bytes) -> None:
    text = _text(data)
    for shown in (readable(text), typed(text), literal(text)):
        assert isinstance(shown, str)


def texts(data: bytes) -> None:
    with suppress(ValueError):
        text = decode(data)
        assert "\0" not in text and text.encode().decode() == text


def _gguf() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return b"g" + write_gguf(Path(folder, "a.gguf")).read_bytes()[4:]


# What the fuzzer begins with: one of each kind, and what was once mended.
TARGETS: Mapping[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "headers": (
        headers,
        lambda: [
            _gguf(),
            b's{"a": {"dtype": "F16", "shape": [1, 2], "data_offsets": [0, 4]}}    ',
            b"p\x80\x02}(X\x06\0\0\0n_melsK\x50X\x07\0\0\0n_vocabM\0\1u.",
            b"z" + bytes(26) + b"PK\5\6" + bytes(18),
            b"c" + struct.pack("<IH12sII", 6, 12, b"WhisperSpec\0", 3, 0),
        ],
    ),
    "configs": (configs, lambda: [b"<:", *(bytes([n]) for n in range(64))]),
    "boxes": (
        boxes,
        lambda: ["<ref>猫</ref><box>(1,2),(3,4)</box> 图2 <quad>(1,2)</quad>".encode(), b"<ref>" * 40_000],
    ),
    "replies": (
        replies,
        lambda: [
            b"\1 get_weather\n```python\ntool_call(city='a')\n```<|assistant|>\n hello",
            b"\7" + "[[训练时间]],你好".encode(),
        ],
    ),
    "calls": (
        calls,
        lambda: [
            b"tool_call(a=1, b='x', c=[1, (2,), {'k': None}])",
            b'{"name": "x", "arguments": {"a": 1}}',
            b"a=" + b"9" * 19_000,
        ],
    ),
    "conversations": (
        conversations,
        lambda: [
            Conversation.from_json('[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]')
            .to_json()
            .encode(),
            b'[{"role": "user", "content": "\\ud800"}]',
        ],
    ),
    "transcripts": (
        transcripts,
        lambda: [
            *(bytes([n]) * 4 + " Hello big world.\n你好，世界。\n a -->".encode() for n in range(8)),
            bytes(4) + b" " * 100_000,
            b"\xc8\3\0\0\0\0\0\0\0\x15\3\3\3lo1 \2i Hg",  # a line without end
        ],
    ),
    "addresses": (
        addresses,
        lambda: [b"a.b:80/v1", b"a:99999999999999999999/", b"[::1]:1/", b"org/name", b"/tmp/x.gguf", b"~\xff"],
    ),
    "texts": (
        texts,
        lambda: [
            "你好，世界。\n".encode("gb18030"),
            "你好\n".encode("utf-16-le"),
            b"\xff\xfe\0\xd8",
            b"caf\xe9\r\n\xef\xbb\xbf",
            b"\x81",
        ],
    ),
    "markdown": (
        markdown,
        lambda: [
            b"a `b` ![x](http://a) $1 \\(x\\) :red[a] -> ~~~\n",
            b"```" * 1000,
            b"> - ```\n> :a: <br> &amp; __b__",
        ],
    ),
}  # fmt: skip
