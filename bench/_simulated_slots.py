"""An engine whose slots are simulated: tasks only wait, for `task_s`, and no process runs them.

A slot takes a batch when it is handed over and ends each call after its length; what the driver does too late, the slot
stands idle for. A quick batch may stand behind another one in its slot and starts when that ends, as on the real engines.
"""

from __future__ import annotations

import heapq
import pickle
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from numpy.typing import NDArray

from mlforhpc.core.clock import Clock
from mlforhpc.core.engine import Capabilities, Ref
from mlforhpc.core.errors import Unplaceable
from mlforhpc.core.future import LeanFuture
from mlforhpc.core.record import Outcome
from mlforhpc.core.task import Batch, TaskResult

_VALUE = pickle.dumps(None, protocol=5)
_GOLDEN = 0.6180339887498949
_PEAK_BYTES = 50_000_000


class Slot:
    """`until_ns`: when its last batch ends; `batches`: how many it has, 0 to 2."""

    __slots__ = ("batches", "name", "until_ns")

    def __init__(self, number: int) -> None:
        self.name = f"host{number // 128}:{number % 128}"
        self.until_ns = self.batches = 0


class SimulatedSlots:
    """Implements `core.engine.Engine` for tasks of one core.

    Args:
        slots: how many.
        clock: of the trace.
        task_s: mean length of a task; a task's own is between half and one and a half of it, by its number.

    While `held` is set, no batch ends.
    """

    name = "simulated"
    capabilities = Capabilities(remote=True)

    def __init__(self, slots: int, clock: Clock, task_s: float = 0.0) -> None:
        self.slots = slots
        self._clock = clock
        self._task_ns = task_s * 1e9
        self._free = deque(Slot(i) for i in range(slots))
        self._half: dict[Slot, None] = {}  # those that run one quick batch, and could take another
        self._waiting: deque[tuple[Batch, Future[list[TaskResult]]]] = deque()
        self._heap: list[tuple[int, int, Slot, Batch, Future[list[TaskResult]], list[TaskResult]]] = []
        self._handed = 0
        self._news = threading.Condition(threading.Lock())
        self._wakes_ns = 0
        self._held = self._closed = False
        self._thread = threading.Thread(target=self._serve, name="simulated-slots", daemon=True)
        self._thread.start()

    def listen(self, started: Callable[[int, str], None], marked: Callable[[int, str, float], None]) -> None:
        """The slots are far away: nobody hears that a task has started."""

    def submit(self, batch: Batch) -> Future[list[TaskResult]]:
        if batch.cores > 1:
            raise Unplaceable("A simulated slot takes tasks of one core.")
        future: Future[list[TaskResult]] = LeanFuture()
        with self._news:
            if self._free:
                self._put(self._free.popleft(), batch, future)
            elif batch.quick and self._half:
                self._put(self._half.popitem()[0], batch, future)
            else:
                self._waiting.append((batch, future))
            if self._heap and self._heap[0][0] < self._wakes_ns:
                self._wakes_ns = 0
                self._news.notify()
        return future

    def hold(self, held: bool) -> None:
        """Let no batch end, or let them end again."""
        with self._news:
            self._held = held
            self._news.notify()

    def share(self, array: NDArray[Any]) -> Ref:
        raise NotImplementedError

    def release(self, ref: Ref) -> None:
        raise NotImplementedError

    def kill(self, task: int) -> bool:
        return False

    def warm_up(self, timeout_s: float) -> None:
        return

    def shutdown(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()
        now = self._clock.now_ns()
        for batch, future in [entry[3:5] for entry in self._heap] + list(self._waiting):
            future.set_result([_result(call.task, "cancelled", "", now, now, "") for call in batch.calls])

    def _put(self, slot: Slot, batch: Batch, future: Future[list[TaskResult]]) -> None:
        start_ns = max(self._clock.now_ns(), slot.until_ns)
        results = []
        for call in batch.calls:
            end_ns = start_ns + int(self._task_ns * (0.5 + call.task * _GOLDEN % 1.0))
            results.append(_result(call.task, "ok", _VALUE, start_ns, end_ns, slot.name))
            start_ns = end_ns
        slot.until_ns = start_ns
        slot.batches += 1
        if batch.quick and slot.batches == 1:
            self._half[slot] = None
        self._handed += 1
        heapq.heappush(self._heap, (start_ns, self._handed, slot, batch, future, results))

    def _serve(self) -> None:
        while not self._closed:
            with self._news:
                over = self._over()
                if not over and not self._closed:
                    self._sleep()
            for future, results in over:
                future.set_result(results)

    def _sleep(self) -> None:
        """Until the next batch ends, or something else is handed over that ends earlier."""
        if self._heap and not self._held:
            self._wakes_ns = self._heap[0][0]
            self._news.wait(max(0, self._wakes_ns - self._clock.now_ns()) / 1e9)
        else:
            self._wakes_ns = 0 if self._held else 1 << 63
            self._news.wait()

    def _over(self) -> list[tuple[Future[list[TaskResult]], list[TaskResult]]]:
        """Take out what has ended, and fill the slots from what waits in the engine."""
        over = []
        now = self._clock.now_ns()
        while self._heap and self._heap[0][0] <= now and not (self._held or self._closed):
            _, _, slot, _, future, results = heapq.heappop(self._heap)
            over.append((future, results))
            slot.batches -= 1
            if slot.batches:
                self._half[slot] = None
            else:
                self._half.pop(slot, None)
                self._free.append(slot)
            if self._waiting and self._free:
                self._put(self._free.popleft(), *self._waiting.popleft())
        return over


def _result(task: int, outcome: Outcome, value: bytes | str, started_ns: int, ended_ns: int, slot: str) -> TaskResult:
    return TaskResult(task, outcome, value, False, started_ns, ended_ns, slot, _PEAK_BYTES)
