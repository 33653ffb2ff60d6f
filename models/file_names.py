"""Names of files that people take away together."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

# What Windows takes in no name, and names that it keeps for devices.
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_DEVICE = re.compile(r"\A(con|prn|aux|nul|com[1-9]|lpt[1-9])(?=\.|$)", re.IGNORECASE)


def file_names(names: Sequence[str]) -> list[str]:
    """Paths inside one folder that every system can write, of which no two differ in their ending, in capitals,
    or in how accents are encoded alone."""
    taken: set[str] = set()
    safe = []
    for name in names:
        parts = [_writable(part) for part in name.replace("\\", "/").split("/") if part.strip(". ")]
        path = PurePosixPath(*parts) if parts else PurePosixPath("picture")
        stem, number = path.stem, 1
        while _compared(path) in taken:
            number += 1
            path = path.with_name(f"{stem}-{number}{path.suffix}")
        taken.add(_compared(path))
        safe.append(str(path))
    return safe


def _writable(part: str) -> str:
    return _DEVICE.sub(r"\1_", _FORBIDDEN.sub("_", part).rstrip(". "))


def _compared(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", str(path.with_suffix(""))).lower()
