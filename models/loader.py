"""The shared cache of engines: one load per key, waiting sessions, room made before it is needed."""

import gc
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models import catalog, hub, placement
from models.cache import cache_dir
from models.cache.temporary import sweep
from models.catalog.formats import engine_of, format_of
from models.engines.base import Engine
from models.errors import Cancelled, EngineClosed, UnsupportedPlacement
from models.hub.shared_work import SharedWork
from models.schema import Checkpoint, OnProgress, Plan, Progress
from models.workers import host as workers


@dataclass(frozen=True)
class _Loaded:
    engine: Engine
    plan: Plan

    isolated: bool | None  # in a worker; None: at a server, and in no process of ours

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
    isolated: bool

    def met_by(self, loaded: _Loaded) -> bool:
        where = loaded.plan.placement
        return (
            loaded.plan.checkpoint.name == self.name
            and self.device in ("auto", where.device, where.device.removesuffix(":0"))
            and self.precision in ("auto", where.precision)
            and (self.context or 0) <= (where.context or self.context or 0)
            and loaded.isolated in (self.isolated, None)
        )


class Loader:
    """Engines of one process, shared by everybody who asks.

    A load is shared by all who ask for the same thing at the same time. Loads that go to one device
    wait for each other. Before a new model is read, idle engines are closed, least recently used
    first, until it fits. A load that fails leaves everything as it was, except for what had to be
    closed to try.
    """

    def __init__(self, isolated: bool = False) -> None:
        """`isolated`: whether engines get a process of their own where a caller leaves it open."""
        self.isolated = isolated
        self.hub = hub.Hub()
        self._engines: list[_Loaded] = []
        self._expected: list[_Request] = []  # of those who will hold the engine that they get
        self._lock = threading.Lock()
        self._loads: SharedWork[Engine] = SharedWork()
        self._device_locks: dict[str, threading.Lock] = {}

    @contextmanager
    def using(
        self,
        name: str,
        device: str = "auto",
        precision: str = "auto",
        context: int | None = None,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
        isolated: bool | None = None,
    ) -> Iterator[Engine]:
        """Hold the engine for a checkpoint: until the block is left it is not closed, for nobody's sake.

        Arguments and errors are those of `load`.
        """
        checkpoint = catalog.find(name)
        request = self._request(checkpoint.name, device, precision, context, isolated)
        with ExitStack() as lease:
            with self._expect(request):
                while True:
                    engine = self._find_or_load(checkpoint, request, progress, cancel)
                    # It may have been closing already when it was expected; the next one is not.
                    with suppress(EngineClosed):
                        lease.enter_context(engine.lease())
                        break
            yield engine

    def load(
        self,
        name: str,
        device: str = "auto",
        precision: str = "auto",
        context: int | None = None,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
        isolated: bool | None = None,
    ) -> Engine:
        """The engine for a checkpoint, loaded now or already there. Nobody holds it: see `using`.

        Args:
            name: catalog name, hub id, path to a folder or file, or an address ending in /v1.
            device: "auto", "cpu", "mps", "cuda:0", …
            precision: "auto", "fp32", "bf16", "fp16", "int8", "int4".
            context: tokens one conversation may hold; None: that of the engine which is there, else the
                checkpoint's own, at most 8192.
            progress: called with Progress from the waiting thread.
            cancel: gives up waiting; the last to give up stops the load.
            isolated: True: in a worker process, which can crash without harm; False: in this one, where
                `engine.model` can be reached; None: as this loader does it.

        Raises:
            ModelError: one of its subclasses, saying what happened and what to do next.
        """
        checkpoint = catalog.find(name)
        request = self._request(checkpoint.name, device, precision, context, isolated)
        return self._find_or_load(checkpoint, request, progress, cancel)

    def plan(
        self, name: str, device: str = "auto", precision: str = "auto", context: int | None = None
    ) -> Plan:
        """What `load` with the same arguments would do, without doing it. Never touches the network.

        A CUDA or MPS device that this machine lacks is planned for all the same: nothing fits there.
        """
        found = placement.devices_and(device)
        return placement.plan(
            self.describe(name), device, precision, context, found, self._count_reclaimable()
        )

    def describe(self, name: str) -> Checkpoint:
        """What is known of a checkpoint: from its files when they are here, else from the catalog."""
        checkpoint = catalog.find(name)
        path = None if checkpoint.path else hub.locate(checkpoint)
        return catalog.describe(path, checkpoint) if path else checkpoint

    def fetch(
        self, name: str, progress: OnProgress | None = None, cancel: threading.Event | None = None
    ) -> Path:
        """The checkpoint's files on this machine, fetched and verified, without loading them."""
        return self._fetch(catalog.find(name), progress, cancel)[0]

    def loaded(self) -> list[Engine]:
        """Engines in memory, most recently used first."""
        with self._lock:
            engines = [loaded.engine for loaded in self._engines if not loaded.engine.closed]
        return sorted(engines, key=lambda engine: engine.last_used, reverse=True)

    def find_loaded(
        self, name: str, device: str = "auto", precision: str = "auto", context: int | None = None
    ) -> Engine | None:
        """The engine that `load` would return at once, or None."""
        return self._find(self._request(catalog.find(name).name, device, precision, context))

    def unload(self, name: str | None = None) -> bool:
        """Close the engines of a checkpoint (of all, without a name). False: somebody holds one."""
        with self._lock:
            chosen = [loaded for loaded in self._engines if name in (None, loaded.plan.checkpoint.name)]
        if name and not chosen:  # perhaps written otherwise; a name as loaded needs no look at its files
            wanted = catalog.find(name).name
            with self._lock:
                chosen = [loaded for loaded in self._engines if loaded.plan.checkpoint.name == wanted]
        return all([self._close(loaded) for loaded in chosen])

    # --- inside -------------------------------------------------------------------------------

    def _request(
        self, name: str, device: str, precision: str, context: int | None, isolated: bool | None = None
    ) -> _Request:
        return _Request(name, device, precision, context, self.isolated if isolated is None else isolated)

    def _find_or_load(
        self,
        checkpoint: Checkpoint,
        request: _Request,
        progress: OnProgress | None,
        cancel: threading.Event | None,
    ) -> Engine:
        if engine := self._find(request):
            return engine
        return self._loads.run(
            request, lambda report, stop: self._load(checkpoint, request, report, stop), progress, cancel
        )

    def _find(self, request: _Request) -> Engine | None:
        with self._lock:
            for loaded in self._engines:
                if request.met_by(loaded) and not loaded.engine.closed:
                    loaded.engine.last_used = time.monotonic()
                    return loaded.engine
        return None

    @contextmanager
    def _expect(self, request: _Request) -> Iterator[None]:
        """Close no engine that meets `request`, so that there is one to hold when it is found or loaded."""
        with self._lock:
            self._expected.append(request)
        try:
            yield
        finally:
            with self._lock:
                self._expected.remove(request)

    def _in_use(self, loaded: _Loaded) -> bool:
        """With the lock held: whether somebody holds the engine, or is about to."""
        expected = any(request.met_by(loaded) for request in self._expected)
        return loaded.engine.leased or (expected and not loaded.engine.closed)

    def _load(
        self, checkpoint: Checkpoint, request: _Request, report: OnProgress, stop: threading.Event
    ) -> Engine:
        if format_of(checkpoint).known:
            engine_of(checkpoint)  # raises before anything is fetched for nothing
        path, checkpoint = self._fetch(checkpoint, report, stop)
        kind = engine_of(checkpoint)
        isolated = None if format_of(checkpoint).remote else request.isolated
        while True:
            if engine := self._find(request):
                return engine
            devices = self._plan_fitting(checkpoint, request).placement.devices
            with self._hold_devices(devices, report, stop):
                if engine := self._find(request):  # loaded while this one waited for the device
                    return engine
                # Minutes may have passed in which memory changed.
                plan = self._plan_fitting(checkpoint, request)
                if plan.placement.devices != devices or not self._make_room(request, plan):
                    continue
                make: Callable[..., Engine] = workers.isolated(kind, plan.total) if isolated else kind
                engine = make(path, checkpoint, plan.placement, report, stop)
                if stop.is_set():
                    engine.close_if_idle()
                    raise Cancelled
                with self._lock:
                    self._engines.append(_Loaded(engine, plan, isolated))
                # What a library created stays: without this, every full collection walks through it.
                gc.collect()
                gc.freeze()
                return engine

    def _fetch(
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
    def _hold_devices(
        self, devices: Sequence[str], report: OnProgress, stop: threading.Event
    ) -> Iterator[None]:
        """Keep other loads from these devices, once those that are under way there have ended."""
        with ExitStack() as stack:
            for name in sorted(devices):  # in one order, or two loads might wait for each other
                stack.enter_context(self._hold_device(name, report, stop))
            yield

    @contextmanager
    def _hold_device(self, device: str, report: OnProgress, stop: threading.Event) -> Iterator[None]:
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

    def _plan_fitting(self, checkpoint: Checkpoint, request: _Request) -> Plan:
        plan = placement.plan(
            checkpoint,
            request.device,
            request.precision,
            request.context,
            reclaimable=self._count_reclaimable(),
        )
        if not plan.fits:
            raise placement.refuse(plan)
        return plan

    def _count_reclaimable(self) -> dict[str, int]:
        """Bytes per device that closing all engines which nobody holds would free."""
        sums: dict[str, int] = {}
        with self._lock:
            idle = [loaded for loaded in self._engines if not self._in_use(loaded)]
        for loaded in idle:
            devices = loaded.plan.placement.devices
            for device in devices:
                sums[device] = sums.get(device, 0) + loaded.gives_back // len(devices)
        return sums

    def _make_room(self, request: _Request, plan: Plan) -> bool:
        """Close idle engines on the plan's devices, least recently used first, until it fits.

        False: it does not, since somebody took one that the plan had counted as idle.
        """
        missing = plan.total - plan.free - self._replace(request, plan)
        with self._lock:
            candidates = sorted(self._engines, key=lambda loaded: loaded.engine.last_used)
        for loaded in candidates:
            if missing <= 0:
                break
            if set(plan.placement.devices) & set(loaded.plan.placement.devices) and self._close(loaded):
                missing -= loaded.gives_back
        return missing <= 0

    def _replace(self, request: _Request, plan: Plan) -> int:
        """Close an engine of the same key whose context is too short; the bytes that this gave back."""
        with self._lock:
            same = [
                loaded
                for loaded in self._engines
                if _key(loaded.plan) == _key(plan) and loaded.isolated in (request.isolated, None)
            ]
        for loaded in same:
            if not self._close(loaded):
                has = loaded.plan.placement.context
                raise UnsupportedPlacement(
                    f"{request.name} is used by somebody with a context of {has} tokens: use that, or "
                    "ask again when it is idle.",
                    f"{request.name} 正以 {has} 个 token 的上下文被他人使用：请使用该长度，或等其空闲后再试。",
                )
        return sum(loaded.gives_back for loaded in same)

    def _close(self, loaded: _Loaded) -> bool:
        with self._lock:
            if self._in_use(loaded):
                return False
        if not loaded.engine.close_if_idle():
            return False
        with self._lock:
            if loaded in self._engines:
                self._engines.remove(loaded)
        gc.unfreeze()
        gc.collect()
        return True


def _key(plan: Plan) -> tuple[str, str, str]:
    return plan.checkpoint.name, plan.placement.device, plan.placement.precision


@cache
def shared() -> Loader:
    """The loader of this process: pages, API and command line all use it."""
    for leftovers in (cache_dir() / "unfinished", Path(tempfile.gettempdir())):
        sweep(leftovers)
    return Loader()
