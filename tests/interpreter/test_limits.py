"""The limits of a run, with a kernel that shows what it is told to; and what it leaves behind, with a real one."""

import base64
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from PIL import Image

from models.errors import BadInput, Cancelled, DoesNotFit, EngineFailed
from models.interpreter import Interpreter, Limits, session
from models.interpreter.confinement import Confinement
from models.interpreter.kernel import Kernel
from models.interpreter.outputs import Output
from tests.fakes.waiting import until


def png(side: int) -> str:
    """A picture as a kernel sends it."""
    file = io.BytesIO()
    Image.effect_noise((side, side), 60).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def message(kind: str, **content: Any) -> dict[str, Any]:
    return {"header": {"msg_type": kind}, "content": content}


def printed(text: str) -> dict[str, Any]:
    return message("stream", name="stdout", text=text)


def drawn(picture: str) -> dict[str, Any]:
    return message("display_data", data={"text/plain": "<Figure>", "image/png": picture})


class FakeKernel:
    """Publishes `script`; what is an exception in it is raised. `log` says what was done with all of them."""

    made: list["FakeKernel"] = []
    log: list[str] = []
    script: list[Any] = []
    stubborn = False  # an interrupt does not end the run
    now = 0.0

    def __init__(self, limits: Limits, confine: bool) -> None:
        self.log.append("start")
        self.made.append(self)
        self._interrupted = False
        self.close, self.alive = self, True

    def __call__(self) -> None:
        self.log.append("close")
        self.alive = False

    def wait(self) -> Iterator[None]:
        yield

    def execute(self, code: str) -> str:
        self.log.append(f"run {code}")
        return "request"

    def resume(self) -> None:
        """Nothing of it goes on between runs, anyway."""

    pause = resume

    def interrupt(self) -> None:
        self.log.append("interrupt")
        self._interrupted = True

    def interrupted(self) -> Iterator[None]:
        """The run ends at once, or never."""
        while self.stubborn:
            yield

    def kill(self) -> None:
        self.log.append("kill")

    def messages(self, request: str) -> Iterator[Any]:
        assert request == "request"
        while self._interrupted:
            if not self.stubborn:
                self._interrupted = False
                return
            FakeKernel.now += 1
            yield None
        for item in self.script:
            if isinstance(item, BaseException):
                raise item
            yield item() if callable(item) else item


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeKernel]]:
    monkeypatch.setattr(FakeKernel, "made", [])
    monkeypatch.setattr(FakeKernel, "log", [])
    monkeypatch.setattr(FakeKernel, "script", [])
    monkeypatch.setattr(FakeKernel, "stubborn", False)
    monkeypatch.setattr(FakeKernel, "now", 0.0)
    monkeypatch.setattr(session, "Kernel", FakeKernel)
    monkeypatch.setattr(session, "confinement", lambda limits: Confinement((), (), None))
    monkeypatch.setattr(session, "confinable", lambda: True)
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: FakeKernel.now))
    yield FakeKernel
    for kernel in FakeKernel.made:  # or it would count among those of other tests
        kernel.alive = False


def later(seconds: float) -> None:
    """The code is quiet so long."""
    FakeKernel.now += seconds


# --- what one run may show ---------------------------------------------------------------------


def test_all_that_is_within_the_limits_is_shown(kernels: type[FakeKernel]) -> None:
    picture = png(20)
    kernels.script = [printed("12345"), None, drawn(picture), printed("67")]
    size = len(base64.b64decode(picture))
    text = len("1234567<Figure>")
    with Interpreter(Limits(text=text, pictures=size)) as interpreter:
        kinds = [(output.kind, output.text) for output in interpreter.run("x")]
    assert kinds == [("text", "12345"), ("image", "<Figure>"), ("text", "67")]
    assert kernels.log == ["start", "run x", "kill", "close"]


def shown_until_stopped(interpreter: Interpreter) -> list[Output]:
    shown: list[Output] = []
    with pytest.raises(EngineFailed, match=r"showed too much and was stopped; its variables are kept"):
        shown.extend(output for output in _each(interpreter.run("x"), shown))
    return shown


def _each(outputs: Iterator[Output], shown: list[Output]) -> Iterator[Output]:
    for output in outputs:
        shown.append(output)
    yield from ()


def test_pictures_of_one_run_are_limited_together(kernels: type[FakeKernel]) -> None:
    picture = png(20)
    size = len(base64.b64decode(picture))
    kernels.script = [drawn(picture)] * 5
    interpreter = Interpreter(Limits(pictures=2 * size + size // 2))
    assert [output.kind for output in shown_until_stopped(interpreter)] == ["image", "image", "text"]
    assert kernels.log == ["start", "run x", "interrupt"]
    kernels.script = [drawn(picture)] * 2  # of one run: the next one has its own
    assert len(list(interpreter.run("y"))) == 2
    assert [output.kind for output in shown_until_stopped(Interpreter(Limits(pictures=size - 1)))] == ["text"]


def test_text_of_one_run_is_limited_together_and_cut(kernels: type[FakeKernel]) -> None:
    kernels.script = [printed("12345"), printed("678"), printed("never")]
    interpreter = Interpreter(Limits(text=7))
    assert [output.text for output in shown_until_stopped(interpreter)] == ["12345", "67"]
    kernels.script = [printed("7 chars")]
    assert [output.text for output in interpreter.run("y")] == ["7 chars"]


def test_cells_of_a_table_count_as_text(kernels: type[FakeKernel]) -> None:
    html = "<table><tr><td>12345</td><td></td></tr></table>"
    kernels.script = [message("display_data", data={"text/plain": "", "text/html": html})]
    assert [output.rows for output in Interpreter(Limits(text=7)).run("x")] == [(("12345", ""),)]
    shown_until_stopped(Interpreter(Limits(text=6)))


# --- how long it may take ------------------------------------------------------------------------


def test_a_run_may_take_its_seconds_and_no_more(kernels: type[FakeKernel]) -> None:
    kernels.script = [partial(later, 2.0), printed("a"), partial(later, 3.0), printed("b")]
    interpreter = Interpreter(Limits(seconds=5.0))
    assert [output.text for output in interpreter.run("x")] == ["a", "b"]
    kernels.script = [partial(later, 2.0), printed("a"), partial(later, 3.1), printed("b")]
    shown: list[Output] = []
    with pytest.raises(EngineFailed, match=r"longer than 5 seconds and was stopped; its variables are kept"):
        for output in interpreter.run("x"):
            shown.append(output)
    assert [output.text for output in shown] == ["a"]
    assert kernels.log.count("start") == 1 and kernels.log[-1] == "interrupt"


def test_code_that_ignores_the_interrupt_loses_its_process(kernels: type[FakeKernel]) -> None:
    kernels.script, kernels.stubborn = [partial(later, 9.0)], True
    interpreter = Interpreter(Limits(seconds=5.0))
    with pytest.raises(EngineFailed, match="did not react: its variables and files are gone"):
        list(interpreter.run("x"))
    assert kernels.log == ["start", "run x", "interrupt", "close"]
    kernels.script = []
    assert list(interpreter.run("y")) == []
    assert kernels.log[-2:] == ["start", "run y"]


def test_cancel_interrupts_and_whoever_leaves_does_too(kernels: type[FakeKernel]) -> None:
    cancel, interpreter = threading.Event(), Interpreter()
    kernels.script = [printed("a"), printed("b"), printed("c")]
    run = interpreter.run("x", cancel)
    assert next(run).text == "a"
    cancel.set()
    with pytest.raises(Cancelled):
        next(run)
    assert kernels.log == ["start", "run x", "interrupt"]
    run = interpreter.run("y")
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert kernels.log[3:] == ["run y", "interrupt"]
    assert len(list(interpreter.run("z"))) == 3  # the same process


def test_a_start_can_be_cancelled_and_leaves_no_process(kernels: type[FakeKernel]) -> None:
    cancel, interpreter = threading.Event(), Interpreter()
    cancel.set()
    with pytest.raises(Cancelled):
        list(interpreter.run("x", cancel))
    assert kernels.log == ["start", "close"]


def test_a_process_that_is_gone_is_replaced(kernels: type[FakeKernel]) -> None:
    interpreter = Interpreter()
    kernels.script = [printed("a"), EngineFailed("It ended.", "已退出。")]
    with pytest.raises(EngineFailed, match="It ended"):
        list(interpreter.run("x"))
    kernels.script = []
    list(interpreter.run("y"))
    assert kernels.log == ["start", "run x", "close", "start", "run y"]


# --- one after another -----------------------------------------------------------------------------


def test_a_second_run_is_refused_until_the_first_has_ended(kernels: type[FakeKernel]) -> None:
    kernels.script = [printed("a"), printed("b")]
    interpreter = Interpreter()
    first = interpreter.run("x")
    next(first)
    with pytest.raises(BadInput, match="still running"):
        next(interpreter.run("y"))
    assert len(list(first)) == 1
    assert len(list(interpreter.run("y"))) == 2


def test_code_of_the_greatest_length_is_run_and_longer_is_not(kernels: type[FakeKernel]) -> None:
    interpreter = Interpreter()
    list(interpreter.run("#" * 100_000))
    with pytest.raises(BadInput, match="has 100001 characters"):
        list(interpreter.run("#" * 100_001))
    assert kernels.log == ["start", "run " + "#" * 100_000]


def test_closing_what_never_ran_does_nothing(kernels: type[FakeKernel]) -> None:
    interpreter = Interpreter()
    interpreter.close()
    assert kernels.log == []
    list(interpreter.run("x"))
    interpreter.close()
    interpreter.close()
    assert kernels.log == ["start", "run x", "kill", "close"]


def test_kernels_that_have_ended_make_room(
    kernels: type[FakeKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST", 2)
    running = [Interpreter() for _ in range(3)]
    for interpreter in running[:2]:
        list(interpreter.run("x"))
    with pytest.raises(DoesNotFit, match="2 code interpreters are in use"):
        list(running[2].run("x"))
    kernels.made[0].alive = False
    list(running[2].run("x"))


def test_a_kernel_that_nobody_uses_makes_way(
    kernels: type[FakeKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST", 2)
    oldest, other, new = [Interpreter() for _ in range(3)]
    list(oldest.run("x"))
    later(session.IDLE / 2)
    list(other.run("x"))
    later(session.IDLE / 2)
    with pytest.raises(DoesNotFit):  # nobody for longer than that
        list(new.run("x"))
    later(1.0)
    list(new.run("x"))
    assert [kernel.alive for kernel in kernels.made] == [False, True, True]
    later(session.IDLE)
    with pytest.raises(EngineFailed, match="made way"):
        list(oldest.run("y"))
    list(oldest.run("y"))  # in the place of another
    assert [kernel.alive for kernel in kernels.made] == [False, False, True, True]


def test_a_kernel_whose_code_runs_makes_no_way(
    kernels: type[FakeKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST", 1)
    kernels.script = [printed("a"), printed("b")]
    running = Interpreter(Limits(seconds=1e9)).run("x")
    assert next(running).text == "a"
    later(2 * session.IDLE)
    with pytest.raises(DoesNotFit):
        list(Interpreter().run("x"))
    assert [output.text for output in running] == ["b"]


def one_each(*visitors: str) -> list[Interpreter]:
    """Interpreters that have a process; the first was not used for longest."""
    made = [Interpreter(visitor=visitor) for visitor in visitors]
    for each in made:
        list(each.run("x"))
        later(1.0)
    return made


def alive(kernels: type[FakeKernel]) -> list[bool]:
    return [kernel.alive for kernel in kernels.made]


def test_whoever_has_most_makes_way_for_whoever_has_fewer(
    kernels: type[FakeKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST", 4)
    first = one_each("first", "first", "first")
    others = one_each("second", "third", "fourth")
    assert alive(kernels) == [False, False, True, True, True, True]
    with pytest.raises(DoesNotFit, match="4 code interpreters are in use"):  # everybody has one
        one_each("fifth")
    with pytest.raises(EngineFailed, match="made way"):
        list(first[0].run("y"))
    for each in (*others, first[-1]):
        list(each.run("y"))
    assert len(kernels.made) == 6


def test_the_last_place_is_not_for_somebody_who_has_all_others(
    kernels: type[FakeKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST", 4)
    held = one_each("first", "first", "first")
    with pytest.raises(DoesNotFit, match="3 code interpreters are in use, which is all that one visitor"):
        one_each("first")
    held += one_each("second")
    with pytest.raises(DoesNotFit, match="one visitor"):
        one_each("first")
    assert alive(kernels) == [True] * 4
    later(session.IDLE)
    held += one_each("first")  # in the place of its own
    assert alive(kernels) == [False, True, True, True, True]


def test_whoever_has_most_keeps_what_runs(kernels: type[FakeKernel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST", 4)
    kernels.script = [printed("a"), printed("b")]
    running = [Interpreter(visitor="first") for _ in range(3)]
    runs = [each.run("x") for each in running]
    assert [next(run).text for run in runs] == ["a"] * 3
    held = one_each("second")
    with pytest.raises(DoesNotFit, match="4 code interpreters are in use"):
        one_each("third")
    assert [output.text for output in runs[2]] == ["b"]
    held += one_each("third")
    assert alive(kernels) == [True, True, False, True, True]


def test_the_operator_says_how_many(kernels: type[FakeKernel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUINTET_INTERPRETERS", "1")
    with Interpreter() as only:
        list(only.run("x"))
        with pytest.raises(DoesNotFit, match="1 code interpreters are in use"):
            list(Interpreter().run("x"))
        for written in ("", "0", "-1", "many"):
            monkeypatch.setenv("QUINTET_INTERPRETERS", written)
            list(Interpreter().run("x"))


# --- what a process leaves behind ------------------------------------------------------------------


@pytest.fixture
def bare(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Kernel]]:
    """Kernels that nothing confines: their children are those of this machine."""
    made: list[Kernel] = []

    def start() -> Kernel:
        made.append(Kernel(Limits(), confine=False))
        list(made[-1].wait())
        return made[-1]

    yield start
    for kernel in made:
        kernel.close()


def test_no_child_outlives_its_kernel(bare: Callable[[], Kernel]) -> None:
    kernel = bare()
    code = """
import os, subprocess
child = subprocess.Popen(['sleep', '300'], start_new_session=True).pid
print(child, flush=True)"""
    shown = [item for item in kernel.messages(kernel.execute(code)) if item]
    child = next(int(item["content"]["text"]) for item in shown if item["header"]["msg_type"] == "stream")
    assert psutil.pid_exists(child)
    with suppress(EngineFailed):  # it ends by itself, and nobody closes it
        list(kernel.messages(kernel.execute("os._exit(7)")))
    until(lambda: not psutil.pid_exists(child))


# --- messages that would take long to read -----------------------------------------------------------


@pytest.mark.parametrize(
    "values", ["[[]] * 1_000_000", "{str(n): n for n in range(300_000)}", "'x' * (13 << 20)"], ids=str
)
def test_a_message_too_large_to_be_read_is_too_much_shown(
    values: str, bare: Callable[[], Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "confinement", lambda limits: Confinement((), (), None))
    monkeypatch.setattr(session, "_new_kernel", lambda limits: bare())
    code = f"""
from IPython.display import publish_display_data
publish_display_data({{"application/json": {values}}})
print("more")"""
    with Interpreter() as interpreter:
        with pytest.raises(EngineFailed, match="showed too much"):
            list(interpreter.run(code))
        assert [output.text for output in interpreter.run("print('again')")] == ["again\n"]
