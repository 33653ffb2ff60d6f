"""Fixtures for all tests."""

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.paths import SHARED

TESTS = Path(__file__).parent
WITHOUT_SLOW = "not slow"

# Settings of whoever runs the tests that would change what is tested.
SETTINGS = (
    "MODEL_PATH",
    "QUINTET_MODEL_DIRS",
    "QUINTET_CACHE",
    "USE_MODELSCOPE_HUB",
    "HF_",
    "TRANSFORMERS_",
    "MODELSCOPE_",
    "QUINTET_REMOTE",
    "QUINTET_FETCH",
    "QUINTET_TOKEN_FOR",
    "QUINTET_KEEP_",
    "QUINTET_DATA",
    "OPENAI_API_KEY",
    "QUINTET_TOOLS",
    "QUINTET_CODE_INTERPRETER",
    "QUINTET_INTERPRETERS",
)


# Folders and files that compute with models, convert them, or start kernels.
SLOW = (
    "chatglm",
    "engines/test_chatglm.py",
    "engines/test_continuing.py",
    "engines/test_hf",
    "engines/test_qwen_vl.py",
    "engines/test_speech.py",
    "engines/test_speech_options.py",
    "interpreter",
    "pages/test_browser.py",
    "pretrained",
    "qwen_vl",
    "speech",
    "starters",
    "test_reasons.py",
    "workers",
)


def _is_slow(path: Path) -> bool:
    return path.is_relative_to(TESTS) and path.relative_to(TESTS).as_posix().startswith(SLOW)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=1, help="how often tests/test_kills.py kills at each slow stage"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without the slow ones, their files are not even read: they import torch, which takes seconds."""
    return True if WITHOUT_SLOW in config.getoption("markexpr") and _is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow is also whoever clicks through whole pages. Real weights may have to be fetched first."""
    for item in items:
        pages = item.path.parent == TESTS / "pages" and "stage" in getattr(item, "fixturenames", ())
        if pages or _is_slow(item.path):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("weights") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest) -> Iterator[None]:
    """What runs without the slow ones is quick because it does without torch."""
    before = "torch" in sys.modules
    yield
    if WITHOUT_SLOW in request.config.getoption("markexpr"):
        assert before or "torch" not in sys.modules, "this test imports torch: mark it slow"


@pytest.fixture(autouse=True)
def own_settings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests see none of the user's settings; tests of real weights share the user's cache."""
    shares_cache = request.node.get_closest_marker("weights") is not None
    for name in list(os.environ):
        if name.endswith("MODEL_PATH") or (name.startswith(SETTINGS) and not shares_cache):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def keep_nothing() -> Iterator[None]:
    """No server of a test keeps anything, unless the test is of what is kept (fixture `keeping`)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUINTET_KEEP", "0")
        yield


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """What visitors make is kept, in this folder."""
    from models.store import opening

    monkeypatch.setenv("QUINTET_KEEP", "1")
    monkeypatch.setenv("QUINTET_DATA", str(tmp_path / "data"))
    opening._open.cache_clear()
    yield tmp_path / "data"
    opening._open.cache_clear()


@pytest.fixture(scope="session")
def jfk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording in which "ask not what your country can do for you" is said."""
    recorded = SHARED / "audio/jfk.flac"
    if recorded.is_file():
        return recorded
    if not shutil.which("espeak-ng"):
        pytest.skip("needs a recording, or espeak-ng to make one")
    spoken = tmp_path_factory.mktemp("audio") / "jfk.wav"
    text = (
        "And so, my fellow Americans, ask not what your country can do for you, "
        "ask what you can do for your country."
    )
    subprocess.run(["espeak-ng", "-s", "140", "-w", spoken, text], check=True)
    return spoken


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Every family's own checkpoint is a tiny file of its format, read by a fake engine."""
    import streamlit as st

    from models import loader
    from pages.shared import jobs, loading, session
    from tests.fakes.engines import FakeEngine, FakeSpeechEngine, Stage, use_engines
    from tests.fakes.tiny_checkpoints import QWEN_VL, write_ctranslate2, write_folder, write_gguf

    own = Stage()
    monkeypatch.setattr(FakeEngine, "stage", own)
    monkeypatch.setattr(FakeSpeechEngine, "stage", own)
    use_engines(monkeypatch, gguf="FakeEngine", ctranslate2="FakeSpeechEngine", qwen_vl="FakeVisionEngine")
    monkeypatch.setenv("QUINTET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("QUINTET_MODEL_DIRS", str(tmp_path))
    for name in ("HF_HOME", "MODELSCOPE_CACHE"):  # what is on this machine is not what a page says
        monkeypatch.setenv(name, str(tmp_path / "hubs"))
    monkeypatch.setenv("LLAMA2_MODEL_PATH", str(write_gguf(tmp_path / "chat.gguf")))
    monkeypatch.setenv("GEMMA_MODEL_PATH", str(write_gguf(tmp_path / "base.gguf", "gemma3", template=None)))
    monkeypatch.setenv("QWEN_VL_MODEL_PATH", str(write_folder(tmp_path / "vision", QWEN_VL)))
    monkeypatch.setenv("WHISPER_MODEL_PATH", str(write_ctranslate2(tmp_path / "whisper")))
    monkeypatch.setattr(loading, "REFRESH", 0.01)
    monkeypatch.setattr(jobs, "INTERVAL", 0.01)
    sessions = session.Sessions(lambda name: False, 0.0)
    monkeypatch.setattr(session, "sessions", lambda: sessions)
    loader.shared.cache_clear()
    st.cache_resource.clear()
    yield own
    sessions.sweep(math.inf)
    loader.shared.cache_clear()
    st.cache_resource.clear()


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Quintet keeps what it makes, for all tests of one run."""
    folder = tmp_path_factory.getbasetemp() / "quintet"
    monkeypatch.setenv("QUINTET_CACHE", str(folder))
    return folder


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What every download button that was drawn would give, by file name."""
    import streamlit as st

    given: dict[str, Any] = {}
    draw = st.download_button

    def record(label: str, data: Any, file_name: str, *arguments: Any, **named: Any) -> bool:
        given[file_name] = data() if callable(data) else data
        return draw(label, data, file_name, *arguments, **named)

    monkeypatch.setattr(st, "download_button", record)
    return given


@pytest.fixture
def glm(stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The ChatGLM page with a model that calls what it is told to."""
    from tests.fakes.tiny_checkpoints import write_gguf

    monkeypatch.setenv("CHATGLM_MODEL_PATH", str(write_gguf(tmp_path / "glm.gguf")))
    return stage


@pytest.fixture
def starter(stage: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The Qwen-VL page with the checkpoint of its own, read by a fake engine."""
    monkeypatch.delenv("QWEN_VL_MODEL_PATH")
    return stage


@pytest.fixture
def workspaces(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Those of the Whisper page that the visitors of a test got, in order."""
    from pages.shared.speech.workspace import Workspace

    made: list[Any] = []
    begin = Workspace.__init__
    monkeypatch.setattr(Workspace, "__init__", lambda self: (begin(self), made.append(self))[0])
    return made
