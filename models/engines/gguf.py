"""GGUF files through llama.cpp in this process (`xllamacpp`): slots, prefix cache, continuous batching.

`xllamacpp.Server` is llama-server as a library. It also opens a loopback port: a random key locks
it, and the token counts below are asked for there, since the library has no call for them.
"""

import http.client
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from models.chat.calls import with_arguments
from models.chat.gguf_tokens import LONGEST_RUN, Vocabulary, read_vocabulary
from models.chat.messages import begun_answer, plain_text, text_only, texts_in, without_begun
from models.chat.openai_form import Chunk, events, refusal, write_conversation, write_options
from models.chat.request import RESPONSE_FORMATS, ChatRequest, schema_of
from models.chat.templates import refused, reported
from models.engines.base import ChatEngine, no_token
from models.errors import BadInput, CheckpointCorrupt, DoesNotFit, EngineFailed, ModelError, short
from models.jobs import Stream
from models.schema import (
    Done,
    Event,
    LoadReport,
    Messages,
    OnProgress,
    Progress,
    Text,
    Tools,
    Usage,
)

# The prompt is read in steps of this many tokens, and Stop is heard between two of them.
PREFILL_STEP = {"cpu": 128}
PREFILL_STEP_GPU = 512
QUANTISATION = re.compile(r"(?i)(?<![a-z0-9])([it]?q\d\w*|b?f16|fp16|f32|mxfp4)(?![a-z0-9])")
# Prefixes of conversations that lost their slot, kept in main memory (MiB).
PREFIX_CACHE_MIB = 256


class GgufEngine(ChatEngine):
    """One GGUF file, answered by `placement.slots` slots of `placement.context` tokens each."""

    response_formats = frozenset(RESPONSE_FORMATS)
    gives_way = False  # llama.cpp meets at a barrier so often that it would make a third of the tokens
    continues_answers = True

    def _load(self, path: Path, progress: OnProgress, cancel: threading.Event) -> None:
        self.has_chat_template = self.checkpoint.kind != "completion"
        self.context_length = self.placement.context
        self._path, self._key = path, secrets.token_hex(16)
        progress(Progress("load", 0, path.stat().st_size))
        self._server = self._start(path)
        _run_once(self._server)

    def _report(self, seconds: float) -> LoadReport:
        return LoadReport(
            dtype=_file_type(self._path),
            weights=self._path.stat().st_size,
            device_map={"model": self.placement.device},
            seconds=seconds,
            notes=(Text("memory-mapped, not copied", "内存映射，未复制"),),
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
        if self.placement.device.startswith("cuda") and len(self.placement.devices) < 2:
            # Its own default is all cards at once.
            params.split_mode = xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_NONE
            params.main_gpu = int(self.placement.device.partition(":")[2] or 0)
        params.fit_params = False  # placement has decided; llama.cpp must not shrink the context
        params.cache_ram_mib = PREFIX_CACHE_MIB
        params.check_tensors = True
        params.warmup = False  # _run_once does
        params.api_keys = [self._key]
        params.ui = params.endpoint_slots = params.endpoint_metrics = False
        params.verbosity = 0
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            if _is_readable(path):
                raise self._too_large() from error
            raise CheckpointCorrupt(
                f"llama.cpp cannot read {path.name}: the file is damaged or of an architecture that "
                "it does not know; get the file again, or choose another checkpoint.",
                f"llama.cpp 无法读取 {path.name}：文件已损坏，或其架构不受支持；请重新获取该文件，"
                "或选择其他模型。",
            ) from error

    def _too_large(self) -> DoesNotFit:
        return DoesNotFit(
            f"{self.placement.device} has no memory for {self.checkpoint.name} with a context of "
            f"{self.placement.context} tokens: unload another model, or choose a shorter context or a smaller file.",
            f"{self.placement.device} 的内存不足以按 {self.placement.context} 个 token 的上下文加载 "
            f"{self.checkpoint.name}：请卸载其他模型，或选择更短的上下文、更小的文件。",
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
            raise refusal(answer["error"], "llama.cpp", self.checkpoint.name)
        return answer

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return read_vocabulary(self._path)

    def _count_tokens(self, messages: Messages | str, tools: Tools) -> int:
        asked = self._written(messages, tools)
        prompt = asked["prompt"] if "prompt" in asked else self._post("/apply-template", asked)["prompt"]
        return len(self._tokenize(prompt) if isinstance(prompt, str) else prompt)

    def _written(self, messages: Messages | str, tools: Tools) -> dict[str, Any]:
        """What llama.cpp is asked to answer: messages; or a prompt, which is ids where a text that reads like a
        control token must not become one."""
        if isinstance(messages, str) or not self.has_chat_template:
            text = plain_text(messages)
            self._check_runs(text)
            return {"prompt": self._tokenize(text, False) if self._vocabulary.control.in_text(text) else text}
        messages = with_arguments(text_only(messages), lambda arguments: arguments)
        for text in texts_in([messages, tools]):
            self._check_runs(text)
        hidden = self._vocabulary.control.hide(messages, tools)
        if hidden is None and (tools or not begun_answer(messages)):
            return write_conversation(messages, tools)
        if hidden and tools:  # only from messages does llama.cpp know which calls to look for
            return write_conversation(*self._vocabulary.control.disarm(hidden))
        given = hidden[0] if hidden else messages
        asked = write_conversation(without_begun(given))
        prompt = self._post("/apply-template", asked)["prompt"] + begun_answer(given)
        ids: list[int] = []
        for number, (text, typed) in enumerate(self._vocabulary.control.pieces(prompt)):
            ids += self._tokenize(text, special=not typed, first=number == 0)
        return {"prompt": ids}

    def _check_runs(self, text: str) -> None:
        if not self._vocabulary.reads(text):
            raise BadInput(
                f"The text has more than {LONGEST_RUN} letters, signs or spaces in a row, which the tokenizer of "
                f"{self.checkpoint.name} cannot read: break them up.",
                f"文本中有超过 {LONGEST_RUN} 个连续的字母、符号或空白，{self.checkpoint.name} 的分词器无法读取：请将其断开。",
            )

    def _tokenize(self, text: str, special: bool = True, first: bool = True) -> list[int]:
        """Ids of a text; `special`: its control tokens are some; `first`: it begins a prompt."""
        asked = {"content": text, "add_special": first, "parse_special": special}
        ids: list[int] = self._post("/tokenize", asked)["tokens"]
        return ids

    def _tokenize_text(self, text: str) -> list[int]:
        prompt = self._written(text, ())["prompt"]
        return self._tokenize(prompt) if isinstance(prompt, str) else prompt

    def _detokenize(self, ids: Sequence[int]) -> str:
        if not all(0 <= token < self._vocabulary.size for token in ids):
            raise no_token(self.checkpoint.name)
        return str(self._post("/detokenize", {"tokens": list(ids)})["content"])

    def _stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[Event]:
        began = time.monotonic()
        with self.queue.enter() as ticket:
            yield from self.queue.wait(ticket, cancel)
            if cancel.is_set():
                yield Done("cancelled", Usage())
                return
            yield from self._answer(request, cancel, began)

    def _answer(self, request: ChatRequest, cancel: threading.Event, began: float) -> Iterator[Event]:
        asked = self._written(request.messages, request.tools)
        server = self._server
        handle = server.handle_completions if "prompt" in asked else server.handle_chat_completions
        asked = {**write_options(request.options), **asked}
        if request.response_format:
            asked["json_schema"] = schema_of(request.response_format)

        def work(send: Callable[[Chunk], None], abandoned: threading.Event) -> None:
            def take(chunk: Chunk) -> bool:
                """Called by llama.cpp for every chunk; True ends the request there and then."""
                send(chunk)
                return cancel.is_set() or abandoned.is_set()

            handle(asked, take)

        chunks = Stream(work)
        try:
            yield from events(self._checked(chunks), cancel, began)
        finally:
            chunks.close(wait=True)  # the slot is free when the next request takes this place in the queue

    def _checked(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """`chunks`, with what goes wrong in a sentence."""
        try:
            for chunk in chunks:
                if "error" in chunk:
                    raise refusal(chunk["error"], "llama.cpp", self.checkpoint.name)
                yield chunk
        except ModelError:
            raise
        except Exception as error:
            if (reason := reported(str(error))) is not None:
                raise refused(self.checkpoint.name, reason) from error
            raise EngineFailed(
                f"llama.cpp stopped: {short(error)}; try again, or load the checkpoint anew.",
                f"llama.cpp 中止：{short(error)}；请重试，或重新加载模型。",
            ) from error


def _run_once(server: Any) -> None:
    """Warms it up; also needed for a clean end: a server destroyed before its loop has run never returns."""
    server.handle_completions({"prompt": "a", "max_tokens": 1, "cache_prompt": False}, lambda _: None)


def _is_readable(path: Path) -> bool:
    """Whether a file that could not be loaded can be where it takes next to no memory: mapped, a context of nothing.

    llama.cpp raises the same for a damaged file and for memory that ran out.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel, params.n_ctx, params.n_batch, params.n_gpu_layers = 1, 256, 64, 0
    params.fit_params = params.warmup = params.ui = False
    params.check_tensors = True
    params.verbosity = 0
    try:
        _run_once(xllamacpp.Server(params))
    except RuntimeError:
        return False
    return True


def _file_type(path: Path) -> str:
    """Quantisation as GGUF file names carry it by convention ("…-Q4_K_M.gguf")."""
    named = QUANTISATION.findall(path.stem)
    return str(named[-1]).upper() if named else "GGUF"
