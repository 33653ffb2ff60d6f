"""Chat templates that refuse a conversation, fail on it, or never end."""

from pathlib import Path

import pytest

from models.chat import templates
from models.engines.hf import HfEngine
from models.errors import BadInput, EngineFailed
from tests.fakes.hf_engine import HELLO, answer, load
from tests.fakes.tiny_models import CHATML, save_llama


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> HfEngine:
    return load(save_llama(tmp_path_factory.mktemp("llama")))


def test_a_refusal_has_the_templates_own_reason(engine: HfEngine) -> None:
    engine.tokenizer.chat_template = "{{ raise_exception('user and assistant\n take turns.') }}"
    with pytest.raises(
        BadInput, match="tiny refuses this conversation: user and assistant take turns.$"
    ) as caught:
        list(engine.stream(HELLO))
    assert "对话模板" in caught.value.zh
    with pytest.raises(BadInput, match="take turns"):
        engine.count_tokens(HELLO)


@pytest.mark.parametrize(
    "template, reason",
    [
        ("{{ 1/0 }}", "ZeroDivisionError: division by zero"),
        ("{{ 'a' + 1 }}", "TypeError"),
        ("{{ messages[0].content.index('?') }}", "ValueError"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "RecursionError"),
        ("{{ " + "(" * 400 + "1" + ")" * 400 + " }}", "Error"),
    ],
)
def test_what_goes_wrong_in_a_template_is_a_sentence(template: str, reason: str, engine: HfEngine) -> None:
    engine.tokenizer.chat_template = template
    for ask in (engine.count_tokens, lambda messages: list(engine.stream(messages))):
        with pytest.raises(
            EngineFailed, match=f"chat template of tiny fails on this conversation .*{reason}"
        ):
            ask(HELLO)


def test_a_template_that_goes_on_and_on_is_ended(engine: HfEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "SECONDS", 0.2)
    loop = "{% for n in range(9999) %}"
    engine.tokenizer.chat_template = loop * 4 + "{% endfor %}" * 4
    with pytest.raises(EngineFailed, match="seconds"):
        engine.count_tokens(HELLO)
    engine.tokenizer.chat_template = CHATML
    assert answer(engine)[0]


def test_a_checkpoint_whose_template_fails_is_loaded_all_the_same(tmp_path: Path) -> None:
    engine = load(save_llama(tmp_path, template="{{ 1/0 }}"))
    with pytest.raises(EngineFailed, match="ZeroDivisionError"):
        engine.count_tokens(HELLO)
    assert answer(engine, "The quick")[0]


def test_what_a_template_writes_beyond_every_context_is_not_read(engine: HfEngine) -> None:
    engine.tokenizer.chat_template = "{{ 'a' * 1000000 }}"
    with pytest.raises(BadInput, match=r"takes \d+ tokens and the context holds 512"):
        engine.count_tokens([{"role": "user", "content": "asked nowhere else"}])
