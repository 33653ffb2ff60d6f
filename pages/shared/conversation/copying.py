"""A button of the browser that copies a text as it was written."""

import streamlit as st

from pages.shared.language import tr

HTML = '<button class="copy" type="button"></button>'
CSS = """
.copy {
  font-family: "Material Symbols Rounded"; font-size: 1.25rem; line-height: 1; font-feature-settings: "liga";
  padding: .5rem .25rem; border: 0; background: none; cursor: pointer; color: var(--st-text-color);
}
.copy:hover, .copy:focus-visible { color: var(--st-primary-color); }
"""
JS = """
const SHOWN = 1500;  // milliseconds for which it says that it is done

export default function ({ data, parentElement }) {
  const button = parentElement.querySelector(".copy");
  button.textContent ||= "content_copy";
  button.title = data.label;
  button.setAttribute("aria-label", data.label);
  button.onclick = async () => {
    await copy(data.text);
    button.textContent = "check";
    setTimeout(() => { button.textContent = "content_copy"; }, SHOWN);
  };
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Browsers give the clipboard only to pages at localhost or over https; elsewhere the old way works.
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
"""


def offer_copy(key: str, text: str) -> None:
    """Draw it."""
    mount = st.components.v2.component("quintet_copy", html=HTML, css=CSS, js=JS)
    mount(key=key, data={"text": text, "label": tr("Copy", "复制")}, width="content", height="content")
