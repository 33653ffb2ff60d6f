"""Text that reads like a control token: hidden from a template, and found again in what it wrote."""

import json
import re

import pytest

from models.chat.control_tokens import JOINER, ControlTokens

TOKENS = ControlTokens(["<|im_start|>", "<|im_end|>", "</s>", "\n\n"], ["<think>", "<tool_response>"])


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def hidden(text: str) -> str:
    found = TOKENS.hide(user(text))
    assert found is not None
    return str(found[0][0]["content"])


@pytest.mark.parametrize("text", ["", "plain\n\ntext", "a < b > c", "x|im_end|x", "1 << 2", "</p>"])
def test_plain_text_is_left_alone(text: str) -> None:
    assert TOKENS.hide(user(text), [{"function": {"name": text}}]) is None


@pytest.mark.parametrize(
    "text", ["<|im_end|>", "a </s> b", "<think>", "<|im_", "ends in <", "F# <| pipes", "</s></s><|im_end|><"]
)
def test_what_reads_like_a_token_comes_back_as_it_was(text: str) -> None:
    mark = hidden(text)
    assert "<|" not in mark and "</s>" not in mark and TOKENS.reveal(mark) == text


@pytest.mark.parametrize("form", [str.upper, str.lower, str.strip, str.title, json.dumps, json.dumps])
def test_marks_outlive_what_templates_do(form) -> None:
    assert TOKENS.reveal(form(hidden("<|im_end|>"))) == form("<|im_end|>").replace(
        "<|IM_END|>", "<|im_end|>"
    ).replace("<|Im_End|>", "<|im_end|>")


def test_every_text_of_a_conversation_and_its_tools_is_looked_at() -> None:
    bad = "</s>"
    call = {"id": bad, "type": "function", "function": {"name": bad, "arguments": {bad: [bad, {"a": bad}]}}}
    messages = [
        {"role": "system", "content": bad},
        {"role": "user", "content": [{"type": "text", "text": bad}], "name": bad},
        {"role": "assistant", "content": bad, "tool_calls": [call], "reasoning_content": bad},
        {"role": "tool", "content": bad, "tool_call_id": bad, "name": bad},
    ]
    tools = [
        {
            "type": "function",
            "function": {"name": bad, "description": bad, "parameters": {bad: {"enum": [bad]}}},
        }
    ]
    found = TOKENS.hide(messages, tools)
    assert found is not None and bad not in json.dumps(found)
    assert TOKENS.reveal(json.dumps(found)) == json.dumps([messages, tools])


def test_what_the_assistant_said_may_hold_the_tokens_of_its_template() -> None:
    said = [{"role": "assistant", "content": "<think>hm</think>"}]
    assert TOKENS.hide(said) is None
    assert "<think>" not in hidden("<think>")


def test_a_name_that_somebody_wrote_calls_for_nothing() -> None:
    """Neither the marks nor the tokens' secret names can be known: they are drawn for each vocabulary."""
    other = ControlTokens(["</s>"])
    assert TOKENS.names["</s>"] != other.names["</s>"]
    mark = hidden("</s>")
    assert other.reveal(mark) == mark


@pytest.mark.parametrize("token", ["<|im_start|>", "<tool_response>", "</s>"])
def test_a_token_cut_in_two_does_not_come_together(token: str) -> None:
    for at in range(1, len(token)):
        found = TOKENS.hide([{"role": "user", "name": token[:at], "content": token[at:]}])
        assert found is not None
        assert token not in found[0][0]["name"] + found[0][0]["content"]


def test_a_token_that_a_template_puts_together_is_none() -> None:
    assert "<|im_end|>" not in hidden("<|im_<b>end|>").replace("<b>", "")


def test_a_prompt_in_pieces() -> None:
    prompt = f"<|im_start|>user\n{hidden('a </s> b')}<|im_end|>\n<|im_start|>user\nplain<|im_end|>"
    assert list(TOKENS.pieces(prompt)) == [
        ("<|im_start|>", False),
        ("user\na </s> b", True),
        ("<|im_end|>\n<|im_start|>user\nplain<|im_end|>", False),
    ]
    assert list(TOKENS.pieces("plain")) == [("plain", False)]
    assert list(TOKENS.pieces(hidden("<think>"))) == [(f"<{JOINER}think>", True)]


def test_disarmed_text_reads_the_same_and_holds_no_token() -> None:
    found = TOKENS.hide(user("<|im_end|> and F# <|"))
    (message,), _ = TOKENS.disarm(found)
    assert message["content"] == f"<{JOINER}|im_end|> and F# <|"


def test_a_template_calls_its_tokens_by_their_secret_names() -> None:
    renamed = TOKENS.rename(f"<|im_start|>{hidden('<|im_start|>')}")
    assert renamed.startswith(TOKENS.names["<|im_start|>"]) and TOKENS.reveal(renamed).endswith(
        "<|im_start|>"
    )
    assert re.fullmatch(r"\d+<\|im_start\|>", TOKENS.reveal(renamed))


def test_a_vocabulary_without_control_tokens() -> None:
    tokens = ControlTokens(())
    assert tokens.hide(user("<|im_end|>")) is None and not tokens.in_text("<s>")
    assert list(tokens.pieces("<s>")) == [("<s>", False)]
