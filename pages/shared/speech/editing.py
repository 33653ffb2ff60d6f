"""What somebody wants changed in a transcript, carried out."""

from collections.abc import Mapping
from typing import Any

from models import BadInput
from models.transcripts.edit import merge, put, remove, rewrite, split, substitute
from models.transcripts.recordings import Recording


def check_version(recording: Recording, wish: Mapping[str, Any]) -> None:
    """Raises BadInput where something was asked of lines that are no longer there."""
    if wish.get("version") != recording.version or recording.busy:
        raise BadInput(
            "The transcript has changed meanwhile: try again with the lines as they are now.",
            "文稿在此期间已有变化：请在当前内容上重试。",
        )


def carry_out(recording: Recording, wish: Mapping[str, Any]) -> None:
    """Change the lines as a browser asks: see `transcript_view.js`.

    To recognise a line again takes a model: that wish is completed by what was then "heard".

    Raises:
        BadInput: that cannot be done, or was asked of lines that are no longer there.
    """
    check_version(recording, wish)
    lines = recording.lines
    match wish["action"]:
        case "undo" if recording.changed:
            recording.undo()
            return
        case "replace":
            lines, _ = substitute(lines, wish["find"], wish["with"])
        case "remove":
            lines = remove(lines, wish["line"])
        case "again":
            lines = put(lines, wish["line"], wish["heard"])
        case "save" | "split" | "merge" as action:
            index = wish["line"]
            lines = rewrite(lines, index, wish["text"], wish["start"], wish["end"])
            if action == "split":
                lines = split(lines, index, wish["position"])
            elif action == "merge":
                lines = merge(lines, index)
    recording.change(lines)
