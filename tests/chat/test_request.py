"""What an engine is asked: tools in the one form that all below read."""

from models.chat.request import openai_tools


def test_what_a_tool_says_beside_its_function_is_kept() -> None:
    function = {"name": "look", "parameters": {"type": "object"}}
    assert openai_tools([function]) == [{"type": "function", "function": function}]
    custom = {"type": "function", "function": function, "cache_control": {"type": "ephemeral"}}
    assert openai_tools([custom]) == [custom]
