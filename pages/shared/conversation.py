"""A conversation as a visitor keeps it: turns, alternative answers, undo, and its JSON form.

Plain data without Streamlit or models. What is sent to a model is `messages()`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any

VERSION = 1


@dataclass(frozen=True)
class Answer:
    """One answer to one question; `figures` are a Usage as a dict, `reason` why it ended."""

    text: str = ""
    reason: str = ""  # "" while it is being written
    figures: Mapping[str, float] = field(default_factory=dict)
    checkpoint: str = ""


@dataclass(frozen=True)
class Turn:
    """A question and its answers, of which one is shown and sent."""

    question: str
    answers: tuple[Answer, ...] = ()
    chosen: int = -1  # index into answers; the newest by default

    @property
    def answer(self) -> Answer | None:
        return self.answers[self.chosen] if self.answers else None


class Conversation:
    """Turns with undo. Every change can be taken back, Clear included."""

    def __init__(self, turns: tuple[Turn, ...] = (), system: str = "") -> None:
        self.turns = turns
        self.system = system
        self.editing: int | None = None  # the turn whose question is open for a change
        self._past: list[tuple[Turn, ...]] = []

    # --- changes ------------------------------------------------------------------------------

    def _change(self, turns: tuple[Turn, ...]) -> None:
        self._past.append(self.turns)
        self.turns = turns
        self.editing = None

    def ask(self, question: str) -> None:
        self._change((*self.turns, Turn(question)))

    def edit(self, index: int, question: str) -> None:
        """Ask something else at this point; what followed is gone (until Undo)."""
        self._change((*self.turns[:index], Turn(question)))

    def clear(self) -> None:
        self._change(())

    def take_over(self, other: "Conversation") -> None:
        """Put another conversation in the place of this one; a system prompt only if it has one."""
        self._change(other.turns)
        self.system = other.system or self.system

    def undo(self) -> None:
        if self._past:
            self.turns = self._past.pop()
            self.editing = None

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    def begin_answer(self, checkpoint: str) -> None:
        """Open a new answer to the last question; earlier answers stay beside it."""
        last = self.turns[-1]
        if last.answers:
            self._past.append(self.turns)
        self._set_last(replace(last, answers=(*last.answers, Answer(checkpoint=checkpoint)), chosen=-1))

    def write(self, text: str) -> None:
        """Set the text of the answer being written."""
        self._set_answer(replace(self._writing(), text=text))

    def end_answer(self, reason: str, figures: Mapping[str, float]) -> None:
        self._set_answer(replace(self._writing(), reason=reason, figures=dict(figures)))

    def settle(self) -> None:
        """Close an answer that was cut off from outside: Stop, a click elsewhere, another page."""
        answer = self.turns[-1].answers[-1] if self.turns and self.turns[-1].answers else None
        if answer is not None and not answer.reason:
            self.end_answer("cancelled", {})

    def fail_answer(self) -> None:
        """Close an answer after an error. One that never got a word is taken back."""
        last = self.turns[-1]
        if self._writing().text:
            self.end_answer("failed", {})
        elif len(last.answers) > 1:
            self.undo()
        else:
            self._set_last(replace(last, answers=()))

    def choose(self, index: int, answer: int) -> None:
        turn = replace(self.turns[index], chosen=answer)
        self.turns = (*self.turns[:index], turn, *self.turns[index + 1 :])

    def _writing(self) -> Answer:
        return self.turns[-1].answers[-1]

    def _set_answer(self, answer: Answer) -> None:
        last = self.turns[-1]
        self._set_last(replace(last, answers=(*last.answers[:-1], answer)))

    def _set_last(self, turn: Turn) -> None:
        self.turns = (*self.turns[:-1], turn)

    # --- what it says -------------------------------------------------------------------------

    def messages(self, again: bool = False) -> list[dict[str, str]]:
        """In the OpenAI chat format.

        Args:
            again: leave out the last answer, to ask for another one.
        """
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for number, turn in enumerate(self.turns, 1):
            messages.append({"role": "user", "content": turn.question})
            last = number == len(self.turns)
            if turn.answer and turn.answer.text and not (again and last):
                messages.append({"role": "assistant", "content": turn.answer.text})
        return messages

    def turns_within(self, dropped_messages: int) -> int:
        """How many of the oldest turns those messages are (the system prompt not counted)."""
        seen = turns = 0
        for turn in self.turns:
            seen += 1 + bool(turn.answer and turn.answer.text)
            if seen > dropped_messages:
                break
            turns += 1
        return turns

    # --- as a file ----------------------------------------------------------------------------

    def to_json(self) -> str:
        """`messages` is what other programs read; `turns` keeps the alternative answers too."""
        data = {
            "quintet": VERSION,
            "messages": self.messages(),
            "system": self.system,
            "turns": [asdict(turn) for turn in self.turns],
        }
        return json.dumps(data, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Conversation":
        """Read `to_json`'s form, or any JSON list of {"role", "content"} messages.

        Raises:
            ValueError: it is neither.
        """
        try:
            data = json.loads(text)
            if isinstance(data, dict) and "turns" in data:
                return cls(tuple(_turn(item) for item in data["turns"]), _text(data.get("system", "")))
            return cls._from_messages(data["messages"] if isinstance(data, dict) else data)
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            raise ValueError("not a conversation") from error

    @classmethod
    def _from_messages(cls, messages: list[dict[str, Any]]) -> "Conversation":
        turns: list[Turn] = []
        system = ""
        for message in messages:
            content = _text(message["content"])
            match message["role"]:
                case "system":
                    system = content
                case "user":
                    turns.append(Turn(content))
                case "assistant" if not turns[-1].answers:
                    turns[-1] = Turn(turns[-1].question, (Answer(content, "stop"),))
                case role:
                    raise ValueError(f"a message of {role!r} has no place here")
        return cls(tuple(turns), system)


def _turn(data: dict[str, Any]) -> Turn:
    answers = tuple(map(_answer, data.get("answers", ())))
    chosen = int(data.get("chosen", -1))
    if answers and not -1 <= chosen < len(answers):
        raise ValueError("no such answer")
    return Turn(_text(data["question"]), answers, chosen)


def _answer(data: dict[str, Any]) -> Answer:
    figures = {_text(key): float(value) for key, value in data.get("figures", {}).items()}
    if not all(map(isfinite, figures.values())):
        raise ValueError("figures are numbers")
    return Answer(
        _text(data["text"]),
        _text(data.get("reason", "")) or "stop",
        figures,
        _text(data.get("checkpoint", "")),
    )


def _text(value: Any) -> str:
    """`value`, if it is a text that can be sent to a browser: JSON can hold half a surrogate pair."""
    if not isinstance(value, str):
        raise ValueError("only text can be imported")
    value.encode()
    return value
