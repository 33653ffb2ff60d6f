"""Options in the sidebar: each has a widget of its kind, and what is set there reaches the engine."""

from dataclasses import fields
from types import MappingProxyType
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from models.catalog import CHECKPOINTS
from models.schema import ChatOptions, SpeechOptions
from tests.fakes.sounds import sine, write_sound
from tests.fakes.visitor import alive, ask, click, visit
from tests.fakes.waiting import until

CHAT: dict[str, Any] = {
    "max_new_tokens": 77, "temperature": 1.25, "top_p": 0.35, "top_k": 7, "min_p": 0.11, "repetition_penalty": 1.3,
    "seed": 0, "stop": "one\n\ntwo words\n",
}  # fmt: skip
SPEECH: dict[str, Any] = {
    "task": "translate", "word_timestamps": True, "vad": False, "beam_size": 3, "temperature": 0.4,
    "condition_on_previous_text": False, "initial_prompt": "Anna", "hotwords": "Otto", "clips": "0-5", "batch_size": 9,
    "fallback": False, "compression_ratio_threshold": 3.1, "logprob_threshold": -2.5, "no_speech_threshold": 0.35,
}  # fmt: skip
WIDGETS = ("slider", "number_input", "text_input", "text_area", "toggle", "selectbox")


def by_field(at: AppTest, kind: Any) -> dict[str, Any]:
    """The widgets of the sidebar by the option that they are for."""
    labels = {spec.metadata["label"].en: spec.name for spec in fields(kind)}
    found: dict[str, Any] = {}
    for name in WIDGETS:
        for widget in getattr(at.sidebar, name):
            if widget.label in labels:
                assert labels[widget.label] not in found
                found[labels[widget.label]] = widget
    return found


def test_every_option_of_a_chat_has_its_widget_with_range_and_help(stage: Any) -> None:
    found = by_field(visit(), ChatOptions)
    assert {name: widget.type for name, widget in found.items()} == {
        "max_new_tokens": "number_input", "temperature": "slider", "top_p": "slider", "top_k": "slider",
        "min_p": "slider", "repetition_penalty": "slider", "seed": "number_input", "stop": "text_area",
    }  # fmt: skip
    for spec in fields(ChatOptions):
        widget = found[spec.name]
        assert widget.help == spec.metadata["help"].en
        if widget.type != "text_area":
            assert (widget.min, widget.max) == (spec.metadata["low"], spec.metadata["high"])
            assert widget.step == pytest.approx(spec.metadata["step"])
            assert widget.value == spec.default


def test_what_is_set_reaches_the_engine(stage: Any) -> None:
    at = visit()
    for name, value in CHAT.items():
        by_field(at, ChatOptions)[name].set_value(value)
        at = alive(at.run())
    ask(at, "hello")
    expected = ChatOptions(**(CHAT | {"stop": ("one", "two words")}))
    assert stage.options == [expected]


def test_what_is_not_set_is_the_checkpoints_own(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from models import loader

    own = {"temperature": 0.15, "seed": 5, "stop": ("a", "b"), "max_new_tokens": 9}
    describe = loader.Loader.describe
    monkeypatch.setattr(
        loader.Loader,
        "describe",
        lambda self, name: replace(describe(self, name), options=MappingProxyType(own)),
    )
    at = visit()
    found = by_field(at, ChatOptions)
    assert {name: found[name].value for name in own} == own | {"stop": "a\nb"}
    ask(at, "hello")
    assert stage.options == [ChatOptions(**own)]  # type: ignore[arg-type]


def test_every_option_of_speech_has_its_widget(stage: Any) -> None:
    found = by_field(visit("whisper"), SpeechOptions)
    kinds = {
        bool: "toggle", str: "text_input", int: "slider", float: "slider",
    }  # fmt: skip
    for spec in fields(SpeechOptions):
        if spec.name in ("language", "task", "track"):  # the page asks for these in its own way
            continue
        assert found[spec.name].type == kinds[type(spec.default)], spec.name
        assert found[spec.name].value == spec.default
    assert found["task"].type == "selectbox"
    assert found["task"].options == ["write what is said", "translate to English"]


def test_what_is_set_for_speech_reaches_the_engine(stage: Any, tmp_path: Any) -> None:
    at = visit("whisper")
    for name, value in SPEECH.items():
        by_field(at, SpeechOptions)[name].set_value(value)
        at = alive(at.run())
    language = next(box for box in at.selectbox if box.label == "Spoken language")
    at = alive(language.set_value("de").run())
    wav = write_sound(tmp_path / "talk.wav", sine(0.2)).read_bytes()
    click(alive(at.file_uploader[0].upload("talk.wav", wav, "audio/wav").run()), "whisper.go")
    until(lambda: bool(stage.options))
    assert stage.options == [SpeechOptions("de", **SPEECH)]


def test_values_out_of_reach_are_a_sentence(stage: Any) -> None:
    at = visit("whisper")
    at = alive(by_field(at, SpeechOptions)["clips"].set_value("5-1").run())
    assert "no ranges of a recording" in at.error[0].value


def test_options_of_the_catalog_are_ones_that_a_widget_can_show() -> None:
    for row in CHECKPOINTS.values():
        kind = SpeechOptions if row.kind == "speech" else ChatOptions
        specs = {spec.name: spec for spec in fields(kind)}
        for name, value in row.options.items():
            low, step = specs[name].metadata["low"], specs[name].metadata["step"]
            if isinstance(value, float):
                assert (value - low) / step == pytest.approx(round((value - low) / step)), row.name


def draw_own() -> None:
    from dataclasses import fields

    import streamlit as st

    from models.schema import ChatOptions
    from pages.shared.options import choose

    st.session_state["made"] = choose("llama2", fields(ChatOptions), st.session_state["own"])


def test_another_checkpoint_starts_with_its_own_values() -> None:
    at = AppTest.from_function(draw_own)
    at.session_state["own"] = {"temperature": 0.5}
    by_label = alive(at.run()).slider
    next(slider for slider in by_label if slider.value == 0.5).set_value(1.5)
    assert alive(at.run()).session_state["made"]["temperature"] == 1.5
    at.session_state["own"] = {"temperature": 0.25}
    assert alive(at.run()).session_state["made"]["temperature"] == 0.25
