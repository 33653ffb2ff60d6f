"""What stands around every page: its setup, and the sidebar that chooses and loads a checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

import streamlit as st
from streamlit.errors import StreamlitAPIException

import models
from models import BadInput, Checkpoint, Engine, ModelError, Plan, Text
from pages.shared import options
from pages.shared.language import LANGUAGES, keep_settings, language, remember, say, sentence, tr
from pages.shared.loading import Choice, forget_failure, loader
from pages.shared.memory import bar

CONTEXTS = (1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)


class Page(NamedTuple):
    """One entry of the page list."""

    file: str
    title: str
    icon: str

    @property
    def family(self) -> str:
        return PurePosixPath(self.file).stem


PAGES = (
    Page("pages/llama2.py", "LLaMA 2", ":material/chat:"),
    Page("pages/gemma.py", "Gemma", ":material/diamond:"),
    Page("pages/chatglm.py", "ChatGLM", ":material/forum:"),
    Page("pages/qwen_vl.py", "Qwen-VL", ":material/image_search:"),
    Page("pages/whisper.py", "Whisper", ":material/mic:"),
)

# The kind of checkpoint that a family's page is for, where that is not chat.
KINDS = {"whisper": "speech", "qwen_vl": "vision"}
# What a checkpoint of a kind does, and where.
ELSEWHERE = {
    "speech": (Text("turns speech into text", "用于语音识别"), Text("the Whisper page", "语音页面")),
    "vision": (Text("looks at pictures", "用于看图"), Text("the Qwen-VL page", " Qwen-VL 页面")),
    "chat": (Text("reads and writes text only", "只能读写文本"), Text("a page for chat", "对话页面")),
}


def page(family: str, intro: str, layout: Literal["centered", "wide"] = "centered") -> None:
    """Page setup; every page calls it first, since any page may be the first to run."""
    this = next(page for page in PAGES if page.file == f"pages/{family}.py")
    st.set_page_config(page_title=f"{this.title} · Quintet", page_icon=this.icon, layout=layout)
    keep_settings()
    with st.sidebar:
        for other in PAGES:
            with suppress(StreamlitAPIException):  # a page that is itself the main script has no others
                st.page_link(other.file, label=other.title, icon=other.icon)
    st.title(this.title)
    st.caption(intro)


# --- sidebar -----------------------------------------------------------------------------------


def sidebar(
    family: str,
    specs: Sequence[Any] = (),
    preset: Callable[[Checkpoint], Mapping[str, Any]] = lambda checkpoint: {},
) -> tuple[Choice, dict[str, Any]]:
    """Draw it; return the choice and the values of the options in `specs` (dataclass fields).

    `preset` gives the page's own defaults for a checkpoint, which go before the catalog's.
    """
    with st.sidebar:
        _language()
        name = _checkpoint(family)
        described, error = _describe(family, name)
        if error:
            st.error(sentence(error), icon=":material/error:")
        device, precision, context = _placement(family, described)
        plan, engine = _plan(name, device, precision, context) if described else (None, None)
        if plan:
            bar(plan, loader())
        accepted = _terms(described) if described else False
        fits = plan is not None and plan.fits
        choice = Choice(family, name, device, precision, context, described, engine, accepted, fits)
        _buttons(choice)
        if engine:
            _report(engine)
        defaults = {**described.options, **preset(described)} if described else {}
        values = options.widgets(family, specs, defaults)
    return choice, values


def _language() -> None:
    st.segmented_control(
        "Language / 语言",
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key=remember("set.language", language()),
        label_visibility="collapsed",
        required=True,
    )


def _checkpoint(family: str) -> str:
    rows = {row.name: row for row in models.catalog.family(family)}
    default = models.catalog.default(family)
    names = [*([] if default in rows else [default]), *rows]

    labels = {name: _label(row) for name, row in rows.items()}
    chosen = st.selectbox(
        tr("Checkpoint", "模型"),
        names,
        format_func=lambda name: labels.get(name, name),
        accept_new_options=True,
        key=remember(f"set.{family}.checkpoint", default),
        on_change=forget_failure,
        args=(family,),
        help=tr(
            "★ comes from the Python package index, no model hub needed. You can also type a hub id, the path "
            "of a folder, .gguf or .pt file, or the address of a server ending in /v1.",
            "★ 来自 Python 软件包索引，无需访问模型库。也可输入仓库名、文件夹或 .gguf、.pt 文件的路径，"
            "或以 /v1 结尾的服务器地址。",
        ),
    )
    return str(chosen or default)


def _label(row: Checkpoint) -> str:
    gated = tr(" · gated", " · 需申请") if row.gated else ""
    return f"{'★ ' if row.starter else ''}{row.title or row.name} · {models.gigabytes(row.bytes)}{gated}"


def _describe(family: str, name: str) -> tuple[Checkpoint | None, ModelError | None]:
    try:
        models.catalog.allowed(name)
        found = loader().describe(name)
    except ModelError as error:
        return None, error
    kind = found.kind if found.kind in ELSEWHERE else "chat"
    stored = models.catalog.format_of(found)
    may_see = stored.may_see and family == "qwen_vl"
    if not stored.known or may_see or kind == KINDS.get(family, "chat"):
        return found, None
    does, page = ELSEWHERE[kind]
    return None, BadInput(
        f"{name} {does.en}: open {page.en}, or choose another checkpoint.",
        f"{name} {does.zh}：请打开{page.zh}，或另选模型。",
    )


def _placement(family: str, checkpoint: Checkpoint | None) -> tuple[str, str, int | None]:
    devices = {device.name: device for device in models.devices()}
    auto = {"auto": tr("auto", "自动")}
    titles = auto | {device.name: device.title for device in devices.values()}
    left, right = st.columns(2)
    device = left.selectbox(
        tr("Device", "设备"),
        list(titles),
        format_func=titles.__getitem__,
        key=remember(f"set.{family}.device", "auto"),
    )
    ways: dict[str, None] = {}
    for found in devices.values() if device == "auto" else [devices[device]]:
        ways |= dict.fromkeys(models.precisions(checkpoint, found) if checkpoint else ())
    choices = ["auto", *(way for way in ways if way not in ("file", "remote"))]
    precision = right.selectbox(
        tr("Precision", "精度"),
        choices,
        format_func=lambda way: auto.get(way, way),
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
    if len(lengths) == 1:  # nothing to slide
        return device, precision, most
    context = st.select_slider(
        tr("Context length (tokens)", "上下文长度（token）"),
        lengths,
        key=remember(f"set.{family}.context.{most}", min(most, 8192)),
    )
    return device, precision, int(context)


def _plan(name: str, device: str, precision: str, context: int | None) -> tuple[Plan | None, Engine | None]:
    """What a load would need, and the engine if there is no need of one; a refusal is shown here."""
    try:
        plan = loader().plan(name, device, precision, context)
        engine = loader().find_loaded(name, device, precision, context)
        if not plan.fits and engine is None:
            st.error(sentence(models.placement.refuse(plan)), icon=":material/error:")
        return plan, engine
    except ModelError as error:
        st.error(sentence(error), icon=":material/error:")
        return None, None


def _terms(checkpoint: Checkpoint) -> bool:
    """Show the licence, and have its terms accepted once where the catalog says so."""
    if checkpoint.licence_url:
        st.caption(f"{tr('Licence', '许可')}: [{checkpoint.licence}]({checkpoint.licence_url})")
    if checkpoint.note is not None:
        st.caption(say(checkpoint.note))
    if checkpoint.terms is None:
        return True
    st.caption(say(checkpoint.terms))
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
