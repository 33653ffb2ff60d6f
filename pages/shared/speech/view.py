"""The speech view: recordings in, their transcripts out, to be listened to, corrected and taken away."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import partial
from typing import Any

import streamlit as st

from models import BadInput, Checkpoint, ModelError, SpeechEngine, SpeechOptions
from models.languages import LANGUAGES
from models.speech.abilities import check
from models.transcripts.files import SOUND, VIDEO
from models.transcripts.formats import write
from models.transcripts.recordings import Recording
from pages.shared import frame, loading
from pages.shared.conversation.sources import show_send_to_chat
from pages.shared.keeping.histories import follow_address
from pages.shared.language import remember, say, sentence, tr
from pages.shared.markdown import literal, readable
from pages.shared.sidebar import show_sidebar
from pages.shared.speech.downloads import show_downloads
from pages.shared.speech.editing import apply_edit, check_version
from pages.shared.speech.film import show_film
from pages.shared.speech.keeping import open_recording, show_recordings
from pages.shared.speech.live import show_live_text
from pages.shared.speech.transcript_view import show_transcript
from pages.shared.speech.workspace import Workspace, clock, get_workspace, show_queue

FAMILY = "whisper"
TRANSLATION = SpeechOptions(task="translate")
REFRESH = 1.0  # seconds; longer for many lines, since all are sent each time
LINES_PER_SECOND = 400


def speech_page(intro: str) -> None:
    """The Whisper page."""
    frame.set_up_page(FAMILY, intro, layout="wide")
    workspace, place = get_workspace(), st.sidebar.container()
    follow_address(FAMILY, {"recording": partial(open_recording, FAMILY, workspace)})
    choice, values = show_sidebar(
        FAMILY, [spec for spec in fields(SpeechOptions) if spec.name not in ("language", "track")]
    )
    show_recordings(FAMILY, workspace, place)
    _add_recordings(workspace, choice)
    try:
        options = SpeechOptions(language=_choose_language(), **values)
    except BadInput as error:
        st.error(readable(sentence(error)))
        return
    _warn(workspace, choice, options)
    _show_buttons(workspace)
    if not workspace.queue.running:
        loading.show_load(choice)
    loading.show_failure(FAMILY)
    if not workspace.recordings:
        st.info(
            tr("Upload or record something. ", "请上传或录制一段声音。") + loading.describe_first_use(choice)
        )
    _recognise(workspace, choice, options)
    _show_results(workspace)


def _recognise(workspace: Workspace, choice: loading.Choice, options: SpeechOptions) -> None:
    """Begin with what waits, once there is an engine for it; say what the work before broke off with."""
    if workspace.asked:
        workspace.asked = False
        if (workspace.queue.waiting or workspace.pending_edit) and loading.may_begin(choice):
            workspace.start(choice, options)
        workspace.pending_edit = None
        st.rerun()
    if workspace.queue.job is not None and not workspace.queue.running:
        failure, workspace.queue.job = workspace.queue.job.failure, None
        if failure is not None:
            loading.fail(FAMILY, failure)


def _show_results(workspace: Workspace) -> None:
    """The queue and the recording that is shown, each drawn again while something happens to it."""
    pause = REFRESH if workspace.queue.running else None
    st.fragment(_show_part, run_every=pause)(workspace, _show_queue, lambda: workspace.queue.running)
    if (shown := workspace.shown) is None:
        return

    def changing() -> bool:
        return workspace.queue.running or workspace.queue.get_sound(shown).running

    pause = max(REFRESH, len(shown.lines) / LINES_PER_SECOND) if changing() else None
    st.fragment(_show_part, run_every=pause)(workspace, _show_recording, changing)


# --- what is to be transcribed ---------------------------------------------------------------------


def _add_recordings(workspace: Workspace, choice: loading.Choice) -> None:
    upload, record, speak = st.tabs([tr("Upload", "上传"), tr("Record", "录音"), tr("Live", "实时")])
    with speak:
        language = st.session_state[_remember_language()] or None
        workspace.follow(show_live_text("whisper.live", choice, SpeechOptions(language)))
    added = upload.file_uploader(
        tr("Audio or video, as many as you like", "音频或视频，可多选"),
        type=[*SOUND, *VIDEO],
        accept_multiple_files=True,
        key=f"whisper.files.{workspace.uploads}",
    )
    spoken = record.audio_input(
        tr("Speak, then stop the recording", "开始说话，然后停止录音"),
        key=f"whisper.record.{workspace.uploads}",
    )
    if spoken:
        workspace.add(
            tr(f"recording {workspace.uploads + 1}.wav", f"录音 {workspace.uploads + 1}.wav"), spoken
        )
    for file in added:
        workspace.add(file.name, file)
    if added or spoken:
        workspace.uploads += 1
        st.rerun()


def _choose_language() -> str | None:
    names = {"": tr("detect", "自动检测")} | {code: say(name) for code, name in LANGUAGES.items()}
    return (
        st.selectbox(
            tr("Spoken language", "语音语言"),
            list(names),
            format_func=names.__getitem__,
            key=_remember_language(),
        )
        or None
    )


def _remember_language() -> str:
    return remember("set.whisper.language", "", ["", *LANGUAGES].__contains__)


def _warn(workspace: Workspace, choice: loading.Choice, options: SpeechOptions) -> None:
    """Say what the model cannot do before it starts."""
    if choice.checkpoint is None:
        return
    asked, translation = (_describe_refusal(choice.checkpoint, wanted) for wanted in (options, TRANSLATION))
    workspace.no_translation = translation
    notes = [asked] if asked else []
    if isinstance(choice.engine, SpeechEngine):
        with suppress(ModelError):  # unloaded meanwhile
            notes += map(say, choice.engine.notes(options))
    for note in notes:
        st.warning(note, icon=":material/warning:")


def _describe_refusal(checkpoint: Checkpoint, options: SpeechOptions) -> str:
    try:
        check(checkpoint, options)
    except BadInput as error:
        return sentence(error)
    return ""


def _show_buttons(workspace: Workspace) -> None:
    with st.container(horizontal=True):
        if st.button(
            tr("Transcribe", "开始转写"),
            type="primary",
            icon=":material/play_arrow:",
            disabled=workspace.queue.running or not workspace.queue.waiting,
            key="whisper.go",
        ):
            workspace.asked = True
        if st.button(
            tr("Stop", "停止"),
            icon=":material/stop:",
            disabled=not workspace.queue.running,
            key="whisper.stop",
        ):
            workspace.queue.stop()


# --- drawn again and again while something happens -------------------------------------------------


def _show_part(workspace: Workspace, draw: Callable[[Workspace], None], busy: Callable[[], bool]) -> None:
    """Draw one part; once it stands still, the whole page, without the timer."""
    key = f"whisper.watching.{draw.__name__}"
    was_busy, st.session_state[key] = st.session_state.get(key, False), busy()
    if workspace.asked or (was_busy and not st.session_state[key]):
        st.rerun()
    draw(workspace)


def _show_queue(workspace: Workspace) -> None:
    show_queue(FAMILY, workspace)


def _show_recording(workspace: Workspace) -> None:
    recording = workspace.shown
    if recording is None:
        return
    st.subheader(literal(recording.name))
    _choose_track(workspace, recording)
    sound = workspace.queue.get_sound(recording)
    if sound.running:
        st.caption(tr("Drawing the waveform…", "正在绘制波形……"))
    if (start := workspace.queue.listening) is not None:
        st.caption(tr(f"Listening again at {clock(start)}", f"正在重新聆听 {clock(start)} 处"))
    show_film(FAMILY, recording, sound.value)
    show_transcript(
        f"whisper.view.{recording.path.parent.name}",
        recording,
        sound.value,
        editable=not recording.busy,
        again=not workspace.queue.running,
        error=sentence(workspace.error) if workspace.error else "",
        on_edit=lambda edit: _take_edit(workspace, recording, edit),
    )
    if recording.state == "done" and not recording.lines and not recording.changed:
        st.info(tr("No speech was found in this recording.", "此录音中未发现语音。"))
    if recording.lines and not recording.busy:
        _offer_translation(workspace, recording)
        show_downloads(FAMILY, recording, workspace.recordings)
        show_send_to_chat(recording.name, write(recording.lines, "txt"))


def _choose_track(workspace: Workspace, recording: Recording) -> None:
    """Where a file has several sound tracks, which one is heard."""
    found = [track for track in workspace.queue.tracks(recording) if track.codec]
    if len(workspace.queue.tracks(recording)) < 2 or not found:
        return
    names = {None: tr("the file's default one", "文件默认音轨")} | {
        track.number: str(track) for track in found
    }
    chosen = st.selectbox(
        tr("Sound track", "音轨"),
        list(names),
        index=list(names).index(recording.track),
        format_func=names.__getitem__,
        key=f"whisper.track.{recording.path.parent.name}",
        disabled=recording.busy,
        help=tr("Then transcribe it, or transcribe it anew.", "选择后请转写，或重新转写。"),
    )
    if chosen != recording.track:
        workspace.queue.choose(recording, chosen)
        st.rerun()


def _offer_translation(workspace: Workspace, recording: Recording) -> None:
    translation = recording.translation
    if translation is not None and (translation.busy or translation.state == "done"):
        return
    if recording.language == "en" or (recording.options and recording.options.task == "translate"):
        return
    if st.button(
        tr("Translate to English, side by side", "译成英文并对照显示"),
        icon=":material/translate:",
        key="whisper.translate",
        disabled=bool(workspace.no_translation),
        help=workspace.no_translation or None,
    ):
        recording.translate()
        workspace.asked = True
        st.rerun()


def _take_edit(workspace: Workspace, recording: Recording, edit: dict[str, Any]) -> None:
    """Do what somebody wants with a line. Recognising it again waits for the engine."""
    if edit["action"] == "listened":
        with suppress(BadInput):  # of lines that have changed meanwhile: they are listened to anew
            apply_edit(recording, edit)
        return
    workspace.error = None
    try:
        if edit["action"] == "again":
            check_version(recording, edit)
            workspace.pending_edit, workspace.asked = (recording, edit), True
        else:
            apply_edit(recording, edit)
    except BadInput as error:
        workspace.error = error
