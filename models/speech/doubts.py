"""Lines of a transcript that may be invented: marked for whoever reads them, never hidden."""

from collections.abc import Mapping
from types import MappingProxyType

from models.schema import Segment, SpeechOptions, Text

# What a line is marked with, and what that means.
DOUBTS: Mapping[str, Text] = MappingProxyType(
    {
        "repeated": Text("the same words as in the line before", "与上一行文字相同"),
        "looping": Text("the passage repeats itself", "该段自我重复"),
        "unsure": Text("the model was guessing", "模型在猜测"),
        "silence": Text("there may be no speech here", "此处可能没有语音"),
    }
)
# Whisper itself does not build on text that it found only at a higher temperature.
SURE_TEMPERATURE = 0.5


def doubts(segment: Segment, before: Segment | None, options: SpeechOptions) -> tuple[str, ...]:
    """The names in DOUBTS that hold for a line.

    Args:
        segment: the line, with the figures of its passage.
        before: the line before it.
        options: its thresholds are those of the checks that a passage has to pass.
    """
    guessed = (segment.avg_logprob or 0.0) < options.logprob_threshold
    holds = {
        "repeated": before is not None and _words(segment) == _words(before),
        "looping": (segment.compression_ratio or 0.0) > options.compression_ratio_threshold,
        "unsure": guessed or segment.temperature > SURE_TEMPERATURE,
        "silence": (segment.no_speech_prob or 0.0) > options.no_speech_threshold,
    }
    return tuple(name for name in DOUBTS if holds[name])


def _words(segment: Segment) -> str:
    return "".join(letter for letter in segment.text.lower() if letter.isalnum())
