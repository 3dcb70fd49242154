"""Engine `serial`: tasks run where they are submitted, in the driver's own process, one after another.

For debugging (a breakpoint works) and for callers that cost less than a round trip. A task with a time limit, or one
that may crash, runs in a slot child: a hang or a segmentation fault does not take the driver with it.
"""

from __future__ import annotations

import atexit
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mlforhpc.core.clock import Clock
from mlforhpc.core.engine import Capabilities, News, Ref
from mlforhpc.core.errors import Unplaceable, UsageError
from mlforhpc.core.task import Batch, TaskResult
from mlforhpc.engines._sharing import SharedFiles
from mlforhpc.engines._worker import Worker


def create(slots: int | None = None, *, folder: Path | None = None, clock: Clock | None = None) -> Serial:
    """One slot: the driver itself.

    Args:
        slots: 1 or None.
        folder: where shared arrays and large results go; None = memory or the temporary folder.
        clock: of the trace.
    """
    if slots not in (None, 1):
        raise UsageError(f"Engine 'serial' has one slot, found slots={slots}; use engine 'processes' for more.")
    return Serial(folder, clock or Clock())


class Serial:
    """See the file's docstring; `submit` returns when the batch has run."""

    name = "serial"
    slots = 1
    capabilities = Capabilities(in_driver=True)

    def __init__(self, folder: Path | None, clock: Clock) -> None:
        self._files = SharedFiles(folder)
        self._news = News()
        self._worker = Worker("0", clock, self._files.path, lambda task, name, value: self._news.marked(task, name, value))
        self._lock = threading.RLock()  # a task may submit another one
        self._closed = False
        atexit.register(self.shutdown)

    def listen(self, news: News) -> None:
        self._news = news

    def submit(self, batch: Batch) -> Future[list[TaskResult]]:
        if batch.cores > 1:
            raise Unplaceable(f"A task asks for {batch.cores} cores; engine 'serial' has 1 slot.")
        future: Future[list[TaskResult]] = Future()
        with self._lock:
            if self._closed:
                future.set_result([self._worker.cancelled(call) for call in batch.calls])
            else:
                future.set_result(self._worker.run(batch, self._news.started))
        return future

    def share(self, array: NDArray[Any]) -> Ref:
        return self._files.share(array)

    def release(self, ref: Ref) -> None:
        self._files.release(ref)

    def kill(self, task: int) -> bool:
        return self._worker.kill(task)

    def warm_up(self, timeout_s: float) -> None:
        return

    def shutdown(self) -> None:
        self._closed = True
        self._worker.close()
        self._files.remove()
        atexit.unregister(self.shutdown)
