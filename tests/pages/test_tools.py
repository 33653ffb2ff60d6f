"""Whose a code interpreter is, by the address from which a page is opened."""

from typing import Any

import pytest
import streamlit as st

from pages.shared import tools


@pytest.mark.parametrize(
    "address, visitor",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("2001:db8:1:2:99::5", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        (None, None),
        ("::ffff:127.0.0.1", None),
        ("a socket", None),
    ],
)
def test_tabs_of_one_visitor_are_known_by_their_address(
    address: str | None, visitor: str | None, session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(st.context), "ip_address", property(lambda self: address))
    interpreter = tools.get_interpreter("chatglm")
    assert interpreter.visitor == visitor or (visitor is None and not isinstance(interpreter.visitor, str))
