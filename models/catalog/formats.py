"""The formats that a checkpoint can have: a data table, one row for each.

Everything that hangs on how a checkpoint is stored is a field here, so that no other code has to know a
format by its name. Readers and engines are named as "module:name" and imported when they are needed: a
new format is a row, and the file of its reader or engine where none of those that are there will do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from models.errors import UnsupportedCheckpoint
from models.schema import Checkpoint, Device, Text

# --- precisions --------------------------------------------------------------------------------


def _convert(device: Device) -> tuple[str, ...]:
    """Whatever the device runs well: the weights are converted while they are read."""
    return device.precisions


def _keep_own(device: Device) -> tuple[str, ...]:
    """The quantisation of the files: asking for another precision is refused."""
    return ("file",)


def _keep_own_in_llama_cpp(device: Device) -> tuple[str, ...]:
    """The same, where the installed llama.cpp was built for this kind of device."""
    if device.kind == "cpu":
        return ("file",)
    import xllamacpp

    backend = {"cuda": "CUDA", "mps": "M"}[device.kind]  # Metal's devices are called MTL0 or Metal
    built = any(str(found["name"]).startswith(backend) for found in xllamacpp.get_device_info())
    return ("file",) if built else ()


def _leave_to_server(device: Device) -> tuple[str, ...]:
    return ("remote",)


def _by_kind(**precisions: tuple[str, ...]) -> Callable[[Device], tuple[str, ...]]:
    """Those listed for each kind of device; none on other kinds."""
    return lambda device: precisions.get(device.kind, ())


# --- the table ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """What is true of every checkpoint that is stored in one way."""

    # Says what lies at a path, or that it is of another format: see `models.catalog.recognise`.
    reader: str | None = None
    engine: str | None = None
    # On a device, in the order in which "auto" tries them.
    precisions: Callable[[Device], tuple[str, ...]] = _convert
    # Weight files on a hub, best first.
    weights: tuple[str, ...] = ()
    suffix: str = ""  # of a checkpoint that is one file
    config: bool = True  # a folder has a config.json
    tokenizer: str = "tokenizer.json"  # what a folder without any lacks; "": it needs none
    slots: tuple[int, ...] = (1,)  # conversations answered at the same time: as many as fit
    prompt_step: int = 2048  # tokens of a prompt that are read at once
    mapped: bool = False  # on a processor the file is mapped, and its pages count as free already
    scale_per_row: bool = False  # of int4 weights, where a processor's operator takes one for each group
    remote: bool = False  # nothing to fetch, and no memory taken here
    known: bool = True  # False: only the files will tell what it is
    may_see: bool = False  # only its answers will tell whether it takes pictures


_CHATGLM, _QWEN = "models.catalog.folders:read_chatglm", "models.catalog.folders:read_qwen"
_DECODER = "models.catalog.folders:read_decoder"
_WHISPER = "models.engines.speech:WhisperEngine"
# On a processor int8 is a copy in CTranslate2's format, fp32 the reference in torch.
_WHISPER_PRECISIONS = _by_kind(cpu=("int8", "fp32"), cuda=("fp16", "fp32"), mps=("fp32",))

# From the general to the special: readers are asked from the last row on, and hubs for the first weights.
FORMATS: Mapping[str, Format] = {
    # A folder that transformers reads: config.json and safetensors or .bin shards.
    "transformers": Format(
        reader=_DECODER,
        engine="models.engines.hf:HfEngine",
        weights=(
            "model.safetensors",
            "model-?????-of-?????.safetensors",
            "*.safetensors",
            "pytorch_model.bin",
            "pytorch_model-?????-of-?????.bin",
        ),
    ),
    # The same, quantised: called as transformers calls the method.
    "gptq": Format(reader=_DECODER, engine="models.engines.hf:HfEngine", precisions=_keep_own),
    # ChatGLM's original files, native mapping.
    "chatglm": Format(
        reader=_CHATGLM,
        engine="models.engines.chatglm:ChatGlmEngine",
        tokenizer="tokenizer.model or ice_text.model",
    ),
    # The same, stored as ChatGLM's own int4 or int8.
    "chatglm-packed": Format(
        reader=_CHATGLM,
        engine="models.engines.chatglm:ChatGlmEngine",
        precisions=_keep_own,
        tokenizer="tokenizer.model or ice_text.model",
        scale_per_row=True,
    ),
    # Original files of Qwen-VL or the first Qwen, native mapping.
    "qwen-vl": Format(reader=_QWEN, engine="models.engines.qwen_vl:QwenVLEngine"),
    # The same with AutoGPTQ int4 tensors.
    "qwen-vl-gptq": Format(reader=_QWEN, engine="models.engines.qwen_vl:QwenVLEngine", precisions=_keep_own),
    # A transformers Whisper folder.
    "whisper-hf": Format(
        reader="models.catalog.whisper:read_folder", engine=_WHISPER, precisions=_WHISPER_PRECISIONS
    ),
    # A faster-whisper folder. int8 is what CTranslate2 does best on a processor, at the same word error rate.
    "ctranslate2": Format(
        reader="models.catalog.whisper:read_ctranslate2_folder",
        engine=_WHISPER,
        precisions=_by_kind(cpu=("int8", "fp32"), cuda=("fp16", "int8", "fp32")),
        weights=("model.bin", "*.bin"),
    ),
    # One llama.cpp file, or the parts that it was cut into.
    "gguf": Format(
        reader="models.catalog.gguf:read",
        engine="models.engines.gguf:GgufEngine",
        precisions=_keep_own_in_llama_cpp,
        weights=("*Q4_K_M*.gguf", "*Q4_0*.gguf", "*Q8_0*.gguf", "*.gguf"),
        suffix=".gguf",
        slots=(4, 2, 1),
        prompt_step=512,
        mapped=True,
    ),
    # One OpenAI file.
    "whisper-pt": Format(
        reader="models.catalog.whisper:read_pt",
        engine=_WHISPER,
        precisions=_WHISPER_PRECISIONS,
        weights=("*.pt",),
        suffix=".pt",
    ),
    # An address that ends in /v1.
    "openai-api": Format(
        engine="models.engines.remote:RemoteEngine",
        precisions=_leave_to_server,
        remote=True,
        may_see=True,
    ),
    # A hub id whose files have not been seen yet.
    "unknown": Format(known=False),
}


# Endings of checkpoints that are one file, and the same for people.
SINGLE_FILE = tuple(row.suffix for row in FORMATS.values() if row.suffix)
SINGLE_FILES = Text(" or ".join(", ".join(SINGLE_FILE).rsplit(", ", 1)), "、".join(SINGLE_FILE))


def format_of(checkpoint: Checkpoint) -> Format:
    """The row of the format that a checkpoint is stored in."""
    return FORMATS[checkpoint.format]


def engine_of(checkpoint: Checkpoint) -> Any:
    """The class that runs a checkpoint, imported now. Raises UnsupportedCheckpoint where there is none."""
    if name := format_of(checkpoint).engine:
        return resolve(name)
    raise UnsupportedCheckpoint(
        f"{checkpoint.name} has the format {checkpoint.format}, which this version cannot run yet: "
        "choose another checkpoint.",
        f"{checkpoint.name} 的格式 {checkpoint.format} 尚不受此版本支持：请选择其他模型。",
    )


def resolve(name: str) -> Any:
    """What a row calls "module:name", imported now."""
    module, _, inside = name.partition(":")
    return getattr(import_module(module), inside)
