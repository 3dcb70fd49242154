"""A worker for engines whose slots are not ours (`serial`, and the workers of existing systems): runs batches in this
process, and isolated ones (a time limit, a binary that may crash) in one slot child of its own, started when needed."""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from mlforhpc.core.clock import Clock
from mlforhpc.core.record import Outcome
from mlforhpc.core.task import Batch, Call, TaskResult
from mlforhpc.engines._envelope import Envelope
from mlforhpc.engines._slot import Slot
from mlforhpc.engines._threads import Threads
from mlforhpc.engines._wire import Began, Done, Marked


class Worker:
    """Runs one batch at a time.

    Args:
        slot: its name in the results.
        clock: the driver's.
        folder: for large results; the driver must be able to read it.
        marked: gets (task, name, value) of every mark.
    """

    def __init__(self, slot: str, clock: Clock, folder: Path, marked: Callable[[int, str, float], None]) -> None:
        self.name = slot
        self._clock = clock
        self._marked = marked
        self._envelope = Envelope(slot, clock, folder, marked)
        self._threads = Threads()
        self._slot = Slot(slot, folder, clock)
        self._lock = threading.Lock()
        self._isolated_task = 0
        self._closed = False

    def run(self, batch: Batch, started: Callable[[int, str], None] = lambda task, slot: None) -> list[TaskResult]:
        """One result a call, in order; `started` hears of each call before it runs."""
        results = []
        with nullcontext() if batch.isolated else self._threads.limited(batch.cores):
            for call in batch.calls:
                started(call.task, self.name)
                results.append(self._isolated(call, batch) if batch.isolated else self._envelope.run(call))
        return results

    def kill(self, task: int) -> bool:
        """End an isolated call that runs, from another thread."""
        with self._lock:
            if task != self._isolated_task:
                return False
            self._slot.kill()
            return True

    def cancelled(self, call: Call) -> TaskResult:
        """The result of a call that came after the end."""
        now = self._clock.now_ns()
        return TaskResult(call.task, "cancelled", "The engine was shut down.", False, now, now, self.name, 0)

    def close(self) -> None:
        """End the slot child; from another thread too: a call that runs in it is then lost, and no other starts."""
        with self._lock:
            self._closed = True
            self._slot.kill()
            if not self._isolated_task:
                self._slot.reap()

    def _isolated(self, call: Call, batch: Batch) -> TaskResult:
        with self._lock:
            if self._closed:
                return self.cancelled(call)
            if self._slot.alive and self._slot.line.receive()[1]:
                self._slot.reap()  # it ended while idle
            if not self._slot.alive:
                self._slot.spawn()
            self._isolated_task = call.task
        began_ns = self._clock.now_ns()
        ended: TaskResult | Outcome = "lost"
        try:
            self._slot.send([call], cores=batch.cores, announce=batch.limit_s is not None)
            ended, began_ns = self._await(call, batch.limit_s, began_ns)
        finally:
            with self._lock:
                self._isolated_task = 0
                how = "" if isinstance(ended, TaskResult) and not self._closed else self._bury()
        if isinstance(ended, TaskResult):
            return ended
        sentence = f"The process of slot {self.name} {how} while it ran this task."
        return TaskResult(call.task, ended, sentence, False, began_ns, self._clock.now_ns(), self.name, 0)

    def _bury(self) -> str:
        self._slot.kill()
        return self._slot.reap()

    def _await(self, call: Call, limit_s: float | None, began_ns: int) -> tuple[TaskResult | Outcome, int]:
        """The result, or how it ended without one; and when it began."""
        deadline_s: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(self._slot.line.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            if self._slot.pidfd is not None:
                selector.register(self._slot.pidfd, selectors.EVENT_READ)
            while True:
                ready = selector.select(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
                if self._slot.line.flush() and selector.get_key(self._slot.line.socket).events != selectors.EVENT_READ:
                    selector.modify(self._slot.line.socket, selectors.EVENT_READ)
                reports, hung_up = self._slot.line.receive()
                for report in reports:
                    match report:
                        case Done([answer]) if answer.task == call.task:
                            return answer.result(self.name), began_ns
                        case Began(task, started_ns) if task == call.task and limit_s is not None:
                            began_ns = started_ns
                            deadline_s = (started_ns - self._clock.offset_ns) / 1e9 + limit_s
                        case Marked(task, name, value):
                            self._marked(task, name, value)
                if hung_up or any(key.fd == self._slot.pidfd for key, _ in ready):
                    return "lost", began_ns
                if deadline_s is not None and time.monotonic() >= deadline_s:
                    return "timed_out", began_ns
