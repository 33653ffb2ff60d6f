"""What is known of a recording at every moment: its state, its figures and its corrections."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.errors import EngineClosed
from models.schema import Progress, Segment, SpeechOptions
from models.transcripts.recordings import STEPS_BACK, Recording, hear_again, transcribe_all

LINES = [Segment(float(at), at + 1.0, f" line {at}", seek=at // 2 * 200) for at in range(6)]


class Said:
    """What an engine's `transcribe` gives: lines, between which it says how far it is."""

    duration, language, language_probability = 6.0, "en", 0.75

    def __init__(self, steps: Sequence[Segment | Progress | Exception], follow: Callable[[Progress], None]):
        self._steps, self._follow = steps, follow

    def __iter__(self) -> Iterator[Segment]:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, Progress):
                self._follow(step)
            else:
                yield step


class Engine:
    """Says the same of everything and keeps what it was asked."""

    def __init__(self, *steps: Segment | Progress | Exception) -> None:
        self.steps = steps
        self.asked: list[tuple[Any, ...]] = []

    def transcribe(
        self, path: Path, options: Any, cancel: Any, follow: Any = None, done: Sequence[Segment] = ()
    ) -> Said:
        self.asked.append((path, options, list(done)))
        return Said(self.steps, follow)


def recording(**facts: Any) -> Recording:
    return Recording("a.wav", Path("a.wav"), **facts)


def run(engine: Any, *these: Recording, cancel: threading.Event | None = None) -> Iterator[Recording]:
    return transcribe_all(engine, list(these), SpeechOptions(), cancel or threading.Event())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at it is one second after the last."""
    now = iter(range(10_000))
    monkeypatch.setattr("models.transcripts.recordings.time.monotonic", lambda: float(next(now)))


# --- the state by itself -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "begun", "busy"),
    [
        ("waiting", True, True), ("running", True, True), ("waiting", False, False),
        ("done", True, False), ("stopped", True, False), ("failed", True, False),
    ],
)  # fmt: skip
def test_it_is_busy_once_begun_until_it_ends(state: Any, begun: bool, busy: bool) -> None:
    assert recording(state=state, options=SpeechOptions() if begun else None).busy is busy


def test_going_on_forgets_what_went_wrong_and_what_could_be_taken_back() -> None:
    it = recording(state="failed", trouble=ValueError("odd"), left=9.0, heard=LINES, lines=tuple(LINES))
    it.change(tuple(LINES[1:]))
    version, options = it.version, it.options
    it.resume()
    assert (it.state, it.trouble, it.left, it.changed) == ("waiting", None, None, False)
    assert it.version == version + 1 and it.options is options
    assert it.heard == LINES and it.lines == tuple(LINES[1:])


def test_anew_forgets_everything() -> None:
    it = recording(
        state="done", options=SpeechOptions(), heard=LINES, lines=tuple(LINES), seconds=4.0, position=6.0
    )
    it.change(())
    it.translate()
    version = it.version
    it.again()
    assert (it.state, it.options, it.heard, it.lines, it.translation) == ("waiting", None, [], (), None)
    assert (it.seconds, it.position, it.changed, it.version) == (0.0, 0.0, False, version + 1)


def test_a_hundred_changes_can_be_taken_back() -> None:
    it = recording()
    for number in range(STEPS_BACK + 20):
        it.change((Segment(0, 1, str(number)),))
    for _ in range(STEPS_BACK):
        it.undo()
    assert it.lines[0].text == "19" and it.version == 2 * STEPS_BACK + 20
    it.undo()
    assert it.lines[0].text == "18" and not it.changed
    with pytest.raises(IndexError):
        it.undo()


def test_where_the_last_passage_starts() -> None:
    assert recording().resumed == 0.0
    assert recording(heard=LINES[:1]).resumed == 0.0
    assert recording(heard=LINES[:3]).resumed == 2.0
    assert recording(heard=LINES[:4]).resumed == 2.0
    assert recording(heard=LINES).resumed == 4.0


def test_a_translation_begins_with_nothing() -> None:
    it = recording(options=SpeechOptions(), lines=tuple(LINES), language="zh", track=2)
    made = it.translate()
    assert it.translation is made and (made.name, made.path, made.track) == (it.name, it.path, 2)
    assert (made.state, made.options, made.lines, made.language) == ("waiting", None, (), None)


# --- while it is recognised ----------------------------------------------------------------------------


def test_how_far_it_is() -> None:
    seen: list[tuple[Any, ...]] = []
    it = recording()

    def look() -> None:
        seen.append((it.state, it.ahead, it.position, it.left, it.duration, it.language))

    class Looking(Engine):
        def transcribe(self, *arguments: Any, **named: Any) -> Said:
            said = super().transcribe(*arguments, **named)
            follow = said._follow  # noqa: SLF001

            def follow_and_look(step: Progress) -> None:
                follow(step)
                look()

            said._follow = follow_and_look  # noqa: SLF001
            return said

    engine = Looking(
        Progress("queue", total=2),
        Progress("queue", total=1),
        Progress("transcribe", done=2, total=6, left=8.0),
        LINES[0],
        Progress("transcribe", done=4, total=6, left=3.0),
    )
    assert [done.state for done in run(engine, it)] == ["done"]
    assert seen == [
        ("running", 2, 0.0, None, 0.0, None),
        ("running", 1, 0.0, None, 0.0, None),
        ("running", 0, 2.0, 8.0, 6.0, "en"),
        ("running", 0, 4.0, 3.0, 6.0, "en"),
    ]
    assert (it.duration, it.language, it.probability) == (6.0, "en", 0.75)


@pytest.mark.usefixtures("clock")
def test_seconds_add_up_over_the_runs() -> None:
    it = recording(seconds=100.0)
    list(run(Engine(*LINES[:2]), it))
    assert it.seconds == 103.0  # begun at 0, two lines, the end
    it.resume()
    list(run(Engine(*LINES[:2], ValueError("odd")), it))
    assert it.seconds == 106.0 and it.state == "failed"


def test_every_end_is_another_version() -> None:
    for steps in ((), (LINES[0],), (ValueError("odd"),)):
        it = recording()
        list(run(Engine(*steps), it))
        assert it.version == 1


def test_what_goes_wrong_is_kept_and_lines_stay() -> None:
    it, trouble = recording(), ValueError("odd")
    list(run(Engine(LINES[0], trouble), it))
    assert (it.state, it.trouble, it.lines, it.heard) == ("failed", trouble, (LINES[0],), [LINES[0]])


def test_an_unloaded_engine_leaves_it_waiting_and_no_trouble() -> None:
    it, other = recording(), recording()
    with pytest.raises(EngineClosed):
        list(run(Engine(LINES[0], EngineClosed("Gone.", "没了。")), it, other))
    assert (it.state, it.trouble, it.heard, other.state) == ("waiting", None, [LINES[0]], "waiting")
    assert it.options == SpeechOptions() and other.options is None


def test_a_stop_lets_the_others_wait() -> None:
    cancel, first, second = threading.Event(), recording(), recording()
    ended = run(Engine(*LINES), first, second, cancel=cancel)
    assert next(ended) is first and first.state == "done"
    cancel.set()
    assert list(ended) == [] and (second.state, second.options) == ("waiting", None)
    third = recording()
    assert list(run(Engine(*LINES), third, cancel=cancel)) == [] and third.state == "waiting"


def test_going_on_hands_over_what_was_heard_and_keeps_corrections_before_it() -> None:
    corrected = Segment(0.0, 2.0, "corrected")
    begun = SpeechOptions(beam_size=3)
    it = recording(state="waiting", options=begun, heard=LINES[:4], lines=(corrected, *LINES[2:4]))
    engine = Engine(*LINES)
    list(run(engine, it))
    assert engine.asked == [(it.path, begun, LINES[:4])]
    assert it.lines == (corrected, *LINES[2:]) and it.heard == LINES


@pytest.mark.parametrize("again", [1, 3, 4])
def test_a_run_that_does_not_catch_up_takes_nothing_away(again: int) -> None:
    it = recording(options=SpeechOptions(), heard=LINES[:3], lines=tuple(LINES[:3]))
    list(run(Engine(*LINES[:again], ValueError("odd")), it))
    assert it.heard == LINES[: max(3, again)]


# --- translations, and one line again --------------------------------------------------------------------


def test_a_translation_goes_before_the_next_recording() -> None:
    first, second = recording(), Recording("b.wav", Path("b.wav"))
    first.translate()
    names = [
        (done.name, (done.options or SpeechOptions()).task) for done in run(Engine(*LINES), first, second)
    ]
    assert names == [("a.wav", "transcribe"), ("a.wav", "translate"), ("b.wav", "transcribe")]


@pytest.mark.parametrize(
    ("found", "begun", "asked"), [("zh", "ja", "zh"), (None, None, "en"), ("zh", None, "zh")]
)
def test_a_translation_knows_the_language(found: str | None, begun: str | None, asked: str) -> None:
    it = recording(state="done", language=found, options=SpeechOptions(language=begun, beam_size=2))
    made = it.translate()
    list(transcribe_all(Engine(), [it], SpeechOptions(language="en", beam_size=7), threading.Event()))  # type: ignore[arg-type]
    assert made.options == SpeechOptions(task="translate", language=asked, beam_size=2)


def test_a_translation_of_what_was_loaded_from_a_file() -> None:
    it = recording(state="done", lines=tuple(LINES))  # no options: nothing recognised it here
    made = it.translate()
    list(run(Engine(), it))
    assert made.options == SpeechOptions(task="translate")


@pytest.mark.parametrize(("chosen", "language"), [(None, "zh"), ("ja", "ja")])
def test_a_line_is_heard_again_by_itself(chosen: str | None, language: str) -> None:
    engine, it = Engine(LINES[1]), recording(language="zh")
    line = Segment(61.0625, 62.5004, "a")
    options = SpeechOptions(language=chosen, batch_size=8, hotwords="x")
    assert list(hear_again(engine, it, line, options, threading.Event())) == [LINES[1]]  # type: ignore[arg-type]
    ((path, asked, done),) = engine.asked
    assert (path, done) == (it.path, [])
    assert asked == SpeechOptions(language=language, batch_size=1, hotwords="x", clips="61.062-62.500")
