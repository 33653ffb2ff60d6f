"""Options keep their ranges, and errors survive the way between processes."""

import copy
import pickle
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from models import errors
from models.catalog import CHECKPOINTS
from models.errors import BadInput, Cancelled, EngineFailed, ModelError
from models.schema import ChatOptions, Plan, SpeechOptions, Text

NUMBERS = [
    (kind, spec)
    for kind in (ChatOptions, SpeechOptions)
    for spec in fields(kind)
    if spec.metadata["low"] is not None
]
EVERY = [(kind, spec) for kind in (ChatOptions, SpeechOptions) for spec in fields(kind)]
numbers = pytest.mark.parametrize(("kind", "spec"), NUMBERS, ids=lambda part: getattr(part, "name", ""))
every = pytest.mark.parametrize(("kind", "spec"), EVERY, ids=lambda part: getattr(part, "name", ""))


@numbers
def test_both_ends_of_a_range_are_within_it(kind: Any, spec: Any) -> None:
    for value in (spec.metadata["low"], spec.metadata["high"]):
        assert getattr(kind(**{spec.name: value}), spec.name) == value


@numbers
def test_what_lies_outside_a_range_is_refused(kind: Any, spec: Any) -> None:
    step = spec.metadata["step"]
    for value in (spec.metadata["low"] - step, spec.metadata["high"] + step):
        with pytest.raises(BadInput, match=f"{spec.name} is .* between") as refused:
            kind(**{spec.name: value})
        assert str(spec.metadata["high"]) in refused.value.zh


@numbers
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True, [1], None])
def test_what_is_no_number_is_refused(kind: Any, spec: Any, value: Any) -> None:
    if value is None and spec.default is None:
        assert getattr(kind(**{spec.name: None}), spec.name) is None
        return
    with pytest.raises(BadInput, match=spec.name):
        kind(**{spec.name: value})


@numbers
def test_counts_are_whole(kind: Any, spec: Any) -> None:
    whole = isinstance(spec.metadata["step"], int)
    middle = spec.metadata["low"] + 0.5
    if whole:
        with pytest.raises(BadInput, match="whole number"):
            kind(**{spec.name: middle})
    else:
        for value in (middle, int(spec.metadata["high"])):  # a whole number is a number too
            assert getattr(kind(**{spec.name: value}), spec.name) == value


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ChatOptions, {"stop": "abc"}),  # not a tuple: it would stop at each of its letters
        (ChatOptions, {"stop": ("",)}),  # is in every text
        (ChatOptions, {"stop": (1,)}),
        (ChatOptions, {"stop": None}),
        (SpeechOptions, {"task": "summarise"}),
        (SpeechOptions, {"task": None}),
        (SpeechOptions, {"task": ["translate"]}),
        (SpeechOptions, {"vad": "no"}),
        (SpeechOptions, {"word_timestamps": 1}),
        (SpeechOptions, {"language": 3}),
        (SpeechOptions, {"initial_prompt": None}),
    ],
)
def test_values_of_the_wrong_kind_are_refused(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(values))):
        kind(**values)


def test_values_of_the_right_kind() -> None:
    assert ChatOptions(stop=("a", "b"), seed=3, temperature=1).stop == ("a", "b")
    assert SpeechOptions(language="en", task="translate", vad=False).task == "translate"


def test_options_are_not_changed_after_they_were_checked() -> None:
    with pytest.raises(FrozenInstanceError):
        ChatOptions().temperature = 9.0  # type: ignore[misc]
    with pytest.raises(TypeError, match="temprature"):
        ChatOptions(temprature=0.5)  # type: ignore[call-arg]


@every
def test_every_option_explains_itself(kind: Any, spec: Any) -> None:
    label, help = spec.metadata["label"], spec.metadata["help"]
    assert isinstance(label, Text) and all(label) and help.en.endswith(".") and help.zh.endswith("。")
    assert (
        (spec.metadata["low"] is None) == (spec.metadata["high"] is None) == (spec.metadata["step"] is None)
    )


@every
def test_the_default_of_every_option_is_allowed(kind: Any, spec: Any) -> None:
    assert getattr(kind(**{spec.name: spec.default}), spec.name) == spec.default


@pytest.mark.parametrize("row", CHECKPOINTS.values(), ids=lambda row: row.name)
def test_the_options_of_every_checkpoint_are_allowed(row: Any) -> None:
    made = (SpeechOptions if row.kind == "speech" else ChatOptions)(**row.options)
    assert {name: getattr(made, name) for name in row.options} == dict(row.options)


def test_a_plan_adds_up() -> None:
    made = Plan(*[None] * 2, 3, 4, 5, *[0] * 4)  # type: ignore[arg-type, call-arg]
    assert made.total == 12


# --- errors --------------------------------------------------------------------------------------

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_survive_pickling_and_copying_in_both_languages(kind: type[ModelError]) -> None:
    error = kind("One sentence.", "一句话。")
    pickled = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    for again in (pickled, copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert (again.en, again.zh, str(again)) == ("One sentence.", "一句话。", "One sentence.")


def test_an_error_needs_both_languages() -> None:
    with pytest.raises(TypeError):
        EngineFailed("only English")  # type: ignore[call-arg]
    assert str(Cancelled()) == "Cancelled." and Cancelled().zh == "已取消。"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    for kind in ERRORS:
        assert issubclass(kind, ModelError)
        (line,) = [line for line in (errors.__doc__ or "").splitlines() if f" {kind.__name__} " in f"{line} "]
        depth = len(kind.__mro__) - len(ModelError.__mro__)
        assert line.index(kind.__name__) == 4 + 4 * depth
