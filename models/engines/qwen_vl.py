"""Qwen-VL and the first Qwen from their original files: `models.qwen_vl` as an engine."""

import json
import threading
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.cache import cache_dir
from models.chat.messages import drop_oldest, text_only, turn_starts
from models.chat.request import ChatRequest
from models.engines.sequential import LibraryEngine
from models.pretrained.loading import DTYPES, placed
from models.schema import ChatOptions, Event, GiB, Message, Messages, Text, Tools

if TYPE_CHECKING:
    from models.pretrained.generation import PrefixCache
    from models.qwen_vl.prompt import PromptPicture
    from models.qwen_vl.reply import ReplyStream

WINDOW = 6144  # tokens of system prompt and history, where generation_config.json says nothing
SMALL = 1 * GiB  # files below it run in float32 on a processor: nothing is gained by rounding


class QwenVLEngine(LibraryEngine):
    """A model that answers about pictures and texts; a base model continues them.

    Pictures are parts of messages: {"type": "image", "image": bytes}, or OpenAI's "image_url" with a
    data URL. No path and no address is opened, whoever writes it.
    """

    def _read(self, path: Path) -> None:
        import torch

        from models import qwen_vl
        from models.pretrained.quantize import quantization
        from models.qwen_vl.features import Features

        precision, device = self.placement.precision, self.placement.device
        generation = _generation_config(path)
        self._window = int(generation.get("max_window_size") or WINDOW)
        self.model, self.tokenizer = qwen_vl.load(
            path,
            getattr(torch, self._dtype()),
            chat=generation.get("chat_format") != "raw",
            cache=cache_dir() / "tokenizers",
            # Its 2 of 9.7 billion weights save little, and what it misses no answer can have.
            quantization_config=quantization(precision, device, whole=("model.visual",)),
            kernels=device.startswith("cuda") and all(map(find_spec, ("optimum", "gptqmodel"))),
            **placed(self.placement),
        )
        self._features = None if self.model.model.sizes is None else Features(self.model.model)

    def _dtype(self) -> str:
        if self.placement.precision != "file":
            return DTYPES[self.placement.precision]
        if self.placement.device != "cpu":
            return "float16"
        return "float32" if self.checkpoint.bytes < SMALL else "bfloat16"

    def _prefix_cache(self) -> "PrefixCache":
        from models.qwen_vl.prefix import QwenPrefixCache

        return QwenPrefixCache(self._room, self.model.config)

    def _prompt(self, messages: Messages | str, tools: Tools = ()) -> list[int]:
        """The makers' format has no place for tools."""
        from models.qwen_vl.prompt import read_plain

        if isinstance(messages, str):
            return list(self.tokenizer.content_ids([messages]))
        messages = messages if self._features else text_only(messages)
        if not self.has_chat_template:
            return list(self.tokenizer.content_ids(read_plain(messages)))
        return list(self.tokenizer.apply_chat_template(messages, return_dict=False))

    def _prepare(self, messages: Messages, tools: Tools) -> tuple[Messages, Tools]:
        """With numbers in the pictures, which they keep when messages before them go."""
        from models.qwen_vl.prompt import number_pictures

        messages, tools = super()._prepare(messages, tools)
        return number_pictures(messages), tools

    def _count(self, messages: Messages | str, tools: Tools) -> int:
        """All pictures take as many, so that none has to be read."""
        return super()._count(messages if isinstance(messages, str) else list(map(_unseen, messages)), tools)

    def _dropped(self, messages: Messages, options: ChatOptions, tools: Tools) -> int:
        """As for every engine; and what does not fit the makers' window beside the newest turn."""
        from models.qwen_vl.prompt import DEFAULT_SYSTEM

        dropped = super()._dropped(messages, options, tools)
        starts = [start for start in turn_starts(messages) if start >= dropped]
        if not self.has_chat_template:
            return dropped
        system = [message for message in self._complete(messages) if message["role"] == "system"]
        before = self._size(system or [{"role": "system", "content": DEFAULT_SYSTEM}])
        newest = self._count(drop_oldest(messages, starts[-1]), tools)
        first = self._first_that_fits(messages, tools, starts, self._window + newest - before - 1)
        return starts[-1] if first is None else first

    def _size(self, messages: Messages) -> int:
        ids = self.tokenizer.apply_chat_template(messages, add_generation_prompt=False, return_dict=False)
        return len(ids)

    def _stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[Event]:
        if self._features is None:
            yield from super()._stream(request, cancel)
            return
        with self._features.asked(_pictures(request.messages)):
            yield from super()._stream(request, cancel)

    def _inputs(self, messages: Messages | str, prompt: list[int], cached: int) -> Mapping[str, Any]:
        """What the model sees in the pictures that are not among the first `cached` tokens."""
        sizes = self.model.model.sizes
        pictures = _pictures(messages) if sizes else []
        new = pictures[prompt[:cached].count(sizes.image_start_id) :] if pictures else []
        return {"mm_encoder_outputs": self._features.of(new)} if self._features and new else {}

    def _text(self, prompt: list[int], request: ChatRequest, continues: bool) -> "ReplyStream":
        from models.qwen_vl.reply import ReplyStream

        return ReplyStream(self.tokenizer, request.options.stop, prompt[-8:] if continues else None)

    def _precision(self) -> tuple[str, tuple[Text, ...]]:
        if self.placement.precision != "file":
            return super()._precision()
        dtype = str(self.model.dtype).removeprefix("torch.")
        slow = sum(type(module).__name__ == "GptqLinear" for module in self.model.modules())
        note = Text(
            f"{slow} layers are unpacked for every product: there is no operator here for their packed weights.",
            f"{slow} 个层在每次运算时解包：此处没有可直接处理其打包权重的算子。",
        )
        return f"int4 ({dtype} activations)", (note,) if slow else ()

    def _close(self) -> None:
        self._features = None  # it holds the tower
        super()._close()


def _generation_config(path: Path) -> dict[str, Any]:
    file = path / "generation_config.json"
    return json.loads(file.read_bytes()) if file.is_file() else {}


def _unseen(message: Message) -> Message:
    """The message with empty files for its pictures."""
    parts = message.get("content")
    if not isinstance(parts, list):
        return message
    empty = [{**part, "image": b""} if isinstance(part.get("image"), bytes) else part for part in parts]
    return {**message, "content": empty}


def _pictures(messages: Messages | str) -> "list[PromptPicture]":
    from models.qwen_vl.prompt import PromptPicture, format_messages

    if isinstance(messages, str):
        return []
    return [
        piece
        for message in format_messages(messages)
        for piece in message.content
        if isinstance(piece, PromptPicture)
    ]
