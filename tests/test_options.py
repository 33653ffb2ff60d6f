"""What every option is by itself, and between which values: docs, pages and flags promise these."""

from dataclasses import fields
from math import inf
from typing import Any

import pytest

from models.errors import BadInput
from models.schema import (
    ChatOptions,
    Checkpoint,
    Device,
    Placement,
    Progress,
    Segment,
    SpeechOptions,
    Usage,
    Word,
    clip_ranges,
)

# Default, least, most, step, and whether pages show it only on request.
CHAT: dict[str, tuple[Any, ...]] = {
    "max_new_tokens": (512, 1, 32768, 1, False),
    "temperature": (0.7, 0.0, 2.0, 0.05, False),
    "top_p": (0.95, 0.0, 1.0, 0.05, False),
    "top_k": (50, 0, 1000, 1, True),
    "min_p": (0.0, 0.0, 1.0, 0.01, True),
    "repetition_penalty": (1.0, 0.5, 2.0, 0.05, True),
    "seed": (None, 0, 2147483647, 1, True),
    "stop": ((), None, None, None, True),
}
SPEECH: dict[str, tuple[Any, ...]] = {
    "language": (None, None, None, None, False),
    "task": ("transcribe", None, None, None, False),
    "track": (None, 1, 999, 1, True),
    "detect_each": (False, None, None, None, True),
    "word_timestamps": (False, None, None, None, False),
    "vad": (True, None, None, None, False),
    "beam_size": (5, 1, 10, 1, True),
    "temperature": (0.0, 0.0, 1.0, 0.1, True),
    "condition_on_previous_text": (True, None, None, None, True),
    "initial_prompt": ("", None, None, None, True),
    "hotwords": ("", None, None, None, True),
    "clips": ("", None, None, None, True),
    "batch_size": (4, 1, 32, 1, True),
    "fallback": (True, None, None, None, True),
    "compression_ratio_threshold": (2.4, 1.0, 10.0, 0.1, True),
    "logprob_threshold": (-1.0, -10.0, 0.0, 0.1, True),
    "no_speech_threshold": (0.6, 0.0, 1.0, 0.05, True),
}


@pytest.mark.parametrize(("kind", "table"), [(ChatOptions, CHAT), (SpeechOptions, SPEECH)])
def test_the_options_and_their_ranges(kind: Any, table: dict[str, tuple[Any, ...]]) -> None:
    parts = ("low", "high", "step", "advanced")
    told = {spec.name: (spec.default, *(spec.metadata[part] for part in parts)) for spec in fields(kind)}
    assert told == table
    assert {name: getattr(kind(), name) for name in table} == {name: row[0] for name, row in table.items()}


def test_only_the_task_is_chosen_from_a_list() -> None:
    every = [*fields(ChatOptions), *fields(SpeechOptions)]
    lists = {spec.name: list(spec.metadata["choices"]) for spec in every if spec.metadata["choices"]}
    assert lists == {"task": ["transcribe", "translate"]}


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        (" , ,", ()),
        ("0-0.5", ((0, 0.5),)),
        ("0-10,10-20", ((0, 10), (10, 20))),  # one may begin where the one before ends
        ("1:00-2:00:00", ((60, 7200),)),
        ("1:10:05-", ((4205, inf),)),
        ("5 -", ((5, inf),)),
    ],
)
def test_parts_of_a_recording(text: str, ranges: tuple[tuple[float, float], ...]) -> None:
    assert clip_ranges(text) == ranges
    assert SpeechOptions(clips=text).clips == text


@pytest.mark.parametrize(
    "text", ["5-5", "0-0", "20-30,0-10", "0-10,9-20", "1-2-3", "-", "-5", "inf-", "0--1"]
)
def test_what_is_no_part_of_a_recording(text: str) -> None:
    with pytest.raises(BadInput, match="no ranges"):
        clip_ranges(text)


def test_what_nobody_says_is_the_least() -> None:
    assert Usage() == Usage(0, 0, 0, 0.0, 0.0, 0)
    assert Placement("cpu", "fp32") == Placement("cpu", "fp32", context=0, slots=1, devices=())
    assert Progress("load") == Progress("load", done=0, total=0, rate=0.0, left=None, detail="")
    assert not Device("cpu", "CPU", 1, 1, ()).unified
    assert Word(0, 1, "a").probability == 1.0
    line = Segment(0, 1, "a")
    assert (line.words, line.seek, line.tokens, line.doubts, line.speaker) == ((), 0, (), (), "")
    assert line.avg_logprob is line.no_speech_prob is line.compression_ratio is None
    bare = Checkpoint("a", "other", "chat", "gguf")
    assert not bare.gated and not bare.starter and bare.path is None and not bare.files and not bare.wheels
    assert dict(bare.options) == dict(bare.sha256) == {}
