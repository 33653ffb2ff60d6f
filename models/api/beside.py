"""The API beside the pages: on the same port, and made when the first program asks."""

from collections.abc import MutableMapping
from typing import Any

from anyio import to_thread

from models.api.access import App, Receive, Send
from models.api.admission import Admission

PATHS = ("/health", "/metrics", "/tokenize", "/detokenize", "/openapi.json", "/docs")


class Beside:
    """ASGI middleware that gives requests of programs to the API, and all else to the pages."""

    def __init__(self, app: App, admission: Admission) -> None:
        self._app, self._admission = app, admission
        self._api: App | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"].startswith("/v1/") or scope["path"] in PATHS):
            if self._api is None:
                self._api = await to_thread.run_sync(self._make)
            await self._api(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _make(self) -> App:
        from models.api.app import create_app  # most of a second

        return create_app(self._admission)
