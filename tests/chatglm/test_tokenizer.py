"""ChatGLM's tokenizers, prompts and replies: the ids and texts of the originals."""

import io
import json
import random
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from models.chatglm import prompt
from models.chatglm.files import generation
from models.chatglm.tokenizer import ChatGLM3Tokenizer, ChatGLM6BTokenizer, load_tokenizer
from models.chatglm.vocabulary import (
    FIRST_SPECIAL,
    IMAGE_TOKENS,
    MASKS,
    ROLES,
    TAB,
    WHITE,
    build_bpe,
    build_unigram,
    read_pieces,
)
from models.errors import BadInput, CheckpointNotFound, UnsupportedCheckpoint
from models.tools import parse_arguments
from tests.fakes.paths import SHARED

needs_fixtures = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared with the reference outputs")
ROUND_TRIP_SEED = 7


def cases(name: str) -> Any:
    return json.loads((SHARED / "fixtures/tokenizers" / f"{name}.json").read_text("utf-8"))


def conversation(case: Any) -> list[dict[str, Any]]:
    pairs = [turn for q, a in case["history"] for turn in (("user", q), ("assistant", a))]
    return [{"role": role, "content": text} for role, text in [*pairs, ("user", case["query"])]]


@pytest.fixture(scope="module")
def glm3() -> ChatGLM3Tokenizer:
    if not SHARED.is_dir():
        pytest.skip("no ../shared with the real vocabularies")
    return ChatGLM3Tokenizer(build_bpe(read_pieces(SHARED / "tokenizers/chatglm3-6b/tokenizer.model")))


@pytest.fixture(scope="module")
def glm1() -> ChatGLM6BTokenizer:
    if not SHARED.is_dir():
        pytest.skip("no ../shared with the real vocabularies")
    return ChatGLM6BTokenizer(build_unigram(read_pieces(SHARED / "tokenizers/chatglm-6b/ice_text.model")))


# --- the originals' ids and texts --------------------------------------------------------------


def test_chatglm3_prompts(glm3: ChatGLM3Tokenizer) -> None:
    for case in cases("glm3")["build_chat_input"]:
        messages = [*case["history"], {"role": case["role"], "content": case["query"]}]
        assert glm3.apply_chat_template(messages, return_dict=False) == case["ids"], case["name"]
        assert glm3.decode(case["ids"]) == case["decoded"], case["name"]


def test_chatglm3_plain_text(glm3: ChatGLM3Tokenizer) -> None:
    every = cases("glm3")
    for case in every["plain_text"]:
        assert glm3(case["text"])["input_ids"] == case["call_ids"], case["name"]
        assert glm3.encode(case["text"], add_special_tokens=False) == case["call_no_special"], case["name"]
        assert glm3.decode(case["call_no_special"]) == case["decode"], case["name"]
    assert glm3(every["pair"]["a"], every["pair"]["b"])["input_ids"] == every["pair"]["ids"]
    assert list(glm3.stop_ids) == every["stop_ids"]


def test_chatglm3_decoding_whole_and_piece_by_piece(glm3: ChatGLM3Tokenizer) -> None:
    for case in cases("glm3")["decode"]:
        assert glm3.decode(case["ids"]) == case["decode"], case["why"]
        stream = glm3.detokenizer()
        pieces = [stream.feed([token]) for token in case["ids"]]
        assert "\ufffd" not in "".join(pieces)
        assert "".join([*pieces, stream.feed([], last=True)]) == case["decode"], case["why"]


def test_left_padding(glm3: ChatGLM3Tokenizer, glm1: ChatGLM6BTokenizer) -> None:
    for name, tokenizer, start, end in (("glm3", glm3, 2, None), ("glm1", glm1, 0, -2)):
        expected = cases(name)["batch_left_pad"]["input_ids"]
        rows = [[token for token in row if token != tokenizer.pad_token_id] for row in expected]
        made = tokenizer([tokenizer.decode(row[start:end]) for row in rows], padding=True)
        assert made["input_ids"] == expected
        assert [sum(mask) for mask in made["attention_mask"]] == [len(row) for row in rows]


def test_chatglm_6b_prompts_with_harmless_text(glm1: ChatGLM6BTokenizer) -> None:
    end = [glm1.convert_tokens_to_ids(name) for name in ("[gMASK]", "<sop>")]
    for case in cases("glm1")["prompts"]:
        assert prompt.format_rounds(conversation(case)) == case["prompt"], case["name"]
        # The original lets "<sop>" and others in a person's text become tokens; here they stay text.
        made = glm1.apply_chat_template(conversation(case), return_dict=False)
        assert made == [*case["raw_sp_ids"], *end], case["name"]
        assert glm1(case["prompt"])["input_ids"] == made


def test_chatglm_6b_decoding(glm1: ChatGLM6BTokenizer) -> None:
    every = cases("glm1")
    for case in every["prompts"]:
        assert glm1.decode(case["ids"]) == case["decode"], case["name"]
        assert glm1.decode(case["ids"], skip_special_tokens=True) == case["decode_skip_special"], case["name"]
    for case in every["decode"]:
        expected = case.get("decode_no_cleanup", "")  # an unused id raised an error; here it adds nothing
        assert glm1.decode(case["ids"], clean_up_tokenization_spaces=False) == expected, case["why"]
        assert glm1.decode(case["ids"]) == case.get("decode", ""), case["why"]
        stream = glm1.detokenizer()
        pieces = [stream.feed([token]) for token in case["ids"]]
        assert "".join([*pieces, stream.feed([], last=True)]) == expected, case["why"]
    assert {name: glm1.convert_tokens_to_ids(name) for name in every["special_ids"]} == every["special_ids"]
    assert glm1(every["pair"]["a"], every["pair"]["b"])["input_ids"] == every["pair"]["ids"]


@needs_fixtures
def test_replies_of_chatglm_6b() -> None:
    for case in cases("glm1")["process_response"]:
        assert prompt.first_reply(case["output"]) == case["response"]


@needs_fixtures
def test_replies_of_chatglm3() -> None:
    seen = Counter[str]()
    for case in cases("glm3")["process_response"]:
        if "early" in case["variant"]:
            continue
        parts = prompt.split_reply(case["output"])
        kept = [{"role": p.role, "metadata": p.metadata, "content": p.content} for p in parts]
        assert kept == case["appended"], case["name"]
        expected, last = case["response"], parts[-1]
        if isinstance(expected, str):
            seen["text"] += 1
            assert prompt.second_reply(last.content) == expected
        elif "content" in expected:
            seen["call as it is"] += 1
            assert {"name": last.metadata.strip(), "content": last.content} == expected
        elif expected["name"] != "interpreter":  # its content is code, which the original evaluated
            seen["call"] += 1
            assert parse_arguments(last.content) == expected["parameters"]
    assert seen == {"text": 13, "call as it is": 2, "call": 3}


@pytest.mark.parametrize("name", ["glm3", "glm1"])
def test_random_text_has_the_ids_of_sentencepiece(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(name)
    folder, file = ("chatglm3-6b", "tokenizer.model") if name == "glm3" else ("chatglm-6b", "ice_text.model")
    original = sentencepiece.SentencePieceProcessor(model_file=str(SHARED / "tokenizers" / folder / file))
    for text in texts(300):
        expected = original.encode(whitened(text) if name == "glm1" else text)
        assert tokenizer.encode(text, add_special_tokens=False) == expected, text


# --- vocabularies of our own -------------------------------------------------------------------

CORPUS = [
    "你好，世界！今天的天气怎么样？ The quick brown fox jumps over the lazy dog.",
    "北京 the weather is 22 degrees, 晴。 tool_call(location=北京) def f(x): return x ** 2",
    "请介绍一下你自己 Hello! How can I help you today? sop eop sop eop",
] * 4
ALPHABET = [
    "a",
    "b",
    "the ",
    "he",
    " ",
    "  ",
    "   ",
    "\n",
    "\t",
    "你",
    "好",
    "天气",
    "，",
    "！",
    "ﬁ",
    "①",
    "Ａ",
]
ALPHABET += [
    "👋",
    "\u200d",
    "é",
    "▁",
    ".",
    ",",
    "'",
    "n't",
    "x1",
    "2024",
    "\x00",
    "\u0085",
    "<sop>",
    "<|user|>",
]
ALPHABET += ["[gMASK]", "</s>", "<unk>", "<0x0A>", "<n>", "<|tab|>", "<|blank_3|>", "weather", "sop", "eop"]


def texts(count: int) -> Iterator[str]:
    draw = random.Random(ROUND_TRIP_SEED)
    for _ in range(count):
        yield "".join(draw.choices(ALPHABET, k=draw.randint(0, 24)))


def whitened(text: str) -> str:
    """White space as ChatGLM-6B's own code writes it for SentencePiece."""
    for name, white in WHITE.items():
        text = text.replace(white, name)
    return text


def train(**options: Any) -> Any:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, hard_vocab_limit=False, minloglevel=2, **options
    )
    return sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())


@pytest.fixture(scope="module")
def own_bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = train(
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )
    return written(tmp_path_factory.mktemp("bpe"), "tokenizer.model", model, "padded_vocab_size")


def written(folder: Path, name: str, model: Any, key: str) -> Path:
    (folder / name).write_bytes(model.SerializeToString())
    (folder / "config.json").write_text(json.dumps({"model_type": "chatglm", key: 1}))
    return folder


def test_a_vocabulary_of_our_own_in_the_format_of_chatglm3(own_bpe: Path, tmp_path: Path) -> None:
    original = sentencepiece.SentencePieceProcessor(model_file=str(own_bpe / "tokenizer.model"))
    for _ in range(2):  # built, then from the cache
        tokenizer = load_tokenizer(own_bpe, cache=tmp_path)
        assert tokenizer.generation == "chatglm3"
        for text in texts(200):
            ids = original.encode(text)
            assert tokenizer.encode(text, add_special_tokens=False) == ids
            assert max(ids, default=0) < original.get_piece_size()
            assert tokenizer.decode(ids) == original.decode(ids)
        first = original.get_piece_size()
        assert tokenizer.roles == {role.strip("<|>"): first + len(MASKS) + n for n, role in enumerate(ROLES)}
        hi = original.encode("hi")
        expected = [first + 1, first + 3, tokenizer.roles["user"], *original.encode("\n"), *hi]
        messages = [{"role": "user", "content": "hi"}]
        made = tokenizer.apply_chat_template(messages, return_tensors="pt")
        assert made["input_ids"].tolist() == [[*expected, tokenizer.roles["assistant"]]]
        assert made["attention_mask"].tolist() == [[1] * (len(expected) + 1)]
        assert (
            tokenizer.apply_chat_template(messages, add_generation_prompt=False, return_dict=False)
            == expected
        )
        both = tokenizer.apply_chat_template([messages, messages], return_dict=False)
        assert both == [[*expected, tokenizer.roles["assistant"]]] * 2
        assert "<|user|>\nhi<|assistant|>" in tokenizer.apply_chat_template(messages, tokenize=False)
    assert len(list(tmp_path.iterdir())) == 1


def test_model_and_tokenizer_together(own_bpe: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from models.chatglm import load
    from tests.fakes import glm_checkpoints as tiny

    config = tiny.GLM3 | {"padded_vocab_size": 448}
    folder = tiny.write(tmp_path / "model", config, tiny.glm3_tensors(config))
    (folder / "tokenizer.model").write_bytes((own_bpe / "tokenizer.model").read_bytes())
    model, tokenizer = load(folder, torch.float32, cache=tmp_path / "cache")
    prompts = [[{"role": "user", "content": text}] for text in ("hi", "今天的天气怎么样？")]
    batch = tokenizer.apply_chat_template(prompts, padding=True, return_tensors="pt")
    together = model.generate(**batch, max_new_tokens=8, do_sample=False)
    alone = tokenizer.apply_chat_template(prompts[0], return_tensors="pt")
    alone = model.generate(**alone, max_new_tokens=8, do_sample=False)[0].tolist()
    made = [token for token in together[0].tolist() if token != tokenizer.pad_token_id]
    assert made == [token for token in alone if token != tokenizer.pad_token_id]
    assert model.generation_config.eos_token_id == list(tokenizer.stop_ids)


def test_nothing_typed_becomes_a_special_token(own_bpe: Path) -> None:
    tokenizer = load_tokenizer(own_bpe)
    typed = "".join([*MASKS, *ROLES, "<s></s><unk>"])
    first = len(tokenizer) - len(MASKS) - len(ROLES)
    messages = [
        {"role": "system", "content": typed},
        {"role": "user", "content": typed},
        {"role": "assistant", "content": typed, "metadata": typed},
        {"role": "tool", "content": typed},
    ]
    ids = tokenizer.apply_chat_template(messages, [{"name": typed}], return_dict=False)
    structure = [token for token in ids if token >= first or token < 3]
    roles = [tokenizer.roles[role] for role in ("system", "user", "assistant", "observation", "assistant")]
    assert structure == [*tokenizer.start, *roles]


@pytest.mark.parametrize("image_tokens", [0, IMAGE_TOKENS])
def test_a_vocabulary_of_our_own_in_the_format_of_chatglm_6b(tmp_path: Path, image_tokens: int) -> None:
    plain = train(
        model_type="unigram",
        vocab_size=300,
        pad_id=3,
        user_defined_symbols=["<n>"],
        # As in the real vocabulary, what special tokens are spelled with has pieces of its own.
        required_chars="<>[]|/_" + string.ascii_letters + string.digits,
        split_digits=True,
    )
    complete = sentencepiece_model_pb2.ModelProto.FromString(plain.SerializeToString())
    complete.trainer_spec.byte_fallback = True
    names = [(name, 3) for name in FIRST_SPECIAL] + [(TAB, 4)]
    names += [(f"<|blank_{n}|>", 4) for n in range(2, 81)] + [(f"<0x{byte:02X}>", 6) for byte in range(256)]
    for name, kind in names:
        complete.pieces.add(piece=name, score=0.0, type=kind)
    original = sentencepiece.SentencePieceProcessor(model_proto=complete.SerializeToString())
    # The first files have neither the special tokens nor ids that start at 0.
    written(tmp_path, "ice_text.model", plain if image_tokens else complete, "position_encoding_2d")
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.convert_tokens_to_ids("<sop>") == original.piece_to_id("<sop>") + image_tokens
    for text in texts(200):
        ids = [token + image_tokens for token in original.encode(whitened(text))]
        assert tokenizer.encode(text, add_special_tokens=False) == ids, text
    assert tokenizer.pad_token_id == 3 + image_tokens


def test_a_base_model_has_no_chat_template(own_bpe: Path) -> None:
    assert load_tokenizer(own_bpe).chat_template
    base = load_tokenizer(own_bpe, chat=False)
    assert base.chat_template is None
    assert base("hi")["input_ids"][:2] == base.start


def test_another_tokenizer_is_named(own_bpe: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((own_bpe / "config.json").read_text())
    with pytest.raises(CheckpointNotFound, match=r"tokenizer\.model"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").write_text("IQ== 0\nIg== 1\n")  # GLM-4's is of this kind
    with pytest.raises(UnsupportedCheckpoint, match="GLM-4"):
        load_tokenizer(tmp_path)


def test_what_was_built_is_read_the_next_time(
    own_bpe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(
        "models.chatglm.tokenizer.build_bpe", lambda model: built.append(1) or build_bpe(model)
    )

    def ids() -> list[int]:
        return list(load_tokenizer(own_bpe, cache=tmp_path).encode("你好, 世界"))

    first = ids()
    (kept,) = tmp_path.iterdir()
    assert ids() == first and len(built) == 1
    kept.write_text(kept.read_text("utf-8")[:-100], "utf-8")
    assert ids() == first and len(built) == 2  # a damaged file is built again
    assert ids() == first and len(built) == 2


def test_a_cache_that_cannot_be_written_stops_nobody(own_bpe: Path, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    assert load_tokenizer(own_bpe, cache=tmp_path / "a file").encode("a")


def test_an_emoji_in_pieces_keeps_the_newline_before_it(own_bpe: Path) -> None:
    tokenizer = load_tokenizer(own_bpe)
    newline, *emoji = tokenizer.encode("\n👋", add_special_tokens=False)[1:]
    stream = tokenizer.detokenizer()
    assert stream.feed([newline]) == "\n"
    assert [stream.feed([token]) for token in emoji] == ["", "", "", "👋"]


# --- prompts and replies -----------------------------------------------------------------------

WEATHER = {"name": "get_weather", "description": "天气", "parameters": {"type": "object", "properties": {}}}


def test_openais_tool_messages_are_chatglms_turns() -> None:
    call = {"function": {"name": "get_weather", "arguments": '{"city": "北京", "days": 3, "now": true}'}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "天气？"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "晴"},
    ]
    made = prompt.format_messages(messages, [{"type": "function", "function": WEATHER}])
    assert made[0].role == "system"
    assert made[0].content == prompt.TOOLS + "\n" + json.dumps([WEATHER], indent=4, ensure_ascii=False)
    written = '```python\ntool_call(city="北京", days=3, now=True)\n```'
    assert made[1:] == [
        prompt.PromptMessage("user", "天气？"),
        prompt.PromptMessage("assistant", written, "get_weather"),
        prompt.PromptMessage("observation", "晴"),
    ]
    assert parse_arguments(written) == {"city": "北京", "days": 3, "now": True}


@pytest.mark.parametrize(
    ("name", "arguments", "content"),
    [
        ("f", {"a": 1, "b": ["x", None]}, "```python\ntool_call(a=1, b=['x', None])\n```"),
        ("f", "", "```python\ntool_call()\n```"),
        ("interpreter", '{"code": "x = 1\\nprint(x)"}', "```python\nx = 1\nprint(x)\n```"),
        # What is no JSON object is a call as the model wrote it.
        ("f", "```python\ntool_call(a=open('x'))\n```", "```python\ntool_call(a=open('x'))\n```"),
        ("f", '"北京"', '"北京"'),
        ("interpreter", "print(1", "print(1"),
    ],
)
def test_a_call_is_given_back_as_the_model_wrote_it(name: str, arguments: Any, content: str) -> None:
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    made = prompt.format_messages([{"role": "assistant", "content": "", "tool_calls": [call]}])
    assert made == [prompt.PromptMessage("assistant", content, name)]


def test_a_list_of_tools_without_words_gets_the_makers_own() -> None:
    made = prompt.format_messages([{"role": "system", "content": ""}], [WEATHER])
    assert made[0].content.splitlines()[:2] == [prompt.TOOLS, "["]


def test_the_code_interpreter_is_turned_on_by_words() -> None:
    code = {"name": "interpreter", "parameters": {}}
    (only,) = prompt.format_messages([], [code])
    assert only.content == prompt.INTERPRETER
    (own,) = prompt.format_messages([{"role": "system", "content": "Run code."}], [code])
    assert own.content == "Run code."
    (both,) = prompt.format_messages([], [{"type": "function", "function": code}, WEATHER])
    assert both.content.startswith(f"{prompt.INTERPRETER}\n{prompt.TOOLS}\n[")
    assert "interpreter" not in both.content


def test_a_system_prompt_stays_in_front_of_the_tools() -> None:
    system = {"role": "system", "content": "Be brief.", "metadata": "m"}
    made = prompt.format_messages([system, {"role": "user", "content": "?"}], [WEATHER])
    listed = json.dumps([WEATHER], indent=4, ensure_ascii=False)
    assert made == [
        prompt.PromptMessage("system", f"Be brief.\n{listed}", "m"),
        prompt.PromptMessage("user", "?"),
    ]


def test_tools_listed_in_chatglm3s_own_form_are_read(own_bpe: Path) -> None:
    tokenizer = load_tokenizer(own_bpe)
    question = {"role": "user", "content": "?"}
    own = [{"role": "system", "content": "Be brief.", "tools": [WEATHER]}, question]
    argument = [{"role": "system", "content": "Be brief."}, question]
    assert tokenizer.apply_chat_template(own) == tokenizer.apply_chat_template(argument, [WEATHER])
    none = tokenizer.apply_chat_template([{**own[0], "tools": []}, question], tokenize=False)
    assert "Be brief.\n[]" in none
    assert "[]" not in tokenizer.apply_chat_template(argument, [], tokenize=False)


@pytest.mark.parametrize(
    "body",
    [
        "__import__('os').system('true')",
        "tool_call(1)",
        "tool_call(**{'a': 1})",
        "tool_call(a=open('x'))",
        "1 +",
        "",
    ],
)
def test_only_literals_are_a_call(body: str) -> None:
    with pytest.raises(BadInput, match="tool call"):
        parse_arguments(f" ```python\n{body}\n```")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"_name_or_path": "THUDM/chatglm2-6b-32k"}, "chatglm2"),
        ({"_name_or_path": "/models/ChatGLM2-6B"}, "chatglm2"),
        ({"_name_or_path": "THUDM/chatglm3-6b"}, "chatglm3"),
        ({}, "chatglm3"),
        ({"_name_or_path": "THUDM/chatglm2-6b", "position_encoding_2d": True}, "chatglm"),
    ],
)
def test_which_generation_a_config_is_of(config: dict[str, Any], expected: str) -> None:
    assert generation(config) == expected


def test_rounds_of_chatglm2_and_a_system_prompt() -> None:
    messages = [
        {"role": "system", "content": "简短。"},
        {"role": "user", "content": "一"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "二"},
    ]
    made = prompt.format_rounds(messages, second=True)
    assert made == "[Round 1]\n\n问：简短。\n\n一\n\n答：1\n\n[Round 2]\n\n问：二\n\n答："
    assert prompt.format_rounds(messages[:2]) == "简短。\n\n一"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("今天天气很好。\n我们去公园吧。", "今天天气很好。\n我们去公园吧。"),
        ("Sure, here is a list:\n1. bread\n2. milk", "Sure, here is a list:\n1. bread\n2. milk"),
        ("```python\nprint('hi')\n```", "```python\nprint('hi')\n```"),
        ("Yes\nIt is.", "Yes\nIt is."),
        (
            "\n 好的<|assistant|>get_time\n ```python\ntool_call()\n```",
            "好的\n\nget_time\n ```python\ntool_call()\n```",
        ),
    ],
)
def test_a_first_line_that_names_no_tool_is_text(text: str, shown: str) -> None:
    for size in (1, 4, len(text)):
        reply = prompt.Reply("chatglm3", offered=["get_weather"])
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert "".join(map(reply.feed, pieces)) + reply.feed("", last=True) == shown
        assert not reply.calls


@pytest.mark.parametrize("name", ["get_weather", "interpreter"])
def test_only_what_was_offered_and_the_interpreter_are_called(name: str) -> None:
    reply = prompt.Reply("chatglm3", offered=["get_weather"])
    text = f"\n 好的<|assistant|> {name}\n ```python\ntool_call()\n```"
    assert "".join(map(reply.feed, text)) + reply.feed("", last=True) == "好的"
    assert [part.metadata.strip() for part in reply.calls] == [name]


def test_text_that_cannot_become_a_call_is_shown_at_once() -> None:
    reply = prompt.Reply("chatglm3", offered=["get_weather"])
    assert reply.feed(" get") == "" and reply.feed(" some") == "get some"


@pytest.mark.parametrize(
    ("generation", "text"),
    [
        ("chatglm", " 你好,世界! Hello , world ! I do n't know. 截至[[训练时间]],好吗?"),
        ("chatglm2", "\n截至 [[训练时间]] ，好。 "),
        ("chatglm3", "\n 好的，[[训练时间]]<|assistant|> get_weather\n ```python\ntool_call(a=1)\n```"),
        ("chatglm3", " get_weather\n ```python\ntool_call(a=1)\n```"),
        ("chatglm3", "\n 第一 [[训<|assistant|> \n 第二\n"),
        ("chatglm3", "no newline"),
    ],
)
def test_a_streamed_reply_only_grows_and_ends_as_the_whole_one(generation: Any, text: str) -> None:
    whole = prompt.Reply(generation).feed(text, last=True)
    for size in (1, 3):
        reply = prompt.Reply(generation)
        shown = ""
        for start in range(0, len(text), size):
            shown += reply.feed(text[start : start + size])
            assert whole.startswith(shown)
        assert shown + reply.feed("", last=True) == whole
    assert [call.metadata.strip() for call in reply.calls] == (["get_weather"] if "tool_call" in text else [])


@pytest.mark.parametrize("line", ["今天 ,很好 . Do n't 'say' 2 , 3 !", "好", "1 2 ", ". ", "no\n"])
def test_what_is_read_again_of_a_reply_does_not_grow_with_it(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    clean_up = prompt.clean_up
    monkeypatch.setattr(prompt, "clean_up", lambda text: read.append(len(text)) or clean_up(text))
    text = line * (4000 // len(line))
    reply = prompt.Reply("chatglm")
    shown = "".join(map(reply.feed, text)) + reply.feed("", last=True)
    assert max(read) < 200
    assert shown == prompt.first_reply(clean_up(text))


def test_a_reply_that_is_cut_reads_as_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def streamed(text: str) -> str:
        reply = prompt.Reply("chatglm")
        return "".join(map(reply.feed, text)) + reply.feed("", last=True)

    chance = random.Random(5)
    atoms = [*" .?!,:;'ntmsver[]今好a1\n\t", "[[训练时间]]", "[[训", " n't", " 've", " ' "]
    texts = ["".join(chance.choices(chance.sample(atoms, 8), k=200)) for _ in range(40)]
    cut = [streamed(text) for text in texts]
    monkeypatch.setattr(prompt, "find_cut", lambda text: 0)
    assert cut == [streamed(text) for text in texts]


def test_what_is_shown_of_a_reply() -> None:
    assert prompt.Reply("chatglm").feed("今天 :好 , ok", last=True) == "今天 ：好， ok"
    reply = prompt.Reply("chatglm3")
    assert reply.feed("\n 好的<|assistant|> f\n ```python\ntool_call()\n```", last=True) == "好的"
