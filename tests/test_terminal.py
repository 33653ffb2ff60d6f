"""What is typed on the command line: the dialogue on a real terminal, and pictures by their address."""

import os
import subprocess
import sys

import pytest

from models import __main__ as command_line
from models.errors import BadInput
from tests.fakes.paths import ROOT
from tests.fakes.pictures import DOT

pty = pytest.importorskip("pty")  # Windows has none

PROGRAM = "from models.__main__ import _typed\nfor line in _typed(): print(repr(line), flush=True)"


def read_until(terminal: int, end: bytes) -> bytes:
    """What the terminal shows, up to `end`."""
    shown = b""
    while not shown.endswith(end):
        shown += os.read(terminal, 1)
    return shown


def test_lines_that_are_pasted_are_one_question() -> None:
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=end,
        stdout=end,
        stderr=end,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(end)
    try:
        read_until(terminal, b"> ")
        os.write(terminal, "\x1b[200~one\n  二\x1b[201~\r".encode())
        assert "'one\\n  二'" in read_until(terminal, b"> ").decode()
        os.write(terminal, b"three\r")
        assert b"'three'" in read_until(terminal, b"> ")
        os.write(terminal, b"\x04")
        assert process.wait(60) == 0
    finally:
        process.kill()
        os.close(terminal)


def test_a_picture_may_be_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="not on the public internet"):
        command_line._read("http://127.0.0.1/a.png")
    asked: list[str] = []
    monkeypatch.setattr(command_line, "fetch", lambda address: asked.append(address) or DOT)
    assert command_line._read("HTTPS://example.com/a.png") == DOT and asked == ["HTTPS://example.com/a.png"]
    with pytest.raises(BadInput, match="cannot be read"):
        command_line._read("example.com/a.png")
