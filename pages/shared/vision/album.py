"""The pictures of an album with their captions, and the work on them."""

import base64
import time
from collections.abc import Callable
from functools import cached_property
from itertools import count
from threading import Event, Lock
from typing import Any, Self

from models import BadInput, ChatEngine, ChatOptions
from models.captions import Caption, caption_many
from models.pictures.drawing import preview
from models.pictures.drawn import remark_on
from models.store.things import digest
from pages.shared import loading

THUMBNAIL = 96  # pixels
_numbers = count(1)


class AlbumCaption(Caption):
    """With the digest of its picture, which is made once: it is asked for every second."""

    @cached_property
    def digest(self) -> str:
        return digest(self.picture)


class Album:
    """The pictures of one visitor with their captions, how they are asked for, and the work on them.

    It goes on as long as any session shows it.
    """

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.prompt = ""  # the usual one
        self.prefix = ""  # before every caption
        self.job: loading.Work | None = None
        self._began, self._before = 0.0, 0
        self._sessions = 0
        self._lock = Lock()
        self.clear()

    @property
    def running(self) -> bool:
        return self.job is not None and self.job.running

    @property
    def done(self) -> int:
        """Those that have a caption, or have none for a reason."""
        return sum(bool(caption.text or caption.trouble) for caption in self.captions)

    @property
    def failed(self) -> list[AlbumCaption]:
        return [caption for caption in self.captions if caption.trouble and not caption.text]

    @property
    def seconds_left(self) -> float | None:
        """As long as the rest takes at the speed so far."""
        made = self.done - self._before
        spent = time.monotonic() - self._began
        return spent / made * (len(self.captions) - self.done) if made else None

    def add(self, name: str, picture: bytes) -> AlbumCaption:
        self.captions.append(AlbumCaption(name, picture))
        return self.captions[-1]

    def thumbnails(self) -> list[str]:
        """As data addresses; made once. A picture that is none gets its trouble here."""
        with self._lock:
            for caption in self.captions[len(self._thumbnails) :]:
                try:
                    small = base64.b64encode(preview(caption.picture, THUMBNAIL)).decode()
                    self._thumbnails.append(f"data:image/jpeg;base64,{small}")
                except BadInput as error:
                    caption.trouble = error
                    self._thumbnails.append("")
            return self._thumbnails

    def start(self, choice: loading.Choice, prompt: str, options: ChatOptions) -> None:
        """Caption what has no caption yet."""
        self.editor = next(_numbers)
        captions = self.captions  # which Remove all replaces

        def use(engine: ChatEngine, send: Callable[[Any], None], cancel: Event) -> None:
            self._began, self._before = time.monotonic(), self.done
            for caption in caption_many(engine, captions, prompt, options, cancel):
                if caption.text and choice.checkpoint:
                    caption.remark = remark_on(caption.picture, choice.checkpoint)

        self.job = loading.Work(choice, ChatEngine, use)

    def stop(self) -> None:
        if self.job is not None:
            self.job.cancel.set()

    def clear(self) -> None:
        self.stop()
        self.job = None
        self.editor = next(_numbers)  # a new number forgets what the table shows over the captions
        self.captions: list[AlbumCaption] = []
        self._thumbnails: list[str] = []

    def join(self) -> Self:
        """By a session that shows it."""
        with self._lock:
            self._sessions += 1
        return self

    def leave(self) -> None:
        """By a session that has ended."""
        with self._lock:
            self._sessions -= 1
            if self._sessions == 0:
                self.stop()
