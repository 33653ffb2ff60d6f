"""What a conversation is made of: questions with their pictures and sources, answers, and their JSON form.

Plain data without Streamlit or engines.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, get_args

from models import BadInput
from models.documents.budgets import CUT
from models.interpreter import Output, png
from models.pictures.reading import check_many
from models.schema import Message
from models.tools import exchange


@dataclass(frozen=True)
class PictureFile:
    """A picture as it came: an encoded file."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Source:
    """A text that a question is about, and where it comes from ("Transcript of talk.mp3", or a document's name).

    The model reads its first `sent` characters, or all of it (None); these take about so many `tokens`, once that was
    counted.
    """

    title: str
    text: str
    sent: int | None = None
    tokens: int = field(default=0, compare=False)

    @property
    def read(self) -> str:
        """What the model reads of the text."""
        return self.text if self.sent is None else f"{self.text[: self.sent].rstrip()}\n{CUT}".lstrip()

    @property
    def quoted(self) -> str:
        """What stands before the question."""
        quotes = '"""'
        while quotes in self.read:  # a program in Python has them too
            quotes += '"'
        return f"{self.title}:\n{quotes}\n{self.read}\n{quotes}"


@dataclass(frozen=True)
class Step:
    """A tool that was called on the way to an answer, and what came of it.

    ``text`` is what the model wrote before, ``arguments`` are JSON, or as written where they cannot be
    read. ``observation`` is what the model is told; None while there is none.
    """

    name: str
    arguments: str
    text: str = ""
    observation: str | None = None
    failed: bool = False
    shown: tuple[Output, ...] = ()


@dataclass(frozen=True)
class Answer:
    """One answer to one question; `figures` are a Usage as a dict, `reason` why it ended.

    ``text`` follows all `steps`.
    """

    text: str = ""
    reason: str = ""  # "" while it is being written
    figures: Mapping[str, float] = field(default_factory=dict)
    checkpoint: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def waiting(self) -> Step | None:
        """The call whose result a person has to type, if the answer ended there."""
        last = self.steps[-1] if self.reason == "tool_calls" and self.steps else None
        return last if last and last.observation is None else None

    @property
    def is_cut(self) -> bool:
        """Whether it ended before its end, in the middle of what a person reads."""
        return (
            self.reason in ("length", "cancelled", "failed")
            and bool(self.text.strip())
            and not _opens(self.text)
        )

    @property
    def messages(self) -> list[Message]:
        """In the OpenAI chat format."""
        said = [
            message
            for step in self.steps
            for message in exchange(step.text, step.name, step.arguments, step.observation)
        ]
        return [*said, {"role": "assistant", "content": self.text}] if self.text else said


# Thoughts and calls as models write them, where no engine reads them; some calls have no end.
_INSIDE = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<|channel|>analysis", "<|channel|>final"),
    ("<tool_call>", "</tool_call>"),
    ("<function_call>", "</function_call>"),
    ("<function=", "</function>"),
    ("[TOOL_CALLS]", ""),
    ("<|python_tag|>", ""),
)


def _opens(text: str) -> bool:
    """Whether a thought or a call is open at the end."""
    return any(begin in text and not (end and end in text[text.rindex(begin) :]) for begin, end in _INSIDE)


@dataclass(frozen=True)
class Turn:
    """A question and its answers, of which one is shown and sent."""

    question: str
    answers: tuple[Answer, ...] = ()
    chosen: int = -1  # index into answers; the newest by default
    pictures: tuple[PictureFile, ...] = ()  # that come with the question
    sources: tuple[Source, ...] = ()  # that it is about

    @property
    def answer(self) -> Answer | None:
        return self.answers[self.chosen] if self.answers else None

    @property
    def messages(self) -> list[Message]:
        """The question and the chosen answer, in the OpenAI chat format."""
        return [*self.asked, *(self.answer.messages if self.answer else ())]

    @property
    def asked(self) -> list[Message]:
        """The question; none where the model spoke first."""
        return [{"role": "user", "content": self._content}] if self._content else []

    @property
    def _content(self) -> str | list[dict[str, Any]]:
        text = "\n\n".join([*(source.quoted for source in self.sources), self.question])
        if not self.pictures:
            return text
        seen = [{"type": "image", "image": picture.data} for picture in self.pictures]
        return [*seen, {"type": "text", "text": text}]


# --- as JSON ------------------------------------------------------------------------------------


def read_turns(data: list[dict[str, Any]]) -> tuple[Turn, ...]:
    """Turns as `dataclasses.asdict` and `encoded` wrote them. Raises ValueError and the like for anything else."""
    turns = tuple(map(_turn, data))
    try:
        check_many([picture.data for turn in turns for picture in turn.pictures])
    except BadInput as error:
        raise ValueError(str(error)) from error
    return turns


def _turn(data: dict[str, Any]) -> Turn:
    answers = tuple(map(_answer, data.get("answers", ())))
    chosen = int(data.get("chosen", -1))
    if answers and not -1 <= chosen < len(answers):
        raise ValueError("no such answer")
    pictures = tuple(map(_picture, data.get("pictures", ())))
    sources = tuple(map(_source, data.get("sources", ())))
    return Turn(read_text(data["question"]), answers, chosen, pictures, sources)


def _picture(data: dict[str, Any]) -> PictureFile:
    return PictureFile(read_text(data["name"]), base64.b64decode(read_text(data["data"]), validate=True))


def _source(data: dict[str, Any]) -> Source:
    text, sent = read_text(data["text"]), data.get("sent")
    cut = None if sent is None or int(sent) >= len(text) else max(int(sent), 0)
    return Source(read_text(data["title"]), text, cut, int(data.get("tokens", 0)))


def _answer(data: dict[str, Any]) -> Answer:
    figures = {read_text(key): float(value) for key, value in data.get("figures", {}).items()}
    if not all(map(isfinite, figures.values())):
        raise ValueError("figures are numbers")
    return Answer(
        read_text(data["text"]),
        read_text(data.get("reason", "")) or "stop",
        figures,
        read_text(data.get("checkpoint", "")),
        tuple(map(_step, data.get("steps", ()))),
    )


def _step(data: dict[str, Any]) -> Step:
    observation = data["observation"]
    return Step(
        read_text(data["name"]),
        read_text(data["arguments"]),
        read_text(data["text"]),
        None if observation is None else read_text(observation),
        bool(data["failed"]),
        tuple(map(_output, data["shown"])),
    )


def _output(data: dict[str, Any]) -> Output:
    if data["kind"] not in get_args(Output.__annotations__["kind"]):
        raise ValueError("no such output")
    rows = tuple(tuple(map(read_text, row)) for row in data["rows"])
    return Output(data["kind"], read_text(data["text"]), png(data["image"]), rows)


def encoded(image: bytes) -> str:
    """How bytes are written."""
    return base64.b64encode(image).decode()


def read_text(value: Any) -> str:
    """`value`, if it is a text that can be sent to a browser: JSON can hold half a surrogate pair."""
    if not isinstance(value, str):
        raise ValueError("only text can be imported")
    value.encode()
    return value
