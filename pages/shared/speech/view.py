"""The speech view: recordings in, their transcripts out, to be listened to, corrected and taken away."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from typing import Any

import streamlit as st

from models import BadInput, Checkpoint, ModelError, Segment, SpeechEngine, SpeechOptions
from models.languages import LANGUAGES
from models.speech.abilities import check
from models.transcripts.edit import put
from models.transcripts.files import SOUND, VIDEO
from models.transcripts.formats import write
from models.transcripts.recordings import Recording, hear_again
from pages.shared import frame, loading
from pages.shared.conversation.sources import send_to_chat
from pages.shared.jobs import Job, when_stopped
from pages.shared.language import remember, say, sentence, tr
from pages.shared.markdown import literal
from pages.shared.speech.desk import Desk, clock, desk, queue
from pages.shared.speech.downloads import files
from pages.shared.speech.editing import carry_out
from pages.shared.speech.live import live
from pages.shared.speech.transcript_view import transcript_view

FAMILY = "whisper"
TRANSLATION = SpeechOptions(task="translate")
REFRESH = 1.0  # seconds; longer for many lines, since all are sent each time
LINES_PER_SECOND = 400


def speech_page(intro: str) -> None:
    """The Whisper page."""
    frame.page(FAMILY, intro, layout="wide")
    choice, values = frame.sidebar(
        FAMILY, [spec for spec in fields(SpeechOptions) if spec.name not in ("language", "track")]
    )
    mine = desk()
    _add(mine, choice)
    try:
        options = SpeechOptions(language=_language(), **values)
    except BadInput as error:
        st.error(sentence(error))
        return
    _warn(mine, choice, options)
    _buttons(mine)
    loading.show_failure(FAMILY)
    if not mine.recordings:
        st.info(tr("Upload or record something. ", "请上传或录制一段声音。") + loading.first_time(choice))
    if not loading.asked(FAMILY):  # given up
        mine.wish = None
    if not mine.waiting and not mine.wish:  # taken away while the model was loading
        loading.withdraw(FAMILY)
    if ready := loading.engine_to_answer(choice, SpeechEngine):
        if mine.wish:
            _hear_again(ready, mine, mine.wish, options)
        mine.start(ready, options)
        st.rerun()
    if mine.job is not None and not mine.running and (error := mine.job.error):
        mine.job = None
        loading.fail(FAMILY, error)
    pause = REFRESH if mine.running else None
    st.fragment(_watched, run_every=pause)(mine, _draw_queue, lambda: mine.running)
    if (shown := mine.shown) is not None:
        changing = lambda: mine.running or mine.sound(shown).running  # noqa: E731
        pause = max(REFRESH, len(shown.lines) / LINES_PER_SECOND) if changing() else None
        st.fragment(_watched, run_every=pause)(mine, _draw_transcript, changing)


# --- what is to be transcribed ---------------------------------------------------------------------


def _add(mine: Desk, choice: loading.Choice) -> None:
    upload, record, speak = st.tabs([tr("Upload", "上传"), tr("Record", "录音"), tr("Live", "实时")])
    with speak:
        language = st.session_state.get("set.whisper.language") or None
        if finished := live("whisper.live", choice, SpeechOptions(language)):
            mine.take_over(finished)
    added = upload.file_uploader(
        tr("Audio or video, as many as you like", "音频或视频，可多选"),
        type=[*SOUND, *VIDEO],
        accept_multiple_files=True,
        key=f"whisper.files.{mine.uploads}",
    )
    spoken = record.audio_input(
        tr("Speak, then stop the recording", "开始说话，然后停止录音"),
        key=f"whisper.record.{mine.uploads}",
    )
    if spoken:
        mine.add(tr(f"recording {mine.uploads + 1}.wav", f"录音 {mine.uploads + 1}.wav"), spoken)
    for file in added:
        mine.add(file.name, file)
    if added or spoken:
        mine.uploads += 1
        st.rerun()


def _language() -> str | None:
    names = {"": tr("detect", "自动检测")} | {code: say(name) for code, name in LANGUAGES.items()}
    return (
        st.selectbox(
            tr("Spoken language", "语音语言"),
            list(names),
            format_func=names.__getitem__,
            key=remember("set.whisper.language", ""),
        )
        or None
    )


def _warn(mine: Desk, choice: loading.Choice, options: SpeechOptions) -> None:
    """Say what the model cannot do before it starts."""
    if choice.checkpoint is None:
        return
    asked, translation = (_refusal(choice.checkpoint, wanted) for wanted in (options, TRANSLATION))
    mine.no_translation = translation
    notes = [asked] if asked else []
    if isinstance(choice.engine, SpeechEngine):
        with suppress(ModelError):  # unloaded meanwhile
            notes += map(say, choice.engine.notes(options))
    for note in notes:
        st.warning(note, icon=":material/warning:")


def _refusal(checkpoint: Checkpoint, options: SpeechOptions) -> str:
    try:
        check(checkpoint, options)
    except BadInput as error:
        return sentence(error)
    return ""


def _buttons(mine: Desk) -> None:
    with st.container(horizontal=True):
        if st.button(
            tr("Transcribe", "开始转写"),
            type="primary",
            icon=":material/play_arrow:",
            disabled=mine.running or not mine.waiting,
            key="whisper.go",
        ):
            loading.ask(FAMILY)
        if st.button(
            tr("Stop", "停止"), icon=":material/stop:", disabled=not mine.running, key="whisper.stop"
        ):
            mine.stop()


# --- drawn again and again while something happens -------------------------------------------------


def _watched(mine: Desk, draw: Callable[[Desk], None], busy: Callable[[], bool]) -> None:
    """Draw one part; once it stands still, the whole page, without the timer."""
    key = f"whisper.watching.{draw.__name__}"
    was_busy, st.session_state[key] = st.session_state.get(key, False), busy()
    if loading.asked(FAMILY) or (was_busy and not st.session_state[key]):
        st.rerun()
    draw(mine)


def _draw_queue(mine: Desk) -> None:
    queue(FAMILY, mine)


def _draw_transcript(mine: Desk) -> None:
    recording = mine.shown
    if recording is None:
        return
    st.subheader(literal(recording.name))
    _choose_track(mine, recording)
    sound = mine.sound(recording)
    if sound.running:
        st.caption(tr("Drawing the waveform…", "正在绘制波形……"))
    transcript_view(
        f"whisper.view.{recording.path.parent.name}",
        recording,
        sound.result,
        editable=not recording.busy,
        again=not mine.running,
        trouble=sentence(mine.trouble) if mine.trouble else "",
        on_edit=lambda wish: _take(mine, recording, wish),
    )
    if recording.state == "done" and not recording.lines and not recording.changed:
        st.info(tr("No speech was found in this recording.", "此录音中未发现语音。"))
    if recording.lines and not recording.busy:
        _translate_button(mine, recording)
        files(FAMILY, recording, mine.recordings)
        send_to_chat(recording.name, write(recording.lines, "txt"))


def _choose_track(mine: Desk, recording: Recording) -> None:
    """Where a file has several sound tracks, which one is heard."""
    found = [track for track in mine.tracks(recording) if track.codec]
    if len(mine.tracks(recording)) < 2 or not found:
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
        mine.choose(recording, chosen)
        st.rerun()


def _translate_button(mine: Desk, recording: Recording) -> None:
    translation = recording.translation
    if translation is not None and (translation.busy or translation.state == "done"):
        return
    if recording.language == "en" or (recording.options and recording.options.task == "translate"):
        return
    if st.button(
        tr("Translate to English, side by side", "译成英文并对照显示"),
        icon=":material/translate:",
        key="whisper.translate",
        disabled=bool(mine.no_translation),
        help=mine.no_translation or None,
    ):
        recording.translate()
        loading.ask(FAMILY)
        st.rerun()


def _take(mine: Desk, recording: Recording, wish: dict[str, Any]) -> None:
    """Do what somebody wants with a line. Recognising it again waits for the engine."""
    mine.trouble = None
    if wish["action"] == "again":
        mine.wish = recording, recording.lines[wish["line"]]
        loading.ask(FAMILY)
        return
    try:
        carry_out(recording, wish)
    except BadInput as error:
        mine.trouble = error


def _hear_again(
    engine: SpeechEngine, mine: Desk, wish: tuple[Recording, Segment], options: SpeechOptions
) -> None:
    """Replace one line by what is recognised in its time with the options as they are now."""
    (recording, line), mine.wish = wish, None
    when_stopped("whisper.watched")
    job = Job(lambda cancel: hear_again(engine, recording, line, options, cancel))
    heard: list[Segment] = []
    try:
        with st.spinner(
            tr(f"Listening again at {clock(line.start)}", f"正在重新聆听 {clock(line.start)} 处")
        ):
            for batch in job.batches():
                heard += batch
        recording.change(put(recording.lines, recording.lines.index(line), heard))
    except BadInput as error:
        mine.trouble = error
    except Exception as error:  # the page stays alive, whatever a library throws
        loading.fail(FAMILY, error)
