"""Widgets made from option dataclasses: one per field, with its range, help and default."""

from collections.abc import Mapping, Sequence
from dataclasses import Field
from functools import partial
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
    usual = _widget_value(spec, default)
    key = remember(f"set.{family}.{spec.name}.{default}", usual, partial(_holds, spec, usual))
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
    if _can_be_empty(spec, default):
        value = st.number_input(label, low, high, None, step, key=key, help=help)
        return default if value is None else value
    return st.slider(label, low, high, step=step, key=key, help=help)


def _can_be_empty(spec: Field[Any], default: Any) -> bool:
    """Whether a number has a field, and no slider."""
    return default is None or spec.metadata["high"] > 2000


def _holds(spec: Field[Any], usual: Any, value: Any) -> bool:
    """Whether the option's widget can hold a value, which is `usual` unless it was set."""
    low, high, choices = (spec.metadata[name] for name in ("low", "high", "choices"))
    if choices:
        return value in list(choices)
    if low is None:
        return type(value) is type(usual)
    if value is None:
        return _can_be_empty(spec, usual)
    return type(value) is type(low) and low <= value <= high


def _widget_value(spec: Field[Any], default: Any) -> Any:
    """A default in the form its widget holds."""
    if isinstance(default, tuple):
        return "\n".join(default)
    return "" if default is None and spec.metadata["low"] is None else default
