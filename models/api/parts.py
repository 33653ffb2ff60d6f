"""Parts of a message that have to be made ready for an engine: sound, which is transcribed, and addresses."""

import base64
import binascii
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from models.api.asked import Asked
from models.api.choice import Engines
from models.api.refusals import Refused, unsupported
from models.api.settings import fetches_addresses
from models.cache.temporary import temporary_folder
from models.engines.base import SpeechEngine
from models.pictures.addresses import fetch
from models.schema import Text


def complete(asked: Asked, engines: Engines, cancel: threading.Event) -> Asked:
    """`asked` with its recordings as what is said in them, and its public addresses as pictures.

    Raises:
        Refused: no model that hears is in memory, or a part is of no kind that is known here.
        BadInput: what a part holds cannot be read.
    """
    if isinstance(asked.messages, str):
        return asked
    messages = [
        {**message, "content": [_ready(part, engines, cancel) for part in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for message in asked.messages
    ]
    return replace(asked, messages=messages)


def _ready(part: Any, engines: Engines, cancel: threading.Event) -> Any:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "input_audio":
        return {"type": "text", "text": _heard(part.get("input_audio"), engines, cancel)}
    if kind == "image_url":
        url = part.get("image_url")
        address = url.get("url") if isinstance(url, Mapping) else url
        if isinstance(address, str) and address.startswith(("http://", "https://")) and fetches_addresses():
            return {"type": "image", "image": fetch(address)}
    elif kind not in ("text", None):
        raise unsupported(f"messages content of type {kind}")
    return part


def _heard(sound: Any, engines: Engines, cancel: threading.Event) -> str:
    """What is said in a recording, by the speech model that was used last."""
    try:
        data = base64.b64decode(sound["data"], validate=True)
    except (TypeError, KeyError, ValueError, binascii.Error) as error:
        raise Refused(
            400,
            Text(
                'input_audio needs "data", a file in base64, and its "format".',
                'input_audio 需要 "data"（base64 编码的文件）和 "format"。',
            ),
            "invalid_value",
            "messages",
        ) from error
    loaded = (engine for engine in engines.loader.loaded() if isinstance(engine, SpeechEngine))
    name = next((engine.checkpoint.name for engine in loaded), None)
    if name is None:
        raise Refused(
            400,
            Text(
                "No speech model is in memory to hear input_audio: send one recording to /v1/audio/transcriptions first.",
                "内存中没有可识别 input_audio 的语音模型：请先向 /v1/audio/transcriptions 发送一段录音。",
            ),
            "model_not_supported",
            "messages",
        )
    file = temporary_folder() / f"{uuid4().hex}.audio"
    try:
        Path(file).write_bytes(data)
        with engines.using(name, SpeechEngine, cancel) as engine:
            return "".join(segment.text for segment in engine.transcribe(file, None, cancel)).strip()
    finally:
        file.unlink(missing_ok=True)
