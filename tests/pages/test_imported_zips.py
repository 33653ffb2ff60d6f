"""The zip in which ChatGPT and Claude give away all that a person said to them."""

import io
import json
import zipfile

import pytest

from pages.shared.conversation import exports
from pages.shared.conversation.conversation import Conversation
from tests.fakes.engines import Stage
from tests.fakes.visitor import imported, said, visit


def zipped(**files: str | bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in files.items():
            made.writestr(name.replace("__", "/").replace("_json", ".json"), text)
    return data.getvalue()


def talks(*texts: str) -> str:
    """An export of ChatGPT: conversations with one question each."""
    said = [
        {"author": {"role": "user"}, "content": {"content_type": "text", "parts": [text]}} for text in texts
    ]
    return json.dumps(
        [{"mapping": {"q": {"parent": None, "message": message}}, "current_node": "q"} for message in said]
    )


def asked(made: Conversation) -> list[str]:
    return [turn.question for turn in made.turns]


def test_the_zip_of_an_export() -> None:
    files = {"users_json": "[{}]", "export__conversations_json": talks("q", "r"), "a.png": b"\x89PNG"}
    made = Conversation.from_json(zipped(**files))
    assert asked(made) == ["q"] and "the first: 1." in made.notes[0].en
    parts = {"conversations-001_json": talks("s"), "conversations-000_json": talks("q", "r")}
    made = Conversation.from_json(zipped(**parts))
    assert asked(made) == ["q"] and "the first: 2." in made.notes[0].en


@pytest.mark.parametrize(
    "data",
    [
        zipped(users_json="[]"),
        zipped(conversations_json="[]"),
        zipped(conversations_json="{"),
        zipped(conversations_json=b"\xff"),
        zipped(conversations_json=talks("q"))[:-10],
        zipped(conversations_json=talks("q")).replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
        b"PK\x03\x04",
    ],
)  # fmt: skip
def test_a_zip_without_conversations_is_none(data: bytes) -> None:
    with pytest.raises(ValueError):
        Conversation.from_json(data)


def test_a_zip_that_grows_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped(conversations_json=talks("q"))
    monkeypatch.setattr(exports, "_LARGEST", len(talks("q")))
    assert asked(Conversation.from_json(data)) == ["q"]
    monkeypatch.setattr(exports, "_LARGEST", len(talks("q")) - 1)
    with pytest.raises(ValueError, match="too large"):
        Conversation.from_json(data)


def test_the_page_takes_it(stage: Stage) -> None:
    at = imported(visit(), zipped(conversations_json=talks("q")))
    assert said(at) == [("q", [])]
