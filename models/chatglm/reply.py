"""Answers of ChatGLM as they are written: ids to what a person reads and the tools asked for."""

from collections.abc import Sequence
from typing import Any

from models.chatglm.prompt import Reply, Turn, parse_call
from models.chatglm.tokenizer import ChatGLMTokenizer
from models.errors import BadInput
from models.generation import AnswerStream
from models.schema import ToolCall


class ReplyStream(AnswerStream):
    """The text of an answer without roles, headers and calls; those of a base model are as they come.

    Args:
        stop: texts before which the answer ends.
        prompt_ids: ids of the text that is continued; None for a chat.
    """

    def __init__(
        self, tokenizer: ChatGLMTokenizer, stop: Sequence[str] = (), prompt_ids: Sequence[int] | None = None
    ) -> None:
        super().__init__(stop)
        self._detokenizer = tokenizer.detokenizer()
        self._reply = Reply(tokenizer.generation) if prompt_ids is None else None
        # Behind other text a leading space is part of the answer.
        self._detokenizer.feed(prompt_ids or ())

    def _decode(self, token: int) -> str:
        text = self._detokenizer.feed([token])
        return self._reply.feed(text) if self._reply else text

    def _rest(self) -> str:
        if self._reply is None:
            return ""
        unread = [turn.content.strip() for turn in self._turns if _read(turn) is None]
        return "\n\n".join([self._reply.feed("", last=True), *unread])

    @property
    def _turns(self) -> list[Turn]:
        return self._reply.calls if self._reply else []

    @property
    def calls(self) -> list[ToolCall]:
        """The calls that can be read; what cannot be is shown as text."""
        return [call for turn in self._turns if (call := _read(turn))]


def _read(turn: Turn) -> ToolCall | None:
    name = turn.metadata.strip()
    try:
        arguments: dict[str, Any] = _code(turn.content) if name == "interpreter" else parse_call(turn.content)
    except BadInput:
        return None
    return ToolCall(name, arguments)


def _code(content: str) -> dict[str, str]:
    """What a fence holds, as the one argument of the interpreter."""
    return {"code": "\n".join(content.strip().split("\n")[1:-1])}
