"""What a request asks of an engine: its form, checked against what engines can do."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from models.api.asked import Asked
from models.api.forcing import force
from models.api.forms import NO_EFFECT, ChatForm, CompletionForm, Form, Sampling
from models.api.refusals import Refused, unsupported
from models.chat.request import openai_tools
from models.engines.base import ChatEngine
from models.schema import Text

MOST_STOPS = 16


def read_chat(form: ChatForm) -> Asked:
    """Raises Refused for what cannot be honoured, by its parameter's name."""
    check(form)
    if form.logprobs or form.top_logprobs:
        raise unsupported("logprobs")
    if form.modalities not in (None, ["text"]):
        raise unsupported("modalities", Text('only ["text"]', '仅支持 ["text"]'))
    most = form.max_completion_tokens or form.max_tokens
    asked = Asked(form.messages, _sampling(form), most, (), form.response_format)
    return with_tools(asked, form.tool_choice, openai_tools(form.tools or ()))


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


def with_tools(
    asked: Asked, choice: str | Mapping[str, Any] | None, tools: Sequence[Mapping[str, Any]]
) -> Asked:
    """`asked`, with the tools of which the answer may call some, or has to. Raises Refused as `choose_tools`."""
    chosen, forced = choose_tools(choice, tools)
    if forced:
        return force(asked, chosen)
    if chosen and asked.response_format and asked.response_format.get("type") != "text":
        raise unsupported("response_format", Text("not together with tools", "不能与 tools 同时使用"))
    return replace(asked, tools=chosen)


def choose_tools(
    choice: str | Mapping[str, Any] | None, tools: Sequence[Mapping[str, Any]]
) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """Which tools an answer may call, and whether it has to.

    Args:
        choice: OpenAI's tool_choice.
        tools: in OpenAI's form.

    Raises:
        Refused: it names a tool that is not there, or is of no known form.
    """
    if choice in (None, "auto"):
        return tools, False
    if choice == "none":
        return (), False
    if choice == "required" and tools:
        return tools, True
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        name = (choice.get("function") or choice).get("name")
        named = [tool for tool in tools if tool["function"]["name"] == name]
        if named:
            return named, True
    raise unsupported(
        "tool_choice",
        Text(
            'it has to be "auto", "none", "required" or a function of tools',
            '应为 "auto"、"none"、"required" 或 tools 中的某个函数',
        ),
    )


def _prompts(prompt: str | list[str] | list[int] | list[list[int]], engine: ChatEngine) -> list[str]:
    """The texts to continue. pydantic takes a list of whole numbers for ids, and no other list mixes kinds."""
    if isinstance(prompt, str):
        return [prompt]
    ids = [part for part in prompt if isinstance(part, int)]
    if ids:
        return [engine.detokenize(ids)]
    return [part if isinstance(part, str) else engine.detokenize(part) for part in prompt if part]  # type: ignore[arg-type]
