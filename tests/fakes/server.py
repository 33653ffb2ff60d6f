"""A server of its own for a test: a script that Streamlit serves."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fakes.paths import ROOT
from tests.fakes.waiting import until


class Server:
    """`streamlit run` of a script, on one port as often as it is started."""

    def __init__(self, script: str, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless", "true"]
        own = {name: value for name, value in os.environ.items() if not name.endswith("MODEL_PATH")}
        self._environment = {**own, "PYTHONPATH": str(ROOT), **environment}

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self._command, "--server.port", str(self._port)],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
        )
        until(lambda: self.process.poll() is not None or self._answers())
        assert self.process.poll() is None, "the server ended"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def kill(self) -> None:
        """As the system does when memory runs out."""
        self.process.kill()
        self.process.wait(60)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


@contextmanager
def served(script: str, **environment: str) -> Iterator[str]:
    """The address of a script that Streamlit serves."""
    server = Server(script, **environment)
    try:
        server.start()
        yield server.address
    finally:
        server.stop()
