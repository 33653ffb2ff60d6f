"""The small ChatGLM3 that comes with Quintet: its dialogues, its files, and what it really answers."""

import json
import random
import shutil
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

import models
from models import ChatEngine, ChatOptions, Delta, ToolCall
from models.catalog import CHECKPOINTS, allowed
from models.chat.calls import INTERPRETER
from models.chatglm.tokenizer import ChatGLM3Tokenizer, load_tokenizer
from models.schema import Message
from models.tools import Observation, Toolbox, call, exchange, shipped
from models.tools.tool import CODE
from starters.chatglm3.batches import batch, marked
from starters.chatglm3.dialogues import MODES, exchanges, session
from starters.chatglm3.evaluate import score, unseen
from starters.chatglm3.exchange import TOOLS, Exchange
from starters.chatglm3.train import begin, learn, make_optimizers
from starters.muon import orthogonal

NAME = "chatglm3-tiny"
FOLDER = Path(str(CHECKPOINTS[NAME].path))
GREEDY = ChatOptions(temperature=0.0, max_new_tokens=300)
TEN_MILLION = 10_000_000


@pytest.fixture(scope="module")
def tokenizer() -> ChatGLM3Tokenizer:
    made = load_tokenizer(FOLDER)
    assert isinstance(made, ChatGLM3Tokenizer)
    return made


@pytest.fixture(scope="module")
def engine() -> Iterator[ChatEngine]:
    made = models.load(NAME, device="cpu")
    assert isinstance(made, ChatEngine)
    yield made
    models.unload(NAME)


def some(mode: str, count: int = 150, held_out: bool = False) -> list[Exchange]:
    draw = Random(7)
    made = list(islice(exchanges(draw, session(draw, mode), held_out), count))
    assert len(made) == count
    return made


# --- dialogues -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_dialogue_is_questions_with_calls_and_ends_with_an_answer(mode: str) -> None:
    for made in some(mode):
        roles = [message["role"] for message in made.messages]
        assert roles[0] == "user" and roles[-1] == "assistant"
        assert made.messages[-1]["content"] and "tool_calls" not in made.messages[-1]
        for before, after in pairwise(made.messages):
            assert (after["role"] == "tool") == ("tool_calls" in before)
            assert (after["role"] == "user") <= (before["role"] == "assistant")


def test_observations_are_what_the_tools_say() -> None:
    seen = set()
    for made in some("tool"):
        told = [message for message in made.messages if message["role"] == "tool"]
        told = told[len(told) - len(made.calls()) :]  # behind what could not be read
        for (name, arguments), message in zip(made.calls(), told, strict=True):
            said = call(TOOLS[name], arguments).text
            seen.add(name)
            if name == "current_time" and said.startswith("{"):
                assert json.loads(said).keys() == json.loads(message["content"]).keys()
            else:
                assert message["content"] == said
    assert seen == {tool.name for tool in shipped()}


def test_without_a_tool_its_questions_are_declined() -> None:
    draw, called = Random(1), set()
    for _ in range(20):
        of = session(draw, "some tools")
        listed = {schema["name"] for schema in of.tools}
        for made in islice(exchanges(draw, of, held_out=False), 20):
            called |= (names := {name for name, _ in made.calls()})
            assert names <= listed
    assert called


def test_what_is_held_out_is_never_trained_on() -> None:
    def asked(exchange: Exchange) -> tuple[str, ...]:
        return tuple(message["content"] for message in exchange.messages if message["role"] == "user")

    kept, trained = (
        {asked(made) for made in some("tool", 400, held_out) if not made.finite} for held_out in (True, False)
    )
    assert kept and trained and kept.isdisjoint(trained)


def test_the_same_seed_makes_the_same_dialogues() -> None:
    assert [made.messages for made in some("code", 30)] == [made.messages for made in some("code", 30)]


# --- ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_training_reads_the_ids_of_the_engine(mode: str, tokenizer: ChatGLM3Tokenizer) -> None:
    of = session(Random(3), mode)
    for made in some(mode, 40):
        messages = [*of.system, *made.messages]
        ids, learned = marked(tokenizer, messages, of.tools)
        expected = tokenizer.apply_chat_template(
            messages, of.tools, add_generation_prompt=False, return_dict=False
        )
        assert [*tokenizer.start, *ids] == [*expected, tokenizer.roles["user"]]
        assert len(learned) == len(ids) and learned[-1]


def test_only_what_the_model_writes_is_learned(tokenizer: ChatGLM3Tokenizer) -> None:
    read = exchange("", "weekday", '{"date": "2024-05-01"}', "星期三 Wednesday")
    broken = exchange("", "weekday", "tool_call(", "The tool call cannot be read because it is not Python: …")
    asked: list[Message] = [{"role": "user", "content": "hi"}]
    ids, learned = marked(tokenizer, [*asked, *broken, *read, {"role": "assistant", "content": "done"}])
    written = tokenizer.decode([token for token, own in zip(ids, learned, strict=True) if own])
    assert written == 'weekday\n ```python\ntool_call(date="2024-05-01")\n```<|observation|> \n done<|user|>'


def test_a_batch_is_rows_behind_one_prompt(tokenizer: ChatGLM3Tokenizer) -> None:
    made = batch(Random(0), tokenizer, "tool", 1080)
    assert made.prefix.shape[0] == 1 and made.ids.shape == made.learned.shape and len(made.ids) >= 3
    assert (made.ids[:, 0] == tokenizer.roles["user"]).all()
    assert 0.2 < made.learned.float().mean() < 0.7
    assert not made.learned[made.ids == 0].any()


def test_the_fast_tokenizer_has_the_ids_of_sentencepiece(tokenizer: ChatGLM3Tokenizer) -> None:
    import sentencepiece

    original = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "tokenizer.model"))
    letters = "ab 北京天气0123.-\n'\"(){}=,，。？👋é\t▁ "
    draw = random.Random(0)
    texts = ["".join(draw.choices(letters, k=draw.randint(0, 30))) for _ in range(300)]
    texts += [
        str(message["content"]) for mode in MODES for made in some(mode, 60) for message in made.messages
    ]
    texts += [json.dumps([tool.schema for tool in shipped()], indent=4, ensure_ascii=False)]
    for text in texts:
        assert tokenizer.encode(text, add_special_tokens=False) == original.encode(text)


# --- training ------------------------------------------------------------------------------------


@pytest.fixture
def untrained(tmp_path: Path) -> Any:
    shutil.copy(FOLDER / "tokenizer.model", tmp_path)
    return begin(tmp_path, seed=0)


def test_a_model_copies_before_it_is_trained(untrained: Any) -> None:
    tokens = torch.randint(3, 3000, (4, 50), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = untrained(input_ids=torch.cat([tokens, tokens], 1)).logits
    copied = logits[:, 50:-1].argmax(-1) == tokens[:, 1:]
    assert copied.float().mean() > 0.8


def test_a_step_of_training_makes_the_loss_smaller(
    untrained: Any, tokenizer: ChatGLM3Tokenizer, tmp_path: Path
) -> None:
    given = batch(Random(0), tokenizer, "code", 720)
    before = learn(untrained, [given])
    optimizers = make_optimizers(untrained, rate=0.01)
    for _ in range(3):
        for optimizer in optimizers:
            optimizer.step()
        untrained.zero_grad()
        after = learn(untrained, [given])
    assert after < before - 0.5
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(file.name for file in FOLDER.iterdir())


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_muons_updates_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.3 and values.max() < 1.3


# --- files ---------------------------------------------------------------------------------------


def test_the_files_have_the_original_format_and_are_small() -> None:
    from models.catalog.headers import read_safetensors

    assert sorted(file.name for file in FOLDER.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.model",
    ]  # fmt: skip
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < TEN_MILLION
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["model_type"] == "chatglm" and "multi_query_group_num" in config
    header = read_safetensors(FOLDER / "model.safetensors")
    assert set(header.facts.values()) == {"F16"}
    layer = "transformer.encoder.layers.0"
    rows = (config["num_attention_heads"] + 2 * config["multi_query_group_num"]) * config["kv_channels"]
    assert header.tensors[f"{layer}.self_attention.query_key_value.weight"] == (rows, config["hidden_size"])
    assert header.tensors[f"{layer}.mlp.dense_h_to_4h.weight"][0] == 2 * config["ffn_hidden_size"]
    assert "transformer.output_layer.weight" in header.tensors
    assert all(name.startswith("transformer.") for name in header.tensors)


@pytest.mark.parametrize("name", [NAME, "qwen-vl-tiny"])
def test_the_catalog_says_what_the_files_say(name: str) -> None:
    row = CHECKPOINTS[name]
    found = models.catalog.describe(Path(str(row.path)))
    assert (row.format, row.shape, row.bytes) == (found.format, found.shape, found.bytes)
    assert (row.parameters, row.context_length) == (found.parameters, found.context_length)


@pytest.mark.parametrize("name", [NAME, "qwen-vl-tiny"])
def test_it_needs_no_fetching_and_no_permission(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QUINTET_MODEL_DIRS", str(tmp_path))
    allowed(name)
    assert models.plan(name, device="cpu").fits
    assert models.shared().hub.fetch(CHECKPOINTS[name]) == Path(str(CHECKPOINTS[name].path))


# --- answers -------------------------------------------------------------------------------------


def answered(engine: ChatEngine, toolbox: Toolbox, question: str) -> tuple[list[tuple[str, Any]], str]:
    """The calls that a question leads to, and the text at the end."""
    calls: list[tuple[str, Any]] = []
    text = ""
    for event in toolbox.answer(engine, [{"role": "user", "content": question}], GREEDY):
        if isinstance(event, ToolCall):
            calls.append((event.name, dict(event.arguments)))
        elif isinstance(event, Delta):
            text += event.text
        else:
            assert not (
                isinstance(event, Observation) and event.error and event.error.en.startswith("The tool call")
            )
    return calls, text


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("你好", "你好！我是 Quintet"),
        ("Hello", "I am the tiny ChatGLM3"),
        ("你是谁？", "很小的 ChatGLM3"),
        ("Who are you?", "a tiny ChatGLM3"),
        ("What can you do?", "Tool mode"),
        ("谢谢", "不客气"),
        ("Goodbye", "Goodbye"),
        ("23乘以47是多少？", "切换为“工具”"),
        ("What is the weather in London?", "switch the mode to Tool"),
        ("写一首关于春天的诗", "抱歉，这个我不会"),
        ("What is the capital of Norway?", "I do not know that"),
    ],
)
def test_chat(engine: ChatEngine, question: str, words: str) -> None:
    calls, text = answered(engine, Toolbox(), question)
    assert not calls and words in text


@pytest.mark.parametrize(
    ("question", "calls", "words"),
    [
        ("23乘以47是多少？", [("calculate", {"expression": "23 * 47"})], "1081"),
        ("What is 23 times 47?", [("calculate", {"expression": "23 * 47"})], "1081"),
        ("(3+5)*2等于多少", [("calculate", {"expression": "(3 + 5) * 2"})], "16"),
        ("5除以0等于多少？", [("calculate", {"expression": "5 / 0"})], "除数不能为零"),
        ("北京今天天气怎么样？", [("get_weather", {"city": "北京"})], "晴，气温22℃"),
        ("How is the weather in Tokyo?", [("get_weather", {"city": "Tokyo"})], "cloudy, 20°C"),
        ("10公里是多少英里？", [("convert_unit", {"value": 10, "from_unit": "公里", "to_unit": "英里"})], "6.213711922"),
        ("Convert 5 pounds to kg", [("convert_unit", {"value": 5, "from_unit": "pounds", "to_unit": "kg"})], "2.26796185"),
        ("2024年5月1日是星期几？", [("weekday", {"date": "2024-05-01"})], "星期三"),
        ("How many days from 2024-01-01 to 2024-12-25?", [("days_between", {"start": "2024-01-01", "end": "2024-12-25"})], "359"),
        ("2024-05-01之后100天是哪天？", [("add_days", {"date": "2024-05-01", "days": 100})], "2024-08-09"),
        ("Which is warmer, Beijing or London?", [("get_weather", {"city": "Beijing"}), ("get_weather", {"city": "London"})], "Beijing 22°C, London 13°C"),
        ("计算12*34，再加上56", [("calculate", {"expression": "12 * 34"}), ("calculate", {"expression": "408 + 56"})], "464"),
        ("Thank you!", [], "welcome"),
        ("什么是黑洞？", [], "抱歉，这个我不会"),
    ],
)  # fmt: skip
def test_tools(engine: ChatEngine, question: str, calls: list[Any], words: str) -> None:
    made, text = answered(engine, Toolbox(shipped()), question)
    assert made == calls and words in text


def test_the_time_comes_from_the_tool(engine: ChatEngine) -> None:
    def today() -> str:
        return str(json.loads(call(TOOLS["current_time"], {"place": "东京"}).text)["date"])

    before = today()
    calls, text = answered(engine, Toolbox(shipped()), "现在东京几点？")
    assert calls == [("current_time", {"place": "东京"})]
    assert before in text or today() in text  # it may be midnight there


def test_a_call_that_could_not_be_read_is_written_again(engine: ChatEngine) -> None:
    reason = "The tool call cannot be read because it is not Python: write tool_call(parameter=value, …)."
    broken = exchange("", "calculate", '```python\ntool_call(expression="23 * 47"\n```', reason)
    messages: list[Message] = [{"role": "user", "content": "23 * 47 = ?"}, *broken]
    events = list(engine.stream(messages, GREEDY, tools=Toolbox(shipped()).schemas))
    (asked,) = [event for event in events if isinstance(event, ToolCall)]
    assert (asked.name, asked.arguments) == ("calculate", {"expression": "23 * 47"})


@pytest.mark.parametrize(
    ("question", "code", "observation", "words"),
    [
        ("画一个正弦曲线", "np.sin(x)", "[Image]", "图已画好"),
        ("Plot the sine function.", "np.sin(x)", "[Image]", "Here is the plot"),
        ("画柱状图：苹果3，香蕉5，橙子2", "plt.bar(names, values)", "[Image]", "图已画好"),
        ("从1加到100", "print(sum(range(1, 100 + 1)))", "5050", "5050"),
        ("写一个死循环", "while True:\n    pass", "The code ran longer than 60 seconds and was stopped; its variables are kept.", "已被停止"),
        ("let x = 5", "x = 5", "(no output)", "x is 5"),
        ("print x", "print(x)", "Traceback (most recent call last):\n\n  Cell In[1], line 1\n    print(x)\n\nNameError: name 'x' is not defined", "not defined"),
    ],
)  # fmt: skip
def test_code(engine: ChatEngine, question: str, code: str, observation: str, words: str) -> None:
    messages: list[Message] = [{"role": "user", "content": question}]
    (asked,) = [e for e in engine.stream(messages, GREEDY, tools=[CODE]) if isinstance(e, ToolCall)]
    assert asked.name == INTERPRETER and code in asked.arguments["code"]
    compile(asked.arguments["code"], "cell", "exec")
    messages += exchange("", asked.name, json.dumps(dict(asked.arguments)), observation)
    answer = engine.stream(messages, GREEDY, tools=[CODE])
    assert words in "".join(event.text for event in answer if isinstance(event, Delta))


def test_most_unseen_questions_are_answered_right(engine: ChatEngine) -> None:
    asked = [
        (of, made) for of, made in unseen(5, 60) if not any(name == INTERPRETER for name, _ in made.calls())
    ]
    scores = [score(engine, of, made, None) for of, made in asked]
    assert sum(map(all, scores)) / len(scores) > 0.85
