"""The command line: `python -m models list | plan | get | chat | transcribe | serve`.

The answer goes to standard output, everything else to standard error. The exit code is 0 only when
it worked, 2 for wrong arguments, 130 after Ctrl-C, 1 otherwise.
"""

import argparse
import io
import locale
import os
import sys
import threading
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import models
from models import ChatEngine, ChatOptions, Delta, Done, ModelError, Progress, SpeechEngine, SpeechOptions
from models.pictures.addresses import fetch
from models.pictures.drawn import remark_on
from models.schema import Text
from models.sound.tracks import tracks
from models.speech.abilities import check
from models.transcripts.documents import DOCUMENTS, write_document
from models.transcripts.files import Targets, recordings_in
from models.transcripts.formats import FORMATS, write

DEVICE = Text("auto, cpu, mps, cuda:0, …", "auto、cpu、mps、cuda:0 等")
PRECISION = Text("auto, fp32, bf16, fp16, int8, int4", "auto、fp32、bf16、fp16、int8、int4")
INTERRUPTED = 130  # as shells say it
CONTEXT = Text("tokens one conversation may hold", "一次对话可容纳的 token 数")


def _chinese() -> bool:
    # The variables first: a language may be asked for whose locale is not installed.
    named = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), None)
    return (named or locale.getlocale()[0] or "").lower().startswith(("zh", "chinese"))


def say(text: Text) -> str:
    """The text in the language of the terminal."""
    return text.zh if _chinese() else text.en


def note(text: str, end: str = "\n") -> None:
    print(text, file=sys.stderr, end=end, flush=True)


def version() -> str:
    """As pyproject.toml states it, which lies beside this package: nothing has to be installed for it."""
    stated = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    return str(stated["project"]["version"])


def main(arguments: list[str] | None = None) -> int:
    for stream in (sys.stdin, sys.stdout, sys.stderr):  # a terminal that cannot show a character gets a "?"
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    given = _parser().parse_args(arguments)
    try:
        command: Callable[[argparse.Namespace], None] = given.command
        command(given)
        sys.stdout.flush()
    except ModelError as error:
        note(say(Text(error.en, error.zh)))
        return 1
    except BrokenPipeError:  # whoever read the answer has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


# --- arguments ---------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models", description="Quintet")
    parser.add_argument(
        "--version", action="version", version=f"Quintet {version()}", help=say(Text("the version", "版本"))
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], None], text: Text) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=say(text), description=say(text))
        sub.set_defaults(command=command)
        if name not in ("list", "serve"):
            sub.add_argument(
                "name",
                help=say(
                    Text("catalog name, hub id, path or /v1 address", "模型名称、仓库名、路径或 /v1 地址")
                ),
            )
        return sub

    add("list", list_, Text("checkpoints known by name", "列出已知的模型"))
    for sub in (
        add("plan", plan, Text("the memory that loading would take", "估算加载所需内存")),
        chat_parser := add("chat", chat, Text("talk to a model", "与模型对话")),
        speech_parser := add("transcribe", transcribe, Text("a recording to text", "将录音转为文字")),
    ):
        sub.add_argument("--device", default="auto", help=say(DEVICE))
        sub.add_argument("--precision", default="auto", help=say(PRECISION))
        sub.add_argument("--context", type=int, help=say(CONTEXT))
    add("get", get, Text("fetch a checkpoint", "下载模型"))
    serve_parser = add("serve", serve, Text("models for programs, over HTTP", "通过 HTTP 为程序提供模型"))
    serve_parser.add_argument(
        "--host", default="127.0.0.1", help=say(Text("address to listen on", "监听地址"))
    )
    serve_parser.add_argument(
        "--port", type=int, default=8000, help=say(Text("port to listen on", "监听端口"))
    )
    chat_parser.add_argument(
        "--prompt",
        help=say(
            Text("one question; without it, a dialogue on the terminal", "单个问题；省略则进入终端对话")
        ),
    )
    chat_parser.add_argument("--system", help=say(Text("system prompt", "系统提示词")))
    chat_parser.add_argument(
        "--image",
        action="append",
        metavar="FILE",
        default=[],
        help=say(Text("a picture, or its address, for the first question", "随第一个问题发送的图片或其网址")),
    )
    _add_options(chat_parser, fields(ChatOptions))
    speech_parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help=say(Text("audio or video file, or a folder of them", "音频或视频文件，或其所在文件夹")),
    )
    speech_parser.add_argument(
        "--output",
        metavar="FILE",
        help=say(
            Text(
                "write there instead of to the terminal; for several recordings, a folder",
                "写入该文件而非终端；多个录音时为文件夹",
            )
        ),
    )
    speech_parser.add_argument(
        "--format",
        choices=(*FORMATS, *DOCUMENTS),
        help=say(Text("default: as --output ends, or txt", "默认：按 --output 的扩展名，否则为 txt")),
    )
    speech_parser.add_argument(
        "--times",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=say(Text("of md and docx: each line begins with its time", "用于 md 与 docx：每行标注时间")),
    )
    _add_options(speech_parser, fields(SpeechOptions))
    return parser


def _add_options(parser: argparse.ArgumentParser, specs: Iterable[Field[Any]]) -> None:
    """One flag per option, made from the option's own range and help."""
    for spec in specs:
        flag = "--" + spec.name.replace("_", "-")
        help = say(spec.metadata["help"]).replace("%", "%%")
        if isinstance(spec.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=help)
        elif isinstance(spec.default, tuple):
            parser.add_argument(flag, action="append", metavar="TEXT", help=help)
        else:
            kind = int if isinstance(spec.metadata["step"], int) else float if spec.metadata["step"] else str
            parser.add_argument(flag, type=kind, metavar=spec.name.upper(), help=help)


def _given(arguments: argparse.Namespace, specs: Iterable[Field[Any]]) -> dict[str, Any]:
    """What was typed, over the checkpoint's own defaults; known, and checked, before anything is loaded."""
    typed = {spec.name: getattr(arguments, spec.name) for spec in specs}
    lists = {name: tuple(value) if isinstance(value, list) else value for name, value in typed.items()}
    own = models.catalog.find(arguments.name).options  # a Whisper's, perhaps, where a chat is asked for
    defaults = {name: value for name, value in own.items() if name in typed}
    return {**defaults, **{name: value for name, value in lists.items() if value is not None}}


# --- commands ----------------------------------------------------------------------------------


def list_(_: argparse.Namespace) -> None:
    for checkpoint in models.catalog.CHECKPOINTS.values():
        marks = [*(["starter"] if checkpoint.starter else []), *(["gated"] if checkpoint.gated else [])]
        size = models.gigabytes(checkpoint.bytes)
        print(f"{checkpoint.name:30} {size:>9}  {checkpoint.licence:28} {' '.join(marks)}".rstrip())


def plan(arguments: argparse.Namespace) -> None:
    made = models.plan(arguments.name, arguments.device, arguments.precision, arguments.context)
    rows = {
        "weights": made.weights,
        "KV cache": made.kv_cache,
        "overhead": made.overhead,
        "total": made.total,
    }
    if models.catalog.format_of(
        made.checkpoint
    ).known:  # else the reason says that its files are to be fetched first
        for name, size in rows.items():
            print(f"{name:10} {models.gigabytes(size):>9}")
    print(f"{'free':10} {models.gigabytes(made.free):>9}")
    print(say(made.reason))
    if not made.fits:
        raise models.placement.refuse(made)


def get(arguments: argparse.Namespace) -> None:
    with _cancelling() as cancel, _progress() as progress:
        path = models.shared().fetch(arguments.name, progress, cancel)
    print(path)


def serve(arguments: argparse.Namespace) -> None:
    from models.api.serving import serve

    note(f"http://{arguments.host}:{arguments.port}/v1")
    serve(arguments.host, arguments.port)


def chat(arguments: argparse.Namespace) -> None:
    options = ChatOptions(**_given(arguments, fields(ChatOptions)))
    files = [_read(place) for place in arguments.image]
    pictures = [{"type": "image", "image": file} for file in files]
    with _using(arguments) as engine:
        for place, file in zip(arguments.image, files, strict=True):
            if remark := remark_on(file, engine.checkpoint):
                note(f"{place}: {say(remark)}")
        if not isinstance(engine, ChatEngine):
            raise models.BadInput(
                f"{arguments.name} does not chat: use transcribe, or another checkpoint.",
                f"{arguments.name} 不能对话：请使用 transcribe，或换一个模型。",
            )
        messages: list[dict[str, Any]] = (
            [{"role": "system", "content": arguments.system}] if arguments.system else []
        )
        for prompt in _typed() if arguments.prompt is None else [arguments.prompt]:
            if engine.has_chat_template:
                parts = [*pictures, {"type": "text", "text": prompt}]
                messages.append({"role": "user", "content": parts if pictures else prompt})
                pictures = []
                messages.append({"role": "assistant", "content": _answer(engine, messages, options)})
            else:
                _answer(engine, prompt, options)


def _read(place: str) -> bytes:
    """The file of a picture, which is at a path or an address."""
    if place.lower().startswith(("http://", "https://")):
        return fetch(place)
    try:
        return Path(place).read_bytes()
    except OSError as error:
        raise models.BadInput(
            f"{place} cannot be read ({error.strerror}): name a picture file.",
            f"无法读取 {place}（{error.strerror}）：请指定一个图片文件。",
        ) from error


def _answer(engine: ChatEngine, messages: Any, options: ChatOptions) -> str:
    parts = []
    with _cancelling() as cancel:
        for event in engine.stream(messages, options, cancel):
            if isinstance(event, Delta):
                parts.append(event.text)
                print(event.text, end="", flush=True)
            elif isinstance(event, Done):
                print(flush=True)
                used = event.usage
                note(
                    f"[{used.completion_tokens} tokens, {used.tokens_per_second:.1f} tokens/s, "
                    f"first after {used.seconds_to_first_token:.2f} s]"
                )
    return "".join(parts)


def _typed() -> Iterator[str]:
    """Lines from the terminal, or all of a pipe as one prompt."""
    if not sys.stdin.isatty():
        # Windows PowerShell begins a pipe with a byte order mark.
        if text := sys.stdin.read().removeprefix("\ufeff").strip():
            yield text
        return
    with suppress(ImportError):  # Windows does without, its terminals edit lines themselves
        import readline

        readline.parse_and_bind("set enable-bracketed-paste on")  # lines that are pasted are one question
    while True:
        try:
            if not sys.stdout.isatty():  # else it has to be readline that draws it
                note("> ", end="")
            if line := input("> " if sys.stdout.isatty() else "").strip():
                yield line
        except EOFError:
            return


def transcribe(arguments: argparse.Namespace) -> None:
    options = SpeechOptions(**_given(arguments, fields(SpeechOptions)))
    check(models.catalog.find(arguments.name), options)
    recordings = recordings_in(arguments.files)
    targets = Targets(recordings, arguments.output, arguments.format)
    failed = 0
    with _using(arguments) as engine:
        if not isinstance(engine, SpeechEngine):
            raise models.BadInput(
                f"{arguments.name} does not transcribe: choose a Whisper checkpoint.",
                f"{arguments.name} 不能转写语音：请选择 Whisper 模型。",
            )
        for text in engine.notes(options):
            note(say(text))
        for recording in recordings:
            try:
                _transcribe(engine, recording, options, targets, arguments.times)
            except models.BadInput as error:
                if len(recordings) == 1:
                    raise
                note(f"{recording}: {say(Text(error.en, error.zh))}")
                failed += 1
    if failed:
        raise models.BadInput(
            f"{failed} of {len(recordings)} recordings could not be transcribed: see above.",
            f"{len(recordings)} 个录音中有 {failed} 个无法转写：见上文。",
        )


def _transcribe(
    engine: SpeechEngine, recording: Path, options: SpeechOptions, targets: Targets, times: bool
) -> None:
    _list_tracks(recording, options)
    with targets.opened(recording) as file:
        with _cancelling() as cancel, _progress() as progress:
            result = engine.transcribe(recording, options, cancel, progress)
            segments = list(result)
        if targets.format in DOCUMENTS:
            content = write_document(segments, targets.format, recording.name, times)
        else:
            content = write(segments, targets.format, result.language).encode()
        if file is sys.stdout.buffer and sys.stdout.isatty():
            print(content.decode(), end="")  # in what the terminal understands
        else:
            file.write(content)


def _list_tracks(recording: Path, options: SpeechOptions) -> None:
    """Say which sound tracks there are, if somebody could want another one."""
    with suppress(ModelError):  # said when it is transcribed
        found = tracks(recording)
        if len(found) > 1 and options.track is None:
            names = "\n  ".join(map(str, found))
            note(
                say(
                    Text(
                        f"{recording.name} has several sound tracks; --track N chooses one:\n  {names}",
                        f"{recording.name} 有多条音轨，可用 --track N 选择：\n  {names}",
                    )
                )
            )


@contextmanager
def _using(arguments: argparse.Namespace) -> Iterator[models.Engine]:
    """The engine that was asked for; Ctrl-C also ends its load."""
    with ExitStack() as lease:
        with _cancelling() as cancel, _progress() as progress:
            engine = lease.enter_context(
                models.using(
                    arguments.name, arguments.device, arguments.precision, arguments.context, progress, cancel
                )
            )
        yield engine


@contextmanager
def _cancelling() -> Iterator[threading.Event]:
    """An event that is set when the block is left early, so that Ctrl-C reaches the engine."""
    cancel = threading.Event()
    try:
        yield cancel
    except BaseException:
        cancel.set()
        raise


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A line on standard error that is drawn over itself; nothing where that is not a terminal."""
    shown = sys.stderr.isatty()

    def draw(progress: Progress) -> None:
        if shown:
            share = f" {progress.done / progress.total:4.0%}" if progress.total else ""
            left = f", {progress.left:.0f} s" if progress.left is not None else ""
            note(f"\r\033[K{progress.stage}{share} {progress.detail}{left}", end="")

    try:
        yield draw
    finally:
        if shown:
            note("\r\033[K", end="")


if __name__ == "__main__":
    code = main()
    if code == INTERRUPTED:
        # Threads may still be inside a library that does not survive the orderly end of Python.
        os._exit(code)
    sys.exit(code)
