"""The code interpreter: Python that a model (or a person) wrote, run for one conversation."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import chain
from types import TracebackType
from weakref import WeakSet

from models.errors import BadInput, Cancelled, DoesNotFit, EngineFailed, ModelError
from models.interpreter.confinement import confinable, confinement
from models.interpreter.kernel import TOO_LARGE, Kernel, Limits
from models.interpreter.outputs import Output, output_of
from models.schema import Text

MOST = 8  # kernels of one server at the same time, unless the operator says otherwise
IDLE = 600.0  # seconds without a run, after which a kernel makes room for another conversation's
_GRACE = 3.0  # seconds between an interrupt and the end of the process
_LONGEST = 100_000  # characters of code


class Interpreter:
    """Python of one conversation: its variables and files last until `close`.

    The process starts with the first run, and again after one that ended it. It ends with `close`,
    with the last reference to this, and with this process, however that ends.

    Args:
        limits: of the process and of each run.
        visitor: whose it is; None: of somebody who has no other. See `_make_room`.
    """

    def __init__(self, limits: Limits | None = None, visitor: str | None = None) -> None:
        self.limits = limits or Limits()
        self.visitor: object = visitor or object()
        self._kernel: Kernel | None = None
        self._running = threading.Lock()
        self._used = time.monotonic()  # when the last run ended
        self._gave_way = False
        with _LISTING:
            _interpreters().add(self)

    def __enter__(self) -> "Interpreter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process and all that it has started, from any thread. A later run starts a new one."""
        kernel = self._kernel
        if kernel is not None:
            kernel.kill()
        if self._running.acquire(timeout=_GRACE):  # its sockets belong to a run that has not ended
            self._discard()
            self._running.release()

    @property
    def started(self) -> bool:
        """Whether it has a process."""
        kernel = self._kernel
        return kernel is not None and kernel.close.alive

    @property
    def idle(self) -> float:
        """Seconds since its last run."""
        return time.monotonic() - self._used

    def give_way(self) -> bool:
        """End the process for somebody else's, unless code is running. False: nothing was ended."""
        if not self._running.acquire(blocking=False):
            return False
        try:
            self._gave_way = self._kernel is not None
            self._discard()
            return self._gave_way
        finally:
            self._running.release()

    def _discard(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            kernel.close()

    def run(self, code: str, cancel: threading.Event | None = None) -> Iterator[Output]:
        """Run code and yield what it shows, as it comes. An exception in the code is an Output, too.

        Leaving the iteration early interrupts the code.

        Args:
            code: Python, with IPython's additions.
            cancel: ends the run when set.

        Raises:
            BadInput: code that is too long, or a run that has not ended yet.
            Cancelled: by `cancel`; variables are kept if the code could be interrupted.
            DoesNotFit: too much memory, or too many interpreters at the same time.
            EngineFailed: the code took too long, showed too much, or ended its own process; or that made way
                for another conversation's.
            UnsupportedPlacement: the operator or the system allows no interpreter.
        """
        if len(code) > _LONGEST:
            raise BadInput(
                f"The code has {len(code)} characters: at most {_LONGEST} can be run at once.",
                f"代码有 {len(code)} 个字符：一次最多运行 {_LONGEST} 个。",
            )
        if not self._running.acquire(blocking=False):
            raise BadInput(
                "The code before is still running: wait for its end, or stop it.",
                "前一段代码仍在运行：请等待其结束，或将其停止。",
            )
        try:
            if self._gave_way:
                self._gave_way = False
                raise EngineFailed(
                    "The Python process of this conversation made way for another conversation's while all that this "
                    "server allows were in use, and its variables and files are gone: the next run starts a new one.",
                    "本服务器的代码解释器曾全部占用，本对话的 Python 进程已让位给其他对话，变量和文件均已丢失：再次运行时会启动新的进程。",
                )
            yield from self._run(code, cancel or threading.Event())
        finally:
            self._used = time.monotonic()
            self._running.release()

    def _run(self, code: str, cancel: threading.Event) -> Iterator[Output]:
        kernel = self._started(cancel)
        kernel.resume()
        request = kernel.execute(code)
        try:
            yield from self._watched(kernel, request, cancel)
        except (_Stop, Cancelled, GeneratorExit) as stop:
            kept = self._interrupt(kernel, request)
            if isinstance(stop, _Stop):
                raise stop.error(kept) from None
            raise
        except ModelError:  # the process is gone
            self._discard()
            raise
        finally:
            kernel.pause()

    def _started(self, cancel: threading.Event) -> Kernel:
        kernel = self._kernel
        if kernel is None:
            with _STARTING:
                _make_room(self)
                kernel = self._kernel = _new_kernel(self.limits)
            try:
                for _ in kernel.wait():
                    if cancel.is_set():
                        raise Cancelled
            except BaseException:
                self._discard()
                raise
        return kernel

    def _watched(self, kernel: Kernel, request: str, cancel: threading.Event) -> Iterator[Output]:
        until = time.monotonic() + self.limits.seconds
        text, pictures = self.limits.text, self.limits.pictures
        for message in kernel.messages(request):
            if cancel.is_set():
                raise Cancelled
            if time.monotonic() > until:
                raise _Stop(
                    f"The code ran longer than {self.limits.seconds:g} seconds and was stopped",
                    f"代码运行超过 {self.limits.seconds:g} 秒，已被停止",
                )
            if message is TOO_LARGE:
                raise _showed_too_much()
            output = output_of(message) if message else None
            if output is None:
                continue
            if output.characters > text or len(output.image) > pictures:
                yield Output("text", output.text[:text])
                raise _showed_too_much()
            text -= output.characters
            pictures -= len(output.image)
            yield output

    def _interrupt(self, kernel: Kernel, request: str) -> bool:
        """Stop the code: by an interrupt, or else with its process. True: its variables are kept."""
        kernel.interrupt()
        until = time.monotonic() + _GRACE
        try:
            for _ in chain(kernel.messages(request), kernel.interrupted()):
                if time.monotonic() > until:
                    break
            else:
                return True
        except ModelError:
            self._discard()
            return False
        self._discard()
        return False


class _Stop(Exception):
    """Why a run has to be stopped; what it costs is known once it has been."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self._why = Text(en, zh)

    def error(self, kept: bool) -> EngineFailed:
        en, zh = self._why
        if kept:
            return EngineFailed(f"{en}; its variables are kept.", f"{zh}；变量仍然保留。")
        return EngineFailed(
            f"{en}, together with its process because it did not react: its variables and files are gone.",
            f"{zh}；由于没有响应，其进程也被终止，变量和文件均已丢失。",
        )


def _showed_too_much() -> _Stop:
    return _Stop("The code showed too much and was stopped", "代码的输出过多，已被停止")


_STARTING = threading.Lock()  # held while the kernels are counted and one is added
_LISTING = threading.Lock()  # held while the interpreters are listed or one is added: no set grows meanwhile


@cache
def _interpreters() -> "WeakSet[Interpreter]":
    return WeakSet()


def _most() -> int:
    """How many kernels the operator allows: QUINTET_INTERPRETERS. What is no number from 1 means nothing."""
    written = os.environ.get("QUINTET_INTERPRETERS", "").strip()
    return int(written) if written.isdecimal() and int(written) else MOST


def _make_room(new: Interpreter) -> None:
    """See that one more may start: where there are as many as may be, one whose code does not run makes way.

    That is the one that was not used for longest, of those that nobody used for long and those of visitors who
    have more than `new`'s would. The last place is not for somebody who has all others.

    Raises DoesNotFit when there is none.
    """
    most = _most()
    while True:
        with _LISTING:
            interpreters = list(_interpreters())
        started = [each for each in interpreters if each.started]
        held = Counter(each.visitor for each in started)
        own = held[new.visitor]
        alone = own >= max(most - 1, 1)
        if len(started) < most and not alone:
            return
        ready = [
            each
            for each in started
            if (each.idle > IDLE or held[each.visitor] > own + 1)
            and (each.visitor == new.visitor or not alone)
        ]
        if not any(each.give_way() for each in sorted(ready, key=lambda each: -each.idle)):
            raise _refuse_more(own if alone else most, alone)


def _refuse_more(most: int, alone: bool) -> DoesNotFit:
    who, whose = ("one visitor may have", "每位访客") if alone else ("this server allows", "本服务器")
    return DoesNotFit(
        f"{most} code interpreters are in use, which is all that {who}: close another tab and try again.",
        f"已有 {most} 个代码解释器在使用，达到{whose}的上限：请关闭其他标签页后重试。",
    )


def _new_kernel(limits: Limits) -> Kernel:
    if refused := confinement(limits).refused:
        raise refused
    return Kernel(limits, confinable())
