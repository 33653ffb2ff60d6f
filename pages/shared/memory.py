"""The memory bar: what a load needs, what Quintet holds, what others use, what is free."""

import streamlit as st

from models import Device, Loader, Plan, devices, gigabytes
from pages.shared.language import tr

COLOURS = {"others": "#9aa5b1", "quintet": "#4c6ef5", "needed": "#f59f00", "free": "#e9ecef"}


def show_memory(plan: Plan, loader: Loader) -> None:
    """One bar for the planned device, in proportion, with its legend."""
    device = next((found for found in devices() if found.name == plan.placement.device), None)
    if device is None:  # a remote server's memory is not ours to show
        return
    loaded = [engine for engine in loader.loaded() if engine.placement.device == device.name]
    here = any(engine.checkpoint.name == plan.checkpoint.name for engine in loaded)
    held = sum(engine.report.weights for engine in loaded)
    needed = 0 if here else plan.total
    shares = _shares(device, held, needed)
    blocks = "".join(
        f'<div style="width:{share:.2%};background:{COLOURS[name]};height:100%"></div>'
        for name, share in shares.items()
    )
    over = "" if plan.fits or here else ";outline:2px solid #e03131"
    st.html(
        f'<div role="img" aria-label="{tr("memory", "内存")}" style="display:flex;height:14px;border-radius:7px;overflow:hidden'
        f'{over}">{blocks}</div>'
    )
    legend = [
        *([f":orange[■] {tr('needed', '需要')} {gigabytes(needed)}"] if needed else []),
        f":blue[■] Quintet {gigabytes(held)}",
        f":gray[■] {tr('free', '空闲')} {gigabytes(device.free)}",
    ]
    precision = plan.placement.precision
    if precision == "file":
        precision = tr("the file's own precision", "文件自身的精度")
    st.caption(" · ".join(legend) + f"  \n{device.title} · {precision}")


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
