"""A question for an engine, read from a request of any form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from models.api.refusals import Refused, unsupported
from models.engines.base import ChatEngine
from models.schema import ChatOptions, Text

LONGEST = next(spec.metadata["high"] for spec in fields(ChatOptions) if spec.name == "max_new_tokens")


@dataclass(frozen=True)
class Asked:
    """One question for an engine.

    Attributes:
        messages: a conversation, or a text to continue.
        most: tokens of the answer; None: as many as the context holds.
    """

    messages: list[dict[str, Any]] | str
    given: Mapping[str, Any]
    most: int | None
    tools: Sequence[Mapping[str, Any]] = ()
    response_format: Mapping[str, Any] | None = None
    forced: bool = False  # the answer is a call

    def options(self, engine: ChatEngine, number: int) -> ChatOptions:
        """How the answer of this number is sampled, as long as the context allows.

        Raises Refused where the conversation alone fills the context: nothing of it is left out in silence.
        """
        context = engine.context_length
        left = context - engine.count_tokens(self.messages, self.tools)
        if left < 1:
            raise Refused(
                400,
                Text(
                    f"The messages take {context - left} tokens and the context holds {context}: send fewer, "
                    "or load the model with a longer context.",
                    f"消息共 {context - left} 个 token，而上下文只有 {context}：请减少内容，或以更长的上下文加载模型。",
                ),
                "context_length_exceeded",
                "prompt" if isinstance(self.messages, str) else "messages",
            )
        if self.tools and engine.count_tokens(self.messages) == context - left:
            raise unsupported(
                "tools",
                Text(
                    f'the template of {engine.checkpoint.name} has no place for them; tool_choice "required" works',
                    f'{engine.checkpoint.name} 的模板不支持工具；可使用 tool_choice "required"',
                ),
            )
        given = dict(self.given)
        if number and "seed" in given:  # else all answers would be one
            given["seed"] = (given["seed"] + number) % 2**31
        most = min(self.most or left, left, LONGEST)
        return replace(engine.default_options(), **given, max_new_tokens=most)
