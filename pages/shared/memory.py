"""The memory bar: what a load needs, what Quintet holds, what others use, what is free."""

import streamlit as st

import models
from models import Device, Loader, Plan, devices, gigabytes
from pages.shared.language import tr

# Free memory is what shines through, in either theme.
COLOURS = {"needed": "#f59f00", "quintet": "#4c6ef5", "others": "#9aa5b1", "free": "rgb(128 128 128 / .2)"}


def show_memory(plan: Plan, loader: Loader) -> None:
    """One bar for the planned device, in proportion, with its legend."""
    device = next((found for found in devices() if found.name == plan.placement.device), None)
    if device is None:  # a remote server's memory is not ours to show
        return
    loaded = [engine for engine in loader.loaded() if engine.placement.device == device.name]
    here = any(engine.checkpoint.name == plan.checkpoint.name for engine in loaded)
    held = sum(engine.report.weights for engine in loaded)
    known = models.catalog.format_of(
        plan.checkpoint
    ).known  # else the runtime's share would be all that is priced
    needed = 0 if here or not known else plan.total
    shares = _shares(device, held, needed)
    blocks = "".join(
        f'<div style="width:{share:.2%};background:{COLOURS[name]};height:100%"></div>'
        for name, share in shares.items()
    )
    over = "" if plan.fits or here else ";outline:2px solid #e03131"
    others = max(device.total - device.free - held, 0)
    sizes = {"quintet": held, "others": others, "free": device.free}
    texts = {name: gigabytes(size) for name, size in sizes.items()}
    if not here:
        texts = {"needed": gigabytes(needed) if known else tr("known once fetched", "下载后可知"), **texts}
    legend = "".join(_describe(name, text) for name, text in texts.items())
    st.html(
        f'<div role="img" aria-label="{tr("memory", "内存")}" style="display:flex;height:14px;border-radius:7px;overflow:hidden'
        f'{over}">{blocks}</div><div style="font-size:.875rem;margin-top:.5rem">{legend}</div>'
    )
    precision = plan.placement.precision
    if precision == "file":
        precision = tr("the file's own precision", "文件自身的精度")
    st.caption(f"{device.title} · {precision}")


def _describe(name: str, size: str) -> str:
    """A part of the legend, in the colour that the bar has."""
    titles = {
        "needed": tr("needed", "需要"),
        "quintet": "Quintet",
        "others": tr("other programs", "其他程序"),
        "free": tr("free", "空闲"),
    }
    square = f'<span style="color:{COLOURS[name]}">■</span>'
    return f'<span style="margin-right:.75em;white-space:nowrap">{square} {titles[name]} {size}</span> '


def _shares(device: Device, held: int, needed: int) -> dict[str, float]:
    used = max(device.total - device.free, 0)
    quintet = min(held, used)
    needed = min(needed, device.free)
    sizes = {
        "others": used - quintet,
        "quintet": quintet,
        "needed": needed,
        "free": max(device.free - needed, 0),
    }
    return {name: size / device.total for name, size in sizes.items()}
