"""What matplotlib needs to know before it draws: a font with Chinese characters, and which fonts exist."""

import os
import subprocess
import sys
import tempfile
from functools import cache

# Best first; of those that are installed the first is used, and nothing is fetched.
_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "Noto Sans CJK JP",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans GB", "Heiti SC",
    "Microsoft YaHei", "SimHei", "Arial Unicode MS", "Droid Sans Fallback", "Noto Serif CJK SC",
)  # fmt: skip

# Looking for fonts takes matplotlib a second or more, and it keeps what it found in its settings.
_SETTLE = f"""
import pathlib, matplotlib
from matplotlib.font_manager import fontManager
installed = {{font.name for font in fontManager.ttflist}}
chosen = [name for name in {_FONTS!r} if name in installed][:1]
lines = ["font.family: sans-serif", "font.sans-serif: " + ", ".join([*chosen, "DejaVu Sans"]),
         "axes.unicode_minus: " + str(not chosen), "figure.dpi: 100"]
pathlib.Path(matplotlib.get_configdir(), "matplotlibrc").write_text("\\n".join(lines))
"""


@cache
def _settled() -> "tempfile.TemporaryDirectory[str]":
    folder = tempfile.TemporaryDirectory(prefix="quintet-plots-")
    environment = {"PATH": os.defpath, "HOME": folder.name, "MPLCONFIGDIR": folder.name}
    # Without matplotlib there are no plots, and nothing else is lost.
    subprocess.run([sys.executable, "-I", "-c", _SETTLE], env=environment, capture_output=True, check=False)
    return folder


def settings() -> str:
    """A folder of matplotlib's settings to copy for each kernel, made once per process."""
    return _settled().name
