"""An answer is asked for: the load that it may need, shown while it runs, and why one came to nothing."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, TypeVar

import streamlit as st

import models
from models import Checkpoint, Engine, Loader, ModelError, Progress
from models.errors import short
from models.jobs import Job
from pages.shared.jobs import when_stopped
from pages.shared.language import sentence, tr
from pages.shared.markdown import readable

Kind = TypeVar("Kind", bound=Engine)

REFRESH = 0.2  # seconds between two looks at a load

STAGES = {
    "queue": ("Waiting for another load", "等待其他加载完成"),
    "find": ("Looking for the files", "查找文件"),
    "download": ("Downloading", "下载中"),
    "verify": ("Checking the files", "校验文件"),
    "unpack": ("Unpacking", "解包"),
    "load": ("Reading into memory", "载入内存"),
}


@st.cache_resource(show_spinner=False)
def loader() -> Loader:
    """The one loader of this process, for all sessions."""
    return models.shared()


class Load(NamedTuple):
    """A load that a session started, and the arguments it was started with."""

    arguments: tuple[str, str, str, int | None]
    job: Job[Progress, Engine]


@dataclass(frozen=True)
class Choice:
    """What the sidebar says: which checkpoint, where, and the engine if it is in memory."""

    family: str
    name: str
    device: str
    precision: str
    context: int | None
    checkpoint: Checkpoint | None
    engine: Engine | None
    accepted: bool  # the licence terms, where there are some to accept
    fits: bool

    @property
    def loadable(self) -> bool:
        return self.accepted and self.fits

    @property
    def loading(self) -> Load | None:
        return st.session_state.get(f"{self.family}.load")

    @property
    def arguments(self) -> tuple[str, str, str, int | None]:
        """Of `Loader.load`."""
        return self.name, self.device, self.precision, self.context

    def load(self) -> None:
        """Start loading, unless that is under way."""
        forget_failure(self.family)
        if self.loading is None and self.loadable:
            shared, arguments = loader(), self.arguments
            job: Job[Progress, Engine] = Job(
                lambda progress, cancel: shared.load(*arguments, progress, cancel)
            )
            st.session_state[f"{self.family}.load"] = Load(arguments, job)


def request_answer(family: str) -> None:
    """Note that an answer is wanted: `engine_to_answer` sees to it, in this run or the next."""
    forget_failure(family)
    st.session_state[f"{family}.asked"] = True


def answer_requested(family: str) -> bool:
    return f"{family}.asked" in st.session_state


def withdraw_request(family: str) -> None:
    """The answer that was asked for is being given, or no longer wanted."""
    st.session_state.pop(f"{family}.asked", None)


def switch_conversation(family: str, conversation: str) -> None:
    """Note which conversation the page shows: what was asked for in another one is not asked for here."""
    if st.session_state.get(f"{family}.current", conversation) != conversation:
        withdraw_request(family)
    st.session_state[f"{family}.current"] = conversation


@contextmanager
def engine_to_answer(choice: Choice, kind: type[Kind]) -> Iterator[Kind | None]:
    """The engine, once an answer is wanted and it is in memory: loaded first if need be, and waited for.

    It is held until the block is left: nobody's load closes it before the answer has begun.
    """
    engine = _find_engine(choice, kind)
    with ExitStack() as stack:
        if engine is not None:
            try:
                stack.enter_context(engine.lease())
            except models.EngineClosed as error:  # unloaded since it was looked up
                fail(choice.family, error)
        yield engine


def _find_engine(choice: Choice, kind: type[Kind]) -> Kind | None:
    if answer_requested(choice.family) and choice.engine is None and choice.loading is None:
        if choice.loadable:
            choice.load()
        else:
            withdraw_request(choice.family)
            st.warning(_explain_obstacle(choice))
    engine = _wait_for_load(choice) or choice.engine
    if engine is None or not answer_requested(choice.family):
        return None
    withdraw_request(choice.family)
    if not isinstance(engine, kind):  # only its files told what it is: now the sidebar knows
        st.rerun()
    return engine


def _wait_for_load(choice: Choice) -> Engine | None:
    """Show a load of this page until it ends; None when there is none.

    The load itself is not the script's: a click elsewhere interrupts only the watching, which the next
    run takes up again. Stop and Cancel end the load, and with it the request it was made for.
    """
    if choice.loading is None:
        return None
    arguments, job = choice.loading
    when_stopped(f"{choice.family}.watched", job.cancel.set)
    left, right = st.columns([5, 1], vertical_alignment="center")
    placeholder = left.empty()
    if right.button(tr("Cancel", "取消"), key=f"{choice.family}.cancel_load"):
        job.cancel.set()
    while job.running:
        share, text = _describe_progress(job.latest)
        placeholder.progress(share, text=f"{arguments[0]}: {text}")
        job.wait(REFRESH)
    del st.session_state[f"{choice.family}.load"]
    if job.error is not None:
        fail(choice.family, job.error)
    # another choice was made meanwhile
    if not answer_requested(choice.family) or arguments != choice.arguments:
        st.rerun()
    return job.value


def describe_first_use(choice: Choice) -> str:
    """What will happen before the first answer, or nothing to say once the engine is there."""
    if choice.engine or not choice.checkpoint:
        return ""
    name = choice.checkpoint.title or choice.name
    if not choice.accepted:
        return _explain_obstacle(choice)
    return tr(
        f"{name} is loaded when it is first needed, and fetched before that if it is not here yet.",
        f"{name} 会在首次使用时自动加载；若本机没有，会先下载。",
    )


def _explain_obstacle(choice: Choice) -> str:
    """What the visitor has to do first."""
    if choice.checkpoint and not choice.accepted:
        name = choice.checkpoint.title or choice.name
        return tr(
            f"Before its first use, read and accept the terms of {name} in the sidebar.",
            f"首次使用前，请在侧边栏阅读并接受 {name} 的条款。",
        )
    return tr("Choose a checkpoint that can be loaded, in the sidebar.", "请在侧边栏选择可以加载的模型。")


def _describe_progress(progress: Progress | None) -> tuple[float, str]:
    if progress is None:
        return 0.0, tr("starting", "开始")
    parts = [tr(*STAGES.get(progress.stage, (progress.stage, progress.stage)))]
    share = min(progress.done / progress.total, 1.0) if progress.total else 0.0
    if progress.total and progress.stage != "queue":
        parts.append(f"{models.gigabytes(progress.done)} / {models.gigabytes(progress.total)}")
    if progress.rate:
        parts.append(f"{progress.rate / 1024**2:.0f} MB/s")
    if progress.left is not None:
        parts.append(tr(f"{progress.left:.0f} s left", f"剩余 {progress.left:.0f} 秒"))
    return share, " · ".join(parts)


def fail(family: str, error: Exception) -> NoReturn:
    """End this run; the next one says why the load or the answer came to nothing."""
    if isinstance(error, models.EngineClosed):  # unloaded for somebody else since it was looked up
        request_answer(family)
        st.rerun()
    withdraw_request(family)
    st.session_state[f"{family}.failure"] = error
    if not isinstance(error, ModelError):
        logging.getLogger(__name__).error("on the page of %s", family, exc_info=error)
    st.rerun()


def forget_failure(family: str) -> None:
    st.session_state.pop(f"{family}.failure", None)


def show_failure(family: str) -> None:
    """Why the last load or answer of this page came to nothing."""
    error = st.session_state.get(f"{family}.failure")
    if isinstance(error, models.Cancelled):
        st.info(tr("Loading was cancelled; what was downloaded is kept.", "已取消加载；已下载的部分会保留。"))
    elif isinstance(error, ModelError):
        st.error(readable(sentence(error)), icon=":material/error:")
    elif error is not None:
        _show_unexpected(error)


def _show_unexpected(error: Exception) -> None:
    """An error nobody foresaw: a sentence for the visitor, and what a maintainer needs to copy."""
    st.error(
        tr(
            "Something went wrong that Quintet did not foresee; nothing of yours is lost. Try again, and if it "
            "stays, report the text below.",
            "发生了未预料的错误；您的内容没有丢失。请重试；若仍出现，请反馈下面的内容。",
        ),
        icon=":material/error:",
    )
    st.code(short(error), language=None)
