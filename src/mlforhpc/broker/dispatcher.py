"""The dispatcher: one engine, one trace, one queue. It owns numbers, retries, cancellation and the end of every task.

It knows no store: a view (`broker.Broker`) brings one, so that no view leads to another's store. Nothing here runs in
a thread of its own: work is done by whoever submits, and by the engine's thread when a batch comes back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from mlforhpc.broker import _lines
from mlforhpc.broker._queue import Placement, Queue
from mlforhpc.broker.encoding import Encoder
from mlforhpc.broker.system import describe
from mlforhpc.broker.task import Task
from mlforhpc.core.engine import Engine, Joined, News
from mlforhpc.core.errors import UsageError
from mlforhpc.core.future import LeanFuture
from mlforhpc.core.record import Outcome
from mlforhpc.core.scratch import Scratch
from mlforhpc.core.task import Batch, Resources, TaskResult
from mlforhpc.core.trace import Mark, Started, Trace

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts since the dispatcher was made.

    Attributes:
        submitted, ended: tasks.
        driver_cpu_s: CPU time of the whole driver process; None where tasks run in it.
    """

    submitted: int
    ended: int
    driver_cpu_s: float | None


class Dispatcher:
    """See the file's docstring.

    Attributes:
        engine, trace: as given; closed by `close`.
        encoder: turns functions and arguments into data.
        in_flight: what is being computed, by whatever identifies it, so that equal requests share one task.
        system: this host in a few words.
        workdirs: folder below which each run of a simulation gets one of its own.
    """

    def __init__(self, engine: Engine, trace: Trace, *, scratch: Path | None = None) -> None:
        """Take over engine and trace; `scratch` is where `workdirs` is made (None = the temporary folder)."""
        self.engine = engine
        self.trace = trace
        self.clock = trace.clock
        self.encoder = Encoder()
        self.in_flight: dict[Hashable, Any] = {}
        self.lock = threading.RLock()
        self.system = describe()
        memory = 0 if engine.capabilities.remote else psutil.virtual_memory().total
        self._queue = Queue(engine.slots, memory, engine.capabilities)
        self._tasks: dict[int, Task] = {}
        self._last = trace.last_task
        self._submitted = self._ended = 0
        self._cpu_s = time.process_time()
        self._placing = self._closed = self._about_to_flush = False
        self._scratch = Scratch(scratch, prefix="mlforhpc-work-")
        self.workdirs = self._scratch.path
        engine.listen(News(started=self._on_started, marked=self._on_marked, joined=self._on_joined))
        self.trace.write(_lines.opened(engine, trace, self.system))

    def check(self, resources: Resources) -> None:
        """Refuse what can never be placed.

        Raises:
            Unplaceable: it says what was asked and what there is.
        """
        self._queue.check(resources)

    def submit(self, task: Task) -> None:
        """Queue a task, and start it if it fits.

        Raises:
            Unplaceable: before anything happens.
            UsageError: the dispatcher is closed.
        """
        self.check(task.resources)
        with self.lock:
            if self._closed:
                raise UsageError("The broker is closed; nothing more can be submitted.")
            self._last += 1
            task.number = self._last
            self._submitted += 1
            self.trace.emit(_lines.submitted(task, self.clock.now_ns()))
            self._tasks[task.number] = task
            self._queue.pending.append(task)
        self._place()

    def cancel(self, number: int) -> bool:
        """End a task; False if it is over."""
        with self.lock:
            task = self._tasks.get(number)
            if task is None:
                return False
            task.cancelling = True
            in_flight = task.in_flight
        if in_flight and self.engine.kill(number):
            return True  # the engine's result follows
        self._end_here([task])
        self._place()
        return True

    def stats(self) -> Stats:
        """Counts so far."""
        cpu_s = None if self.engine.capabilities.in_driver else time.process_time() - self._cpu_s
        return Stats(submitted=self._submitted, ended=self._ended, driver_cpu_s=cpu_s)

    def close(self) -> None:
        """Cancel what is not over, end the engine, close the trace; twice is fine."""
        with self.lock:
            if self._closed:
                return
            self._closed = True
            tasks = list(self._tasks.values())
            self._queue.pending.clear()
            for task in tasks:
                task.cancelling = True
        self.engine.shutdown()
        self._end_here(tasks)
        self.trace.close()
        self._scratch.remove()

    def flush(self) -> str:
        """Flush the trace; a sentence if it cannot be written, for the futures that depend on it."""
        try:
            self.trace.flush()
        except OSError as error:
            return f"The trace '{self.trace.path}' cannot be written: {error.strerror or error}."
        return ""

    # ---- placing

    def _place(self) -> None:
        """Start what fits. One thread at a time: on an engine that runs tasks at once, tasks would nest."""
        while True:
            with self.lock:
                if self._placing or (placement := self._queue.next()) is None:
                    return
                self._placing = True
                for task in placement.tasks:
                    task.in_flight, task.quick = True, placement.quick
            try:
                self._send(placement)
            finally:
                self._placing = False

    def _send(self, placement: Placement) -> None:
        first = placement.tasks[0]
        batch = Batch(
            tuple(task.call for task in placement.tasks),
            cores=first.resources.cores,
            ranks=first.resources.ranks,
            gpus=first.resources.gpus,
            isolated=first.isolated or first.limit_s is not None,
            limit_s=first.limit_s,
            quick=placement.quick,
        )
        try:
            future = self.engine.submit(batch)
        except Exception as error:
            future = LeanFuture()
            future.set_exception(error)
        except BaseException:  # Ctrl-C while an engine runs the task in this thread
            self._returned(placement, self._unfinished(placement, "cancelled", "Interrupted."))
            raise
        for task in placement.tasks:
            if task.cancelling:  # since it was placed: the engine did not know it yet
                self.engine.kill(task.number)
        future.add_done_callback(partial(self._on_returned, placement))

    def _on_started(self, number: int, slot: str) -> None:
        task = self._tasks.get(number)
        if task is not None and not task.announced and not task.quick:  # a quick one is over in a moment
            task.announced = True
            self.trace.emit(Started(t=self.clock.now_ns(), task=number, slot=slot, attempt=task.attempt))
            if not self._about_to_flush:
                self.flush()

    def _on_marked(self, number: int, name: str, value: float) -> None:
        self.trace.emit(Mark(t=self.clock.now_ns(), task=number, name=name, value=value))
        self.flush()

    def _on_joined(self, joined: Joined) -> None:
        self.trace.emit(_lines.host(joined, self.clock.now_ns()))
        self.flush()

    # ---- results

    def _on_returned(self, placement: Placement, future: Future[list[TaskResult]]) -> None:
        try:
            results = future.result()
        except Exception as error:
            results = self._unfinished(placement, "lost", f"The engine failed: {type(error).__name__}: {error}")
        self._returned(placement, results)

    def _returned(self, placement: Placement, results: list[TaskResult]) -> None:
        with self.lock:
            self._queue.release(placement)
            for task, result in zip(placement.tasks, results, strict=True):
                task.in_flight = False
                if result.outcome == "ok":
                    self._queue.learn(task, result.ended_ns - result.started_ns)
        self._about_to_flush = True
        self._place()  # first, so that the slot is busy while we do the rest
        self._about_to_flush = False
        again: list[Task] = []
        over: list[tuple[Task, TaskResult]] = []
        for task, result in zip(placement.tasks, results, strict=True):
            if task.cancelling and result.outcome != "ok":
                result = result._replace(outcome="cancelled")
            if result.outcome == "lost" and task.attempt < _ATTEMPTS and not (self._closed or task.concluded):
                again.append(task)
            elif self._claim(task):
                over.append((task, result))
            else:
                continue
            self._trace_finished(task, result)
        self._retry(again)
        self._tell(over)

    def _retry(self, tasks: list[Task]) -> None:
        if not tasks:
            return
        with self.lock:
            for task in tasks:
                task.attempt += 1
                task.announced = False
            self._queue.pending.extendleft(reversed(tasks))
        self._place()

    def _claim(self, task: Task) -> bool:
        """Whether the caller is the one to end this task."""
        with self.lock:
            if task.concluded:
                return False
            task.concluded = True
            self._ended += 1
            del self._tasks[task.number]
            return True

    def _tell(self, over: list[tuple[Task, TaskResult]]) -> None:
        """Tell the owners, after the trace has it; one that it cannot take is not handed out, unless it need not be kept."""
        broken = self.flush()
        for task, result in over:
            withheld = broken and task.keep == "must"
            task.owner.ended(task, result._replace(outcome="lost", value=broken, in_file=False) if withheld else result)

    def _end_here(self, tasks: list[Task]) -> None:
        """End cancelled tasks of which the engine knows nothing, or has nothing more to say."""
        over = []
        for task in tasks:
            if self._claim(task):
                now = self.clock.now_ns()
                over.append((task, TaskResult(task.number, "cancelled", "", False, now, now, "", 0)))
                self._trace_finished(*over[-1])
        if over:
            self._tell(over)

    def _unfinished(self, placement: Placement, outcome: Outcome, sentence: str) -> list[TaskResult]:
        now = self.clock.now_ns()
        return [TaskResult(task.number, outcome, sentence, False, now, now, "", 0) for task in placement.tasks]

    def _trace_finished(self, task: Task, result: TaskResult) -> None:
        now = self.clock.now_ns()
        if not task.announced and result.slot:
            self.trace.emit(Started(t=now, task=task.number, slot=result.slot, attempt=task.attempt))
        self.trace.emit(_lines.finished(task, result, now))
