"""Asking about pictures: the ways in, and questions at one click."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import streamlit as st

from models import BadInput, Text
from models.pictures.addresses import fetch
from models.pictures.reading import check
from pages.shared import loading
from pages.shared.conversation import sources
from pages.shared.conversation.conversation import Conversation
from pages.shared.conversation.dictation import MessageInput
from pages.shared.conversation.turns import PictureFile, Turn
from pages.shared.language import remember, say, tr
from pages.shared.markdown import literal
from pages.shared.vision.pictures import TYPES, make_thumbnail, pictures_of, read_uploads
from pages.shared.vision.region import choose_region

ASK, MANY = "ask", "many"
MODES = {ASK: Text("Ask", "提问"), MANY: Text("Caption many", "批量描述")}


def choose_mode(family: str) -> str:
    """What the visitor chose to do, chosen here."""
    return str(
        st.segmented_control(
            tr("Mode", "模式"),
            list(MODES),
            format_func=lambda name: say(MODES[name]),
            key=remember(f"set.{family}.mode", ASK, list(MODES).__contains__),
            label_visibility="collapsed",
            required=True,
        )
    )


# --- pictures that wait for their question -------------------------------------------------------


def _waiting_pictures(key: str) -> list[PictureFile]:
    pictures: list[PictureFile] = st.session_state.setdefault(f"{key}.waiting", [])
    return pictures


def compose_question(key: str, family: str, conversation: Conversation, typed: MessageInput) -> Turn | None:
    """What is asked by the message field: its text, with its files and the pictures that wait.

    Pictures without words wait for some. With a file that is none nothing is asked yet, and no word lost.
    """
    error = keep_files(key, typed)
    if typed.text.strip() and error:
        conversation.ask(typed.text, take_pictures(key), sources.take(family))
    if error:
        loading.fail(family, error)
    if not typed.text.strip():
        st.rerun()
    return Turn(typed.text, pictures=tuple(take_pictures(key)))


def keep_files(key: str, typed: MessageInput) -> BadInput | None:
    """Let the files of the message field wait for their question; return what is wrong with one."""
    pictures, error = read_uploads(typed.files)
    _waiting_pictures(key).extend(pictures)
    return error


def take_pictures(key: str) -> list[PictureFile]:
    """Those that waited for the question that is asked now."""
    pictures: list[PictureFile] = st.session_state.pop(f"{key}.waiting", [])
    return pictures


def show_controls(
    key: str,
    family: str,
    conversation: Conversation,
    ask: Callable[[str, Sequence[PictureFile]], None],
    draw_example: Callable[[], bytes] | None = None,
) -> None:
    """What stands above the message field: it asks by `ask(text, pictures)`; `draw_example` draws one to try."""
    waiting = _waiting_pictures(key)
    _show_waiting(key, waiting)
    _add_pictures(key, family, draw_example)
    pictures = [*pictures_of(conversation.turns), *waiting]
    if pictures:
        _show_tasks(key, len(conversation.turns), pictures, lambda text: ask(text, take_pictures(key)))


def _show_waiting(key: str, waiting: list[PictureFile]) -> None:
    if not waiting:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for number, picture in enumerate(waiting):
            with st.container(width=130):
                st.image(make_thumbnail(picture.data))
                if st.button(
                    "",
                    icon=":material/close:",
                    key=f"{key}.drop.{number}",
                    type="tertiary",
                    help=tr("Remove", "移除") + f" {literal(picture.name)}",
                ):
                    waiting.pop(number)
                    st.rerun()


# --- ways in -------------------------------------------------------------------------------------


def _add_pictures(key: str, family: str, draw_example: Callable[[], bytes] | None) -> None:
    number = st.session_state.setdefault(f"{key}.taken", 0)  # a new key empties the widgets
    drawn = None
    with st.container(horizontal=True):
        if draw_example and st.button(
            tr("Draw a scene", "画一个场景"), icon=":material/draw:", key=f"{key}.draw"
        ):
            drawn = PictureFile(tr("scene.png", "场景.png"), draw_example())
        with st.popover(tr("Add pictures", "添加图片"), icon=":material/add_photo_alternate:"):
            files = st.file_uploader(
                tr("Pictures", "图片"),
                type=TYPES,
                accept_multiple_files=True,
                key=f"{key}.upload.{number}",
                help=tr(
                    "You can also drop files on the message field, or paste a picture there.",
                    "也可以把文件拖到输入框，或在输入框中粘贴图片。",
                ),
            )
        with st.popover(tr("Camera", "拍照"), icon=":material/photo_camera:"):
            photo = st.camera_input(tr("Take a photo", "拍摄照片"), key=f"{key}.camera.{number}")
        with st.popover(tr("Web address", "网址"), icon=":material/link:"):
            fetched = _fetch_picture(key, family)
    made = [picture for picture in (fetched, drawn) if picture]
    if not (files or photo or made):
        return
    st.session_state[f"{key}.taken"] = number + 1
    pictures, error = read_uploads([*files, *([photo] if photo else [])])
    _waiting_pictures(key).extend([*pictures, *made])
    if error:
        loading.fail(family, error)
    loading.forget_failure(family)
    st.rerun()


def _fetch_picture(key: str, family: str) -> PictureFile | None:
    """The picture at an address that was typed and sent."""
    with st.form(f"{key}.address.form", border=False, clear_on_submit=True):
        address = st.text_input(
            tr("Address of a picture", "图片网址"), placeholder="https://", key=f"{key}.address"
        )
        sent = st.form_submit_button(tr("Fetch", "获取"), type="primary")
    if not sent:
        return None
    try:
        with st.spinner(tr("Fetching the picture", "正在获取图片")):
            data = fetch(address)
            check(data)
    except BadInput as error:
        loading.fail(family, error)
    return PictureFile(PurePosixPath(urlsplit(address).path).name or "picture", data)


# --- tasks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A question that is often asked, in the words that Qwen-VL knows it by."""

    name: str
    icon: str
    label: Text
    prompt: Text
    pictures: int = 1  # that it takes


TASKS = (
    Task(
        "caption",
        ":material/short_text:",
        Text("Caption", "一句话描述"),
        Text("Describe this picture in one sentence.", "用一句话描述这张图片。"),
    ),
    Task(
        "detail",
        ":material/subject:",
        Text("Describe in detail", "详细描述"),
        Text("Describe this picture in detail.", "详细描述这张图片。"),
    ),
    Task(
        "read",
        ":material/text_fields:",
        Text("Read the text", "识别文字"),
        Text("Read the text in this picture.", "读出图中的文字。"),
    ),
    Task(
        "compare",
        ":material/compare:",
        Text("Compare two pictures", "比较两张图片"),
        Text("Compare the two pictures.", "比较这两张图片。"),
        pictures=2,
    ),
)


def _show_tasks(key: str, turns: int, pictures: list[PictureFile], ask: Callable[[str], None]) -> None:
    """Buttons that ask about these pictures; the number of `turns` closes what is open when something was asked."""
    name = literal(pictures[-1].name)
    st.caption(
        tr(
            f"About {name}. A picture that lies in the message field goes with what you write.",
            f"针对 {name}。输入框中的图片会随您输入的消息发送。",
        )
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        for task in TASKS:
            if st.button(
                say(task.label),
                icon=task.icon,
                key=f"{key}.task.{task.name}",
                disabled=len(pictures) < task.pictures,
            ):
                ask(say(task.prompt))
        with st.popover(
            tr("Find…", "查找……"),
            icon=":material/center_focus_weak:",
            key=f"{key}.finding.{turns}",
            on_change="rerun",  # without it a key does not close it
        ):
            if wanted := _ask_what_to_find(key):
                ask(wanted)
        in_region = st.toggle(tr("Ask about a region", "询问某个区域"), key=f"{key}.in_region.{turns}")
    if in_region:
        _ask_about_region(key, pictures, ask)


def _ask_what_to_find(key: str) -> str | None:
    """The question for what is to be found, once it was typed."""
    with st.form(f"{key}.find.form", border=False, clear_on_submit=True):
        what = st.text_input(
            tr("What should be found?", "要查找什么？"),
            placeholder=tr("the red car", "红色的汽车"),
            key=f"{key}.find",
        ).strip()
        sent = st.form_submit_button(tr("Find", "查找"), type="primary")
    return tr(f"Draw a box around {what}.", f"框出图中{what}的位置。") if sent and what else None


def _ask_about_region(key: str, pictures: list[PictureFile], ask: Callable[[str], None]) -> None:
    chosen = number = len(pictures)
    if number > 1:
        chosen = st.selectbox(
            tr("Picture", "图片"),
            range(1, number + 1),
            index=number - 1,
            format_func=lambda n: f"{n} · {pictures[n - 1].name}",
            key=f"{key}.region_of.{number}",
        )
    box = choose_region(key, pictures[chosen - 1])
    with st.form(f"{key}.region.form", border=False):
        text = st.text_input(
            tr("Question", "问题"),
            tr("What is in this region?", "这个区域里有什么？"),
            key=f"{key}.region_text",
        )
        if st.form_submit_button(tr("Ask about this region", "询问此区域"), type="primary"):
            named = tr(f"In picture {chosen}: ", f"图{chosen}：") if number > 1 else ""
            ask(f"{named}{text} {box}".strip())
