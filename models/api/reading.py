"""What a request asks of an engine: its form, checked against what engines can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from models.api.forms import NO_EFFECT, ChatForm, CompletionForm, Form, Sampling
from models.api.refusals import Refused, unsupported
from models.engines.base import ChatEngine
from models.schema import ChatOptions, Text

MOST_STOPS = 16
LONGEST_ANSWER = next(spec.metadata["high"] for spec in fields(ChatOptions) if spec.name == "max_new_tokens")


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
        given = dict(self.given)
        if number and "seed" in given:  # else all answers would be one
            given["seed"] = (given["seed"] + number) % 2**31
        most = min(self.most or left, left, LONGEST_ANSWER)
        return replace(engine.default_options(), **given, max_new_tokens=most)


def read_chat(form: ChatForm) -> Asked:
    """Raises Refused for what cannot be honoured, by its parameter's name."""
    check(form)
    if form.logprobs or form.top_logprobs:
        raise unsupported("logprobs")
    if form.modalities not in (None, ["text"]):
        raise unsupported("modalities", Text('only ["text"]', '仅支持 ["text"]'))
    tools = _tools(form)
    most = form.max_completion_tokens or form.max_tokens
    return Asked(form.messages, _sampling(form), most, tools, form.response_format)


def chats(engine: ChatEngine, model: str) -> None:
    """Raise Refused for a base model: it knows no conversations."""
    if not engine.has_chat_template:
        raise Refused(
            400,
            Text(
                f"{model} is a base model, which knows no conversations: use /v1/completions.",
                f"{model} 是基座模型，不支持对话：请使用 /v1/completions。",
            ),
            "model_not_supported",
            "model",
        )


def read_completions(form: CompletionForm, engine: ChatEngine) -> list[Asked]:
    """One for each prompt. Raises Refused as `read_chat`."""
    check(form)
    if form.suffix:
        raise unsupported("suffix")
    if form.logprobs is not None:
        raise unsupported("logprobs")
    if form.best_of not in (None, form.n or 1):
        raise unsupported("best_of")
    return [Asked(text, _sampling(form), form.max_tokens or 16) for text in _prompts(form.prompt, engine)]


def check(form: Form) -> None:
    """Raise Refused for parameters that nobody here knows, and for known ones that would change the answer."""
    for name, value in (form.model_extra or {}).items():
        if name not in NO_EFFECT and value is not None:
            raise Refused(
                400,
                Text(f"There is no parameter {name}: leave it out.", f"没有参数 {name}：请去掉它。"),
                "unknown_parameter",
                name,
            )
    if isinstance(form, Sampling):
        for name in ("frequency_penalty", "presence_penalty", "logit_bias"):
            if getattr(form, name):
                raise unsupported(name)


def _sampling(form: Sampling) -> dict[str, Any]:
    """What a request says of sampling, by the names of ChatOptions."""
    given = {
        name: value
        for name in ("temperature", "top_p", "min_p", "repetition_penalty")
        if (value := getattr(form, name)) is not None
    }
    if form.top_k is not None:
        given["top_k"] = max(0, form.top_k)
    if form.seed is not None:
        given["seed"] = form.seed % 2**31
    if form.stop:
        stop = [form.stop] if isinstance(form.stop, str) else form.stop
        if len(stop) > MOST_STOPS:
            raise unsupported("stop", Text(f"at most {MOST_STOPS} texts", f"最多 {MOST_STOPS} 个文本"))
        given["stop"] = tuple(filter(None, stop))
    return given


def _tools(form: ChatForm) -> list[dict[str, Any]]:
    choice = form.tool_choice
    if choice == "none" or (choice is None and not form.tools):
        return []
    if choice in (None, "auto"):
        return form.tools or []
    raise unsupported("tool_choice", Text('only "auto" and "none"', '仅支持 "auto" 与 "none"'))


def _prompts(prompt: str | list[str] | list[int] | list[list[int]], engine: ChatEngine) -> list[str]:
    if isinstance(prompt, str):
        return [prompt]
    if prompt and isinstance(prompt[0], int):
        return [engine.detokenize(prompt)]  # type: ignore[arg-type]
    return [part if isinstance(part, str) else engine.detokenize(part) for part in prompt]  # type: ignore[arg-type]
