"""Chat templates are programs of whoever made a checkpoint: what they refuse, and what goes wrong in them."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from models.errors import BadInput, EngineFailed, ModelError

SECONDS = 5.0  # of the processor, for one conversation
_LONGEST = 300  # characters of a reason
# llama.cpp's report: a line of the template, and last what is wrong with it.
_REPORT = re.compile(
    r"While executing .*?^Error: (?:Jinja Exception: )?(?P<reason>.*)", re.DOTALL | re.MULTILINE
)


class TemplateTooSlow(Exception):
    """A template that goes on and on."""


def refused(name: str, reason: str) -> BadInput:
    """A conversation that the template of `name` does not take."""
    said = _short(reason)
    return BadInput(
        f"The chat template of {name} refuses this conversation: {said}.",
        f"{name} 的对话模板不接受这段对话：{said}。",
    )


def reported(message: str) -> str | None:
    """Why a template made nothing of a conversation, of what llama.cpp says; None: it says something else."""
    found = _REPORT.search(message)
    return found["reason"] if found else None


@contextmanager
def rendering(name: str) -> Iterator[None]:
    """Run a template of Jinja's, for a limited time, with what goes wrong in a sentence.

    Args:
        name: the checkpoint's.

    Raises:
        BadInput: the template refuses the conversation.
        EngineFailed: it cannot be carried out, or not within `SECONDS`.
    """
    from jinja2 import TemplateError

    try:
        with _limited():
            yield
    except ModelError:
        raise
    except TemplateError as error:
        raise refused(name, str(error)) from error
    except TemplateTooSlow as error:
        raise EngineFailed(
            f"The chat template of {name} takes more than {SECONDS:.0f} seconds: choose another checkpoint.",
            f"{name} 的对话模板运行超过 {SECONDS:.0f} 秒：请选择其他检查点。",
        ) from error
    except Exception as error:  # a template can raise whatever Python can
        said = _short(f"{type(error).__name__}: {error}")
        raise EngineFailed(
            f"The chat template of {name} fails on this conversation ({said}): choose another checkpoint.",
            f"{name} 的对话模板处理这段对话时出错（{said}）：请选择其他检查点。",
        ) from error


@contextmanager
def _limited() -> Iterator[None]:
    """Raise TemplateTooSlow from within a template that takes too long. Jinja makes Python of a template, whose
    lines can be followed; how long a single one takes cannot be helped."""
    end = time.thread_time() + SECONDS

    def follow(frame: FrameType, event: str, argument: Any) -> Any:
        if time.thread_time() > end:
            raise TemplateTooSlow
        return follow if frame.f_code.co_filename == "<template>" else None

    before = sys.gettrace()
    sys.settrace(follow)
    try:
        yield
    finally:
        sys.settrace(before)


def _short(reason: str) -> str:
    """In one line, without the full stop that the sentence has."""
    line = " ".join(reason.split()).rstrip(".")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
