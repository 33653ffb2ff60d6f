"""Whisper: recordings to text."""

from pages.shared.language import tr
from pages.shared.speech.view import speech_page

speech_page(
    tr(
        "Audio or video to text, on this machine; nothing is uploaded anywhere else.",
        "在本机将音频或视频转为文字；数据不会上传到其他地方。",
    ),
)
