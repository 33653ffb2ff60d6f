"""The code interpreter: one Jupyter kernel per conversation, confined as far as the system allows.

    with Interpreter() as interpreter:
        for output in interpreter.run("import math\\nmath.pi"): ...

confined.py runs in a process of its own; kernel.py starts it and exchanges messages with the kernel
in it; outputs.py reads them; session.py holds the limits; confinement.py says what is enforced.
"""

from models.interpreter.confinement import Confinement, confinement, enabled
from models.interpreter.kernel import HOME, Limits
from models.interpreter.outputs import Output, as_read, png
from models.interpreter.session import Interpreter

__all__ = [
    "HOME",
    "Confinement",
    "Interpreter",
    "Limits",
    "Output",
    "as_read",
    "confinement",
    "enabled",
    "png",
]
