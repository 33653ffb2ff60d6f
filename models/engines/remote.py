"""Any OpenAI-compatible server as an engine: vLLM, SGLang, llama-server, a Quintet cluster.

The checkpoint's name is the server's address and ends in /v1. A key goes only to servers that the operator
listed (see `permissions.key_for`). Redirects are not followed: they would carry requests to another machine.
"""

import asyncio
import codecs
import json
import logging
import re
import threading
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.chat.messages import begun_answer
from models.chat.openai_form import Chunk, events, refusal, write_conversation, write_request
from models.chat.request import ChatRequest
from models.engines.base import ChatEngine
from models.errors import AccessDenied, EngineFailed, HubUnreachable, ModelError, UnsupportedCheckpoint
from models.permissions import key_for
from models.schema import (
    Event,
    LoadReport,
    Message,
    Messages,
    OnProgress,
    Progress,
    Text,
    Tools,
)

THIS_MACHINE = ("all://localhost", "all://127.0.0.1", "all://[::1]")
UNKNOWN_CONTEXT = 8192  # tokens, where the server does not say
# Seconds: for a short answer; without a byte of a long one; between two looks at `cancel`.
SHORT, SILENCE, LOOK = 10.0, 600.0, 0.05
LONGEST = 1 << 20  # bytes of one event
DONE, ENDED = b"[DONE]", b""
# Models that servers list beside those for chat.
_NO_CHAT = re.compile(
    r"embed|rerank|whisper|tts|transcribe|moderation|dall-e|stable-diffusion|\bbge\b|\bclip\b", re.IGNORECASE
)
PROBE: tuple[Message, ...] = ({"role": "user", "content": "a"},)


class RemoteEngine(ChatEngine):
    """One model of a server, whose context length and token counts are used where it has them.

    It is the one that the address names behind a #, else the first that can be for chat. `served` are all.
    """

    has_chat_template = True

    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        import httpx2

        self.address, _, wanted = self.checkpoint.name.partition("#")
        progress(Progress("load", detail=self.address))
        self._settings = _settings(self.address)
        self._client = httpx2.Client(timeout=SHORT, **self._settings)
        weakref.finalize(self, self._client.close)  # an engine that nobody closed leaves no connection open
        try:
            self.model, served = self._choose_model(wanted)
            self._counter = self._find_counter()
            # Servers that count tokens are llama.cpp and vLLM, which continue answers as well.
            self.continues_answers = self._counter is not estimate
        except BaseException:
            self._client.close()
            raise
        served = served or UNKNOWN_CONTEXT
        self.context_length = min(served, self.placement.context or served)
        self.placement = replace(self.placement, context=self.context_length)

    def _report(self, seconds: float) -> LoadReport:
        return LoadReport("remote", 0, {"model": self.address}, seconds, tuple(self._notes()))

    def _notes(self) -> Iterator[Text]:
        yield Text(f"{self.model} answers", f"由 {self.model} 回答")
        if others := self.served[1:]:
            listed = ", ".join(others[:8])
            yield Text(
                f"also served, behind a # in the address: {listed}",
                f"另有模型，可在地址后以 # 指定：{listed}",
            )
        if self._counter is estimate:
            yield Text(
                "this server does not count tokens: the numbers are estimates",
                "此服务器不提供 token 计数：数值为估计",
            )

    def _close(self) -> None:
        self._client.close()

    # --- short questions ----------------------------------------------------------------------

    def _ask(self, path: str, field: str, question: dict[str, Any] | None = None) -> Any:
        """One field of the JSON that the server answers at once."""
        import httpx2

        method, url = ("POST" if question else "GET"), self.address.removesuffix("/v1") + path
        try:
            response = self._client.request(method, url, json=question)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise HubUnreachable(
                f"No server answers at {self.address}: start it, or check the address.",
                f"{self.address} 没有服务器应答：请启动服务器，或检查地址。",
            ) from error
        if response.status_code != 200:
            raise self._refused(response.status_code, response.content)
        try:
            return response.json()[field]
        except (ValueError, LookupError, TypeError) as error:
            raise self._not_openai() from error

    def _choose_model(self, wanted: str) -> tuple[str, int | None]:
        """Id and context length of a model that the server lists."""
        try:
            cards = {str(card["id"]): card for card in self._ask("/v1/models", "data")}
            self.served = tuple(cards)
            chat = [name for name in cards if not _NO_CHAT.search(name)]
            model = wanted or [*chat, *cards][0]
            if model not in cards:
                raise self._no_model(model)
            self.served = (model, *(name for name in cards if name != model))
            length = cards[model].get("max_model_len") or (cards[model].get("meta") or {}).get("n_ctx")
            return model, int(length) if length else None
        except (LookupError, AttributeError, TypeError, ValueError) as error:
            raise self._not_openai() from error

    def _count_tokens(self, messages: Messages | str, tools: Tools) -> int:
        return self._counter(messages, tools)

    def _find_counter(self) -> Callable[[Messages | str, Tools], int]:
        """The first way of counting that this server knows."""
        for counter in (self._llama_cpp_count, self._vllm_count):
            try:
                counter(PROBE, ())
            except ModelError:
                continue
            return counter
        return estimate

    def _llama_cpp_count(self, messages: Messages | str, tools: Tools) -> int:
        if not isinstance(messages, str):
            messages = self._ask("/apply-template", "prompt", write_conversation(messages, tools))
        question = {"content": messages, "add_special": True, "parse_special": True}
        return len(self._ask("/tokenize", "tokens", question))

    def _vllm_count(self, messages: Messages | str, tools: Tools) -> int:
        return int(
            self._ask("/tokenize", "count", {"model": self.model, **write_conversation(messages, tools)})
        )

    # --- answers ------------------------------------------------------------------------------

    def _stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[Event]:
        began = time.monotonic()
        path = "completions" if isinstance(request.messages, str) else "chat/completions"
        asked = {"model": self.model, **write_request(request)}
        if (
            begun_answer(request.messages) and self._counter == self._vllm_count
        ):  # llama.cpp sees it by itself
            asked |= {"continue_final_message": True, "add_generation_prompt": False}
        with closing(self._chunks(path, asked, cancel)) as chunks:
            yield from events(chunks, cancel, began)

    def _chunks(
        self, path: str, asked: dict[str, Any], cancel: threading.Event
    ) -> Generator[Chunk, None, None]:
        """The chunks of one answer. `cancel`, or closing the iterator, closes the connection."""
        loop = asyncio.new_event_loop()
        lines = self._data(f"{self.address}/{path}", asked)
        finished, begun = False, b""

        async def following() -> bytes | None:
            return await anext(lines, None)

        try:
            while (line := _unless(cancel, loop, following())) is not None:
                if line == DONE:
                    return
                if line == ENDED:
                    if not finished:
                        raise self._broken()
                    return
                chunk, begun = self._chunk(begun + line)
                if chunk is not None:
                    finished = finished or _has_reason(chunk)
                    yield chunk
        finally:
            loop.run_until_complete(lines.aclose())
            loop.close()

    async def _data(self, url: str, asked: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """The data of every server-sent event, and last DONE, or ENDED where the server just stopped.

        A server that does not stream sends its answer as one JSON.
        """
        import httpx2

        timeout = httpx2.Timeout(SILENCE, connect=SHORT)
        try:
            async with (
                httpx2.AsyncClient(timeout=timeout, **self._settings) as client,
                client.stream("POST", url, json=asked) as response,
            ):
                if response.status_code != 200:
                    raise self._refused(response.status_code, await response.aread())
                if response.headers.get("Content-Type", "").startswith("application/json"):
                    yield await response.aread()
                async for line in _lines(response.aiter_bytes()):
                    data = line.removeprefix(b"data:").strip()
                    if line.startswith(b"data:") and data:
                        yield DONE if data == b"[DONE]" else data
        except httpx2.HTTPError as error:
            logging.getLogger(__name__).info("%s: %s", self.address, error)
        yield ENDED

    def _chunk(self, data: bytes) -> tuple[Chunk | None, bytes]:
        """A chunk; or none yet, and the data that goes on in the next line."""
        try:
            chunk = json.loads(data)
        except ValueError as error:
            if len(data) > LONGEST:
                raise self._broken() from error
            return None, data + b"\n"
        if failure := _error_in(chunk):
            raise refusal(failure, self.address)
        return dict(chunk), b""

    # --- errors -------------------------------------------------------------------------------

    def _refused(self, status: int, answer: bytes) -> ModelError:
        if status in (401, 403):
            return AccessDenied(
                f"{self.address} asks for a key: write it behind this address in QUINTET_REMOTES, with a space "
                "between them, and start Quintet again.",
                f"{self.address} 需要密钥：请在 QUINTET_REMOTES 中将密钥写在该地址之后（以空格分隔），并重新启动 Quintet。",
            )
        if status < 400 or status in (404, 405):
            return self._not_openai()
        try:
            failure = _error_in(json.loads(answer))
        except ValueError:
            failure = None
        return refusal(failure or f"status {status}", self.address)

    def _no_model(self, name: str) -> UnsupportedCheckpoint:
        listed = ", ".join(self.served[:8])
        return UnsupportedCheckpoint(
            f"{self.address} serves no model {name}: write one of these behind the #: {listed}.",
            f"{self.address} 没有模型 {name}：请在 # 之后写明以下之一：{listed}。",
        )

    def _not_openai(self) -> UnsupportedCheckpoint:
        return UnsupportedCheckpoint(
            f"{self.address} is no OpenAI-compatible server, or serves no model: check the address.",
            f"{self.address} 不是兼容 OpenAI 的服务器，或未提供模型：请检查地址。",
        )

    def _broken(self) -> EngineFailed:
        return EngineFailed(
            f"{self.address} ended the answer before it was complete: see whether the server runs, and try "
            "again.",
            f"{self.address} 在回答完成前中断：请确认服务器仍在运行，然后重试。",
        )


def _settings(address: str) -> dict[str, Any]:
    """What the connections to a server have in common."""
    import httpx2

    key = key_for(address)
    return {
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "mounts": dict.fromkeys(THIS_MACHINE),  # no proxy, whatever the environment says
        "verify": httpx2.create_ssl_context(),  # made once: reading the certificates takes a while
    }


def estimate(messages: Messages | str, tools: Tools = ()) -> int:
    """Tokens by rule of thumb: one for three bytes of UTF-8, and four for the frame of a message.

    Too many for English, about right for Chinese. Tools and calls are counted as JSON, images and other
    parts not at all.
    """
    if isinstance(messages, str):
        return -(-len(messages.encode()) // 3)
    contents = [message.get("content") or "" for message in messages]
    texts = [
        text if isinstance(text, str) else "".join(part.get("text", "") for part in text) for text in contents
    ]
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    return sum(4 + estimate(text) for text in (*texts, *map(json.dumps, [*tools, *calls])))


def _unless(
    cancel: threading.Event, loop: asyncio.AbstractEventLoop, step: Coroutine[Any, Any, bytes | None]
) -> bytes | None:
    """The step's result; None, with the step undone, as soon as `cancel` is set."""
    task = loop.create_task(step)
    while not task.done():
        if cancel.is_set():
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
            return None
        loop.run_until_complete(asyncio.wait([task], timeout=LOOK))
    return task.result()


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines by line feed alone: the library's own also end at U+2028, which JSON may hold."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.removeprefix(codecs.BOM_UTF8).strip()
    yield rest.strip()


def _error_in(answer: Any) -> Any:
    """What went wrong, in the places where OpenAI, vLLM and FastAPI put it; None: nothing."""
    if not isinstance(answer, dict):
        return f"an answer of type {type(answer).__name__}"
    is_error = answer.get("object") == "error" or ("message" in answer and "choices" not in answer)
    return answer.get("error") or (answer if is_error else answer.get("detail"))


def _has_reason(chunk: Chunk) -> bool:
    choices = chunk.get("choices")
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and choice.get("finish_reason") for choice in choices
    )
