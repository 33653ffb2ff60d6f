"""The process that reads one PDF or docx: what a file does to a library, it does here.

    python -m models.documents.worker pdf        the file is standard input

Standard output has a line of JSON for each thing: {"text": …} as it is read (null where something is missing), last
{"refused": key} or {"end": true}.
"""

import json
import logging
import sys
import time
from typing import Any

from models.documents.budgets import MEMORY, MOST_CHARACTERS, SECONDS
from models.documents.pages import Unreadable, read_docx, read_pdf
from models.workers.limits import end_with_parent, limit_data, take_second_place

READERS = {"pdf": read_pdf, "docx": read_docx}


def main(kind: str) -> None:
    end_with_parent()
    take_second_place()
    limit_data(MEMORY)
    logging.disable()  # of what a library finds odd
    data, until = sys.stdin.buffer.read(), time.monotonic() + SECONDS
    try:
        _read(kind, data, until)
    except Unreadable as error:
        _say(refused=str(error))
    except MemoryError:
        _say(refused="large")
    except Exception:  # a broken file can make a library raise whatever there is
        _say(refused="damaged")


def _read(kind: str, data: bytes, until: float) -> None:
    left = MOST_CHARACTERS
    for text in READERS[kind](data):
        _say(text=text if text is None else text[: left + 1])
        left -= len(text or "")
        if left < 0 or time.monotonic() > until:
            return
    _say(end=True)


def _say(**what: Any) -> None:
    sys.stdout.buffer.write(json.dumps(what).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
