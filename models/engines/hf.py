"""The transformers engine: LLaMA, Gemma and whatever else transformers reads from safetensors or .bin.

Loading is the first half of this file, answering the second; the steps between a model and the text
of an answer are in `models.generation`, int8 and int4 in `models.quantize`. One request runs at a time.
"""

import gc
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.engines.base import ChatEngine, FairQueue, fold_system, plain_text, text_only
from models.errors import (
    BadInput,
    Cancelled,
    CheckpointCorrupt,
    DoesNotFit,
    EngineFailed,
    ModelError,
    UnsupportedCheckpoint,
)
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
    Progress,
    Text,
    Usage,
)

# int8 and int4 weights work on bfloat16 activations; "file" keeps what the files say.
DTYPES = {
    "fp32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "int8": "bfloat16",
    "int4": "bfloat16",
    "file": "auto",
}

# What watches the tensors of the load that runs in this context (see `_watched`).
_watcher: ContextVar["_Watcher | None"] = ContextVar("_watcher", default=None)


# --- loading -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Watcher:
    """Tells how many tensors are loaded, and stops between two of them."""

    progress: OnProgress | None
    cancel: threading.Event | None

    def over(self, tensors: Sequence[Any]) -> Iterator[Any]:
        for done, tensor in enumerate(tensors):
            self.report(done, len(tensors))
            yield tensor
        self.report(len(tensors), len(tensors))

    def report(self, done: int, total: int) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled
        if self.progress is not None:
            self.progress(Progress("load", done, total))


@contextmanager
def _watched(watcher: _Watcher) -> Iterator[None]:
    """Stand where transformers would draw its progress bar over the tensors.

    transformers takes one hook for the whole process; a context variable keeps the loads that run at
    the same time on other devices apart.
    """
    from transformers.utils.logging import set_tqdm_hook

    def bar(factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        current = _watcher.get()
        return current.over(list(args[0])) if current and args else factory(*args, **kwargs)

    set_tqdm_hook(bar)
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def load_model(path: Path, placement: Placement) -> Any:
    """Read the model in a folder of config.json and safetensors or .bin shards.

    Raises whatever transformers raises, and CheckpointCorrupt for weights that are missing or too many:
    transformers would fill them with random numbers and go on.
    """
    from transformers import AutoModelForCausalLM

    from models.quantize import quantization

    model: Any
    info: dict[str, Any]
    model, info = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]
        path,
        dtype=DTYPES[placement.precision],
        quantization_config=quantization(placement.precision, placement.device),
        **_placed(placement),
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    wrong = sorted(info["missing_keys"]) or sorted(info["unexpected_keys"])
    if wrong:
        kind, zh = ("lacks", "缺少") if info["missing_keys"] else ("has unexpected", "含有多余的")
        raise CheckpointCorrupt(
            f"{path.name} {kind} {len(wrong)} weights, {wrong[0]} among them: get the checkpoint again.",
            f"{path.name} {zh}{len(wrong)} 个权重（如 {wrong[0]}）：请重新获取该检查点。",
        )
    return model


def _placed(placement: Placement) -> dict[str, Any]:
    """`device_map` for one device, or layers spread over what is free on several."""
    if len(placement.devices) < 2:
        return {"device_map": {"": placement.device}}
    import torch

    numbers = [torch.device(name).index or 0 for name in placement.devices]
    # The rest is for the attention states and for what a layer needs while it works.
    free = {number: int(torch.cuda.mem_get_info(number)[0] * 0.85) for number in numbers}
    return {"device_map": "auto", "max_memory": free}


def load_tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        tokenizer.backend_tokenizer  # noqa: B018  streaming needs the `tokenizers` library's own
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        if _damaged_file(path) is not None:
            raise
        raise CheckpointCorrupt(
            f"{path.name} has no tokenizer that can be read: put tokenizer.json (or tokenizer.model) into it.",
            f"{path.name} 中没有可读取的分词器：请补上 tokenizer.json（或 tokenizer.model）。",
        ) from error
    return tokenizer


@contextmanager
def _loading(path: Path, placement: Placement) -> Iterator[None]:
    """Say what went wrong while loading in a sentence."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        if _out_of_memory(error):
            raise _does_not_fit(path.name, placement) from error
        damaged = _damaged_file(path)
        if damaged is not None:
            raise CheckpointCorrupt(
                f"{damaged} is damaged or cut short: delete it and get the checkpoint again.",
                f"{damaged} 已损坏或不完整：请删除后重新获取该检查点。",
            ) from error
        if isinstance(error, (OSError, RuntimeError)):
            raise CheckpointCorrupt(
                f"{path.name} cannot be loaded ({_short(error)}): get the checkpoint again.",
                f"无法加载 {path.name}（{_short(error)}）：请重新获取该检查点。",
            ) from error
        raise UnsupportedCheckpoint(
            f"transformers cannot run {path.name} ({_short(error)}): choose a LLaMA or Gemma checkpoint.",
            f"transformers 无法运行 {path.name}（{_short(error)}）：请选择 LLaMA 或 Gemma 检查点。",
        ) from error


def _damaged_file(path: Path) -> str | None:
    """The first weight file or configuration that cannot be opened."""
    import json

    import torch
    from safetensors import safe_open

    readers: dict[str, Any] = {
        "*.json": lambda file: json.loads(file.read_text("utf-8")),
        "*.safetensors": lambda file: safe_open(file, framework="pt"),
        "pytorch_model*.bin": lambda file: torch.load(file, map_location="meta", weights_only=True),
    }
    for pattern, read in readers.items():
        for file in sorted(path.glob(pattern)):
            try:
                read(file)
            except Exception:  # every reader has its own errors; which file it is, is what matters
                return file.name
    return None


def _out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "not enough memory" in str(error)


def _does_not_fit(name: str, placement: Placement) -> DoesNotFit:
    return DoesNotFit(
        f"{placement.device} ran out of memory with {name} in {placement.precision}: "
        "choose int8 or int4, a shorter context, or a smaller checkpoint.",
        f"{placement.device} 内存不足，无法以 {placement.precision} 运行 {name}："
        "请选择 int8 或 int4、更短的上下文，或更小的检查点。",
    )


def _short(error: BaseException) -> str:
    first = str(error).strip().splitlines()[:1]
    return f"{type(error).__name__}: {first[0][:160]}" if first else type(error).__name__


def weight_bytes(model: Any) -> int:
    """Bytes of parameters and buffers as they lie in memory; tied ones count once."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum({t.data_ptr(): t.nbytes for t in tensors if t.numel()}.values())


# --- answering ---------------------------------------------------------------------------------


class HfEngine(ChatEngine):
    """A model of the transformers library, answering one request after the other.

    Args:
        path: folder of the checkpoint.
        progress: told of stage "load" with tensors loaded and in all.
        cancel: when it is set, loading stops after the tensor at hand and raises Cancelled.

    Raises:
        CheckpointCorrupt, UnsupportedCheckpoint, DoesNotFit: see `_loading`.
    """

    def __init__(
        self,
        path: Path,
        checkpoint: Checkpoint,
        placement: Placement,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        super().__init__(checkpoint, placement)
        started = time.monotonic()
        with _loading(path, placement), _watched(_Watcher(progress, cancel)):
            self.tokenizer: Any = load_tokenizer(path)
            self.model: Any = load_model(path, placement)
        self._serve(time.monotonic() - started)

    def _serve(self, seconds: float) -> None:
        """Get ready to answer with `self.model` and `self.tokenizer`, loaded in `seconds`."""
        from transformers import GenerationConfig

        from models.generation import PrefixCache

        self._end_ids = _end_ids(self.model, self.tokenizer)
        # `generate` takes what a request leaves open from here: let it find nothing of the checkpoint's.
        self.model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        trained = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        lengths = (self.placement.context, trained or self.checkpoint.context_length)
        self.context_length = min([length for length in lengths if length], default=2048)
        self.has_chat_template = bool(self.tokenizer.chat_template)
        self._has_system_role = self.has_chat_template and _has_system_role(self.tokenizer)
        self.queue = FairQueue(1)
        self._prefix = PrefixCache()
        self.report = _report(self.model, self.placement, seconds)

    def _count_tokens(self, messages: Messages | str) -> int:
        return len(self._prompt(messages))

    def _prompt(self, messages: Messages | str) -> list[int]:
        """Token ids of the prompt. Raises BadInput where the template refuses the conversation."""
        from jinja2 import TemplateError

        if isinstance(messages, str) or not self.has_chat_template:
            text = messages if isinstance(messages, str) else plain_text(text_only(messages))
            return list(self.tokenizer(text)["input_ids"])
        messages = text_only(messages)
        try:
            return list(
                self.tokenizer.apply_chat_template(
                    messages if self._has_system_role else fold_system(messages),
                    add_generation_prompt=True,
                    return_dict=False,
                )
            )
        except TemplateError as error:
            raise BadInput(
                f"The chat template of {self.checkpoint.name} refuses this conversation: {error}.",
                f"{self.checkpoint.name} 的对话模板不接受这段对话：{error}。",
            ) from error

    def _stream(
        self, messages: Messages | str, options: ChatOptions, cancel: threading.Event
    ) -> Iterator[Event]:
        prompt = self._prompt(messages)
        room = self.context_length - len(prompt)
        if room < 1 or not prompt:
            raise BadInput(
                f"The text takes {len(prompt)} tokens and the context holds {self.context_length}: "
                "send between one token and one less than that.",
                f"文本有 {len(prompt)} 个 token，而上下文为 {self.context_length}：请调整文本长度。",
            )
        options = replace(options, max_new_tokens=min(options.max_new_tokens, room))
        continues = isinstance(messages, str) or not self.has_chat_template
        with self.queue.place() as ticket:
            yield from self.queue.wait(ticket, cancel)
            yield from self._answer(prompt, options, cancel, continues)

    def _answer(
        self, prompt: list[int], options: ChatOptions, cancel: threading.Event, continues: bool
    ) -> Iterator[Event]:
        from models.generation import Generation, TextStream

        text = TextStream(self.tokenizer.backend_tokenizer, options.stop, prompt[-8:] if continues else ())
        clock = _Clock(prompt_tokens=len(prompt))
        if cancel.is_set():
            yield Done("cancelled", clock.usage(0))
            return
        cache, cached = self._prefix.take(self.model, prompt)
        generation = Generation(self.model, prompt, cache, options, self._end_ids)
        reason: Any = "length"
        try:
            for token in self._translated(generation):
                if cancel.is_set():
                    reason = "cancelled"
                    break
                if token is None:
                    continue
                clock.tick()
                if token in self._end_ids:
                    reason = "stop"
                    break
                if piece := text.push(token):
                    yield Delta(piece)
                if text.stopped:
                    reason = "stop"
                    break
        finally:
            generation.close()
            if generation.complete:
                self._prefix.keep(cache, generation.ids)
        if rest := text.flush():
            yield Delta(rest)
        yield Done(reason, clock.usage(cached))

    def _translated(self, tokens: Iterable[int | None]) -> Iterator[int | None]:
        """`tokens`, with the errors of the model in a sentence."""
        try:
            yield from tokens
        except Exception as error:
            if _out_of_memory(error):
                raise _does_not_fit(self.checkpoint.name, self.placement) from error
            raise EngineFailed(
                f"{self.checkpoint.name} failed while answering ({_short(error)}): try again, or reload it.",
                f"{self.checkpoint.name} 回答时出错（{_short(error)}）：请重试，或重新加载。",
            ) from error

    def _close(self) -> None:
        import torch

        self._prefix.clear()
        self.model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class _Clock:
    """When the tokens of one answer came."""

    def __init__(self, prompt_tokens: int) -> None:
        self._prompt_tokens = prompt_tokens
        self._started = self._first = self._last = time.monotonic()
        self._tokens = 0

    def tick(self) -> None:
        self._last = time.monotonic()
        if self._tokens == 0:
            self._first = self._last
        self._tokens += 1

    def usage(self, cached_tokens: int) -> Usage:
        """The rate counts the steps between the first token and the last."""
        decoding = self._last - self._first
        return Usage(
            prompt_tokens=self._prompt_tokens,
            cached_tokens=cached_tokens,
            completion_tokens=self._tokens,
            seconds_to_first_token=self._first - self._started,
            tokens_per_second=(self._tokens - 1) / decoding if decoding > 0 else 0.0,
        )


def _end_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every id that one of the checkpoint's files calls the end of an answer."""
    sources = (model.generation_config, model.config.get_text_config(), tokenizer)
    found: set[int] = set()
    for source in sources:
        ids = getattr(source, "eos_token_id", None)
        found.update(ids if isinstance(ids, (list, tuple)) else [ids] if ids is not None else [])
    return tuple(sorted(found))


def _has_system_role(tokenizer: Any) -> bool:
    """Try it: Gemma's template refuses a system message, others leave it out."""
    from jinja2 import TemplateError

    trial = [{"role": "system", "content": "quintet"}, {"role": "user", "content": "?"}]
    try:
        return "quintet" in tokenizer.apply_chat_template(trial, tokenize=False)
    except TemplateError:
        return False


def _report(model: Any, placement: Placement, seconds: float) -> LoadReport:
    from models.quantize import notes

    dtype = str(model.dtype).removeprefix("torch.")
    found: tuple[Text, ...] = ()
    if placement.precision in ("int8", "int4"):
        effective, found = notes(model, placement.precision)
        dtype = f"{placement.precision} ({dtype} activations)" if effective else dtype
    device_map = getattr(model, "hf_device_map", None) or {"": placement.device}
    return LoadReport(
        dtype=dtype,
        weights=weight_bytes(model),
        device_map={name: f"cuda:{d}" if isinstance(d, int) else str(d) for name, d in device_map.items()},
        seconds=seconds,
        notes=found,
    )
