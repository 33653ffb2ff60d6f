"""The command line in this process: its streams, its flags, its figures, and what it passes on."""

import io
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import models
from models import __main__ as command_line
from models.__main__ import INTERRUPTED, main
from models.errors import BadInput, Cancelled
from models.schema import (
    ChatOptions,
    Checkpoint,
    Delta,
    Done,
    Progress,
    Segment,
    SpeechOptions,
    Text,
    Usage,
)
from tests.fakes.engines import Stage
from tests.fakes.sounds import sine, write_sound


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show_on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What goes to standard error, which is a terminal now."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


# --- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, 0, ""),
        (BadInput("Not so.", "不行。"), 1, "Not so.\n"),
        (KeyboardInterrupt(), INTERRUPTED, ""),
    ],
)
def test_how_it_ends(
    error: Any, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: Any) -> None:
        if error:
            raise error

    monkeypatch.setattr(command_line, "list_", work)
    assert main(["list"]) == code == (0 if error is None else 130 if said == "" else 1)
    assert tuple(capsys.readouterr()) == ("", said)


@pytest.mark.parametrize(
    ("variables", "chinese"),
    [
        ({"LC_ALL": "zh_CN.UTF-8"}, True),
        ({"LC_ALL": "ZH_cn"}, True),
        ({"LC_ALL": "en_GB", "LANG": "zh_CN"}, False),
        ({"LC_MESSAGES": "zh_CN", "LANG": "en_GB"}, True),
        ({"LANG": "zh_TW"}, True),
        ({"LANG": "de_DE"}, False),
        ({}, True),  # what the system says
    ],
)
def test_whose_language_it_speaks(variables: Any, chinese: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.setenv(name, variables.get(name, ""))
    monkeypatch.setattr(command_line.locale, "getlocale", lambda: ("Chinese (Simplified)_China", "936"))
    assert command_line.say(Text("yes", "是")) == ("是" if chinese else "yes")


# --- flags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ([], {}),
        (["--temperature", "0", "--seed", "0"], {"temperature": 0.0, "seed": 0}),
        (["--top-p", "0.5", "--top-k", "3"], {"top_p": 0.5, "top_k": 3}),
        (["--stop", "a", "--stop", "b"], {"stop": ("a", "b")}),
    ],
)
def test_what_was_typed_goes_over_the_checkpoints_own(
    typed: list[str], given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"temperature": 0.9, "repetition_penalty": 1.3, "beam_size": 2}  # the last is no chat's
    row = Checkpoint("row", "llama2", "chat", "gguf", options=own)
    monkeypatch.setattr(models.catalog, "find", lambda name: row)
    arguments = command_line._parser().parse_args(["chat", "row", *typed])
    expected = {"temperature": 0.9, "repetition_penalty": 1.3, **given}
    assert command_line._given(arguments, fields(ChatOptions)) == expected


def test_every_flag_has_its_type_and_no_default_of_its_own() -> None:
    for command, kind in (("chat", ChatOptions), ("transcribe", SpeechOptions)):
        files = ["a.wav"] if command == "transcribe" else []
        parsed = vars(command_line._parser().parse_args([command, "row", *files]))
        assert {spec.name: parsed[spec.name] for spec in fields(kind)} == {
            spec.name: None for spec in fields(kind)
        }
        assert (parsed["device"], parsed["precision"], parsed["context"]) == ("auto", "auto", None)
    for flag, value in (("--context", "1.5"), ("--top-k", "x"), ("--seed", "0.5")):
        with pytest.raises(SystemExit) as caught:
            command_line._parser().parse_args(["chat", "row", flag, value])
        assert caught.value.code == 2


# --- commands --------------------------------------------------------------------------------------


def test_a_list_has_sizes_licences_and_marks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        Checkpoint("a", "llama2", "chat", "gguf", bytes=3 * 1024**3, licence="MIT", starter=True, gated=True),
        Checkpoint("b", "llama2", "chat", "gguf", bytes=1024**2, licence="Apache 2.0"),
    ]
    monkeypatch.setattr(models.catalog, "CHECKPOINTS", {row.name: row for row in rows})
    assert main(["list"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["a", "3.0", "GB", "MIT", "starter", "gated"]
    assert second.split() == ["b", "1", "MB", "Apache", "2.0"] and second == second.rstrip()
    assert first.index("MIT") == second.index("Apache")


def test_a_plan_has_all_its_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []
    made = SimpleNamespace(
        checkpoint=Checkpoint("row", "llama2", "chat", "gguf"), weights=1 << 20, kv_cache=2 << 20, overhead=3 << 20, total=6 << 20, free=9 << 20,
        reason=Text("It fits.", "可以。"), fits=True,
    )  # fmt: skip
    monkeypatch.setattr(models, "plan", lambda *given: asked.append(given) or made)
    assert main(["plan", "row", "--device", "cpu", "--precision", "int8", "--context", "512"]) == 0
    lines = [line.rsplit(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["weights", "1", "MB"], ["KV cache", "2", "MB"], ["overhead", "3", "MB"], ["total", "6", "MB"],
        ["free", "9", "MB"], ["It", "fits."],
    ]  # fmt: skip
    assert asked == [("row", "cpu", "int8", 512)]


def test_a_plan_of_what_is_not_here_guesses_no_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "somebody/something", "--device", "cpu"]) == 0
    free, reason = capsys.readouterr().out.splitlines()
    assert free.startswith("free ") and "known once" in reason


def test_get_prints_the_path_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(name: str, progress: Any, cancel: Any) -> Path:
        progress(Progress("download", 1, 2))
        return Path("/there") / name

    monkeypatch.setattr(models, "shared", lambda: SimpleNamespace(fetch=fetch))
    assert main(["get", "row"]) == 0
    assert tuple(capsys.readouterr()) == ("/there/row\n", "")  # no line about progress: it is no terminal


class Answering:
    """An engine that says two words, and how long it took."""

    def stream(self, messages: Any, options: Any, cancel: Any) -> Iterator[Any]:
        self.cancel = cancel
        yield Delta("one ")
        yield Delta("two")
        yield Done("stop", Usage(5, 0, 12, 0.256, 34.56))


def test_an_answer_goes_out_as_it_comes_and_figures_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    engine: Any = Answering()
    assert command_line._answer(engine, [], ChatOptions()) == "one two"
    assert tuple(capsys.readouterr()) == ("one two\n", "[12 tokens, 34.6 tokens/s, first after 0.26 s]\n")
    assert not engine.cancel.is_set()


def test_whoever_leaves_an_answer_cancels_it(monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = Answering()

    def leave(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", leave)
    with pytest.raises(KeyboardInterrupt):
        command_line._answer(engine, [], ChatOptions())
    assert engine.cancel.is_set()


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress("find"), "find "),
        (Progress("download", 1, 4), "download  25% "),
        (Progress("download", 4, 4, left=12.4, detail="a.bin"), "download 100% a.bin, 12 s"),
        (Progress("load", left=0.0), "load , 0 s"),
    ],
)
def test_one_line_of_progress_on_a_terminal(
    progress: Progress, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = show_on_terminal(monkeypatch)
    with command_line._progress() as draw:
        draw(progress)
        assert terminal.getvalue() == f"\r\033[K{line}"
    assert terminal.getvalue() == f"\r\033[K{line}\r\033[K"  # and nothing of it stays


def test_the_line_goes_also_when_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = show_on_terminal(monkeypatch)
    with pytest.raises(Cancelled), command_line._progress():
        raise Cancelled
    assert terminal.getvalue() == "\r\033[K"


@pytest.mark.parametrize(
    ("pipe", "questions"),
    [("one\ntwo\n", ["one\ntwo"]), ("\ufeffone", ["one"]), ("", []), (" \n", []), (" one ", ["one"])],
)
def test_a_pipe_is_one_question_or_none(
    pipe: str, questions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(pipe))
    assert list(command_line._typed()) == questions


@pytest.mark.parametrize("shown", [True, False])
def test_a_dialogue_asks_until_its_end_and_skips_blank_lines(
    shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = iter(["one", "  ", " two "])
    prompts: list[str] = []

    def read(prompt: str) -> str:
        prompts.append(prompt)
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: shown, raising=False)
    assert list(command_line._typed()) == ["one", "two"]
    assert prompts == ["> " if shown else ""] * 4
    assert capsys.readouterr().err == ("" if shown else "> " * 4)


# --- engines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "family", "said"),
    [("chat", "whisper", "does not chat"), ("transcribe", "chat.gguf", "does not transcribe")],
)
def test_an_engine_of_another_kind_is_refused(
    command: str, family: str, said: str, stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wav = str(write_sound(tmp_path / "a.wav", sine(0.1)))
    more = ["--prompt", "hello"] if command == "chat" else [wav]
    assert main([command, str(tmp_path / family), *more]) == 1
    assert said in capsys.readouterr().err


def test_a_base_model_goes_on_with_each_text_alone(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "_typed", lambda: iter(["one", "two"]))
    assert main(["chat", str(tmp_path / "base.gguf"), "--device", "cpu", "--system", "ignored"]) == 0
    (engine,) = models.loaded()
    assert engine.sent == ["one", "two"]  # type: ignore[attr-defined]


def test_notes_come_before_a_transcript_and_a_device_is_passed_on(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.fakes.engines import FakeSpeechEngine

    stage.heard = [Segment(0.0, 1.0, " Hi.")]
    asked: list[Any] = []
    using = models.using
    monkeypatch.setattr(FakeSpeechEngine, "notes", lambda *_: (Text("Too long.", "太长。"),))
    monkeypatch.setattr(models, "using", lambda *given: asked.append(given[:4]) or using(*given))
    wav = str(write_sound(tmp_path / "a.wav", sine(0.1)))
    name = str(tmp_path / "whisper")
    assert main(["transcribe", name, wav, "--device", "cpu", "--precision", "int8"]) == 0
    assert tuple(capsys.readouterr()) == ("Hi.\n", "Too long.\n")
    assert asked == [(name, "cpu", "int8", None)]
