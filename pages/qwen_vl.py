"""Qwen-VL: pictures described and talked about, boxes drawn, captions for many pictures."""

import streamlit as st

import models
from pages.shared.chat_page import chat_page
from pages.shared.language import tr
from starters.qwen_vl.drawing import example


def explain(checkpoint: models.Checkpoint) -> None:
    """What the chosen checkpoint cannot do, and what it takes to have it."""
    if checkpoint.starter:
        st.info(_describe_starter(checkpoint), icon=":material/child_care:")
    if checkpoint.path is None and not models.catalog.format_of(checkpoint).remote:
        st.info(_describe_needs(checkpoint), icon=":material/download:")


def _describe_starter(checkpoint: models.Checkpoint) -> str:
    millions = f"{checkpoint.parameters / 1e6:.1f}"
    return tr(
        f"**This is a toy of our own**, a Qwen-VL of {millions} million parameters, so that this page works on any "
        "machine. It knows only drawn scenes (shapes, printed words and numbers, simple charts on plain "
        "grounds), not photographs. It is sometimes wrong about these too, above all when there is much to count.\n\n"
        "**Draw a scene** below gives it one. For real pictures choose Qwen-VL-Chat in the sidebar.",
        f"**这是我们自制的玩具模型**：一个仅有 {checkpoint.parameters / 1e5:.0f}0 万参数的 Qwen-VL，让本页能在任何机器上试用。"
        "它只认识画出来的场景（纯色背景上的图形、印刷的词语和数字、简单图表），不认识照片。对这些场景它有时也会出错，尤其是东西多、需要数数时。\n\n"
        "点击下方的**画一个场景**即可试用。真实图片请在侧边栏选择 Qwen-VL-Chat。",
    )


def _describe_needs(checkpoint: models.Checkpoint) -> str:
    title, size = checkpoint.title or checkpoint.name, models.gigabytes(checkpoint.bytes)
    disk = f" ({size})" if checkpoint.bytes else ""
    return tr(
        f"**{title} is not on this machine{disk}.**\n\n"
        "- Qwen-VL-Chat Int4 takes 9.7 GB on disk and about 12 GB of memory; Qwen-VL-Chat takes about 20 GB on "
        "disk and 23 GB of memory.\n"
        "- **Load** in the sidebar downloads it from the Hugging Face hub. Where that is out of reach, start "
        "Quintet with `HF_ENDPOINT` set to a mirror, or with `USE_MODELSCOPE_HUB=1` for ModelScope.\n"
        "- If you have the files, type the path of their folder under Checkpoint, or start Quintet with "
        "`QWEN_VL_MODEL_PATH` set to it.",
        f"**本机没有 {title}{disk}。**\n\n"
        "- Qwen-VL-Chat Int4 需要 9.7 GB 磁盘空间和约 12 GB 内存；Qwen-VL-Chat 需要约 20 GB 磁盘空间和 23 GB 内存。\n"
        "- 点击侧边栏的**加载**会从 Hugging Face 下载。若无法访问，请在启动 Quintet 前将 `HF_ENDPOINT` 设为镜像地址，"
        "或设置 `USE_MODELSCOPE_HUB=1` 以使用 ModelScope。\n"
        "- 若已有文件，请在“模型”一栏输入其所在文件夹的路径，或在启动 Quintet 时将 `QWEN_VL_MODEL_PATH` 设为该路径。",
    )


chat_page(
    "qwen_vl",
    tr(
        "Ask about pictures, on this machine: descriptions, the text in them, where things are, and captions for "
        "whole folders.",
        "在本机对图片提问：描述图片、识别文字、定位物体，并可为整个文件夹批量生成描述。",
    ),
    explain,
    sees=True,
    draw_example=example,
)
