"""/tokenize and /detokenize, in the forms of llama-server and vLLM."""

import threading
from typing import Any

from fastapi import APIRouter, Request

from models.api.choice import Engines
from models.api.forms import DetokenizeForm, TokenizeForm
from models.api.refusals import Refused
from models.engines.base import ChatEngine
from models.schema import Text

router = APIRouter()


@router.post("/tokenize")
def tokenize(form: TokenizeForm, request: Request) -> dict[str, Any]:
    """The ids of a text; of messages, how many their prompt takes."""
    engines: Engines = request.app.state.engines
    with engines.using(form.model, ChatEngine, threading.Event()) as engine:
        if form.messages is not None:
            return {"count": engine.count_tokens(form.messages), "max_model_len": engine.context_length}
        text = form.content if form.content is not None else form.prompt
        if text is None:
            raise Refused(
                400,
                Text("There is no content to tokenize: send it.", "没有可分词的 content：请发送它。"),
                "missing_parameter",
                "content",
            )
        ids = engine.tokenize(text)
        return {"tokens": ids, "count": len(ids), "max_model_len": engine.context_length}


@router.post("/detokenize")
def detokenize(form: DetokenizeForm, request: Request) -> dict[str, str]:
    """The text of ids, under both names that programs look for."""
    engines: Engines = request.app.state.engines
    with engines.using(form.model, ChatEngine, threading.Event()) as engine:
        text = engine.detokenize(form.tokens)
    return {"content": text, "prompt": text}
