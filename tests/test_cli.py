"""The command line: what goes to standard output, what to standard error, and the exit code."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models import __main__ as command_line
from models import loaded, unload
from models.catalog import CHECKPOINTS
from models.schema import Device, GiB, Segment
from tests.fakes.paths import ROOT
from tests.fakes.sounds import sine, write_sound


def models(*arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **how.pop("environment", {})}
    return subprocess.run(
        [sys.executable, "-m", "models", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=ROOT,
        env=environment,
        timeout=600,
        **how,
    )


def test_the_version_is_the_newest_in_the_changelog() -> None:
    newest = re.search(
        r"(?m)^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text("utf-8")
    )
    assert newest and models("--version").stdout == f"Quintet {newest[1]}\n"


def test_list_names_every_checkpoint() -> None:
    run = models("list")
    assert run.returncode == 0 and run.stderr == ""
    assert [line.split()[0] for line in run.stdout.splitlines()] == list(CHECKPOINTS)
    starters = [line.split()[0] for line in run.stdout.splitlines() if "starter" in line]
    assert starters == [row.name for row in CHECKPOINTS.values() if row.starter]


def test_plan_says_what_a_load_takes() -> None:
    run = models("plan", "smollm2-135m-instruct", "--device", "cpu", "--context", "512")
    assert run.returncode == 0 and run.stderr == ""
    assert "weights" in run.stdout and "94 MB" in run.stdout and "512 tokens" in run.stdout


def test_a_plan_that_does_not_fit_is_shown_and_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from models.__main__ import main

    small = Device("cpu", "CPU", 2 * GiB, GiB, ("fp32", "int8"))
    monkeypatch.setattr("models.placement.devices", lambda: [small])
    code = main(["plan", "llama-2-13b-chat", "--precision", "fp32", "--device", "cpu", "--context", "4096"])
    shown = capsys.readouterr()
    assert code == 1 and "total" in shown.out
    assert shown.err.count("\n") == 1 and "choose" in shown.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "no-such-name"),
        ("get", "no-such-name"),
        ("chat", "no-such-name", "--prompt", "hello"),
        ("transcribe", "no-such-name", "audio.wav"),
        ("plan", "smollm2-135m-instruct", "--device", "tpu"),
        ("chat", "smollm2-135m-instruct", "--prompt", "hello", "--temperature", "9"),
        ("chat", "./nothing.gguf", "--prompt", "hello"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_on_standard_error(arguments: tuple[str, ...]) -> None:
    run = models(*arguments)
    assert run.returncode == 1 and run.stdout == ""
    assert run.stderr.endswith(".\n") and run.stderr.count("\n") == 1


def test_a_wrong_option_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run = models(
        "chat",
        "smollm2-135m-instruct",
        "--prompt=hello",
        "--top-p=2",
        environment={"QUINTET_CACHE": str(cache)},
    )
    assert run.returncode == 1 and "top_p is 2.0" in run.stderr and not cache.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("dance",),
        ("plan",),
        ("chat", "smollm2-135m-instruct", "--temperature", "hot"),
        ("chat", "smollm2-135m-instruct", "--no-such-option"),
        ("transcribe", "whisper-base"),
        ("transcribe", "whisper-base", "a.wav", "--format", "doc"),
    ],
)
def test_wrong_arguments_exit_with_2(arguments: tuple[str, ...]) -> None:
    run = models(*arguments)
    assert run.returncode == 2 and run.stdout == "" and "usage:" in run.stderr


@pytest.mark.parametrize("command", ["list", "plan", "get", "chat", "transcribe"])
@pytest.mark.parametrize("language", ["C.UTF-8", "zh_CN.UTF-8"])
def test_every_command_explains_itself(command: str, language: str) -> None:
    run = models(command, "--help", environment={"LC_ALL": language})
    assert run.returncode == 0 and run.stderr == "" and f"models {command}" in run.stdout


def test_every_option_is_a_flag() -> None:
    from dataclasses import fields

    from models.schema import ChatOptions, SpeechOptions

    for command, kind in (("chat", ChatOptions), ("transcribe", SpeechOptions)):
        help = models(command, "--help").stdout
        assert all("--" + spec.name.replace("_", "-") in help for spec in fields(kind))


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "zh_CN.UTF-8"},  # whether or not that locale is installed
        {"LC_ALL": "", "LC_MESSAGES": "", "LANG": "zh_TW.UTF-8"},
        {"LC_ALL": "", "LC_MESSAGES": "zh_CN.UTF-8", "LANG": "en_GB.UTF-8"},
    ],
)
def test_it_speaks_the_language_of_the_terminal(environment: dict[str, str]) -> None:
    environment["PYTHONUTF8"] = "1"
    assert models("plan", "no-such-name", environment=environment).stderr.startswith("没有名为")
    english = {**environment, "LC_ALL": "en_US.UTF-8"}
    assert models("plan", "no-such-name", environment=english).stderr.startswith("No checkpoint")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk"])
def test_a_terminal_that_cannot_show_a_character_shows_the_rest(encoding: str) -> None:
    environment = {"PYTHONIOENCODING": encoding, "LC_ALL": "zh_CN.UTF-8"}
    run = models("plan", "smollm2-135m-instruct", "--device=cpu", environment=environment)
    assert run.returncode == 0 and "smollm2-135m-instruct" in run.stdout and run.stderr == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_no_disaster(unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        run = subprocess.run(
            [sys.executable, "-m", "models", "list"],
            stdout=closed,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            timeout=600,
        )
    assert run.returncode == 1 and run.stderr == b""


def test_a_dialogue_holds_its_engine_between_two_questions(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed() -> Iterator[str]:
        yield "one"
        assert not unload() and len(loaded()) == 1
        yield "two"

    monkeypatch.setattr(command_line, "_typed", typed)
    assert command_line.main(["chat", str(tmp_path / "chat.gguf"), "--device", "cpu"]) == 0
    assert capsys.readouterr().out == "one \ntwo \n"
    assert stage.diary == ["load chat.gguf"] and unload() and loaded() == []


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(command_line, "_typed", lambda: iter(lines))


def test_pictures_go_with_the_first_question_alone(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, size in (("a.png", (8, 6)), ("b.png", (4, 2))):
        Image.new("RGB", size).save(tmp_path / name)
    typed(monkeypatch, "one", "two")
    pictures = [part for name in ("a.png", "b.png") for part in ("--image", str(tmp_path / name))]
    assert command_line.main(["chat", str(tmp_path / "vision"), "--device", "cpu", *pictures]) == 0
    assert capsys.readouterr().out == "one 8x6 4x2 \ntwo \n"
    assert command_line.main(["chat", str(tmp_path / "vision"), "--image", str(tmp_path / "no.png")]) == 1
    assert "no.png cannot be read" in capsys.readouterr().err


def test_a_dialogue_is_told_what_was_said_before(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "one", "two")
    assert (
        command_line.main(["chat", str(tmp_path / "chat.gguf"), "--device", "cpu", "--system", "short"]) == 0
    )
    (engine,) = loaded()
    first = [{"role": "system", "content": "short"}, {"role": "user", "content": "one"}]
    answered = {"role": "assistant", "content": "one "}
    assert engine.sent == [first, [*first, answered, {"role": "user", "content": "two"}]]  # type: ignore[attr-defined]


def test_what_is_nothing_or_off_counts_as_asked_for(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "--prompt",
        "a",
        "--temperature",
        "0",
        "--top-k",
        "0",
        "--seed",
        "0",
        "--stop",
        "x",
        "--stop",
        "y",
    ]
    assert command_line.main(["chat", str(tmp_path / "chat.gguf"), "--device", "cpu", *words]) == 0
    (asked,) = stage.options
    assert (asked.temperature, asked.top_k, asked.seed, asked.stop) == (0.0, 0, 0, ("x", "y"))
    stage.heard = [Segment(0.0, 1.0, " a")]
    recording = str(write_sound(tmp_path / "a.wav", sine(0.1)))
    given = [recording, "--no-vad", "--word-timestamps", "--no-fallback", "--no-speech-threshold", "0"]
    assert command_line.main(["transcribe", os.environ["WHISPER_MODEL_PATH"], *given]) == 0
    asked = stage.options[-1]
    assert (asked.vad, asked.word_timestamps, asked.fallback, asked.no_speech_threshold) == (
        False,
        True,
        False,
        0,
    )


# --- with weights --------------------------------------------------------------------------------

CHAT = ("chat", "smollm2-135m-instruct", "--context=1024", "--temperature=0", "--max-new-tokens=24")
JAPAN = "What is the capital of Japan?"


@pytest.mark.weights
def test_chat_prints_the_answer_and_nothing_else() -> None:
    run = models(*CHAT, "--prompt", JAPAN)
    assert run.returncode == 0
    assert run.stdout == "The capital of Japan is Tokyo.\n"
    assert "tokens/s" in run.stderr and "Tokyo" not in run.stderr


@pytest.mark.weights
def test_ctrl_c_ends_an_answer_and_the_program() -> None:
    arguments = (
        "chat",
        "smollm2-135m-instruct",
        "--context=512",
        "--max-new-tokens=400",
        "--prompt",
        "Count to 500.",
    )
    command = [sys.executable, "-m", "models", *arguments]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # tests in the background may ignore it
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, preexec_fn=heard
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.read(5)  # it is answering
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"" and process.wait(60) == 130


@pytest.mark.weights
def test_a_pipe_is_one_question() -> None:
    asked = models(*CHAT, "--prompt", JAPAN).stdout
    for before in ("", "\ufeff"):  # as Windows PowerShell begins a pipe
        assert models(*CHAT, input=f"{before}{JAPAN}\n").stdout == asked


@pytest.mark.weights
def test_chat_with_a_base_model_continues_the_text() -> None:
    run = models(
        "chat", "gemma-3-270m", "--context=512", "--prompt=1, 2, 3, 4,", *CHAT[3:4], "--max-new-tokens=9"
    )
    assert run.returncode == 0 and run.stdout.startswith(" 5, 6, 7")


@pytest.mark.weights
def test_get_prints_where_the_files_are() -> None:
    run = models("get", "smollm2-135m-instruct")
    assert run.returncode == 0 and Path(run.stdout.rstrip("\n")).is_file()


@pytest.mark.weights
def test_engines_are_not_mixed_up(jfk: Path) -> None:
    run = models("transcribe", "smollm2-135m-instruct", str(jfk), "--context=512")
    assert run.returncode == 1 and run.stdout == "" and "does not transcribe" in run.stderr
    run = models("chat", "whisper-tiny.en", "--prompt", "hello")
    assert run.returncode == 1 and run.stdout == "" and "does not chat" in run.stderr


@pytest.mark.weights
def test_a_transcript_knows_its_language(jfk: Path) -> None:
    run = models("transcribe", "whisper-tiny.en", str(jfk), "--format", "json")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert "your country" in found["text"] and found["language"] == "en"
