"""Answers of ChatGLM as they are written: ids to what a person reads and the tools asked for."""

from collections.abc import Collection, Sequence

from models.chat.calls import parse_call
from models.chatglm.prompt import Reply
from models.chatglm.tokenizer import ChatGLMTokenizer
from models.pretrained.generation import AnswerStream
from models.schema import ToolCall


class ReplyStream(AnswerStream):
    """The text of an answer without roles, headers and calls; those of a base model are as they come.

    Args:
        stop: texts before which the answer ends.
        prompt_ids: ids of the text that is continued; None for an answer that begins.
        offered: the names of the tools that may be called; None: not known.
        begun: the text of an answer of a chat that goes on; empty where none does.
    """

    def __init__(
        self,
        tokenizer: ChatGLMTokenizer,
        stop: Sequence[str] = (),
        prompt_ids: Sequence[int] | None = None,
        offered: Collection[str] | None = None,
        begun: str = "",
    ) -> None:
        super().__init__(stop)
        self._detokenizer = tokenizer.detokenizer()
        chats = prompt_ids is None or bool(begun)
        self._reply = Reply(tokenizer.generation, offered, begun) if chats else None
        # Behind other text a leading space is part of the answer.
        self._detokenizer.feed(prompt_ids or ())

    def _decode(self, token: int) -> str:
        text = self._detokenizer.feed([token])
        return self._reply.feed(text) if self._reply else text

    def _rest(self) -> str:
        return self._reply.feed("", last=True) if self._reply else ""

    @property
    def calls(self) -> list[ToolCall]:
        parts = self._reply.calls if self._reply else []
        return [parse_call(part.metadata, part.content) for part in parts]
