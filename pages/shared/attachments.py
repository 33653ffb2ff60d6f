"""Files that are sent with a message: documents on every chat page, pictures where the model sees."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from threading import Event
from typing import Any

import streamlit as st

from models import BadInput, Cancelled
from models.documents.reading import read_document
from pages.shared import loading
from pages.shared.asking import Chat
from pages.shared.conversation import dictation, sources
from pages.shared.conversation.dictation import MessageInput
from pages.shared.conversation.turns import Source, Turn
from pages.shared.jobs import batches, when_stopped
from pages.shared.language import tr
from pages.shared.markdown import readable
from pages.shared.vision import questions
from pages.shared.vision.pictures import TYPES


def compose_question(chat: Chat, message: MessageInput, place: Any) -> Turn | None:
    """What is asked by a message: its text, with its files and those that wait.

    Files without words wait for some. With one that cannot be read nothing is asked yet, and no word lost. `place`
    shows how reading goes.
    """
    documents = [file for file in message.files if not _is_picture(file)]
    pictures = replace(message, files=[file for file in message.files if _is_picture(file)])
    error = _keep_documents(chat, message, documents, place) or _refuse_pictures(chat, pictures.files)
    if error is None and chat.sees:
        return questions.compose_question(chat.key, chat.family, chat.conversation, pictures)
    if error is not None:
        _keep_rest(chat, pictures)
        loading.fail(chat.family, error)
    if message.text.strip():
        return Turn(message.text)
    if documents:
        loading.forget_failure(chat.family)
        st.rerun()
    return None


def keep_unsent(chat: Chat) -> None:
    """What a message was that came to nothing while its recording or its documents were read: a question without an
    answer, with its pictures."""
    unsent = dictation.take_unsent(chat.key)
    if unsent is None:
        return
    unread = [file.name for file in unsent.files if not _is_picture(file)]
    _keep_rest(chat, replace(unsent, files=[file for file in unsent.files if _is_picture(file)]))
    if unread:
        names = ", ".join(unread)
        stopped = BadInput(
            f"Reading {names} was stopped: attach it again.", f"已停止读取 {names}：请重新附上。"
        )
        loading.fail(chat.family, stopped)


def _keep_rest(chat: Chat, message: MessageInput) -> None:
    if chat.sees:
        questions.keep_files(chat.key, message)
    if message.text.strip():
        pictures = questions.take_pictures(chat.key)
        chat.conversation.ask(message.text, pictures, sources.take(chat.family))


def _is_picture(file: Any) -> bool:
    return PurePath(file.name).suffix.lower().removeprefix(".") in TYPES


def _refuse_pictures(chat: Chat, pictures: Sequence[Any]) -> BadInput | None:
    if chat.sees or not pictures:
        return None
    name = pictures[0].name
    return BadInput(
        f"{name} is a picture, and models of this page read text only: ask about it on the Qwen-VL page.",
        f"{name} 是图片，而本页的模型只能读取文本：请在 Qwen-VL 页面提问。",
    )


def _keep_documents(
    chat: Chat, message: MessageInput, documents: Sequence[Any], place: Any
) -> BadInput | None:
    """Read them, and let them wait for their question; what is wrong with the first that cannot be read."""
    if not documents:
        return None
    st.session_state[f"{chat.key}.unsent"] = message
    when_stopped(f"{chat.key}.read")
    error: BadInput | None = None
    with place:
        st.button(
            tr("Stop", "停止"), icon=":material/stop:", key=f"{chat.key}.stop_reading"
        )  # any click does
        names = readable(", ".join(file.name for file in documents))
        st.caption(tr(f"Reading {names}…", f"正在读取 {names}……"))
    for batch in batches(partial(_read, documents)):
        for found in batch:
            if isinstance(found, Source):
                sources.add(chat.family, found)
            else:
                error = error or found
    dictation.take_unsent(chat.key)
    return error


def _read(documents: Sequence[Any], cancel: Event) -> Iterator[Source | BadInput]:
    """In a thread: each document, or what is wrong with it."""
    for file in documents:
        try:
            yield Source(PurePath(file.name).name, read_document(file.name, file.getvalue(), cancel))
        except Cancelled:
            return
        except BadInput as error:
            yield error
