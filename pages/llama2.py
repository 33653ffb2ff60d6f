"""Chat with LLaMA 2 and everything of its architecture that brings its own chat template."""

from pages.shared.chat_page import chat_page
from pages.shared.language import tr

chat_page(
    "llama2",
    tr(
        "LLaMA 2 and other open chat models, on this machine. ★ starters are small and need no sign-in.",
        "在本机运行 LLaMA 2 及其他开放对话模型。★ 入门模型体积小，无需登录。",
    ),
)
