"""ChatGLM as an engine, on tiny checkpoints in the original file formats."""

import io
import re
import string
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import streamlit as st
from sentencepiece import sentencepiece_model_pb2
from streamlit.testing.v1 import AppTest

import models
from models import ChatOptions, Delta, Done, Loader, ToolCall
from models.errors import BadInput, CheckpointCorrupt, CheckpointNotFound
from models.schema import Event, Placement
from tests.fakes.visitor import ask
from tests.fakes.waiting import LONG_WAIT, at_once

torch = pytest.importorskip("torch")

from models.chatglm.reply import ReplyStream  # noqa: E402
from models.chatglm.vocabulary import FIRST_SPECIAL, MASKS, ROLES, TAB  # noqa: E402
from models.engines.chatglm import ChatGlmEngine  # noqa: E402
from tests.fakes import glm_checkpoints as tiny  # noqa: E402
from tests.fakes.paths import ROOT  # noqa: E402
from tests.fakes.waiting import WAIT  # noqa: E402

GREEDY = ChatOptions(temperature=0.0, max_new_tokens=16)
HELLO = [{"role": "user", "content": "你好, the weather"}]
CORPUS = [
    "你好，世界！今天的天气怎么样？ The quick brown fox jumps over the lazy dog.",
    "北京 the weather is 22 degrees, 晴。 tool_call(location=北京) def f(x): return x ** 2",
    "请介绍一下你自己 Hello! How can I help you today?",
] * 4


def train(**options: Any) -> Any:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, hard_vocab_limit=False, minloglevel=2, **options
    )
    return sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())


def piece_id(vocabulary: Any, text: str) -> int:
    """The id of a piece."""
    return [piece.piece for piece in vocabulary.pieces].index(text)


def save_glm3(folder: Path, bits: int = 0, half: bool = False, says: str = "", **changes: Any) -> Path:
    """A ChatGLM3 with a vocabulary of its own; `bits` for the makers' own packed files, `half` as they
    are published, `says` for one that repeats a piece."""
    vocabulary = train(
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )
    config = tiny.GLM3 | {"padded_vocab_size": 448, "seq_length": 256} | changes
    tensors = tiny.glm3_tensors(config)
    tensors = tiny.saying(tensors, piece_id(vocabulary, says)) if says else tensors
    tensors = tiny.pack(tensors, bits)[0] if bits else tensors
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    tiny.write(folder, config, tensors)
    (folder / "tokenizer.model").write_bytes(vocabulary.SerializeToString())
    return folder


def save_glm1(folder: Path, says: str = "") -> Path:
    """A ChatGLM-6B with a vocabulary of its own; `says` for one that repeats a piece."""
    vocabulary = train(
        model_type="unigram",
        vocab_size=300,
        pad_id=3,
        user_defined_symbols=["<n>"],
        required_chars="<>[]|/_" + string.ascii_letters + string.digits,
        split_digits=True,
    )
    vocabulary.trainer_spec.byte_fallback = True
    names = [(name, 3) for name in FIRST_SPECIAL] + [(TAB, 4)]
    names += [(f"<|blank_{n}|>", 4) for n in range(2, 81)] + [(f"<0x{byte:02X}>", 6) for byte in range(256)]
    for name, kind in names:
        vocabulary.pieces.add(piece=name, score=0.0, type=kind)
    ids = {piece.piece: number for number, piece in enumerate(vocabulary.pieces)}
    config = tiny.GLM1 | {
        "vocab_size": len(ids) + 8,
        "bos_token_id": ids["<sop>"],
        "eos_token_id": ids["<eop>"],
    }
    tensors = tiny.glm1_tensors(config)
    tiny.write(folder, config, tiny.saying(tensors, ids[says]) if says else tensors)
    (folder / "ice_text.model").write_bytes(vocabulary.SerializeToString())
    return folder


pytestmark = pytest.mark.usefixtures("own_cache")
SAVERS = {"glm3": save_glm3, "glm1": save_glm1}


@pytest.fixture(scope="module")
def shop() -> Iterator[Loader]:
    loader = Loader()
    yield loader
    assert loader.unload()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save(tmp_path_factory.mktemp(name)) for name, save in SAVERS.items()}


def open_(shop: Loader, folder: Path, precision: str = "fp32") -> ChatGlmEngine:
    engine = shop.load(str(folder), "cpu", precision)
    assert isinstance(engine, ChatGlmEngine)
    return engine


@pytest.fixture(params=SAVERS)
def engine(request: pytest.FixtureRequest, shop: Loader, folders: dict[str, Path]) -> Iterator[ChatGlmEngine]:
    loaded = open_(shop, folders[request.param])
    yield loaded
    assert loaded.active == 0


@pytest.fixture
def glm3(shop: Loader, folders: dict[str, Path]) -> ChatGlmEngine:
    return open_(shop, folders["glm3"])


def answer(engine: ChatGlmEngine, messages: Any = HELLO, options: ChatOptions = GREEDY) -> tuple[str, Done]:
    return read(list(engine.stream(messages, options)))


def read(events: list[Event]) -> tuple[str, Done]:
    assert isinstance(events[-1], Done)
    return "".join(event.text for event in events if isinstance(event, Delta)), events[-1]


def bare(engine: ChatGlmEngine, prompt: list[int]) -> list[int]:
    """New ids from the library's own `generate`, without its end where the model made one."""
    ids = torch.tensor([prompt])
    stop = list(engine.tokenizer.stop_ids)
    made = engine.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        eos_token_id=stop,
        pad_token_id=stop[0],
        do_sample=False,
        max_new_tokens=16,
    )
    return [int(token) for token in made[0, len(prompt) :]]


# --- answers -------------------------------------------------------------------------------------


def test_greedy_text_is_that_of_bare_generate(engine: ChatGlmEngine) -> None:
    prompt = engine.tokenizer.apply_chat_template(HELLO, return_dict=False)
    made = bare(engine, prompt)
    text, done = answer(engine)
    expected = ReplyStream(engine.tokenizer)
    pieces = [expected.push(token) for token in made if token not in engine.tokenizer.stop_ids]
    assert text == "".join(pieces) + expected.flush() != ""
    assert done.usage.completion_tokens == len(made)
    assert done.usage.prompt_tokens == len(prompt) == engine.count_tokens(HELLO)
    assert answer(engine)[0] == text


@pytest.mark.parametrize("beginning", ["the weather", "北京 def", "Hello"])
def test_a_text_is_continued_without_roles(engine: ChatGlmEngine, beginning: str) -> None:
    prompt = engine.tokenizer(beginning)["input_ids"]
    assert engine.count_tokens(beginning) == len(prompt)
    made = [token for token in bare(engine, prompt) if token not in engine.tokenizer.stop_ids]
    plain = engine.tokenizer.detokenizer()
    before = plain.feed(prompt)
    text, done = answer(engine, beginning)
    assert text == plain.feed(made) and before
    assert done.usage.prompt_tokens == len(prompt)


def test_a_base_model_continues(shop: Loader, tmp_path: Path) -> None:
    engine = open_(shop, save_glm3(tmp_path, _name_or_path="THUDM/chatglm3-6b-base"))
    assert engine.checkpoint.kind == "completion" and not engine.has_chat_template
    assert answer(engine, [{"role": "user", "content": "the weather"}])[0] == answer(engine, "the weather")[0]
    assert engine.count_tokens("the weather") == len(engine.tokenizer("the weather")["input_ids"])


def test_a_continued_text_keeps_the_space_between_words(glm3: ChatGlmEngine) -> None:
    tokenizer = glm3.tokenizer
    before, after = tokenizer("the")["input_ids"], tokenizer.encode("weather", add_special_tokens=False)
    continued = ReplyStream(tokenizer, prompt_ids=before)
    assert "".join(map(continued.push, after)) == " weather"


def test_cancel_ends_the_answer(engine: ChatGlmEngine) -> None:
    cancel, events = threading.Event(), []
    options = ChatOptions(temperature=0.0, max_new_tokens=100)
    for event in engine.stream("the", options, cancel):
        events.append(event)
        cancel.set()
    assert read(events)[1].finish_reason == "cancelled"
    assert answer(engine)[0]


def test_two_sessions_get_what_they_would_alone(engine: ChatGlmEngine) -> None:
    asked = [[{"role": "user", "content": text}] for text in ("北京", "How can I help")]
    alone = [answer(engine, messages)[0] for messages in asked]
    assert at_once(lambda messages: answer(engine, messages)[0], asked, LONG_WAIT) == alone


# --- prompts -------------------------------------------------------------------------------------


def test_a_built_tokenizer_is_kept(engine: ChatGlmEngine, own_cache: Path) -> None:
    stems = {file.name.partition("-")[0] for file in (own_cache / "tokenizers").glob("*.json")}
    assert ("ice_text" if engine.tokenizer.generation == "chatglm" else "tokenizer") in stems


def test_what_is_typed_stays_text(engine: ChatGlmEngine) -> None:
    typed = "".join([*MASKS, *ROLES, *FIRST_SPECIAL, "<s></s><pad>"])
    tokenizer = engine.tokenizer
    # The control tokens of a harmless prompt are all that a prompt may have.
    control = {
        tokenizer.convert_tokens_to_ids(name) for name in (*MASKS, *ROLES, *FIRST_SPECIAL, "<sop>", "</s>")
    }
    control.discard(tokenizer.unk_token_id)
    control |= set(tokenizer.stop_ids)

    def structure(text: str) -> list[int]:
        return [token for token in engine._prompt([{"role": "user", "content": text}]) if token in control]

    assert structure(typed) == structure("hi")
    assert [token for token in engine._prompt(typed) if token in control] == [
        token for token in engine._prompt("hi") if token in control
    ]


def test_pictures_and_malformed_calls_are_refused(glm3: ChatGlmEngine) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:"}}]
    with pytest.raises(BadInput, match="text only"):
        list(glm3.stream([{"role": "user", "content": picture}]))
    broken = [*HELLO, {"role": "assistant", "content": "", "tool_calls": [{"function": "f"}]}, *HELLO]
    with pytest.raises(BadInput, match="OpenAI"):
        list(glm3.stream(broken))


# --- replies -------------------------------------------------------------------------------------


def events_of(glm3: ChatGlmEngine, monkeypatch: pytest.MonkeyPatch, reply: str) -> list[Event]:
    """What the engine makes of this reply, as if the model had written it."""
    tokenizer = glm3.tokenizer
    ids: list[int] = []
    for number, part in enumerate(reply.split("<|assistant|>")):
        ids += [tokenizer.roles["assistant"]] * bool(number) + tokenizer.encode(
            part, add_special_tokens=False
        )
    written = [*ids, tokenizer.roles["observation"]]
    monkeypatch.setattr("models.pretrained.generation.Generation", lambda *_: Written(written))
    return list(glm3.stream(HELLO, GREEDY))


class Written:
    """Stands for a `Generation` whose tokens are known."""

    complete = False

    def __init__(self, ids: list[int]) -> None:
        self._ids = ids

    def ticking(self, seconds: float) -> Iterator[int]:
        return iter(self._ids)

    def close(self, wait: bool) -> None:
        """Nothing runs."""


CALL = ' get_weather\n ```python\ntool_call(city="北京", days=3)\n```'


def test_a_tool_call_is_an_event(glm3: ChatGlmEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    events = events_of(glm3, monkeypatch, "\n 好的[[训练时间]]<|assistant|>" + CALL)
    assert read(events)[0] == "好的2023年" and read(events)[1].finish_reason == "tool_calls"
    assert [e for e in events if isinstance(e, ToolCall)] == [
        ToolCall("get_weather", {"city": "北京", "days": 3}, CALL.partition("\n ")[2])
    ]


def test_code_for_the_interpreter_is_a_call_too(glm3: ChatGlmEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    events = events_of(glm3, monkeypatch, " interpreter\n ```python\nx = 1\nprint(x)\n```")
    assert [e for e in events if isinstance(e, ToolCall)] == [
        ToolCall("interpreter", {"code": "x = 1\nprint(x)"}, "```python\nx = 1\nprint(x)\n```")
    ]


def test_a_call_that_cannot_be_read_is_an_event_and_can_be_given_back(
    glm3: ChatGlmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = events_of(glm3, monkeypatch, " get_weather\n ```python\ntool_call(city=open('x'))\n```")
    text, done = read(events)
    assert text == "" and done.finish_reason == "tool_calls"
    (call,) = [event for event in events if isinstance(event, ToolCall)]
    assert call.error is not None and not call.arguments
    function = {"name": call.name, "arguments": call.text}
    given = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [{"function": function}]}]
    sent = glm3.tokenizer.decode(glm3._prompt([*given, {"role": "tool", "content": call.error.en}]))
    assert "get_weather" in sent and "tool_call(city=open('x'))" in sent and call.error.en in sent


def test_a_call_that_was_cut_off_is_not_run(glm3: ChatGlmEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code without its last fence may be whole, or half."""
    tokenizer = glm3.tokenizer
    code = tokenizer.encode(" interpreter\n ```python\nx = 1", add_special_tokens=False)
    monkeypatch.setattr("models.pretrained.generation.Generation", lambda *_: Written(code))
    *_, call, done = glm3.stream(HELLO, GREEDY)
    assert isinstance(call, ToolCall) and call.error is not None and "cut off" in call.error.en
    assert call.arguments == {} and "x = 1" in call.text
    assert isinstance(done, Done) and done.finish_reason == "length"


def test_tools_and_their_answers_are_turns_of_the_prompt(glm3: ChatGlmEngine) -> None:
    function = {"name": "get_weather", "arguments": '{"city": "北京"}'}
    messages = [
        {"role": "system", "content": "tools:"},
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": [{"function": function}]},
        {"role": "tool", "content": "晴"},
    ]
    roles = {number: name for name, number in glm3.tokenizer.roles.items()}
    tools = [{"name": "get_weather"}]
    prompt = glm3._prompt(messages, tools)
    order = [roles[token] for token in prompt if token in roles]
    assert order == ["system", "user", "assistant", "observation", "assistant"]
    *_, done = glm3.stream(messages, GREEDY, tools=tools)
    assert isinstance(done, Done) and done.usage.prompt_tokens == glm3.count_tokens(messages, tools)
    assert glm3.count_tokens(messages, tools) == len(prompt) > glm3.count_tokens(messages)
    own = [{**messages[0], "tools": tools}, *messages[1:]]  # ChatGLM3's own form
    assert glm3.count_tokens(own) == len(prompt)


# --- the cached prefix -----------------------------------------------------------------------------


def test_later_turns_of_chatglm3_read_only_what_is_new(shop: Loader, folders: dict[str, Path]) -> None:
    engine = open_(shop, folders["glm3"])
    _, cached, texts = converse(engine)
    assert all(tokens > 0 for tokens in cached[1:])
    engine._prefix.clear()
    fresh = []
    for messages in conversations(texts):
        engine._prefix.clear()
        fresh.append(answer(engine, messages)[0])
    assert fresh == texts


def test_chatglm_6b_reads_every_turn_anew(shop: Loader, folders: dict[str, Path]) -> None:
    _, cached, texts = converse(open_(shop, folders["glm1"]))
    assert cached == [0, 0, 0] and all(texts)


def conversations(texts: list[str]) -> Iterator[list[dict[str, str]]]:
    messages: list[dict[str, str]] = []
    for question, text in zip(("你好", "北京 weather", "再见"), [*texts, ""], strict=False):
        messages = [*messages, {"role": "user", "content": question}]
        yield messages
        messages = [*messages, {"role": "assistant", "content": text}]


def converse(engine: ChatGlmEngine) -> tuple[list[Done], list[int], list[str]]:
    """Three turns, each after the answers that came before."""
    texts: list[str] = []
    dones: list[Done] = []
    for turn in range(3):
        messages = list(conversations(texts))[turn]
        text, done = answer(engine, messages)
        texts.append(text)
        dones.append(done)
    return dones, [done.usage.cached_tokens for done in dones], texts


# --- loading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "precision, dtype",
    [("bf16", "bfloat16"), ("int8", "int8 (bfloat16 activations)"), ("int4", "int4 (bfloat16 activations)")],
)
def test_precisions(shop: Loader, tmp_path: Path, precision: str, dtype: str) -> None:
    sizes = {"hidden_size": 64, "ffn_hidden_size": 96, "num_attention_heads": 4, "kv_channels": 16}
    engine = open_(shop, save_glm3(tmp_path, **sizes, multi_query_group_num=2), precision)
    assert engine.report.dtype == dtype
    assert answer(engine)[1].usage.completion_tokens


@pytest.mark.parametrize("bits", [4, 8])
def test_packed_files_keep_their_precision(shop: Loader, tmp_path: Path, bits: int) -> None:
    engine = open_(shop, save_glm3(tmp_path, bits), "auto")
    assert engine.checkpoint.format == "chatglm-packed"
    assert engine.report.dtype == f"int{bits} (bfloat16 activations)"
    assert answer(engine)[1].usage.completion_tokens


@pytest.mark.parametrize("bits, precision", [(0, "bf16"), (0, "int8"), (0, "int4"), (4, "auto"), (8, "auto")])
def test_weights_take_what_was_planned(shop: Loader, tmp_path: Path, bits: int, precision: str) -> None:
    sizes = {"hidden_size": 256, "ffn_hidden_size": 512, "num_attention_heads": 4, "kv_channels": 64}
    folder = save_glm3(tmp_path, bits, **sizes, multi_query_group_num=2, half=True)
    planned = shop.plan(str(folder), "cpu", precision).weights
    assert open_(shop, folder, precision).report.weights == pytest.approx(planned, rel=0.02)


@pytest.mark.parametrize("name, file", [("glm3", "tokenizer.model"), ("glm1", "ice_text.model")])
def test_a_missing_vocabulary_is_named(shop: Loader, tmp_path: Path, name: str, file: str) -> None:
    folder = SAVERS[name](tmp_path)
    (folder / file).unlink()
    with pytest.raises(CheckpointCorrupt, match=re.escape(file)):
        open_(shop, folder)
    (folder / "tokenizer_config.json").write_text("{}")  # as in the real repositories
    with pytest.raises(CheckpointNotFound, match=f"has no {re.escape(file)}"):
        open_(shop, folder)


def test_progress_counts_tensors(folders: dict[str, Path]) -> None:
    seen: list[models.Progress] = []
    checkpoint = models.catalog.find(str(folders["glm1"]))
    engine = ChatGlmEngine(folders["glm1"], checkpoint, Placement("cpu", "fp32"), seen.append)
    assert [step.done for step in seen] == list(range(len(engine.model.state_dict()) + 1))


# --- the page ------------------------------------------------------------------------------------

PAGE = str(ROOT / "pages/chatglm.py")


@pytest.fixture
def own_loader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A page of a process that has loaded nothing, on a machine that has nothing."""
    for name in ("QUINTET_CACHE", "HF_HOME", "HF_HUB_CACHE", "MODELSCOPE_CACHE", "QUINTET_MODEL_DIRS"):
        monkeypatch.setenv(name, str(tmp_path))
    models.shared.cache_clear()
    st.cache_resource.clear()
    yield
    models.unload()
    models.shared.cache_clear()
    st.cache_resource.clear()


def visit(locale: str) -> AppTest:
    at = AppTest.from_file(PAGE, default_timeout=WAIT)
    at.context["locale"] = locale
    at.run()
    assert not at.exception
    return at


@pytest.mark.parametrize(
    "locale, says",
    [
        (
            "en-US",
            ("not on this machine", "12.5 GB", "13 / 9 / 5 GB", "25 GB", "**Load**", "path of their folder"),
        ),
        ("zh-CN", ("本机没有", "12.5 GB", "13 / 9 / 5 GB", "25 GB", "**加载**", "文件夹的路径")),
    ],
)
def test_the_page_says_what_an_absent_checkpoint_needs(
    own_loader: None, monkeypatch: pytest.MonkeyPatch, locale: str, says: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CHATGLM_MODEL_PATH", "chatglm3-6b")
    shown = "\n".join(element.value for element in visit(locale).info)
    assert all(words in shown for words in (*says, "HF_ENDPOINT", "USE_MODELSCOPE_HUB"))


@pytest.mark.parametrize("locale, only", [("en-US", "chats and does nothing else"), ("zh-CN", "仅支持对话")])
def test_the_page_says_that_chatglm_6b_only_chats(
    own_loader: None, monkeypatch: pytest.MonkeyPatch, locale: str, only: str
) -> None:
    assert not [caption for caption in visit(locale).caption if only in caption.value]
    monkeypatch.setenv("CHATGLM_MODEL_PATH", "chatglm-6b")
    assert [caption for caption in visit(locale).caption if only in caption.value]


@pytest.mark.parametrize("name", SAVERS)
def test_the_page_chats(own_loader: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv("CHATGLM_MODEL_PATH", str(SAVERS[name](tmp_path / name, says="x")))
    at = visit("en-US")
    assert not [element for element in at.info if "GB" in element.value]
    (tokens,) = [field for field in at.number_input if "max_new_tokens" in field.key]
    tokens.set_value(8)
    ask(at, "你好, the weather")
    assert not at.exception and not at.error
    assert [message.markdown[0].value for message in at.chat_message] == ["你好, the weather", "x" * 8]


@pytest.mark.parametrize("name, temperature", [("glm3", 0.8), ("glm1", 0.95)])
def test_a_folder_has_the_defaults_of_its_generation(
    folders: dict[str, Path], name: str, temperature: float
) -> None:
    assert models.catalog.find(str(folders[name])).options["temperature"] == temperature
