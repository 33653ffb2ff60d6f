"""A server of the API as programs meet it: on a port, asked by the official clients."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from models.loader import Loader
from tests.fakes.waiting import until


@pytest.fixture
def api(stage: Any) -> Iterator[Any]:
    """A running server, its app in `app` and its address in `url`; engines are fakes, in this process."""
    from models.api.app import create_app

    served = uvicorn.Server(
        uvicorn.Config(create_app(loader=Loader()), port=0, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=served.run, daemon=True)
    thread.start()
    until(lambda: served.started)
    served.app = served.config.app  # type: ignore[attr-defined]
    served.url = f"http://127.0.0.1:{served.servers[0].sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    yield served
    served.should_exit = True
    thread.join(20)


@pytest.fixture
def openai(api: Any) -> Iterator[Any]:
    """OpenAI's own client, which tries once."""
    from openai import OpenAI

    with OpenAI(base_url=f"{api.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic(api: Any) -> Iterator[Any]:
    from anthropic import Anthropic

    with Anthropic(base_url=api.url, api_key="none", max_retries=0) as client:
        yield client
