"""What stands around every page: its setup, the sidebar that chooses and loads a checkpoint, the loader."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import streamlit as st
from streamlit.errors import StreamlitAPIException

import models
from models import Checkpoint, Engine, Loader, ModelError, Plan, Progress
from pages.shared import options
from pages.shared.jobs import Background, when_stopped
from pages.shared.memory import bar
from pages.shared.words import LANGUAGES, keep_settings, language, remember, say, sentence, tr

CONTEXTS = (1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
REFRESH = 0.2  # seconds between two looks at a load

STAGES = {
    "queue": ("Waiting for another load", "等待其他加载完成"),
    "find": ("Looking for the files", "查找文件"),
    "download": ("Downloading", "下载中"),
    "verify": ("Checking the files", "校验文件"),
    "unpack": ("Unpacking", "解包"),
    "load": ("Reading into memory", "载入内存"),
}


class Page(NamedTuple):
    """One entry of the page list."""

    file: str
    title: str
    icon: str


PAGES = (
    Page("pages/llama2.py", "LLaMA 2", ":material/chat:"),
    Page("pages/gemma.py", "Gemma", ":material/diamond:"),
    Page("pages/whisper.py", "Whisper", ":material/mic:"),
)


@st.cache_resource(show_spinner=False)
def loader() -> Loader:
    """The one loader of this process, for all sessions."""
    return models.shared()


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
    def loading(self) -> Background[Engine] | None:
        return st.session_state.get(f"{self.family}.load")

    def load(self) -> None:
        """Start loading, unless that is under way."""
        st.session_state.pop(f"{self.family}.failure", None)
        if self.loading is None and self.loadable:
            shared = loader()
            arguments = (self.name, self.device, self.precision, self.context)
            st.session_state[f"{self.family}.load"] = Background(
                lambda report, cancel: shared.load(*arguments, report, cancel)
            )


def page(family: str, intro: str) -> None:
    """Page setup; every page calls it first, since any page may be the first to run."""
    this = next(page for page in PAGES if page.file == f"pages/{family}.py")
    st.set_page_config(page_title=f"{this.title} · Quintet", page_icon=this.icon, layout="centered")
    keep_settings()
    with st.sidebar:
        for other in PAGES:
            with suppress(StreamlitAPIException):  # a page that is itself the main script has no others
                st.page_link(other.file, label=other.title, icon=other.icon)
    st.title(this.title)
    st.caption(intro)


# --- sidebar -----------------------------------------------------------------------------------


def sidebar(family: str, specs: Sequence[Any] = ()) -> tuple[Choice, dict[str, Any]]:
    """Draw it; return the choice and the values of the options in `specs` (dataclass fields)."""
    with st.sidebar:
        _language()
        name = _checkpoint(family)
        described, error = _describe(name)
        if error:
            st.error(sentence(error), icon=":material/error:")
        device, precision, context = _placement(family, described)
        plan, refusal = _plan(name, device, precision, context) if described else (None, None)
        if refusal and not error:
            st.error(sentence(refusal), icon=":material/error:")
        if plan:
            bar(plan, loader())
        engine = loader().find_loaded(name, device, precision, context) if plan else None
        accepted = _terms(described) if described else False
        fits = plan is not None and plan.fits
        choice = Choice(family, name, device, precision, context, described, engine, accepted, fits)
        _buttons(choice)
        if engine:
            _report(engine)
        values = options.widgets(family, specs, described.options if described else {})
    return choice, values


def _language() -> None:
    st.segmented_control(
        "Language / 语言",
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key=remember("set.language", language()),
        label_visibility="collapsed",
    )


def _checkpoint(family: str) -> str:
    rows = {row.name: row for row in models.catalog.family(family)}
    default = models.catalog.default(family)
    names = [*([] if default in rows else [default]), *rows]

    def label(name: str) -> str:
        row = rows.get(name)
        if row is None:
            return name
        marks = f" · {models.gigabytes(row.bytes)}" + (" · gated" if row.gated else "")
        return f"{'★ ' if row.starter else ''}{row.title or row.name}{marks}"

    chosen = st.selectbox(
        tr("Checkpoint", "模型"),
        names,
        format_func=label,
        accept_new_options=True,
        key=remember(f"set.{family}.checkpoint", default),
        help=tr(
            "★ comes from the Python package index, no model hub needed. You can also type a hub id, the path "
            "of a folder, .gguf or .pt file, or the address of a server ending in /v1.",
            "★ 来自 Python 软件包索引，无需访问模型库。也可输入仓库名、文件夹或 .gguf、.pt 文件的路径，"
            "或以 /v1 结尾的服务器地址。",
        ),
    )
    return str(chosen or default)


def _describe(name: str) -> tuple[Checkpoint | None, ModelError | None]:
    try:
        models.catalog.allowed(name)
        return loader().describe(name), None
    except ModelError as error:
        return None, error


def _placement(family: str, checkpoint: Checkpoint | None) -> tuple[str, str, int | None]:
    devices = {device.name: device for device in models.devices()}
    left, right = st.columns(2)
    device = left.selectbox(
        tr("Device", "设备"),
        ["auto", *devices],
        format_func=lambda name: tr("auto", "自动") if name == "auto" else devices[name].title,
        key=remember(f"set.{family}.device", "auto"),
    )
    ways: dict[str, None] = {}
    for found in devices.values() if device == "auto" else [devices[device]]:
        ways |= dict.fromkeys(models.precisions(checkpoint, found) if checkpoint else ())
    choices = ["auto", *(way for way in ways if way not in ("file", "remote"))]
    precision = right.selectbox(
        tr("Precision", "精度"),
        choices,
        format_func=lambda way: tr("auto", "自动") if way == "auto" else way,
        key=remember(f"set.{family}.precision.{'.'.join(choices)}", "auto"),
        help=tr(
            "auto takes the best that fits. Quantised files keep their own precision.",
            "自动选择可容纳的最佳精度。已量化的文件保持自身精度。",
        ),
    )
    if checkpoint is None or checkpoint.kind == "speech":
        return device, precision, None
    most = checkpoint.context_length or CONTEXTS[3]
    lengths = sorted({length for length in CONTEXTS if length <= most} | {most})
    context = st.select_slider(
        tr("Context length (tokens)", "上下文长度（token）"),
        lengths,
        key=remember(f"set.{family}.context.{most}", min(most, 8192)),
    )
    return device, precision, int(context)


def _plan(
    name: str, device: str, precision: str, context: int | None
) -> tuple[Plan | None, ModelError | None]:
    try:
        plan = loader().plan(name, device, precision, context)
    except ModelError as error:
        return None, error
    loaded = loader().find_loaded(name, device, precision, context)
    return plan, None if plan.fits or loaded else models.placement.refuse(plan)


def _terms(checkpoint: Checkpoint) -> bool:
    """Show the licence, and have its terms accepted once where the catalog says so."""
    if checkpoint.licence_url:
        st.caption(f"{tr('Licence', '许可')}: [{checkpoint.licence}]({checkpoint.licence_url})")
    if checkpoint.note is None:
        return True
    st.caption(say(checkpoint.note))
    key = remember(f"set.terms.{checkpoint.name}", False)
    return st.checkbox(tr("I accept these terms", "我接受这些条款"), key=key)


def _buttons(choice: Choice) -> None:
    left, right = st.columns(2)
    if left.button(
        tr("Load", "加载"),
        type="primary",
        width="stretch",
        disabled=not choice.loadable or choice.engine is not None or choice.loading is not None,
        key=f"{choice.family}.load_button",
    ):
        choice.load()
    if (
        right.button(
            tr("Unload", "卸载"),
            width="stretch",
            disabled=choice.engine is None,
            key=f"{choice.family}.unload_button",
        )
        and choice.engine
    ):
        if loader().unload(choice.engine.checkpoint.name):
            st.rerun()
        st.warning(tr("It is answering somebody; try again later.", "正在回答其他人，请稍后再试。"))


def _report(engine: Engine) -> None:
    """What is true of the loaded engine: measured, not promised."""
    report = engine.report
    where = ", ".join(sorted(set(report.device_map.values())))
    st.caption(
        f":material/check_circle: {report.dtype} · {models.gigabytes(report.weights)} · {where} · {report.seconds:.1f} s"
    )
    for note in report.notes:
        st.caption(say(note))


# --- loading -----------------------------------------------------------------------------------


def wait_for_load(choice: Choice) -> Engine | None:
    """Show a load of this page until it ends; None when there is none.

    The load itself is not the script's: a click elsewhere interrupts only the watching, which the next
    run takes up again. Stop and Cancel end the load, and with it the request it was made for.
    """
    job = choice.loading
    if job is None:
        return None
    when_stopped(f"{choice.family}.watched", job.cancel.set)
    left, right = st.columns([5, 1], vertical_alignment="center")
    place = left.empty()
    if right.button(tr("Cancel", "取消"), key=f"{choice.family}.cancel_load"):
        job.cancel.set()
    while job.running:
        share, text = _describe_progress(job.progress)
        place.progress(share, text=f"{choice.name}: {text}")
        time.sleep(REFRESH)
    del st.session_state[f"{choice.family}.load"]
    if job.error is not None:
        st.session_state[f"{choice.family}.failure"] = job.error
        st.session_state.pop(f"{choice.family}.asked", None)
        st.rerun()
    return job.result


def begin(choice: Choice) -> None:
    """Note that an answer is wanted, and load what it needs if it is not in memory."""
    st.session_state.pop(f"{choice.family}.failure", None)
    if choice.engine is not None or choice.loading is not None:
        st.session_state[f"{choice.family}.asked"] = True
    elif choice.loadable:
        st.session_state[f"{choice.family}.asked"] = True
        choice.load()
    else:
        st.warning(
            tr("Choose a checkpoint that can be loaded, in the sidebar.", "请在侧边栏选择可以加载的模型。")
        )


def first_time(choice: Choice) -> str:
    """What will happen before the first answer, or nothing to say once the engine is there."""
    if choice.engine or not choice.checkpoint:
        return ""
    name = choice.checkpoint.title or choice.name
    if not choice.accepted:
        return tr(
            f"Before its first use, read and accept the terms of {name} in the sidebar.",
            f"首次使用前，请在侧边栏阅读并接受 {name} 的条款。",
        )
    return tr(
        f"{name} is loaded when it is first needed, and fetched before that if it is not here yet.",
        f"{name} 会在首次使用时自动加载；若本机没有，会先下载。",
    )


def asked(choice: Choice) -> bool:
    return bool(st.session_state.get(f"{choice.family}.asked"))


def answering(choice: Choice) -> None:
    """The answer that was asked for is being given."""
    del st.session_state[f"{choice.family}.asked"]


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


def show_failure(family: str) -> None:
    """Why the last load of this page came to nothing."""
    error = st.session_state.get(f"{family}.failure")
    if isinstance(error, models.Cancelled):
        st.info(tr("Loading was cancelled; what was downloaded is kept.", "已取消加载；已下载的部分会保留。"))
    elif isinstance(error, ModelError):
        st.error(sentence(error), icon=":material/error:")
    elif error is not None:
        show_unexpected(error)


def show_unexpected(error: BaseException) -> None:
    """An error nobody foresaw: a sentence for the visitor, and what a maintainer needs to copy."""
    st.error(
        tr(
            "Something went wrong that Quintet did not foresee; nothing of yours is lost. Try again, and if it "
            "stays, report the text below.",
            "发生了未预料的错误；您的内容没有丢失。请重试；若仍出现，请反馈下面的内容。",
        ),
        icon=":material/error:",
    )
    st.code(f"{type(error).__name__}: {error}", language=None)
