"""What somebody wants changed in a transcript, carried out."""

from collections.abc import Mapping
from math import inf
from typing import Any

from models import BadInput
from models.transcripts.edit import believe, merge, put, remove, rewrite, split, substitute
from models.transcripts.recordings import Recording


def check_version(recording: Recording, edit: Mapping[str, Any]) -> None:
    """Raises BadInput where something was asked of lines that are no longer there."""
    if edit.get("version") != recording.version or recording.busy:
        raise BadInput(
            "The transcript has changed meanwhile: try again with the lines as they are now.",
            "文稿在此期间已有变化：请在当前内容上重试。",
        )


def apply_edit(recording: Recording, edit: Mapping[str, Any]) -> None:
    """Change the lines as a browser asks: see `transcript_view.js`.

    To recognise a line again takes a model: that edit is completed by what was then "heard".

    Raises:
        BadInput: that cannot be done, or was asked of lines that are no longer there.
    """
    check_version(recording, edit)
    try:
        _apply(recording, edit)
    except (LookupError, TypeError, AttributeError) as error:  # a browser can send anything
        raise BadInput(
            "This change cannot be read: load the page again.", "无法读取这一修改：请重新加载页面。"
        ) from error


def _apply(recording: Recording, edit: Mapping[str, Any]) -> None:
    lines = recording.lines
    match edit["action"]:
        case "undo":
            if recording.changed:
                recording.undo()
            return
        case "listened":
            recording.lines = believe(lines, edit["lines"])  # no step to undo, and no other lines
            return
        case "replace":
            lines, _ = substitute(lines, edit["find"], edit["with"])
        case "remove":
            lines = remove(lines, edit["line"])
        case "again":
            lines = put(lines, edit["line"], edit["heard"])
        case "save" | "split" | "merge" as action:
            index = edit["line"]
            lines = rewrite(lines, index, edit["text"], edit["start"], edit["end"], recording.duration or inf)
            if action == "split":
                lines = split(lines, index, edit["position"])
            elif action == "merge":
                lines = merge(lines, index)
    recording.change(lines)
