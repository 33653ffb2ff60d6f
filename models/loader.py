"""The shared cache of engines: one load per key, waiting sessions, room made before it is needed."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models import catalog, hub, placement
from models.catalog.formats import engine_of, format_of
from models.engines.base import Engine
from models.errors import Cancelled, UnsupportedPlacement
from models.schema import Checkpoint, OnProgress, Plan, Progress
from models.shared_work import SharedWork


@dataclass(frozen=True)
class _Held:
    engine: Engine
    plan: Plan

    @property
    def gives_back(self) -> int:
        """Bytes that closing the engine frees. Those of a mapped file count as free already."""
        mapped = format_of(self.plan.checkpoint).mapped and self.plan.placement.device == "cpu"
        return self.plan.kv_cache + (0 if mapped else self.engine.report.weights)


@dataclass(frozen=True)
class _Request:
    """What somebody asked for; also the key under which a load is shared."""

    name: str
    device: str
    precision: str
    context: int | None

    def met_by(self, held: _Held) -> bool:
        where = held.plan.placement
        return (
            held.plan.checkpoint.name == self.name
            and self.device in ("auto", where.device, where.device.removesuffix(":0"))
            and self.precision in ("auto", where.precision)
            and (self.context or 0) <= (where.context or self.context or 0)
        )


class Loader:
    """Engines of one process, shared by everybody who asks.

    A load is shared by all who ask for the same thing at the same time. Loads that go to one device
    wait for each other. Before a new model is read, idle engines are closed, least recently used
    first, until it fits. A load that fails leaves everything as it was, except for what had to be
    closed to try.
    """

    def __init__(self) -> None:
        self.hub = hub.Hub()
        self._held: list[_Held] = []
        self._lock = threading.Lock()
        self._loads: SharedWork[Engine] = SharedWork()
        self._device_locks: dict[str, threading.Lock] = {}

    def load(
        self,
        name: str,
        device: str = "auto",
        precision: str = "auto",
        context: int | None = None,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Engine:
        """The engine for a checkpoint, loaded now or already there.

        Args:
            name: catalog name, hub id, path to a folder, .gguf or .pt, or an address ending in /v1.
            device: "auto", "cpu", "mps", "cuda:0", …
            precision: "auto", "fp32", "bf16", "fp16", "int8", "int4".
            context: tokens one conversation may hold; None: that of the engine which is there, else the
                checkpoint's own, at most 8192.
            progress: called with Progress from the waiting thread.
            cancel: gives up waiting; the last to give up stops the load.

        Raises:
            ModelError: one of its subclasses, saying what happened and what to do next.
        """
        checkpoint = catalog.find(name)
        request = _Request(checkpoint.name, device, precision, context)
        if engine := self._ready(request):
            return engine
        return self._loads.run(
            request,
            lambda report, stop: self._load(checkpoint, request, report, stop),
            progress,
            cancel,
        )

    def plan(
        self, name: str, device: str = "auto", precision: str = "auto", context: int | None = None
    ) -> Plan:
        """What `load` with the same arguments would do, without doing it. Never touches the network.

        A CUDA or MPS device that this machine lacks is planned for all the same: nothing fits there.
        """
        found = placement.devices_and(device)
        return placement.plan(self.describe(name), device, precision, context, found, self._reclaimable())

    def describe(self, name: str) -> Checkpoint:
        """What is known of a checkpoint: from its files when they are here, else from the catalog."""
        checkpoint = catalog.find(name)
        path = None if checkpoint.path else hub.locate(checkpoint)
        return catalog.describe(path, checkpoint) if path else checkpoint

    def fetch(
        self, name: str, progress: OnProgress | None = None, cancel: threading.Event | None = None
    ) -> Path:
        """The checkpoint's files on this machine, fetched and verified, without loading them."""
        return self._files(catalog.find(name), progress, cancel)[0]

    def loaded(self) -> list[Engine]:
        """Engines in memory, most recently used first."""
        with self._lock:
            engines = [held.engine for held in self._held if not held.engine.closed]
        return sorted(engines, key=lambda engine: engine.last_used, reverse=True)

    def find_loaded(
        self, name: str, device: str = "auto", precision: str = "auto", context: int | None = None
    ) -> Engine | None:
        """The engine that `load` would return at once, or None."""
        return self._ready(_Request(catalog.find(name).name, device, precision, context))

    def unload(self, name: str | None = None) -> bool:
        """Close the idle engines of a checkpoint (of all, without a name). False: one is answering."""
        with self._lock:
            chosen = [held for held in self._held if name in (None, held.plan.checkpoint.name)]
        if (
            name and not chosen
        ):  # perhaps another way to write it; a name as loaded needs no look at its files
            wanted = catalog.find(name).name
            with self._lock:
                chosen = [held for held in self._held if held.plan.checkpoint.name == wanted]
        return all([self._close(held) for held in chosen])

    # --- inside -------------------------------------------------------------------------------

    def _ready(self, request: _Request) -> Engine | None:
        with self._lock:
            for held in self._held:
                if request.met_by(held) and not held.engine.closed:
                    held.engine.last_used = time.monotonic()
                    return held.engine
        return None

    def _load(
        self, checkpoint: Checkpoint, request: _Request, report: OnProgress, stop: threading.Event
    ) -> Engine:
        if format_of(checkpoint).known:
            engine_of(checkpoint)  # raises before anything is fetched for nothing
        path, checkpoint = self._files(checkpoint, report, stop)
        make: Callable[..., Engine] = engine_of(checkpoint)
        with self._device(checkpoint, request, report, stop) as plan:
            if engine := self._ready(request):  # loaded while this one waited for the device
                return engine
            self._make_room(plan, already=self._replace(request, plan))
            engine = make(path, checkpoint, plan.placement, report, stop)
            if stop.is_set():
                engine.close_if_idle()
                raise Cancelled
            with self._lock:
                self._held.append(_Held(engine, plan))
            # What a library created stays: without this, every full collection walks through it.
            gc.collect()
            gc.freeze()
            return engine

    def _files(
        self, checkpoint: Checkpoint, report: OnProgress | None, stop: threading.Event | None
    ) -> tuple[Path, Checkpoint]:
        """The files, fetched when absent and checked, and what they say of themselves."""
        if format_of(checkpoint).remote:
            return Path(), checkpoint
        instead = next((c.name for c in catalog.family(checkpoint.family) if c.starter), None)
        path = self.hub.fetch(checkpoint, report, stop, instead)
        hub.verify(checkpoint, path, report, stop)
        return path, catalog.describe(path, checkpoint)

    @contextmanager
    def _device(
        self, checkpoint: Checkpoint, request: _Request, report: OnProgress, stop: threading.Event
    ) -> Iterator[Plan]:
        """Plan, and hold the planned devices while the load runs.

        Waiting for a device may take minutes in which memory changes, so the plan is made again
        once the device is held, and the wait repeated should it now name another.
        """
        plan = self._fitting(checkpoint, request)
        while True:
            with ExitStack() as stack:
                for name in sorted(plan.placement.devices or (plan.placement.device,)):
                    stack.enter_context(self._waiting(name, report, stop))
                again = self._fitting(checkpoint, request)
                if again.placement.devices == plan.placement.devices:
                    yield again
                    return
            plan = again

    @contextmanager
    def _waiting(self, device: str, report: OnProgress, stop: threading.Event) -> Iterator[None]:
        with self._lock:
            lock = self._device_locks.setdefault(device, threading.Lock())
        if not lock.acquire(blocking=False):
            report(Progress("queue", detail=device))
            while not lock.acquire(timeout=0.1):
                if stop.is_set():
                    raise Cancelled
        try:
            if stop.is_set():  # since the last look
                raise Cancelled
            yield
        finally:
            lock.release()

    def _fitting(self, checkpoint: Checkpoint, request: _Request) -> Plan:
        plan = placement.plan(
            checkpoint, request.device, request.precision, request.context, reclaimable=self._reclaimable()
        )
        if not plan.fits:
            raise placement.refuse(plan)
        return plan

    def _reclaimable(self) -> dict[str, int]:
        """Bytes per device that closing all idle engines would free."""
        sums: dict[str, int] = {}
        with self._lock:
            idle = [held for held in self._held if not held.engine.active]
        for held in idle:
            devices = held.plan.placement.devices or (held.plan.placement.device,)
            for device in devices:
                sums[device] = sums.get(device, 0) + held.gives_back // len(devices)
        return sums

    def _replace(self, request: _Request, plan: Plan) -> int:
        """Close an engine of the same key whose context is too short; the bytes that this gave back."""
        with self._lock:
            same = [held for held in self._held if _key(held.plan) == _key(plan)]
        for held in same:
            if not self._close(held):
                has = held.plan.placement.context
                raise UnsupportedPlacement(
                    f"{request.name} is answering somebody with a context of {has} tokens: use that, or "
                    "ask again when it is idle.",
                    f"{request.name} 正以 {has} 个 token 的上下文回答他人：请使用该长度，或等其空闲后再试。",
                )
        return sum(held.gives_back for held in same)

    def _make_room(self, plan: Plan, already: int) -> None:
        """Close idle engines on the plan's devices, least recently used first, until it fits.

        `already` bytes were given back since the plan was made.
        """
        names = set(plan.placement.devices or (plan.placement.device,))
        missing = plan.total - plan.free - already
        with self._lock:
            candidates = sorted(self._held, key=lambda held: held.engine.last_used)
        for held in candidates:
            if missing <= 0:
                return
            if names & set(held.plan.placement.devices) and self._close(held):
                missing -= held.gives_back

    def _close(self, held: _Held) -> bool:
        if not held.engine.close_if_idle():
            return False
        with self._lock:
            if held in self._held:
                self._held.remove(held)
        gc.unfreeze()
        gc.collect()
        return True


def _key(plan: Plan) -> tuple[str, str, str]:
    return plan.checkpoint.name, plan.placement.device, plan.placement.precision


@cache
def shared() -> Loader:
    """The loader of this process: pages, API and command line all use it."""
    return Loader()
