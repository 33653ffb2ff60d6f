"""ChatGLM3 and ChatGLM-6B from their original files: chat, or a text continued by the base model."""

import streamlit as st

import models
from pages.shared.chat import chat_page
from pages.shared.words import tr


def about(checkpoint: models.Checkpoint) -> None:
    """What the chosen checkpoint cannot do, and what it takes to have it."""
    if _is_first(checkpoint):
        st.caption(
            tr(
                "ChatGLM-6B chats and does nothing else. It knows no system role: a system prompt goes in "
                "front of the first question.",
                "ChatGLM-6B 仅支持对话。它没有系统角色：系统提示词会放在第一个问题之前。",
            )
        )
    if checkpoint.path is None:
        st.info(_needs(checkpoint), icon=":material/download:")


def _is_first(checkpoint: models.Checkpoint) -> bool:
    """Of the family only ChatGLM-6B has keys and values for every attention head."""
    shape = checkpoint.shape
    return shape is not None and shape.kv_heads * shape.head_dim == shape.hidden


def _needs(checkpoint: models.Checkpoint) -> str:
    title, size = checkpoint.title or checkpoint.name, models.gigabytes(checkpoint.bytes)
    disk = f" ({size})" if checkpoint.bytes else ""
    return tr(
        f"**{title} is not on this machine{disk}**, and this family has no small starter.\n\n"
        "- ChatGLM3-6B takes 12.5 GB on disk, and 13 / 9 / 5 GB of memory at fp16 / int8 / int4, or 25 GB as "
        "float32 on a processor. The smallest is ChatGLM-6B int4, with 3.9 GB on disk.\n"
        "- **Load** in the sidebar downloads it from the Hugging Face hub. Where that is out of reach, start "
        "Quintet with `HF_ENDPOINT` set to a mirror, or with `USE_MODELSCOPE_HUB=1` for ModelScope.\n"
        "- If you have the files, type the path of their folder under Checkpoint.",
        f"**本机没有 {title}{disk}**，此系列也没有小型入门模型。\n\n"
        "- ChatGLM3-6B 需要 12.5 GB 磁盘空间；以 fp16 / int8 / int4 运行约需 13 / 9 / 5 GB 内存，"
        "在 CPU 上以 float32 运行约需 25 GB。最小的是 ChatGLM-6B int4，占用 3.9 GB 磁盘空间。\n"
        "- 点击侧边栏的**加载**会从 Hugging Face 下载。若无法访问，请在启动 Quintet 前将 `HF_ENDPOINT` 设为镜像地址，"
        "或设置 `USE_MODELSCOPE_HUB=1` 以使用 ModelScope。\n"
        "- 若已有文件，请在“模型”一栏输入其所在文件夹的路径。",
    )


chat_page(
    "chatglm",
    tr(
        "ChatGLM3 and ChatGLM-6B from their original files, on this machine: chat in Chinese and English, or "
        "continue a text with the base model.",
        "在本机以原始文件运行 ChatGLM3 与 ChatGLM-6B：用中文或英文对话，或用基座模型续写文本。",
    ),
    about,
)
