"""How long visitors wait for a page, and for the first word, while another model is loaded and answers.

    python -m bench.visitors [--rounds 3] [--root FOLDER]

Eight visitors have the ChatGLM page open, whose starter is in memory. Seven click all the time (*rerun*: seconds
from a click to the end of the script), one asks all the time (*first word*: seconds from Enter to it). First
with nothing else going on (*idle*), then while a ninth asks on the LLaMA page, whose model is loaded for that
(*busy*). They speak the messages of Streamlit's own WebSocket and draw nothing: eight browsers would take
a core for themselves. `--root` is a checkout of another version, whose server is measured in the same way.
The last line is one JSON object.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parent.parent
CLICKING = 7
PAUSE = 0.3  # seconds between two clicks of one visitor
CURSOR = "▌"  # stands behind an answer that is being written
IDLE = 10.0  # seconds


class Visitor:
    """A browser tab without a browser."""

    def __init__(self, port: int, page: str) -> None:
        self._connection = ExitStack()
        line = connect(
            f"ws://127.0.0.1:{port}/_stcore/stream",
            subprotocols=["streamlit"],  # type: ignore[list-item]
            max_size=None,
        )
        self._socket = self._connection.enter_context(line)
        self._page = page
        self._input = ""  # id of the message field
        self.click()

    def click(self) -> float:
        """Run the page once; seconds until it has ended."""
        return self._run(BackMsg())[0]

    def ask(self, text: str) -> float:
        """Send a question and wait for the end of the answer; seconds until its first word."""
        message = BackMsg()
        state = message.rerun_script.widget_states.widgets.add()
        state.id, state.chat_input_value.data = self._input, text
        return self._run(message)[1]

    def leave(self) -> None:
        self._connection.close()

    def _run(self, message: BackMsg) -> tuple[float, float]:
        """Seconds until the script has ended, and until the first word of an answer."""
        message.rerun_script.page_name = self._page
        began, first = time.perf_counter(), 0.0
        self._socket.send(message.SerializeToString())
        while True:
            came = ForwardMsg.FromString(bytes(self._socket.recv(timeout=300)))  # type: ignore[arg-type]
            element = came.delta.new_element
            self._input = element.chat_input.id or self._input
            if not first and element.markdown.body.rstrip().endswith(CURSOR):
                first = time.perf_counter() - began
            if came.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY and came.HasField("script_finished"):
                return time.perf_counter() - began, first


@contextmanager
def serve(root: Path) -> Iterator[int]:
    """The server of a checkout, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    options = ["--server.headless", "true", "--server.port", str(port)]
    server = subprocess.Popen([sys.executable, "-m", "streamlit", "run", "app.py", *options], cwd=root)
    try:
        while server.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health"):
                break
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait()


class Crowd:
    """Visitors who click, and one who asks, until they are told to stop."""

    def __init__(self, clicking: list[Visitor], asking: Visitor) -> None:
        self._over = threading.Event()
        self.reruns: list[float] = []
        self.first_words: list[float] = []
        work = [lambda visitor=visitor: self._click(visitor) for visitor in clicking]
        self._threads = [threading.Thread(target=each) for each in [*work, lambda: self._ask(asking)]]
        for thread in self._threads:
            thread.start()

    def _click(self, visitor: Visitor) -> None:
        while not self._over.wait(PAUSE):
            self.reruns.append(visitor.click())

    def _ask(self, visitor: Visitor) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            self.first_words.append(visitor.ask(f"What is {number} plus {number}?"))

    def disperse(self) -> "Crowd":
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self


def measure(root: Path) -> tuple[Crowd, Crowd]:
    """An idle crowd and a busy one, at a fresh server."""
    with serve(root) as port:
        visitors = [Visitor(port, "chatglm") for _ in range(CLICKING + 1)]
        visitors[0].ask("Hello")
        idle = Crowd(visitors[1:], visitors[0])
        time.sleep(IDLE)
        idle.disperse()
        busy = Crowd(visitors[1:], visitors[0])
        ninth = Visitor(port, "llama2")
        ninth.ask("What is the capital of Japan?")
        busy.disperse()
        for visitor in [*visitors, ninth]:
            visitor.leave()
    return idle, busy


def summarise(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "median": round(statistics.median(ordered), 3),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 3),
        "count": len(ordered),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--root", type=Path, default=ROOT)
    given = parser.parse_args()
    rounds = [measure(given.root) for _ in range(given.rounds)]
    figures = {}
    for when, crowds in zip(("idle", "busy"), zip(*rounds, strict=True), strict=True):
        figures[f"{when} rerun"] = summarise([second for crowd in crowds for second in crowd.reruns])
        figures[f"{when} first word"] = summarise(
            [second for crowd in crowds for second in crowd.first_words]
        )
    for name, figure in figures.items():
        print(
            f"{name:<18} median {figure['median']:.3f} s   p95 {figure['p95']:.3f} s   of {figure['count']}"
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
