"""What Streamlit's widgets draw otherwise than a page needs it, put right by a style sheet.

A select box shows a name in one line, which ends with the box: in its list, names go on in a next line. The button and
the limit of an upload are English: on a Chinese page they are replaced. What says why a file was refused stays as
Streamlit has it: it is drawn far from its widget, and holds what no style can know.
"""

import streamlit as st

from pages.shared.language import language

_LISTS = """
[data-testid="stSelectboxVirtualDropdown"] [role="option"],
[data-testid="stSelectboxVirtualDropdown"] [role="option"] * { white-space: normal; overflow-wrap: anywhere; }
[data-testid="stSelectboxVirtualDropdown"] [role="option"],
[data-testid="stSelectboxVirtualDropdown"] [role="option"] > * { height: auto; min-height: 1.75rem; }
"""
# Not only out of sight: what is not displayed is not read to somebody who cannot see it either.
_UPLOADS = """
[data-testid="stFileUploaderDropzone"] > :is(div, span) button [data-testid="stMarkdownContainer"] p,
[data-testid="stFileUploaderDropzoneInstructions"] > * { display: none; }
[data-testid="stFileUploaderDropzone"] > :is(div, span) button [data-testid="stMarkdownContainer"]::after { content: "上传"; }
[data-testid="stFileUploaderDropzone"]:has(input[webkitdirectory]) > :is(div, span) button
  [data-testid="stMarkdownContainer"]::after { content: "上传文件夹"; }
[data-testid="stFileUploaderDropzoneInstructions"]::after { content: "单个文件不超过 %d MB"; font-size: .875rem; opacity: .7; }
"""


def show_style() -> None:
    """Once on every page."""
    uploads = _UPLOADS % st.get_option("server.maxUploadSize") if language() == "zh" else ""
    st.html(f"<style>{_LISTS}{uploads}</style>")
