"""Widgets made from option dataclasses: one per field, with its range, help and default."""

from collections.abc import Mapping, Sequence
from dataclasses import Field
from typing import Any

import streamlit as st

from pages.shared.language import remember, say, tr


def choose(family: str, specs: Sequence[Field[Any]], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Draw the fields, rare ones folded away; return name -> value.

    Args:
        defaults: the checkpoint's own, over the dataclass's. Each set of defaults has its own
            widgets, so that another checkpoint starts with its own values.
    """
    values = {}
    common = [spec for spec in specs if not spec.metadata["advanced"]]
    rare = [spec for spec in specs if spec.metadata["advanced"]]
    for spec in common:
        values[spec.name] = _choose(family, spec, defaults.get(spec.name, spec.default))
    if rare:
        with st.expander(tr("More options", "更多选项")):
            for spec in rare:
                values[spec.name] = _choose(family, spec, defaults.get(spec.name, spec.default))
    return values


def _choose(family: str, spec: Field[Any], default: Any) -> Any:
    label, help = say(spec.metadata["label"]), say(spec.metadata["help"])
    key = remember(f"set.{family}.{spec.name}.{default}", _widget_value(spec, default))
    low, high, step = (spec.metadata[name] for name in ("low", "high", "step"))
    if choices := spec.metadata["choices"]:
        names = {choice: say(name) for choice, name in choices.items()}
        return st.selectbox(label, list(names), format_func=names.__getitem__, key=key, help=help)
    if isinstance(default, bool):
        return st.toggle(label, key=key, help=help)
    if isinstance(default, tuple):
        lines = st.text_area(label, key=key, help=help, height=68)
        return tuple(line for line in lines.splitlines() if line)
    if low is None:
        return st.text_input(label, key=key, help=help) or spec.default
    if default is None or high > 2000:
        value = st.number_input(label, low, high, None, step, key=key, help=help)
        return default if value is None else value  # the field can be emptied
    return st.slider(label, low, high, step=step, key=key, help=help)


def _widget_value(spec: Field[Any], default: Any) -> Any:
    """A default in the form its widget holds."""
    if isinstance(default, tuple):
        return "\n".join(default)
    return "" if default is None and spec.metadata["low"] is None else default
