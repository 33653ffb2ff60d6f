"""Captions for many pictures: made side by side, and written as files that other programs read."""

import csv
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType

from models.engines.base import ChatEngine
from models.errors import BadInput
from models.file_names import file_names
from models.pictures.boxes import without_tags
from models.pictures.reading import check
from models.schema import ChatOptions, Delta, Done, Text

FORMATS = ("csv", "json", "zip")
NOTES = "notes.csv"  # in a zip
MIME: Mapping[str, str] = MappingProxyType(
    {"csv": "text/csv", "json": "application/json", "zip": "application/zip"}
)


# How a formula may begin, for the spreadsheets of somebody who opens what another one's picture made a model write.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 (full-width ones count too)


@dataclass
class Caption:
    """A picture (an encoded file), what is said of it, and why nothing can be, or why it is not to be believed."""

    name: str
    picture: bytes
    text: str = ""
    trouble: BadInput | None = None
    remark: Text | None = None  # see `models.pictures.drawn.remark_on`

    def note(self, language: str) -> str:
        """What there is to say of it beside its caption, in "en" or "zh"."""
        said = self.trouble or self.remark
        if said is None:
            return ""
        return said.zh if language == "zh" else said.en


def caption_many(
    engine: ChatEngine,
    captions: Sequence[Caption],
    prompt: str,
    options: ChatOptions,
    cancel: threading.Event,
) -> Iterator[Caption]:
    """Fill the captions in, those without one that had no trouble; yield each as it is there.

    A few are asked for at the same time: the engine batches or queues them. A picture that is none gets
    its trouble and the others go on; any other failure ends all. What somebody wrote meanwhile stays.

    Raises:
        ModelError: as `ChatEngine.stream`.
    """
    left = [caption for caption in captions if not caption.text and not caption.trouble]
    with ThreadPoolExecutor(min(max(engine.placement.slots, 2), 4)) as pool:
        asked = {pool.submit(_say, engine, caption, prompt, options, cancel): caption for caption in left}
        try:
            for answered in as_completed(asked):
                caption, text = asked[answered], answered.result()
                caption.text = caption.text or text
                yield caption
        finally:  # the others end within a token, or do not begin
            cancel.set()
            pool.shutdown(cancel_futures=True)


def _say(
    engine: ChatEngine, caption: Caption, prompt: str, options: ChatOptions, cancel: threading.Event
) -> str:
    """What the engine says of one picture; "" where it has trouble or was stopped."""
    if cancel.is_set():
        return ""
    parts = [{"type": "image", "image": caption.picture}, {"type": "text", "text": prompt}]
    text = ""
    try:
        for event in engine.stream([{"role": "user", "content": parts}], options, cancel):
            if isinstance(event, Delta):
                text += event.text
            elif isinstance(event, Done) and event.finish_reason == "cancelled":
                return ""
    except BadInput:
        try:
            check(caption.picture)
        except BadInput as trouble:
            caption.trouble = trouble
            return ""
        raise
    return without_tags(text).strip()


# --- files ---------------------------------------------------------------------------------------


def write(captions: Sequence[Caption], format: str, prefix: str = "", language: str = "en") -> bytes:
    """All pictures that have a caption, or a reason why they have none, as one file.

    Args:
        format: "csv" with a heading, in which a cell that a spreadsheet would calculate begins with an
            apostrophe, as they write text; "json", a list of {"file", "caption", "note"}; or "zip", each picture
            and beside it its caption as .txt, as tools that train on pictures read them, and the rows that
            have a note as notes.csv.
        prefix: comes before every caption; a trigger word, for example.
        language: of the notes, "en" or "zh".
    """
    ended = [caption for caption in captions if caption.text or caption.trouble]
    _, *names = file_names([NOTES, *(caption.name for caption in ended)])
    rows = [
        {
            "file": name,
            "caption": prefix + caption.text if caption.text else "",
            "note": caption.note(language),
        }
        for name, caption in zip(names, ended, strict=True)
    ]
    if format == "zip":
        return _write_zip(rows, [caption.picture for caption in ended])
    if format == "json":
        return json.dumps(rows, ensure_ascii=False, indent=1).encode(errors="replace")
    return _write_table(rows)


def _write_zip(rows: Sequence[Mapping[str, str]], pictures: Sequence[bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for row, picture in zip(rows, pictures, strict=True):
            if row["caption"]:
                text = f"{row['caption']}\n".encode(errors="replace")
                archive.writestr(row["file"], picture)
                archive.writestr(str(PurePosixPath(row["file"]).with_suffix(".txt")), text)
        if noted := [row for row in rows if row["note"]]:
            archive.writestr(NOTES, _write_table(noted))
    return file.getvalue()


def _write_table(rows: Sequence[Mapping[str, str]]) -> bytes:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, ("file", "caption", "note"))
    writer.writeheader()
    writer.writerows({column: _as_text(cell) for column, cell in row.items()} for row in rows)
    return table.getvalue().encode("utf-8-sig", "replace")  # spreadsheets take the mark for UTF-8


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
