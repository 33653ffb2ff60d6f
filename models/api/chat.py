"""The routes that answer with text: /v1/chat/completions, /v1/completions, and a clear no for embeddings."""

import threading
from collections.abc import Iterator

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from models.api.answers import Reply
from models.api.asked import Asked
from models.api.asking import Numbered, Read, answers, one_conversation
from models.api.forms import ChatForm, CompletionForm, EmbeddingsForm, Sampling
from models.api.reading import read_chat, read_completions
from models.api.refusals import Refused
from models.api.sending import event, events, hear_all, stream
from models.engines.base import ChatEngine
from models.schema import Text

router = APIRouter()


@router.post("/v1/chat/completions")
async def create_chat_completion(form: ChatForm, request: Request) -> Response:
    """Answer a conversation."""
    read = one_conversation(request.app.state.engines, form.model, read_chat(form))
    most_calls = 1 if form.parallel_tool_calls is False else None
    return await _send(request, form, read, Reply("chat.completion", form.model, form.n or 1, most_calls))


@router.post("/v1/completions")
async def create_completion(form: CompletionForm, request: Request) -> Response:
    """Continue one text or several."""
    reply = Reply("text_completion", form.model, form.n or 1)

    def read(engine: ChatEngine, cancel: threading.Event) -> list[Asked]:
        asked = read_completions(form, engine)
        reply.echoes = [str(each.messages) for each in asked] if form.echo else []
        return asked

    return await _send(request, form, read, reply)


@router.post("/v1/embeddings")
async def create_embeddings(form: EmbeddingsForm) -> Response:
    """No model here gives embeddings yet: always an error."""
    raise Refused(
        400,
        Text(
            f"{form.model} gives no embeddings, nor does another model here: use a server that has one.",
            f"{form.model} 不提供嵌入向量，此处也没有其他模型提供：请使用提供嵌入模型的服务器。",
        ),
        "model_not_supported",
        "model",
    )


async def _send(request: Request, form: Sampling, read: Read, reply: Reply) -> Response:
    def begin() -> Numbered:
        return answers(request.app.state.engines, form.model, read, form.n or 1)

    if not form.stream:
        await hear_all(request, begin, lambda item: reply.add(*item))
        return JSONResponse(reply.whole())

    def end() -> Iterator[str]:
        if (form.stream_options or {}).get("include_usage"):
            yield event(reply.usage_chunk())
        yield "data: [DONE]\n\n"

    return await stream(request, begin, lambda item: events(reply.add(*item)), end)
