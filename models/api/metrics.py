"""What Prometheus collects at /metrics: requests by route and status, how long they took, and what is loaded."""

import time
from collections.abc import MutableMapping
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from models.api.access import App, Message, Receive, Send

router = APIRouter()

# An own registry: others that run in this process stay out of it.
REGISTRY = CollectorRegistry()
_REQUESTS = Counter("quintet_requests", "Requests answered.", ("route", "status"), registry=REGISTRY)
_SECONDS = Histogram(
    "quintet_request_seconds",
    "Seconds from a request to the end of its answer.",
    ("route",),
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300),
    registry=REGISTRY,
)
_FIRST = Histogram(
    "quintet_first_byte_seconds",
    "Seconds from a request to the first part of its answer.",
    ("route",),
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60),
    registry=REGISTRY,
)
TOKENS = Counter("quintet_tokens", "Tokens read and made.", ("kind",), registry=REGISTRY)
_PRESENT = Gauge("quintet_requests_present", "Requests being answered or waiting.", registry=REGISTRY)
_LOADED = Gauge("quintet_models_loaded", "Models in memory.", registry=REGISTRY)
_ACTIVE = Gauge("quintet_engine_requests", "Requests at the engines, of pages too.", registry=REGISTRY)


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request) -> Response:
    engines = request.app.state.engines.loader.loaded()
    _PRESENT.set(request.app.state.admission.present)
    _LOADED.set(len(engines))
    _ACTIVE.set(sum(engine.active for engine in engines))
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


class Measured:
    """ASGI middleware that counts requests, by the path of their route and not by what stands in it."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, first = time.monotonic(), 500, False

        async def watch(message: Message) -> None:
            nonlocal status, first
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not first and message.get("body"):
                first = True
                _FIRST.labels(_route(scope)).observe(time.monotonic() - began)
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            _REQUESTS.labels(_route(scope), str(status)).inc()
            _SECONDS.labels(_route(scope)).observe(time.monotonic() - began)


def _route(scope: MutableMapping[str, Any]) -> str:
    return str(getattr(scope.get("route"), "path", "other"))
