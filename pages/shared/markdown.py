r"""Model text as Markdown that Streamlit shows as it was meant.

Models write mathematics as `\(…\)` and `\[…\]`, Streamlit reads `$…$` and `$$…$$`; money is no
mathematics; and a picture address in an answer would make the browser fetch it, so it becomes a link.
"""

import re

# Fenced blocks (an open one reaches to the end: text is shown while it streams) and inline code.
_CODE = re.compile(
    r"(^ {0,3}(?P<fence>`{3,}|~{3,}).*?(?:^ {0,3}(?P=fence)[`~]*[ \t]*$|\Z)|(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`))",
    re.S | re.M,
)
_DISPLAY = re.compile(r"\\\[(.+?)\\\]", re.S)
_INLINE = re.compile(r"\\\((.+?)\\\)", re.S)
_DOLLARS = re.compile(r"\$\$.+?\$\$", re.S)
# As Pandoc decides it: no space inside the signs, no digit after the closing one.
_DOLLAR = re.compile(r"(?<![\\$\w])\$(?![\s$])([^$\n]*?[^\s\\$])\$(?![\d$])")
_IMAGE = re.compile(r"!\[([^\]]*)\]\(\s*<?([^)\s>]*)[^)]*\)")
_IMAGE_REFERENCE = re.compile(r"!(?=\[)")


def readable(text: str) -> str:
    """`text` with its mathematics, money and pictures made safe; code is left as it is."""
    parts = []
    end = 0
    for code in _CODE.finditer(text):
        parts += [_prose(text[end : code.start()]), code.group()]
        end = code.end()
    return "".join([*parts, _prose(text[end:])])


def _prose(text: str) -> str:
    text = _IMAGE.sub(lambda found: f"[{found[1] or found[2]}]({found[2]})", text)
    text = _IMAGE_REFERENCE.sub(r"\\!", text)
    formulas: list[str] = []

    def keep(formula: str) -> str:
        formulas.append(formula)
        return f"\0{len(formulas) - 1}\0"

    text = _DISPLAY.sub(lambda found: keep(f"\n$$\n{found[1].strip()}\n$$\n"), text)
    text = _INLINE.sub(lambda found: keep(f"${found[1].strip()}$"), text)
    text = _DOLLARS.sub(lambda found: keep(found[0]), text)
    text = _DOLLAR.sub(lambda found: keep(found[0]), text)
    text = re.sub(r"(?<!\\)\$", r"\\$", text)
    return re.sub("\0(\\d+)\0", lambda found: formulas[int(found[1])], text)
