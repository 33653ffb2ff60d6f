"""Whatever an answer or an error says, a browser fetches nothing from elsewhere for it."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.fakes.server import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Each has a picture that Markdown and a pattern may see differently. N is told apart in what is fetched.
PICTURES = [
    "![plain](URL)",
    "> ```\n> code\n\n![a fence in a quote that ends](URL)",
    "``` a`b\n![a backtick in an info string](URL)",
    "- one ` tick\n- ![across items](URL) ` two",
    "| a | b |\n| --- | --- |\n| ` | x |\n| ![across rows](URL) | ` |",
    "# a ` heading\n![under it](URL) ` and",
    "- ```\n  code\n![after a list's fence](URL)",
    "    ```\n![after indented code](URL)\n    ```",
    "~~~ a\n``` \n~~~\n![after a mixed fence](URL)",
    "![by reference][r]\n\n[r]: URL",
    "![a\nb](<URL>)",
    "<img src='URL'>",
    "<video src='URL' autoplay></video><iframe src='URL'></iframe>",
    "$$\\includegraphics{URL}$$",
    ":material/![x](URL):",
]


class Elsewhere(BaseHTTPRequestHandler):
    """Notes what is fetched; and is the OpenAI-compatible server that answers with `says`, or refuses with it."""

    fetched: list[str]
    says: str
    refuses: bool

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            return self._reply(200, {"data": [{"id": "tiny", "max_model_len": 4096}]})
        self.fetched.append(self.path)
        return self._reply(404, {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/chat/completions":
            return self._reply(404, {})
        if self.refuses:
            return self._reply(400, {"error": {"message": self.says}})
        return self._reply(200, {"choices": [{"message": {"content": self.says}, "finish_reason": "stop"}]})

    def _reply(self, status: int, answer: Any) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Any]:
    """The class of the handler, with its address."""
    handler = type("Scripted", (Elsewhere,), {"fetched": [], "says": "", "refuses": False})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        handler.address = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
        yield handler
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def app(elsewhere: Any) -> Iterator[str]:
    with served("app.py", LLAMA2_MODEL_PATH=f"{elsewhere.address}/v1") as address:
        yield address


Open = Callable[[str], Any]


@pytest.fixture
def visit(chromium: Any) -> Iterator[Open]:
    context = chromium.new_context(locale="en-US", viewport={"width": 1280, "height": 4000})

    def open_page(address: str) -> Any:
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.goto(address)
        return page

    yield open_page
    context.close()


def ask(page: Any) -> None:
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill("What is it?")
    box.press("Enter")


def test_an_answer_fetches_nothing(app: str, elsewhere: Any, visit: Open) -> None:
    page = visit(app)
    for number, text in enumerate(PICTURES):  # each alone, since an open fence would hide the others
        elsewhere.says = text.replace("URL", f"{elsewhere.address}/answer-{number}.png") + f"\n\nend {number}"
        ask(page)
        page.get_by_text(f"end {number}").first.wait_for()
        page.wait_for_load_state("networkidle")
    assert elsewhere.fetched == []


def test_an_error_fetches_nothing(
    app: str, elsewhere: Any, visit: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "refuses", True)
    monkeypatch.setattr(
        elsewhere, "says", f"![x]({elsewhere.address}/e.png) `\n![y]({elsewhere.address}/f.png)"
    )
    page = visit(app)
    ask(page)
    shown = page.get_by_test_id("stAlert").filter(has_text="refused")
    shown.first.wait_for()
    page.wait_for_load_state("networkidle")
    assert elsewhere.fetched == []
    assert shown.get_by_role("link", name="x").first.get_attribute("href") == f"{elsewhere.address}/e.png"


def test_the_policy_alone_holds_what_no_pattern_caught(
    elsewhere: Any, visit: Open, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same pictures past everything that makes text readable: without the policy they are fetched."""
    body = f"import streamlit as st\nst.markdown('![x]({elsewhere.address}/bare.png)')\nst.write('Shown.')\n"
    (tmp_path / "bare.py").write_text(body)
    entry = (
        "import streamlit as st\nfrom starlette.middleware import Middleware\n"
        "from pages.shared.security_policy import SecurityPolicy\n"
        f"app = st.App({str(tmp_path / 'bare.py')!r}, middleware=[Middleware(SecurityPolicy)])\n"
    )
    (tmp_path / "policed.py").write_text(entry)
    for script, fetched in (("policed.py", []), ("bare.py", ["/bare.png"])):
        with served(str(tmp_path / script)) as address:
            page = visit(address)
            page.get_by_text("Shown.").wait_for()
            page.locator("img[alt=x]").wait_for(state="attached")
            page.wait_for_load_state("networkidle")
        assert elsewhere.fetched == fetched
    elsewhere.fetched.clear()


@pytest.mark.parametrize("name", ["", "gemma", "chatglm", "qwen_vl", "whisper"])
def test_the_policy_forbids_no_page_what_it_needs(name: str, app: str, visit: Open) -> None:
    page = visit("about:blank")
    refused: list[str] = []
    page.on(
        "console", lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None
    )
    page.on("pageerror", lambda error: refused.append(str(error)))
    page.goto(f"{app}/{name}")
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
    page.wait_for_load_state("networkidle")
    assert refused == []


def test_the_app_may_be_framed_by_nobody_else(app: str, visit: Open) -> None:
    response = visit(app).request.get(app)
    assert "frame-ancestors 'self'" in response.headers["content-security-policy"]


@pytest.mark.parametrize("script", ["app.py", "pages/llama2.py"])
def test_app_and_page_each_run_alone(script: str, elsewhere: Any, visit: Open) -> None:
    elsewhere.says = "It is *well*."
    with served(script, LLAMA2_MODEL_PATH=f"{elsewhere.address}/v1") as address:
        page = visit(address)
        ask(page)
        page.get_by_text("It is well.").wait_for()
