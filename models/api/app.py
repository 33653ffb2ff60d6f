"""The ASGI application of the API, alone or beside the pages."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from models.api import audio, chat, docs, messages, metrics, responses, tokens
from models.api.access import Access
from models.api.admission import Admission, told_of_end
from models.api.choice import Engines, Offer
from models.api.refusals import Refused, respond
from models.errors import ModelError
from models.loader import Loader, shared
from models.schema import Text

_STARTED = int(time.time())


def create_app(admission: Admission | None = None, loader: Loader | None = None) -> FastAPI:
    """The API; default: on the loader that this process shares with its pages."""
    app = FastAPI(
        title="Quintet",
        description="Open models on your own machine, in the forms of OpenAI's API.",
        docs_url=None,  # both pages fetch scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.engines = Engines(loader or shared())
    app.state.admission = admission or Admission()
    for part in (chat, messages, responses, audio, tokens, metrics, docs):
        app.include_router(part.router)
    app.add_middleware(metrics.Measured)
    app.add_middleware(Access)
    for kind in (Refused, ModelError, Exception):
        app.add_exception_handler(kind, _failed)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_not_there)
    app.add_api_route("/v1/models", list_models, methods=["GET"])
    app.add_api_route("/v1/models/{model:path}", retrieve_model, methods=["GET"])
    app.add_api_route("/health", health, methods=["GET"])
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Where it is served alone; beside the pages it is theirs that runs."""
    with told_of_end(app.state.admission):
        yield


def list_models(request: Request) -> dict[str, Any]:
    """The models that programs may name, what is in memory first."""
    return {"object": "list", "data": [_row(offer) for offer in request.app.state.engines.offers()]}


def retrieve_model(model: str, request: Request) -> dict[str, Any]:
    """One of them."""
    engines: Engines = request.app.state.engines
    name = engines.resolve(model)
    known = {offer.id: offer for offer in engines.offers()}
    return _row(known.get(model) or known.get(name) or Offer(model, "chat", False, 0))


def health() -> dict[str, str]:
    """Whether the server answers; everybody may ask."""
    return {"status": "ok"}


def _row(offer: Offer) -> dict[str, Any]:
    row = {"id": offer.id, "object": "model", "created": _STARTED, "owned_by": "quintet"}
    return {**row, "kind": offer.kind, "loaded": offer.loaded, "max_model_len": offer.context_length or None}


# --- what goes wrong ---------------------------------------------------------------------------


async def _failed(request: Request, error: Exception) -> Response:
    return respond(request, error)


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    """A form with a wrong field: 400 as OpenAI has it, with the name of the field."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    message = str(first["msg"])
    return respond(
        request,
        Refused(
            400, Text(f"{field}: {message}.", f"{field} 不符合要求：{message}。"), "invalid_value", field
        ),
    )


async def _not_there(request: Request, error: HTTPException) -> Response:
    """What the framework refuses by itself: no such route, another method, a body that is no form."""
    path, method = request.url.path, request.method
    said = {
        404: Text(f"There is no {path} here: see /openapi.json.", f"没有 {path}：请参阅 /openapi.json。"),
        405: Text(
            f"{path} does not take {method}: see /openapi.json.",
            f"{path} 不支持 {method}：请参阅 /openapi.json。",
        ),
    }
    text = said.get(error.status_code) or Text(f"{error.detail}.", f"{error.detail}。")
    code = {404: "unknown_url", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    return respond(request, Refused(error.status_code, text, code))
