"""GGUF files through llama.cpp in this process (`xllamacpp`): slots, prefix cache, continuous batching.

`xllamacpp.Server` is llama-server as a library. It also opens a loopback port: a random key locks
it, and the token counts below are asked for there, since the library has no call for them.
"""

import http.client
import json
import queue
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from models.engines.base import ChatEngine, FairQueue, plain_text, text_only
from models.errors import BadInput, CheckpointCorrupt, EngineFailed
from models.schema import (
    ChatOptions,
    Checkpoint,
    Delta,
    Done,
    Event,
    LoadReport,
    Messages,
    OnProgress,
    Placement,
    Prefill,
    Progress,
    Text,
    Usage,
)

# The prompt is read in steps of this many tokens, and Stop is heard between two of them.
PREFILL_STEP = {"cpu": 128}
PREFILL_STEP_GPU = 512
# Prefixes of conversations that lost their slot, kept in main memory (MiB).
PREFIX_CACHE_MIB = 256


class GgufEngine(ChatEngine):
    """One GGUF file, answered by `placement.slots` slots of `placement.context` tokens each."""

    def __init__(
        self,
        path: Path,
        checkpoint: Checkpoint,
        placement: Placement,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        super().__init__(checkpoint, placement)
        self.has_chat_template = checkpoint.kind != "completion"
        self.context_length = placement.context
        self.queue = FairQueue(placement.slots)
        self._key = secrets.token_hex(16)
        began = time.monotonic()
        if progress:
            progress(Progress("load", 0, path.stat().st_size))
        self._server = self._start(path)
        self._warm_up()
        self.report = LoadReport(
            dtype=_file_type(path),
            weights=path.stat().st_size,
            device_map={"model": placement.device},
            seconds=time.monotonic() - began,
            notes=(Text("mapped from the file, not copied", "由文件映射，未复制"),),
        )

    def _start(self, path: Path) -> Any:
        import psutil
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_parallel = self.placement.slots
        params.n_ctx = self.placement.context * self.placement.slots
        params.n_batch = PREFILL_STEP.get(self.placement.device, PREFILL_STEP_GPU)
        params.cpuparams.n_threads = psutil.cpu_count(logical=False) or 1
        params.n_gpu_layers = 0 if self.placement.device == "cpu" else 999
        params.fit_params = False  # placement has decided; llama.cpp must not shrink the context
        params.cache_ram_mib = PREFIX_CACHE_MIB
        params.check_tensors = True
        params.warmup = False  # _warm_up does
        params.api_keys = [self._key]
        params.ui = params.endpoint_slots = params.endpoint_metrics = False
        params.verbosity = 0
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise CheckpointCorrupt(
                f"llama.cpp cannot read {path.name}: the file is damaged or of an architecture that "
                "it does not know; get the file again, or choose another checkpoint.",
                f"llama.cpp 无法读取 {path.name}：文件已损坏，或其架构不受支持；请重新获取该文件，"
                "或选择其他模型。",
            ) from error

    def _warm_up(self) -> None:
        # Also needed for a clean end: a server destroyed before its loop has run once never returns.
        self._server.handle_completions(
            {"prompt": "a", "max_tokens": 1, "cache_prompt": False}, lambda _: None
        )

    def _close(self) -> None:
        self._server = None

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call to the server's own loopback port (http.client: never through a proxy)."""
        connection = http.client.HTTPConnection(urlsplit(self._server.listening_address).netloc, timeout=60)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "error" in answer:
            raise _translate(answer["error"])
        return answer

    def _count_tokens(self, messages: Messages | str) -> int:
        if isinstance(messages, str) or not self.has_chat_template:
            text = plain_text(messages)
        else:
            text = self._post("/apply-template", {"messages": text_only(messages)})["prompt"]
        tokens = self._post("/tokenize", {"content": text, "add_special": True, "parse_special": True})
        return len(tokens["tokens"])

    def _stream(
        self, messages: Messages | str, options: ChatOptions, cancel: threading.Event
    ) -> Iterator[Event]:
        began = time.monotonic()
        with self.queue.place() as ticket:
            yield from self.queue.wait(ticket, cancel)
            if cancel.is_set():
                yield Done("cancelled", Usage())
                return
            yield from self._answer(messages, options, cancel, began)

    def _answer(
        self, messages: Messages | str, options: ChatOptions, cancel: threading.Event, began: float
    ) -> Iterator[Event]:
        request = _sampling(options)
        if isinstance(messages, str) or not self.has_chat_template:
            handle = self._server.handle_completions
            request["prompt"] = plain_text(messages)
        else:
            handle = self._server.handle_chat_completions
            request["messages"] = text_only(messages)
        chunks: queue.SimpleQueue[dict[str, Any] | BaseException | None] = queue.SimpleQueue()
        abandoned = threading.Event()

        def hear(chunk: dict[str, Any]) -> bool:
            """Called by llama.cpp for every chunk; True ends the request there and then."""
            chunks.put(chunk)
            return cancel.is_set() or abandoned.is_set()

        def work() -> None:
            try:
                handle(request, hear)
            except BaseException as error:
                chunks.put(error)
            finally:
                chunks.put(None)

        worker = threading.Thread(target=work, name=f"llama.cpp {self.checkpoint.name}", daemon=True)
        worker.start()
        try:
            yield from _events(chunks, cancel, began)
        finally:
            abandoned.set()
            worker.join()  # the slot is free when the next request takes this place in the queue


def _events(chunks: Any, cancel: threading.Event, began: float) -> Iterator[Event]:
    """Server chunks (OpenAI form) to events, and the figures of the last chunks to Usage."""
    first: float | None = None
    pieces = 0
    reason = "stop"
    timings: dict[str, Any] = {}
    while (chunk := chunks.get()) is not None:
        if isinstance(chunk, BaseException):
            raise EngineFailed(
                f"llama.cpp stopped: {chunk}; try again, or load the checkpoint anew.",
                f"llama.cpp 中止：{chunk}；请重试，或重新加载模型。",
            ) from chunk
        if "error" in chunk:
            raise _translate(chunk["error"])
        timings = chunk.get("timings", timings)
        if "prompt_progress" in chunk:
            step = chunk["prompt_progress"]
            yield Prefill(step["processed"], step["total"])
        for choice in chunk.get("choices", ()):
            text = choice.get("text") or (choice.get("delta") or {}).get("content")
            reason = choice.get("finish_reason") or reason
            if text:
                first = first or time.monotonic()
                pieces += 1
                yield Delta(text)
    seconds = time.monotonic() - (first or began)
    usage = Usage(
        prompt_tokens=timings.get("cache_n", 0) + timings.get("prompt_n", 0),
        cached_tokens=timings.get("cache_n", 0),
        completion_tokens=timings.get("predicted_n", pieces),
        seconds_to_first_token=(first or time.monotonic()) - began,
        tokens_per_second=timings.get("predicted_per_second", pieces / seconds if seconds else 0.0),
    )
    # A request that was cut has no last chunk, and so no timings.
    cut = cancel.is_set() and not timings
    yield Done("cancelled" if cut else "length" if reason == "length" else "stop", usage)


def _sampling(options: ChatOptions) -> dict[str, Any]:
    return {
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
        "cache_prompt": True,
        "reasoning_format": "none",  # the answer as the model wrote it
        "max_tokens": options.max_new_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "top_k": options.top_k,
        "min_p": options.min_p,
        "repeat_penalty": options.repetition_penalty,
        "seed": -1 if options.seed is None else options.seed,
        "stop": list(options.stop),
    }


def _translate(error: dict[str, Any]) -> BadInput | EngineFailed:
    if error.get("type") == "exceed_context_size_error":
        asked, held = error.get("n_prompt_tokens"), error.get("n_ctx")
        return BadInput(
            f"The text takes {asked} tokens and the context holds {held}: shorten it, or load with a "
            "longer context.",
            f"文本有 {asked} 个 token，而上下文只有 {held}：请缩短文本，或以更长的上下文加载。",
        )
    message = str(error.get("message", error)).splitlines()[0]
    return EngineFailed(
        f"llama.cpp refused the request: {message}; change the request and try again.",
        f"llama.cpp 拒绝了该请求：{message}；请修改后重试。",
    )


def _file_type(path: Path) -> str:
    """Quantisation as GGUF file names carry it by convention ("…-Q4_K_M.gguf")."""
    parts = path.stem.replace(".", "-").split("-")
    named = [part for part in parts if part[:1] in "QqIFfB" and any(c.isdigit() for c in part)]
    return named[-1].upper() if named else "GGUF"
