"""What goes on around a chat template: who follows its lines, and what becomes of its reasons."""

import sys
from types import FrameType
from typing import Any

import pytest

from models.chat.templates import rendering
from models.errors import BadInput


@pytest.mark.parametrize("fails", [False, True])
def test_a_debugger_follows_again_once_a_template_has_ended(fails: bool) -> None:
    def follow(frame: FrameType, event: str, argument: Any) -> None:
        """As a debugger does, or whatever measures coverage."""

    before = sys.gettrace()
    sys.settrace(follow)
    try:
        try:
            with rendering("tiny"):
                if fails:
                    raise BadInput("no", "否")
        except BadInput:
            assert fails
        assert sys.gettrace() is follow
    finally:
        sys.settrace(before)
