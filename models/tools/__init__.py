"""Tools for any family of models that calls them.

    (weather,) = (tool for tool in available() if tool.name == "get_weather")
    call(weather, parse_arguments("tool_call(city='北京')")).text

tool.py is what they are and how they run; toolbox.py answers with them; ../chat/calls.py reads and
checks a call; sources.py finds tools, with signatures.py for Python functions; weather.py,
calculator.py, units.py and dates.py come with Quintet.
"""

from models.chat.calls import parse_arguments, parse_call, parse_json_call, written_arguments
from models.tools.sources import available, folder, from_function, from_schema, shipped, tool
from models.tools.tool import Observation, Tool, call
from models.tools.toolbox import Toolbox, exchange, written

__all__ = [
    "Observation",
    "Tool",
    "Toolbox",
    "available",
    "call",
    "exchange",
    "folder",
    "from_function",
    "from_schema",
    "parse_arguments",
    "parse_call",
    "parse_json_call",
    "shipped",
    "tool",
    "written",
    "written_arguments",
]
