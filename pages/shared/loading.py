"""Work that needs an engine: the load that comes first, shown while it runs, and why one came to nothing."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, TypeVar

import streamlit as st

import models
from models import BadInput, Checkpoint, Engine, Loader, ModelError, Progress
from models.errors import short
from models.jobs import Job
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


class Work(Job[Any, None]):
    """Something done with an engine, which is loaded first if need be: it goes on whatever page is looked at.

    `use(engine, send, cancel)` runs in another thread, and the engine is held meanwhile. `latest` is a Progress until
    it is `loaded`, and then what `use` sent.
    """

    def __init__(
        self,
        choice: Choice,
        kind: type[Kind],
        use: Callable[[Kind, Callable[[Any], None], threading.Event], None],
    ) -> None:
        self.name = choice.name
        self.loaded = False
        shared, arguments = loader(), choice.arguments

        def work(send: Callable[[Any], None], cancel: threading.Event) -> None:
            with shared.using(*arguments, send, cancel) as engine:
                if isinstance(engine, kind):  # else only its files told what it is: now the sidebar knows
                    self.latest, self.loaded = None, True
                    use(engine, send, cancel)

        super().__init__(work)

    @property
    def failure(self) -> Exception | None:
        """Why it came to nothing; that it was stopped is no failure."""
        return None if isinstance(self.error, models.Cancelled) else self.error


def may_begin(choice: Choice) -> bool:
    """Whether there is an engine for some work, or can be; if not, `show_failure` says what is to be done first."""
    forget_failure(choice.family)
    possible = choice.engine is not None or choice.loading is not None or choice.loadable
    if not possible:
        st.session_state[f"{choice.family}.failure"] = _obstacle(choice)
    return possible


def show_load(choice: Choice) -> None:
    """How far the load is that the sidebar's button began, drawn again until it ends; nothing when there is none."""
    if choice.loading is not None:
        st.fragment(_show_load, run_every=REFRESH)(choice.family)


def _show_load(family: str) -> None:
    load: Load | None = st.session_state.get(f"{family}.load")
    if load is None:  # drawn once more after its end
        return
    if not load.job.running:
        del st.session_state[f"{family}.load"]
        if load.job.error is not None:
            fail(family, load.job.error)
        st.rerun()
    left, right = st.columns([5, 1], vertical_alignment="center")
    with left:
        show_progress(load.arguments[0], load.job.latest)
    if right.button(tr("Cancel", "取消"), key=f"{family}.cancel_load"):
        load.job.cancel.set()


def show_progress(name: str, progress: Progress | None) -> None:
    """How far the load of a checkpoint is."""
    share, text = _describe_progress(progress)
    st.progress(share, text=f"{name}: {text}")


def describe_first_use(choice: Choice) -> str:
    """What will happen before the first answer, or nothing to say once the engine is there."""
    if choice.engine or not choice.checkpoint:
        return ""
    name = choice.checkpoint.title or choice.name
    if not choice.accepted:
        return sentence(_obstacle(choice))
    return tr(
        f"{name} is loaded when it is first needed, and fetched before that if it is not here yet.",
        f"{name} 会在首次使用时自动加载；若本机没有，会先下载。",
    )


def _obstacle(choice: Choice) -> BadInput:
    """What the visitor has to do first."""
    if choice.checkpoint and not choice.accepted:
        name = choice.checkpoint.title or choice.name
        return BadInput(
            f"Before its first use, read and accept the terms of {name} in the sidebar.",
            f"首次使用前，请在侧边栏阅读并接受 {name} 的条款。",
        )
    return BadInput(
        "Choose a checkpoint that can be loaded, in the sidebar.", "请在侧边栏选择可以加载的模型。"
    )


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
