"""Names of files that people take away together."""

from collections.abc import Sequence
from pathlib import PurePosixPath


def file_names(names: Sequence[str]) -> list[str]:
    """Paths inside one folder, of which no two differ in their ending or in capitals alone."""
    taken: set[str] = set()
    safe = []
    for name in names:
        parts = [part for part in name.replace("\\", "/").split("/") if part.strip(". ")]
        path = (
            PurePosixPath(*(part.replace(":", "_") for part in parts)) if parts else PurePosixPath("picture")
        )
        stem, number = path.stem, 1
        while str(path.with_suffix("")).lower() in taken:
            number += 1
            path = path.with_name(f"{stem}-{number}{path.suffix}")
        taken.add(str(path.with_suffix("")).lower())
        safe.append(str(path))
    return safe
