"""Which engine a request's `model` names, and whether programs may have it loaded."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from models import catalog
from models.api.refusals import Refused
from models.api.settings import aliases, load_seconds, offered
from models.engines.base import Engine
from models.errors import Cancelled
from models.jobs import Job
from models.loader import Loader
from models.permissions import model_paths
from models.schema import Text

Kind = TypeVar("Kind", bound=Engine)


@dataclass(frozen=True)
class Offer:
    """A name that a request may give, and what is known of it."""

    id: str
    kind: str
    loaded: bool
    context_length: int


class Engines:
    """The engines of a loader, as programs name them.

    They may have what is in memory already, the starters, and what the operator listed.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def offers(self) -> list[Offer]:
        """Every name that a request may give, what is in memory first."""
        engines = {engine.checkpoint.name: engine for engine in self.loader.loaded()}
        names = [*engines, *model_paths(), *(name for name in offered() if "*" not in name)]
        names += [name for name in catalog.CHECKPOINTS if _may_load(name)]
        offers = {}
        for name in dict.fromkeys(names):
            engine = engines.get(name)
            known = engine.checkpoint if engine else catalog.CHECKPOINTS.get(name)
            context = getattr(engine, "context_length", known.context_length if known else 0)
            offers[_shown(name)] = Offer(_shown(name), known.kind if known else "chat", bool(engine), context)
        for alias, name in aliases().items():
            if name in offers:
                offers[alias] = replace(offers[name], id=alias)
        return list(offers.values())

    def resolve(self, name: str) -> str:
        """The checkpoint's own name. Raises Refused where there is none, or programs may not load it."""
        name = aliases().get(name, name)
        loaded = [engine.checkpoint.name for engine in self.loader.loaded()]
        for full in (*loaded, *model_paths()):
            if name in (full, _shown(full)):
                return catalog.find(full).name
        if not _may_load(name):  # asked before anything is looked for: what is not offered tells nothing
            raise Refused(
                404,
                Text(
                    f"There is no model {name!r} for programs here: /v1/models lists those that there are.",
                    f"此处没有可供程序使用的模型 {name!r}：/v1/models 列出了所有可用模型。",
                ),
                "model_not_found",
                "model",
            )
        return catalog.find(name).name

    @contextmanager
    def using(self, name: str, kind: type[Kind], cancel: threading.Event) -> Iterator[Kind]:
        """Hold the engine that a request names, loaded first if need be.

        Raises:
            Refused: there is none, it does something else, or loading takes longer than a request waits;
                then it goes on for the next one.
            ModelError: see `Loader.load`.
        """
        name = self.resolve(name)
        if self.loader.find_loaded(name) is None:
            self._wait_for_load(name, cancel)
        with self.loader.using(name, cancel=cancel) as engine:
            if not isinstance(engine, kind):
                raise Refused(
                    400,
                    Text(
                        f"{_shown(name)} is a {engine.checkpoint.kind} model, which cannot do this: name another one.",
                        f"{_shown(name)} 是 {engine.checkpoint.kind} 模型，无法完成此请求：请指定其他模型。",
                    ),
                    "model_not_supported",
                    "model",
                )
            yield engine

    def _wait_for_load(self, name: str, cancel: threading.Event) -> None:
        """Until it is loaded: in a thread, which goes on when whoever waits has gone. The loader loads once for all."""
        job: Job[None, Engine] = Job(lambda _, stop: self.loader.load(name, cancel=stop))
        until = time.monotonic() + load_seconds()
        while not job.wait(0.05):
            if cancel.is_set():
                raise Cancelled
            if time.monotonic() > until:
                raise Refused(
                    503,
                    Text(
                        f"{_shown(name)} is still being loaded: ask again in a moment.",
                        f"{_shown(name)} 仍在加载：请稍后再试。",
                    ),
                    "model_loading",
                    retry_after=10,
                )
        job.result()


def _shown(name: str) -> str:
    """A path without its folders: where something lies on this machine is nobody's business."""
    return Path(name).name if Path(name).is_absolute() else name


def _may_load(name: str) -> bool:
    known = catalog.CHECKPOINTS.get(name.lower())
    return bool(known and known.starter) or any(fnmatchcase(name, pattern) for pattern in offered())
