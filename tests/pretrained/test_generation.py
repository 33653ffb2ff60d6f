"""Token by token: sampling, the text of an answer, and the states that are kept for the next turn."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from models.schema import ChatOptions, Done
from tests.fakes.dictated import dictate
from tests.fakes.hf_engine import HELLO, answer, load
from tests.fakes.tiny_models import save_llama
from tests.fakes.waiting import until

torch = pytest.importorskip("torch")

from transformers import DynamicCache  # noqa: E402

from models.pretrained.generation import (  # noqa: E402
    AnswerStream,
    Choosing,
    Generation,
    PrefixCache,
    TextStream,
    common_prefix,
    crop,
    sampling,
)

CPU = torch.device("cpu")
PLAIN = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}  # nothing but the draw


# --- sampling ----------------------------------------------------------------------------------


def drawn(options: ChatOptions, count: int = 12, scores: Sequence[float] = (0.0,) * 1000) -> list[int]:
    """Tokens that a chain leaves of the same scores, one after another."""
    chain, ids = sampling(options, CPU), torch.tensor([[3]])
    return [int(chain(ids, torch.tensor([scores])).argmax()) for _ in range(count)]


def test_without_a_seed_every_answer_is_another() -> None:
    options = ChatOptions(**PLAIN)
    torch.manual_seed(0)
    first = drawn(options)
    torch.manual_seed(0)  # what others do with the process-wide state has no say
    assert drawn(options) != first
    assert len(set(first)) > 6


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    zero, one = (ChatOptions(**PLAIN, seed=seed) for seed in (0, 1))
    assert drawn(zero) == drawn(zero) != drawn(one)


def test_a_draw_leaves_one_token_and_follows_the_probabilities() -> None:
    ids, scores = torch.tensor([[3]]), torch.tensor([[0.0, 3.0, -torch.inf]])
    left = sampling(ChatOptions(**PLAIN, seed=0), CPU)(ids, scores.clone())
    assert left.isfinite().sum() == 1
    found = drawn(ChatOptions(**PLAIN, seed=0), 300, scores[0].tolist())
    assert set(found) == {0, 1}
    assert 5 < found.count(0) < 40  # one in 21


@pytest.mark.parametrize(
    ("options", "chain"),
    [
        ({"temperature": 0.0}, []),
        ({"temperature": 0.0, "repetition_penalty": 1.2}, ["RepetitionPenaltyLogitsProcessor"]),
        (PLAIN, ["Draw"]),
        (PLAIN | {"temperature": 0.5}, ["TemperatureLogitsWarper", "Draw"]),
        (PLAIN | {"top_k": 5}, ["TopKLogitsWarper", "Draw"]),
        (PLAIN | {"top_p": 0.5}, ["TopPLogitsWarper", "Draw"]),
        (PLAIN | {"top_p": 0.0}, ["TopPLogitsWarper", "Draw"]),  # the likeliest alone
        (PLAIN | {"top_p": 0.99}, ["TopPLogitsWarper", "Draw"]),
        (PLAIN | {"temperature": 0.99}, ["TemperatureLogitsWarper", "Draw"]),
        (PLAIN | {"min_p": 0.01}, ["MinPLogitsWarper", "Draw"]),
        (PLAIN | {"min_p": 0.1}, ["MinPLogitsWarper", "Draw"]),
        (
            {"temperature": 1.5, "top_p": 0.5, "top_k": 5, "min_p": 0.1, "repetition_penalty": 0.9},
            [
                "RepetitionPenaltyLogitsProcessor", "TemperatureLogitsWarper", "TopKLogitsWarper",
                "TopPLogitsWarper", "MinPLogitsWarper", "Draw",
            ],
        ),
    ],
)  # fmt: skip
def test_what_changes_nothing_is_left_out_and_the_order_is_transformers(
    options: dict[str, Any], chain: list[str]
) -> None:
    assert [type(step).__name__ for step in sampling(ChatOptions(**options), CPU)] == chain


def test_every_option_reaches_its_step() -> None:
    options = ChatOptions(temperature=1.5, top_p=0.4, top_k=7, min_p=0.2, repetition_penalty=1.3)
    penalty, temperature, top_k, top_p, min_p, _ = sampling(options, CPU)
    assert (penalty.penalty, temperature.temperature, top_k.top_k) == (1.3, 1.5, 7)
    assert (top_p.top_p, min_p.min_p) == (0.4, 0.2)


# --- text ----------------------------------------------------------------------------------------


def words(*pieces: str) -> Any:
    """A tokenizer whose ids 0, 1, … are these texts; "▁" is a space, dropped in front of a text."""
    from tokenizers import Tokenizer, decoders
    from tokenizers.models import WordLevel

    tokenizer = Tokenizer(WordLevel({piece: n for n, piece in enumerate(pieces)}, unk_token=pieces[0]))
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def texts(stream: TextStream, ids: Sequence[int]) -> list[str]:
    return [*map(stream.push, ids), stream.flush()]


@pytest.mark.parametrize("stop", [("f", "cd"), ("cd", "f"), ("ef", "cd"), ("cdef", "cd", "de")])
def test_the_first_of_several_stop_texts_in_one_token_ends_the_text(stop: tuple[str, ...]) -> None:
    stream = TextStream(words("abcdefg"), stop)
    assert (stream.push(0), stream.stopped) == ("ab", True)
    assert stream.flush() == ""


def test_what_may_become_a_stop_text_waits_and_no_more_than_that() -> None:
    stream = TextStream(words("ab", "c", "d", "x"), ("bcde", ""))
    assert texts(stream, [0, 1, 2, 3]) == ["a", "", "", "bcdx", ""]
    assert not stream.stopped
    held = TextStream(words("ab", "c"), ("bcde",))
    assert texts(held, [0, 1]) == ["a", "", "bc"]


@pytest.mark.parametrize(
    ("stop", "pushed", "rest"),
    [((), "a", "b end"), (("b end",), "a", ""), (("end",), "a", "b "), (("a",), "", "")],
)
def test_what_the_end_makes_certain_is_shown_before_a_stop_text(
    stop: Sequence[str], pushed: str, rest: str
) -> None:
    class Late(AnswerStream):
        """Keeps everything but the first letter of a token until the answer has ended."""

        left = ""

        def _decode(self, token: int) -> str:
            self.left = "b end"
            return "a"

        def _rest(self) -> str:
            return self.left

    stream = Late(stop)
    assert (stream.push(1), stream.flush()) == (pushed, rest)


def test_a_stop_text_may_begin_in_one_token_and_end_in_another() -> None:
    stream = TextStream(words("ab", "cd", "ef"), ("bcde",))
    assert (texts(stream, [0, 1, 2]), stream.stopped) == (["a", "", "", ""], True)


def test_the_space_in_front_is_part_of_a_continuation_and_not_of_an_answer() -> None:
    tokenizer = words("▁once", "▁upon")
    assert texts(TextStream(tokenizer, (), prompt_ids=[0]), [1, 1]) == [" upon", " upon", ""]
    assert texts(TextStream(tokenizer), [1, 1]) == ["upon", " upon", ""]


def with_spaces(folder: Path) -> Any:
    """An engine whose tokenizer drops the space in front of a text, as LLaMA 2's does; it says "▁fox"."""
    from transformers import PreTrainedTokenizerFast

    bare = words("<s>", "</s>", "▁the", "▁fox", "<unk>")
    made = PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    made.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    made.save_pretrained(save_llama(folder))
    engine = load(folder)
    dictate(engine.model, [3])
    return engine


def test_an_engine_keeps_the_space_where_it_continues_a_text(tmp_path: Path) -> None:
    engine, short = with_spaces(tmp_path), ChatOptions(max_new_tokens=2, temperature=0.0)
    assert answer(engine, "▁the", short)[0] == " fox fox"
    assert answer(engine, [{"role": "user", "content": "▁the"}], short)[0] == "fox fox"
    engine.has_chat_template = False
    assert answer(engine, [{"role": "user", "content": "▁the"}], short)[0] == " fox fox"


# --- kept states -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "common"),
    [((), (1,), 0), ((1, 2), (1, 2), 2), ((1, 2, 3), (1, 2), 2), ((1, 2), (1, 3), 1), ((4,), (1,), 0)],
)
def test_the_common_beginning(left: Sequence[int], right: Sequence[int], common: int) -> None:
    assert common_prefix(left, right) == common_prefix(right, left) == common


def filled(length: int, window: int | None = None) -> Any:
    """States of so many tokens in one layer, which may see a window only."""
    from transformers import DynamicCache, LlamaConfig, MistralConfig

    made = LlamaConfig if window is None else MistralConfig
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 1, "num_key_value_heads": 1}
    cache = DynamicCache(config=made(**sizes, **({"sliding_window": window} if window else {})))
    states = torch.arange(float(length))[None, None, :, None].expand(1, 1, length, 8)
    for state in states.split(1, 2):
        cache.update(state, state, 0)
    return cache


def test_states_are_cut_to_the_length_asked_for() -> None:
    cache = filled(9)
    assert crop(cache, 9) and cache.get_seq_length() == 9
    assert crop(cache, 4) and cache.get_seq_length() == 4
    assert cache.layers[0].keys[0, 0, :, 0].tolist() == [0, 1, 2, 3]


def test_a_window_that_has_forgotten_its_beginning_is_not_cut() -> None:
    assert crop(filled(7, window=8), 4)
    assert not crop(filled(8, window=8), 7)
    assert not crop(filled(12, window=8), 10)
    assert crop(filled(12, window=8), 12)  # nothing to cut


def test_kept_states_are_given_once_and_hold_what_both_prompts_begin_with(tmp_path: Path) -> None:
    model, kept, ids = load(save_llama(tmp_path)).model, PrefixCache(100), [5, 6, 7, 8, 9]
    kept.keep(filled(4), ids)  # of the last id there are no states yet
    cache, known = kept.take(model, [5, 6, 7, 1, 2], 10)
    assert (known, cache.get_seq_length()) == (3, 3)
    cache, known = kept.take(model, [5, 6, 7, 1, 2], 10)  # whoever took them has them
    assert (known, cache.get_seq_length()) == (0, 0)
    kept.keep(filled(5), ids)
    assert kept.take(model, ids, 10)[1] == 4  # the last token of a prompt is always read
    kept.keep(filled(4), ids)
    assert kept.take(model, [*ids, 10], 10)[1] == 4
    kept.keep(filled(5), ids)
    assert kept.take(model, [4, 6, 7], 10)[1] == 0
    kept.keep(filled(5), ids)
    kept.clear()
    assert kept.take(model, ids, 10)[1] == 0


def test_each_conversation_finds_its_own_states_again(tmp_path: Path) -> None:
    model, kept = load(save_llama(tmp_path)).model, PrefixCache(100)
    one, other = [1, 2, *range(10, 20)], [1, 2, *range(20, 30)]
    for ids in (one, other):
        kept.take(model, ids, 20)
        kept.keep(filled(len(ids)), ids)
    for _ in range(2):  # turn by turn
        for ids in (one, other):
            cache, known = kept.take(model, [*ids, 5, 6], 20)
            assert (known, cache.get_seq_length()) == (len(ids), len(ids))
            kept.keep(cache, ids)
    assert kept.take(model, [1, 2, 7, 8], 20)[1] == 0  # a third takes nobody's away for two tokens
    assert kept.take(model, [*one, 5], 20)[1] == len(one)


def test_the_conversations_of_the_longest_ago_make_way(tmp_path: Path) -> None:
    model, kept = load(save_llama(tmp_path)).model, PrefixCache(30)
    old, new = list(range(10, 20)), list(range(20, 30))
    for ids in (old, new):
        kept.take(model, ids, 10)
        kept.keep(filled(10), ids)
    kept.take(model, [1, 2, 3], 10)  # all have room
    assert kept.take(model, [*old, 1], 10)[1] == 10
    kept.keep(filled(10), old)
    kept.take(model, [1, 2, 3], 11)
    assert kept.take(model, [*new, 1], 10)[1] == 0 and kept.take(model, [*old, 1], 10)[1] == 10


def test_what_was_made_is_known_with_what_it_was_made_from(tmp_path: Path) -> None:
    """The states of both are continued by the next turn."""
    engine, prompt = load(save_llama(tmp_path)), [5, 6, 7]
    cache = DynamicCache(config=engine.model.config)
    choosing = Choosing(ChatOptions(max_new_tokens=4), ())
    made = Generation(engine.model, prompt, cache, choosing, threading.Event())
    tokens = list(made)
    made.close(wait=True)
    assert made.complete and len(tokens) == 4 and made.ids == [*prompt, *tokens]
    assert cache.get_seq_length() == len(made.ids) - 1


def test_an_answer_that_reads_as_other_tokens_is_read_anew_and_its_prompt_is_not(tmp_path: Path) -> None:
    model, kept = load(save_llama(tmp_path)).model, PrefixCache(100)
    prompt, answered = [1, 2, 3, 4], list(range(10, 30))
    kept.take(model, prompt, 30)
    kept.keep(filled(24), [*prompt, *answered])
    assert kept.take(model, [*prompt, *range(40, 60), 5, 6], 40)[1] == len(prompt)
    kept.take(model, prompt, 30)
    kept.keep(filled(24), [*prompt, *answered])
    assert kept.take(model, prompt, 30)[1] == len(prompt) - 1  # the same question once more


# --- stopped ---------------------------------------------------------------------------------------


def test_stop_is_heard_while_a_prompt_is_read(tmp_path: Path) -> None:
    """Between two layers: here behind the first one come others without end."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    class Layer(GradientCheckpointingLayer):  # type: ignore[no-untyped-call]
        def forward(self, x: Any) -> bool:
            return False

    engine, cancel, heard = load(save_llama(tmp_path)), threading.Event(), threading.Event()
    engine.model.other = Layer()

    def read_on(layer: Any, inputs: Any, output: Any) -> None:
        cancel.set()
        try:
            until(lambda: engine.model.other(output))
        except AssertionError:  # waited in vain
            raise
        except Exception:  # how the model is left
            heard.set()
            raise

    hook = engine.model.model.layers[0].register_forward_hook(read_on)
    events = list(engine.stream(HELLO, ChatOptions(), cancel))
    hook.remove()
    assert heard.is_set()
    assert [type(event) for event in events] == [Done]
    assert events[0].finish_reason == "cancelled"  # type: ignore[union-attr]
    assert answer(engine)[1].usage.cached_tokens == 0  # half-read states are not kept
    assert engine.model.other(torch.zeros(1, 5)) is False  # and no later call is in the way
