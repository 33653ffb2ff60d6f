"""Fixtures for all tests."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

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
    "OPENAI_API_KEY",
    "QUINTET_TOOLS",
    "QUINTET_CODE_INTERPRETER",
)


@pytest.fixture(autouse=True)
def own_settings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests see none of the user's settings; tests of real weights share the user's cache."""
    shares_cache = request.node.get_closest_marker("weights") is not None
    for name in list(os.environ):
        if name.endswith("MODEL_PATH") or (name.startswith(SETTINGS) and not shares_cache):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def jfk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording in which "ask not what your country can do for you" is said."""
    recorded = Path(__file__).parents[2] / "shared/audio/jfk.flac"
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
