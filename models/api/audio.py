"""The routes that listen: /v1/audio/transcriptions and /v1/audio/translations."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import JSONResponse, PlainTextResponse, Response

from models.api.choice import Engines
from models.api.forms import NO_EFFECT
from models.api.refusals import Refused, unsupported
from models.api.sending import event, heard, stream
from models.cache.temporary import temporary_folder
from models.engines.base import SpeechEngine
from models.jobs import Stream
from models.schema import Segment, SpeechOptions, Text
from models.speech.abilities import check
from models.transcripts.formats import write

router = APIRouter()

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
_FIELDS = frozenset({
    "file", "model", "language", "prompt", "response_format", "temperature", "stream", "timestamp_granularities[]",
    "timestamp_granularities", "hotwords",
})  # fmt: skip
_BLOCK = 1 << 20  # bytes


class Heard:
    """What has been recognised of a recording."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.language: str | None = None
        self.duration = 0.0

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


@router.post("/v1/audio/transcriptions")
async def create_transcription(request: Request) -> Response:
    """What is said in a recording (multipart: file, model, language, prompt, response_format, temperature, stream,
    timestamp_granularities[])."""
    return await _listen(request, "transcribe")


@router.post("/v1/audio/translations")
async def create_translation(request: Request) -> Response:
    """The same, in English."""
    return await _listen(request, "translate")


async def _listen(request: Request, task: str) -> Response:
    form = await request.form()
    try:
        file, model = form.get("file"), form.get("model")
        if not isinstance(file, UploadFile):
            raise _missing("file")
        if not isinstance(model, str) or not model:
            raise _missing("model")
        options = _options(form, task)
        written = str(form.get("response_format") or "json")
        if written not in FORMATS:
            raise unsupported(
                "response_format", Text(f"one of {', '.join(FORMATS)}", f"可选 {'、'.join(FORMATS)}")
            )
        path = temporary_folder() / f"{uuid4().hex}{Path(file.filename or '').suffix[:8]}"
        try:
            with path.open("wb") as target:
                while block := await file.read(_BLOCK):
                    target.write(block)
            return await _answer(request, model, path, options, written, form)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    finally:
        await form.close()


async def _answer(
    request: Request, model: str, path: Path, options: SpeechOptions, written: str, form: FormData
) -> Response:
    found = Heard()

    def begin() -> Stream[Segment]:
        return _recognise(request.app.state.engines, model, path, options, found)

    if str(form.get("stream") or "").lower() in ("true", "1"):

        def end() -> Iterator[str]:
            yield event({"type": "transcript.text.done", "text": found.text})

        return await stream(
            request, begin, lambda part: [event({"type": "transcript.text.delta", "delta": part.text})], end
        )
    async for _ in heard(request, begin):
        pass
    return _whole(found, written, options)


def _recognise(
    engines: Engines, model: str, path: Path, options: SpeechOptions, found: Heard
) -> Stream[Segment]:
    """The segments as they are recognised. The file is gone when all is done."""

    def work(send: Callable[[Segment], None], cancel: threading.Event) -> None:
        try:
            with engines.using(model, SpeechEngine, cancel) as engine:
                check(engine.checkpoint, options)
                chosen = replace(SpeechOptions(**dict(engine.checkpoint.options)), **_given(options))
                transcript = engine.transcribe(path, chosen, cancel)
                for segment in transcript:
                    found.segments.append(segment)
                    send(segment)
                found.language, found.duration = transcript.language, transcript.duration
        finally:
            path.unlink(missing_ok=True)

    return Stream(work)


def _whole(found: Heard, written: str, options: SpeechOptions) -> Response:
    match written:
        case "json":
            return JSONResponse({"text": found.text})
        case "text":
            return PlainTextResponse(f"{found.text}\n")
        case "verbose_json":
            return JSONResponse(_verbose(found, options))
        case _:
            return PlainTextResponse(write(found.segments, written, found.language))


def _verbose(found: Heard, options: SpeechOptions) -> dict[str, Any]:
    """OpenAI's verbose_json, with the times of words where they were asked for."""
    document: dict[str, Any] = json.loads(write(found.segments, "json", found.language))
    segments = [{key: value for key, value in row.items() if key != "words"} for row in document["segments"]]
    verbose = {
        "task": options.task,
        "language": found.language,
        "duration": found.duration,
        "text": found.text,
        "segments": segments,
    }
    if options.word_timestamps:
        words = [word for segment in found.segments for word in segment.words]
        verbose["words"] = [
            {"word": word.text.strip(), "start": word.start, "end": word.end} for word in words
        ]
    return verbose


def _options(form: FormData, task: str) -> SpeechOptions:
    """What the fields say. Raises Refused for one that nobody knows."""
    for name in form:
        if name not in _FIELDS and name not in NO_EFFECT:
            raise Refused(
                400,
                Text(f"There is no parameter {name}: leave it out.", f"没有参数 {name}：请去掉它。"),
                "unknown_parameter",
                name,
            )
    wanted = {*form.getlist("timestamp_granularities[]"), *form.getlist("timestamp_granularities")}
    try:
        temperature = float(str(form.get("temperature") or 0.0))
    except ValueError as error:
        raise unsupported("temperature", Text("a number from 0 to 1", "应为 0 到 1 的数字")) from error
    return SpeechOptions(
        language=str(form.get("language") or "") or None,
        task=task,
        word_timestamps="word" in wanted,
        temperature=temperature,
        initial_prompt=str(form.get("prompt") or ""),
        hotwords=str(form.get("hotwords") or ""),
    )


def _given(options: SpeechOptions) -> dict[str, Any]:
    """What a request can say, by its names in SpeechOptions; all else is the checkpoint's own."""
    names = ("language", "task", "word_timestamps", "temperature", "initial_prompt", "hotwords")
    return {name: value for name in names if (value := getattr(options, name))}


def _missing(name: str) -> Refused:
    return Refused(
        400,
        Text(
            f"The form has no {name}: send it as multipart/form-data.",
            f"表单中缺少 {name}：请以 multipart/form-data 发送。",
        ),
        "missing_parameter",
        name,
    )
