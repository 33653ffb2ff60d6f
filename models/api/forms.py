"""The requests of OpenAI's API, as pydantic models: what they may hold, and in what range.

Source of names and meanings: platform.openai.com/docs/api-reference; `top_k`, `min_p`, `repetition_penalty` as
vLLM and llama-server take them. What is not listed is refused by name; `NO_EFFECT` is taken and changes nothing.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# What clients send for their own or a provider's bookkeeping.
NO_EFFECT = frozenset(
    {
        "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
        "prediction", "reasoning_effort", "verbosity", "continuous_usage_stats", "include",
    }
)  # fmt: skip


class Form(BaseModel):
    """A request. What it does not list stays in `model_extra`, to be refused by name."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str = Field(description="A checkpoint: see /v1/models.")


class Sampling(Form):
    """How an answer is sampled. What is left out is as the checkpoint's makers recommend."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="0 always takes the likeliest token; higher is more varied."
    )
    top_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Sample among the likeliest tokens that together have this probability."
    )
    top_k: Annotated[int, Field(ge=-1, le=1000)] | None = Field(
        None, description="Sample among this many likeliest tokens; 0 or -1: all."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Drop tokens less likely than this share of the likeliest one."
    )
    repetition_penalty: Annotated[float, Field(ge=0.5, le=2)] | None = Field(
        None, description="Above 1 discourages what was already said."
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(
        None, description="The same seed gives the same answer again."
    )
    stop: str | list[str] | None = Field(None, description="The answer ends before any of these texts.")
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Tokens after which an answer is cut; default: as many as the context holds."
    )
    n: Annotated[int, Field(ge=1, le=16)] | None = Field(None, description="How many answers to give.")
    stream: bool | None = Field(None, description="Send the answer as it comes, as server-sent events.")
    stream_options: dict[str, Any] | None = Field(
        None, description='{"include_usage": true}: a last chunk says what the answer took.'
    )
    frequency_penalty: float | None = Field(None, description="Only 0.")
    presence_penalty: float | None = Field(None, description="Only 0.")
    logit_bias: dict[str, float] | None = Field(None, description="Only empty.")


class ChatForm(Sampling):
    """POST /v1/chat/completions"""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)] = Field(
        description="The conversation: roles system, developer, user, assistant, tool; pictures as data URLs."
    )
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = Field(
        None, description="As max_tokens, which is its older name."
    )
    tools: list[dict[str, Any]] | None = Field(None, description="Functions that the answer may call.")
    tool_choice: str | dict[str, Any] | None = Field(
        None, description='"auto", "none", "required", or {"type": "function", "function": {"name": …}}.'
    )
    parallel_tool_calls: bool | None = Field(None, description="false: at most one call an answer.")
    response_format: dict[str, Any] | None = Field(
        None,
        description='{"type": "text"}, {"type": "json_object"} or {"type": "json_schema", "json_schema": …}.',
    )
    logprobs: bool | None = Field(None, description="Only false.")
    top_logprobs: int | None = Field(None, description="Only 0.")
    modalities: list[str] | None = Field(None, description='Only ["text"].')


class CompletionForm(Sampling):
    """POST /v1/completions"""

    prompt: str | list[str] | list[int] | list[list[int]] = Field(
        description="What is continued: a text or several, or token ids."
    )
    echo: bool | None = Field(None, description="Give the prompt back before the answer.")
    suffix: str | None = Field(None, description="Not supported.")
    best_of: int | None = Field(None, description="Only n, which is what it is without it.")
    logprobs: int | None = Field(None, description="Not supported.")


class EmbeddingsForm(Form):
    """POST /v1/embeddings"""

    input: str | list[str] | list[int] | list[list[int]] = Field(description="What to embed.")
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


class TokenizeForm(BaseModel):
    """POST /tokenize: llama-server's `content`, or vLLM's `prompt`."""

    model_config = ConfigDict(protected_namespaces=())

    model: str = Field(description="A checkpoint: see /v1/models.")
    content: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None


class DetokenizeForm(BaseModel):
    """POST /detokenize"""

    model_config = ConfigDict(protected_namespaces=())

    model: str = Field(description="A checkpoint: see /v1/models.")
    tokens: list[int]
