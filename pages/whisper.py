"""Whisper: recordings to text."""

from pages.shared.speech import speech_page
from pages.shared.words import tr

speech_page(
    tr(
        "Audio or video to text, on this machine; nothing is uploaded anywhere else.",
        "在本机将音频或视频转为文字；数据不会上传到其他地方。",
    ),
)
