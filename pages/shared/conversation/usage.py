"""The line under an answer: why it ended, what it cost, who gave it."""

from dataclasses import asdict

import streamlit as st

from models import Usage
from pages.shared.conversation.turns import Answer
from pages.shared.language import tr
from pages.shared.markdown import readable

CURSOR = "▌"
ANSWERED = {
    "length": ("cut at the max. answer length", "达到最大回答长度，已截断"),
    "cancelled": ("stopped", "已停止"),
    "failed": ("broke off", "意外中断"),
}


def figures_of(usage: Usage) -> dict[str, float]:
    """What an answer keeps of its costs: not how much of the prompt the engine had read before, which would
    tell whoever guesses how another visitor's conversation begins that the guess is right."""
    return {name: figure for name, figure in asdict(usage).items() if name != "cached_tokens"}


def show_usage(answer: Answer) -> None:
    figures = answer.figures
    parts = [tr(*ANSWERED[answer.reason])] if answer.reason in ANSWERED else []
    if figures.get("completion_tokens"):
        tokens, speed = int(figures["completion_tokens"]), figures.get("tokens_per_second", 0.0)
        first = figures.get("seconds_to_first_token", 0.0)
        parts += [
            tr(f"{tokens} tokens", f"{tokens} token"),
            tr(f"{speed:.1f} tokens/s", f"{speed:.1f} token/秒"),
            tr(f"first after {first:.2f} s", f"首字延迟 {first:.2f} 秒"),
        ]
    if answer.checkpoint:
        parts.append(readable(answer.checkpoint))
    st.caption(" · ".join(parts))
