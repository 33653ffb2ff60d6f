"""The API where it is served: alone by the command line, and beside the pages on their port."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.fakes.paths import ROOT
from tests.fakes.server import served
from tests.fakes.tiny_checkpoints import write_gguf
from tests.fakes.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def alone(port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "models", "serve", "--port", str(port)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: process.poll() is not None or answers(port))
    yield process
    process.kill()
    process.wait(60)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_it_is_served_alone(alone: subprocess.Popen[bytes], port: int) -> None:
    rows = httpx2.get(f"http://127.0.0.1:{port}/v1/models").json()["data"]
    assert "smollm2-135m-instruct" in {row["id"] for row in rows}
    with pytest.raises(httpx2.HTTPError):  # who listens on every address has this one too
        httpx2.get(f"http://127.0.0.2:{port}/health")
    alone.send_signal(signal.SIGTERM)
    assert alone.wait(60) in (0, -signal.SIGTERM)


@pytest.mark.weights
def test_an_open_stream_does_not_keep_the_server(alone: subprocess.Popen[bytes], port: int) -> None:
    asked = {
        "model": "smollm2-135m-instruct",
        "messages": [{"role": "user", "content": "Tell a very long story."}],
        "stream": True,
        "temperature": 0,
        "max_tokens": 8000,
    }
    lines: list[str] = []

    def listen() -> None:
        address = f"http://127.0.0.1:{port}/v1/chat/completions"
        with httpx2.stream("POST", address, json=asked, timeout=300) as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    lines.append(line.removeprefix("data: "))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    until(lambda: len(lines) > 3)
    alone.send_signal(signal.SIGTERM)
    alone.wait(60)
    listener.join(60)
    assert json.loads(lines[-1])["error"]["code"] == "server_stopping"


def test_pages_and_programs_share_a_port(tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "chat.gguf")
    with served("app.py", LLAMA2_MODEL_PATH=str(model), QUINTET_DATA=str(tmp_path / "kept")) as address:
        assert "<html" in httpx2.get(address).text
        rows = httpx2.get(f"{address}/v1/models").json()["data"]
        assert "chat.gguf" in {row["id"] for row in rows}
        missing = httpx2.get(f"{address}/v1/nothing")
        assert missing.status_code == 404 and "error" in missing.json()
        assert httpx2.get(f"{address}/health").json() == {"status": "ok"}
        assert "set-cookie" not in httpx2.get(f"{address}/v1/models").headers
