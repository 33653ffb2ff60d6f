"""A video with its picture, and on it the subtitles as their files have them."""

from typing import Any

import streamlit as st

from models.sound.playback import Sound
from models.transcripts.formats import write
from models.transcripts.recordings import Recording
from pages.shared.language import tr
from pages.shared.speech.downloads import chosen_form

WIDTH = 560  # pixels, so that the lines below stay in sight
_KEY = "quintet-film"
SELECTOR = f".st-key-{_KEY} video"  # of the browser's element, which the transcript plays


def show_film(family: str, recording: Recording, sound: Sound | None) -> None:
    """The video, where a browser can play it and its lines stand still; else nothing, and it is only heard."""
    if sound is None or not sound.film or recording.busy:
        return
    with st.container(key=_KEY):
        subtitles = _subtitles(family, recording) or None
        st.video(str(recording.path), sound.film, subtitles=subtitles, width=WIDTH)


def _subtitles(family: str, recording: Recording) -> dict[str, Any]:
    """WebVTT by what a player calls it; the first is shown until somebody chooses another."""
    if not recording.lines:
        return {}
    form = chosen_form(family)
    limits = (form.max_line_width, form.max_line_count)
    shown = {tr("Subtitles", "字幕"): write(recording.lines, "vtt", None, *limits)}
    translation = recording.translation
    if translation and translation.lines:
        shown[tr("Both languages", "双语")] = write(recording.lines, "vtt", None, *limits, translation.lines)
    return shown
