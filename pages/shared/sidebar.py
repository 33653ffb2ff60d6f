"""The sidebar of every page: it chooses and loads a checkpoint, and sets the options of its answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

import models
from models import BadInput, ChatEngine, Checkpoint, Device, Engine, ModelError, Plan, Text
from pages.shared import options
from pages.shared.frame import KINDS
from pages.shared.language import LANGUAGES, language, remember, remember_language, say, sentence, tr
from pages.shared.loading import Choice, forget_failure, loader
from pages.shared.markdown import literal, readable
from pages.shared.memory import show_memory

CONTEXTS = (1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
USUAL_CONTEXT = 8192
SHOWN = 28  # letters that the box of a checkpoint has room for
SHORTEST = 3  # letters of a part of a name that mean a listed one
# What a checkpoint of a kind does, and where.
ELSEWHERE = {
    "speech": (Text("turns speech into text", "用于语音识别"), Text("the Whisper page", "语音页面")),
    "vision": (Text("looks at pictures", "用于看图"), Text("the Qwen-VL page", " Qwen-VL 页面")),
    "chat": (Text("reads and writes text only", "只能读写文本"), Text("a page for chat", "对话页面")),
}


def show_sidebar(
    family: str,
    specs: Sequence[Any] = (),
    preset: Callable[[Checkpoint], Mapping[str, Any]] = lambda checkpoint: {},
) -> tuple[Choice, dict[str, Any]]:
    """Draw it; return the choice and the values of the options in `specs` (dataclass fields).

    `preset` gives the page's own defaults for a checkpoint, which go before the catalog's.
    """
    with st.sidebar:
        _choose_language()
        name = _choose_checkpoint(family)
        described, error = _describe(family, name)
        if error:
            st.error(readable(sentence(error)), icon=":material/error:")
        devices = models.devices()
        left, right = st.columns(2)
        with left:
            device = _choose_device(family, devices)
        with right:
            possible = [found for found in devices if device in ("auto", found.name)]
            precision = _choose_precision(family, described, possible)
        context = _choose_context(family, described)
        plan, engine = _plan(name, device, precision, context) if described else (None, None)
        if plan:
            show_memory(plan, loader())
        accepted = _accept_terms(family, described) if described else False
        fits = plan is not None and plan.fits
        choice = Choice(family, name, device, precision, context, described, engine, accepted, fits)
        _show_buttons(choice)
        if engine:
            _show_report(engine)
            _choose_served_model(family, engine)
        defaults = {**described.options, **preset(described)} if described else {}
        values = options.choose(family, specs, defaults)
    return choice, values


def _choose_language() -> None:
    st.segmented_control(
        "Language / 语言",
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key=remember_language(),
        label_visibility="collapsed",
        required=True,
    )


def _choose_checkpoint(family: str) -> str:
    rows = {row.name: row for row in models.catalog.family(family, language())}
    default = models.catalog.default(family, language())
    names = [*([] if default in rows else [default]), *rows]

    labels = {name: _label(row) for name, row in rows.items()}
    key = _offer(family, default)
    chosen = st.selectbox(
        tr("Checkpoint", "模型"),
        names,
        format_func=lambda name: labels.get(name, name),
        accept_new_options=True,
        key=key,
        on_change=_take_typed,
        args=(family, key, labels),
        help=tr(
            "★ comes from the Python package index, no model hub needed. You can also type or paste a hub id, the "
            f"address of its page, the path of a folder, {models.catalog.SINGLE_FILES.en} file, or the address of a "
            "server ending in /v1.",
            f"★ 来自 Python 软件包索引，无需访问模型库。也可输入或粘贴仓库名、其网页地址、文件夹或 {models.catalog.SINGLE_FILES.zh} 文件的路径，"
            "或以 /v1 结尾的服务器地址。",
        ),
    )
    name = str(chosen or default)
    label = labels.get(name, name)
    if len(label) > SHOWN:
        st.caption(literal(label))
    return name


def _offer(family: str, default: str) -> str:
    """The key of the chosen checkpoint. Until one is chosen, it is the one that the page's language begins with."""
    key, offered = f"set.{family}.checkpoint", f"{family}.offered"
    state = st.session_state
    if state.get(key) == state.get(offered):
        state.pop(key, None)
        remember(key, default, lambda name: isinstance(name, str) and _describe(family, name)[1] is None)
        state[offered] = default
    return remember(key, default)


def _take_typed(family: str, key: str, labels: Mapping[str, str]) -> None:
    """What was typed is part of a listed name, unless it means something of its own."""
    forget_failure(family)
    st.session_state.pop(f"{family}.offered", None)
    typed = st.session_state[key]
    words = (typed or "").casefold().split()
    if len("".join(words)) < SHORTEST or typed in labels or not _is_unknown(typed):
        return
    texts = {name: f"{name} {label}".casefold() for name, label in labels.items()}
    matches = [name for name, text in texts.items() if all(word in text for word in words)]
    # "tiny" is Whisper tiny, rather than Whisper tiny.en.
    whole = [name for name in matches if set(words) <= set(texts[name].split())]
    if matches:
        st.session_state[key] = (whole or matches)[0]


def _is_unknown(name: str) -> bool:
    try:
        models.catalog.allowed(name)
        loader().describe(name)
    except models.CheckpointNotFound:
        return True
    except ModelError:  # it is something, if nothing that can be used
        return False
    return False


def _label(row: Checkpoint) -> str:
    gated = tr(" · needs sign-in and licence", " · 需登录并接受许可证") if row.gated else ""
    return f"{'★ ' if row.starter else ''}{row.title or row.name} · {models.gigabytes(row.bytes)}{gated}"


def _describe(family: str, name: str) -> tuple[Checkpoint | None, ModelError | None]:
    try:
        models.catalog.allowed(name)
        found = loader().describe(name)
    except ModelError as error:
        return None, error
    kind = found.kind if found.kind in ELSEWHERE else "chat"
    stored = models.catalog.format_of(found)
    wanted = KINDS.get(family, "chat")
    may_see = stored.may_see and wanted == "vision"
    if not stored.known or may_see or kind == wanted:
        return found, None
    does, page = ELSEWHERE[kind]
    return None, BadInput(
        f"{name} {does.en}: open {page.en}, or choose another checkpoint.",
        f"{name} {does.zh}：请打开{page.zh}，或另选模型。",
    )


def _choose_device(family: str, devices: Sequence[Device]) -> str:
    titles = {"auto": tr("auto", "自动")} | {device.name: device.title for device in devices}
    return st.selectbox(
        tr("Device", "设备"),
        list(titles),
        format_func=titles.__getitem__,
        key=remember(f"set.{family}.device", "auto", list(titles).__contains__),
    )


def _choose_precision(family: str, checkpoint: Checkpoint | None, devices: Sequence[Device]) -> str:
    """One of those that the checkpoint can have on any of the devices."""
    precisions: dict[str, None] = {}  # in order, each once
    for device in devices:
        precisions |= dict.fromkeys(models.precisions(checkpoint, device) if checkpoint else ())
    choices = ["auto", *(name for name in precisions if name not in ("file", "remote"))]
    titles = {"auto": tr("auto", "自动")}
    return st.selectbox(
        tr("Precision", "精度"),
        choices,
        format_func=lambda name: titles.get(name, name),
        key=remember(f"set.{family}.precision.{'.'.join(choices)}", "auto", choices.__contains__),
        help=tr(
            "auto takes the best that fits. Quantised files keep their own precision.",
            "自动选择可容纳的最佳精度。已量化的文件保持自身精度。",
        ),
    )


def _choose_context(family: str, checkpoint: Checkpoint | None) -> int | None:
    """Tokens that a conversation may hold; None where there is none."""
    if checkpoint is None or checkpoint.kind == "speech":
        return None
    most = checkpoint.context_length or USUAL_CONTEXT
    lengths = sorted({length for length in CONTEXTS if length <= most} | {most})
    if len(lengths) == 1:  # nothing to slide
        return most
    return int(
        st.select_slider(
            tr("Context length (tokens)", "上下文长度（token）"),
            lengths,
            key=remember(f"set.{family}.context.{most}", min(most, USUAL_CONTEXT), lengths.__contains__),
        )
    )


def _plan(name: str, device: str, precision: str, context: int | None) -> tuple[Plan | None, Engine | None]:
    """What a load would need, and the engine if there is no need of one; a refusal is shown here."""
    try:
        plan = loader().plan(name, device, precision, context)
        engine = loader().find_loaded(name, device, precision, context)
        if not plan.fits and engine is None:
            st.error(readable(sentence(models.placement.refuse(plan))), icon=":material/error:")
        return plan, engine
    except ModelError as error:
        st.error(readable(sentence(error)), icon=":material/error:")
        return None, None


def _accept_terms(family: str, checkpoint: Checkpoint) -> bool:
    """Show the licence, and have its terms accepted once where the catalog says so."""
    if checkpoint.licence_url:
        st.caption(f"{tr('Licence', '许可证')}: [{checkpoint.licence}]({checkpoint.licence_url})")
    if checkpoint.note is not None:
        st.caption(say(checkpoint.note))
    if checkpoint.terms is None:
        return True
    st.caption(say(checkpoint.terms))
    key = remember(f"set.terms.{checkpoint.name}", False)
    label = tr("I accept these terms", "我接受这些条款")
    return st.checkbox(label, key=key, on_change=forget_failure, args=(family,))


def _show_buttons(choice: Choice) -> None:
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
        st.warning(tr("Somebody is using it; try again later.", "有人正在使用，请稍后再试。"))


def _choose_served_model(family: str, engine: Engine) -> None:
    """Where a server has several models, which one answers."""
    served = engine.served if isinstance(engine, ChatEngine) else ()
    if len(served) < 2:
        return
    address = engine.checkpoint.name.partition("#")[0]
    key = f"{family}.served.{engine.checkpoint.name}"

    def choose() -> None:
        st.session_state[f"set.{family}.checkpoint"] = f"{address}#{st.session_state[key]}"
        forget_failure(family)

    st.selectbox(tr("Model of this server", "此服务器的模型"), served, key=key, on_change=choose)


def _show_report(engine: Engine) -> None:
    """What is true of the loaded engine: measured, not promised."""
    report = engine.report
    where = ", ".join(sorted(set(report.device_map.values())))
    st.caption(
        f":material/check_circle: {report.dtype} · {models.gigabytes(report.weights)} · {where} · {report.seconds:.1f} s"
    )
    for note in report.notes:
        st.caption(say(note))
