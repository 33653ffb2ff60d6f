"""Gemma: chat with the instruction-tuned ones, continue a text with the base models."""

from pages.shared.chat_page import chat_page
from pages.shared.language import tr

chat_page(
    "gemma",
    tr(
        "Google's open models, on this machine: chat, or continue a text with a base model.",
        "在本机运行 Google 的开放模型：与指令模型对话，或用基座模型续写文本。",
    ),
)
