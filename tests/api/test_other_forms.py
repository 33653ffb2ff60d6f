"""Anthropic's messages, OpenAI's responses, sound and tokens."""

import base64
from pathlib import Path
from typing import Any

import httpx2
import pytest

from models.schema import Segment, Word
from tests.fakes.engines import FakeEngine

MODEL = "chat.gguf"
HELLO = {"role": "user", "content": "hello there"}
TOOL = {"name": "weather", "input_schema": {"type": "object"}}
CALL = {"role": "user", "content": 'call weather {"city": "Oslo"}'}


def test_a_message_comes_whole(anthropic: Any) -> None:
    answer = anthropic.messages.create(model=MODEL, max_tokens=9, system="Be brief", messages=[HELLO])
    assert answer.content[0].text == "hello there " and answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens == 2
    assert FakeEngine.stage.options[-1].max_new_tokens == 9


def test_a_message_comes_in_pieces(anthropic: Any) -> None:
    with anthropic.messages.stream(model=MODEL, max_tokens=9, messages=[HELLO]) as stream:
        assert "".join(stream.text_stream) == "hello there "
        assert stream.get_final_message().stop_reason == "end_turn"


def test_tools_are_used_in_anthropics_form(anthropic: Any) -> None:
    answer = anthropic.messages.create(model=MODEL, max_tokens=9, tools=[TOOL], messages=[CALL])
    call = answer.content[-1]
    assert (answer.stop_reason, call.name, call.input) == ("tool_use", "weather", {"city": "Oslo"})
    told = {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "cold"}]}
        ],
    }
    turns = [CALL, {"role": "assistant", "content": answer.content}, told]
    with anthropic.messages.stream(model=MODEL, max_tokens=9, tools=[TOOL], messages=turns) as stream:
        assert stream.get_final_message().content[0].text == "cold "
    with anthropic.messages.stream(model=MODEL, max_tokens=9, tools=[TOOL], messages=[CALL]) as stream:
        assert stream.get_final_message().content[-1].input == {"city": "Oslo"}


def test_tokens_of_messages_are_counted(anthropic: Any) -> None:
    assert anthropic.messages.count_tokens(model=MODEL, messages=[HELLO]).input_tokens == 3


def test_anthropics_errors_keep_their_status(anthropic: Any) -> None:
    from anthropic import BadRequestError, NotFoundError

    with pytest.raises(NotFoundError):
        anthropic.messages.create(model="nothing", max_tokens=9, messages=[HELLO])
    with pytest.raises(BadRequestError, match="thinking"):
        anthropic.messages.create(
            model=MODEL, max_tokens=9, messages=[HELLO], thinking={"type": "enabled", "budget_tokens": 1024}
        )


def test_a_response_comes_whole(openai: Any) -> None:
    answer = openai.responses.create(model=MODEL, input="hello there", instructions="Be brief")
    assert answer.output_text == "hello there " and answer.status == "completed"
    assert answer.usage.output_tokens == 2


def test_a_response_comes_in_numbered_events(openai: Any) -> None:
    with openai.responses.stream(model=MODEL, input="hello there") as stream:
        events = list(stream)
        assert stream.get_final_response().output_text == "hello there "
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"


def test_items_of_an_earlier_answer_are_read(openai: Any) -> None:
    tools = [
        {"type": "function", **{"name": "weather", "parameters": {"type": "object"}}},
        {"type": "web_search"},
    ]
    first = openai.responses.create(model=MODEL, input=[CALL], tools=tools)
    (call,) = [item for item in first.output if item.type == "function_call"]
    told = {"type": "function_call_output", "call_id": call.call_id, "output": "cold"}
    items = [CALL, {"type": "reasoning", "summary": []}, *(item.to_dict() for item in first.output), told]
    assert openai.responses.create(model=MODEL, input=items, tools=tools).output_text == "cold "


def test_what_needs_a_memory_is_refused(openai: Any) -> None:
    from openai import BadRequestError

    with pytest.raises(BadRequestError) as raised:
        openai.responses.create(model=MODEL, input="a", previous_response_id="resp_1")
    assert raised.value.param == "previous_response_id"


# --- sound -------------------------------------------------------------------------------------

LINES = [
    Segment(0.0, 1.0, " Good morning.", (Word(0.0, 0.5, " Good"), Word(0.5, 1.0, " morning."))),
    Segment(1.0, 2.0, " Ask away."),
]


@pytest.fixture
def recording(api: Any, tmp_path: Path) -> Path:
    FakeEngine.stage.heard = LINES
    file = tmp_path / "talk.wav"
    file.write_bytes(b"sound")
    return file


def test_a_recording_is_written_in_every_form(openai: Any, recording: Path) -> None:
    def written(form: str, **more: Any) -> Any:
        with recording.open("rb") as file:
            return openai.audio.transcriptions.create(
                model="whisper", file=file, response_format=form, **more
            )

    assert written("json").text == "Good morning. Ask away."
    assert written("text") == "Good morning. Ask away.\n"
    assert "00:00:01,000 --> 00:00:02,000\nAsk away." in written("srt")
    assert written("vtt").startswith("WEBVTT")
    verbose = written("verbose_json", timestamp_granularities=["word"], language="en", prompt="Names")
    assert verbose.duration == 2.0 and [word.word for word in verbose.words] == ["Good", "morning."]
    assert [line.text for line in verbose.segments] == [" Good morning.", " Ask away."]
    options = FakeEngine.stage.options[-1]
    assert (options.language, options.initial_prompt, options.word_timestamps) == ("en", "Names", True)


def test_a_recording_is_heard_in_pieces_and_translated(api: Any, openai: Any, recording: Path) -> None:
    with recording.open("rb") as file:
        events = list(openai.audio.transcriptions.create(model="whisper", file=file, stream=True))
    assert [event.type for event in events] == [*["transcript.text.delta"] * 2, "transcript.text.done"]
    assert events[-1].text == "Good morning. Ask away."
    with recording.open("rb") as file:
        translated = httpx2.post(
            f"{api.url}/v1/audio/translations", data={"model": "whisper"}, files={"file": file}
        )
    assert translated.json() == {"text": "GOOD MORNING. ASK AWAY."}


def test_a_form_without_its_file_is_refused(api: Any) -> None:
    fields = {"model": (None, "whisper")}
    answer = httpx2.post(f"{api.url}/v1/audio/transcriptions", files=fields)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "file"
    answer = httpx2.post(
        f"{api.url}/v1/audio/transcriptions", data={"model": "whisper", "tone": "1"}, files={"file": b"a"}
    )
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "tone"


def test_what_is_said_in_a_message_is_heard_by_the_model_in_memory(openai: Any, recording: Path) -> None:
    from openai import BadRequestError

    sound = {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(b"sound").decode(), "format": "wav"},
    }
    asked = {"model": MODEL, "messages": [{"role": "user", "content": [sound]}]}
    with pytest.raises(BadRequestError, match="input_audio"):
        openai.chat.completions.create(**asked)
    with recording.open("rb") as file:
        openai.audio.transcriptions.create(model="whisper", file=file)
    answer = openai.chat.completions.create(**asked)
    assert answer.choices[0].message.content == "Good morning. Ask away. "


def test_a_picture_comes_as_a_data_url(openai: Any) -> None:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (8, 4)).save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    parts = [{"type": "text", "text": "size"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = openai.chat.completions.create(model="vision", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "size 8x4 "
