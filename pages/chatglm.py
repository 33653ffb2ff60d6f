"""ChatGLM3 and ChatGLM-6B from their original files: chat, tools, code, or a text continued."""

import streamlit as st

import models
from pages.shared.chat_page import chat_page
from pages.shared.language import tr


def explain(checkpoint: models.Checkpoint) -> None:
    """What the chosen checkpoint cannot do, and what it takes to have it."""
    if _is_first(checkpoint):
        st.caption(
            tr(
                "ChatGLM-6B chats and does nothing else. It knows no system role: a system prompt goes in "
                "front of the first question.",
                "ChatGLM-6B 仅支持对话。它没有系统角色：系统提示词会放在第一个问题之前。",
            )
        )
    if checkpoint.starter:
        st.info(_describe_starter(checkpoint), icon=":material/child_care:")
    if checkpoint.path is None:
        st.info(_describe_needs(checkpoint), icon=":material/download:")


def calls_tools(checkpoint: models.Checkpoint) -> bool:
    """ChatGLM3 does; a base model continues text."""
    return checkpoint.kind == "chat" and not _is_first(checkpoint)


def _is_first(checkpoint: models.Checkpoint) -> bool:
    """Of the family only ChatGLM-6B has keys and values for every attention head."""
    shape = checkpoint.shape
    return shape is not None and shape.kv_heads * shape.head_dim == shape.hidden


def _describe_starter(checkpoint: models.Checkpoint) -> str:
    millions = f"{checkpoint.parameters / 1e6:.1f}"
    return tr(
        f"**This is a toy of our own**, a ChatGLM3 of {millions} million parameters, so that every mode works "
        "on any machine. It knows greetings, sums, units, dates, an example table of weather, simple plots and "
        "small programs, in set phrases, and says so when asked for more.\n\n"
        "For real conversations choose ChatGLM3-6B in the sidebar.",
        f"**这是我们自制的玩具模型**：一个仅有 {checkpoint.parameters / 1e5:.0f}0 万参数的 ChatGLM3，让每种模式都能在任何机器上试用。"
        "它只会以固定句式问候、做算术、换算单位、推算日期、查示例天气表、画简单图形和写小程序，超出范围时会直说。\n\n"
        "真正的对话请在侧边栏选择 ChatGLM3-6B。",
    )


def _describe_needs(checkpoint: models.Checkpoint) -> str:
    title, size = checkpoint.title or checkpoint.name, models.gigabytes(checkpoint.bytes)
    disk = f" ({size})" if checkpoint.bytes else ""
    return tr(
        f"**{title} is not on this machine{disk}.**\n\n"
        "- ChatGLM3-6B takes 12.5 GB on disk, and 13 / 9 / 5 GB of memory at fp16 / int8 / int4, or 25 GB as "
        "float32 on a processor. The smallest is ChatGLM-6B int4, with 3.9 GB on disk.\n"
        "- **Load** in the sidebar downloads it from the Hugging Face hub. Where that is out of reach, start "
        "Quintet with `HF_ENDPOINT` set to a mirror, or with `USE_MODELSCOPE_HUB=1` for ModelScope.\n"
        "- If you have the files, type the path of their folder under Checkpoint.",
        f"**本机没有 {title}{disk}。**\n\n"
        "- ChatGLM3-6B 需要 12.5 GB 磁盘空间；以 fp16 / int8 / int4 运行约需 13 / 9 / 5 GB 内存，"
        "在 CPU 上以 float32 运行约需 25 GB。最小的是 ChatGLM-6B int4，占用 3.9 GB 磁盘空间。\n"
        "- 点击侧边栏的**加载**会从 Hugging Face 下载。若无法访问，请在启动 Quintet 前将 `HF_ENDPOINT` 设为镜像地址，"
        "或设置 `USE_MODELSCOPE_HUB=1` 以使用 ModelScope。\n"
        "- 若已有文件，请在“模型”一栏输入其所在文件夹的路径。",
    )


chat_page(
    "chatglm",
    tr(
        "ChatGLM3 and ChatGLM-6B from their original files, on this machine: chat in Chinese and English, let it "
        "call tools and run Python, or continue a text with the base model.",
        "在本机以原始文件运行 ChatGLM3 与 ChatGLM-6B：用中文或英文对话，让模型调用工具、运行 Python，"
        "或用基座模型续写文本。",
    ),
    explain,
    calls_tools,
)
