"""A flight: one simulation being computed, and everyone who waits for its record."""

from __future__ import annotations

from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from mlforhpc.broker import _simulate
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.broker.task import Keep, Task, task_error
from mlforhpc.broker.value import value_of
from mlforhpc.core.errors import StoreFull
from mlforhpc.core.future import LeanFuture
from mlforhpc.core.record import Record
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.store import Store
from mlforhpc.core.task import Charge, Resources, TaskResult
from mlforhpc.core.trace import Decision


class Flight:
    """Ends for its waiters when the record is on disk, or with an error.

    Args:
        dispatcher: runs it.
        store: is asked first, and keeps the record.
        same: under which the dispatcher knows this flight.
        asked: the record's identity: key, parameters, settings, fidelity, seed.
        limit_s: of the task.
        keep: "may": a record that the store has no room for is answered all the same, and says so.
    """

    __slots__ = ("_asked", "_dispatcher", "_keep", "_limit_s", "_same", "_store", "_task", "_waiters")

    def __init__(self, dispatcher: Dispatcher, store: Store, same: Hashable, asked: Record, limit_s: float | None, keep: Keep) -> None:
        self._dispatcher = dispatcher
        self._store = store
        self._same = same
        self._asked = asked
        self._limit_s = limit_s
        self._keep: Keep = keep
        self._waiters: list[tuple[_Seat, Charge]] = []
        self._task: Task | None = None

    def join(self, charge: Charge) -> _Seat:
        """A future of the record, for one more waiter; under the dispatcher's lock."""
        future = _Seat(self)
        self._waiters.append((future, charge))
        return future

    def start(self, simulation: Simulation, *, charge: Charge, resources: Resources, label: str) -> None:
        """Answer from the store, or submit the task."""
        try:
            record = self._store.get(self._asked.key)
        except Exception as error:
            self._end(error)
            return
        if record is not None and self._answers(record):
            self._trace_reused(record, self._waiters)
            self._end(record)
            return
        try:
            self._submit(simulation, charge, resources, label)
        except BaseException as error:
            self._end(error)
            raise

    def _submit(self, simulation: Simulation, charge: Charge, resources: Resources, label: str) -> None:
        asked, function = self._asked, partial(_simulate.run, simulation)
        args = (asked.parameters, asked.settings, asked.fidelity, asked.seed, str(self._dispatcher.workdirs))
        encoder = self._dispatcher.encoder
        self._task = Task(
            function=encoder.function(function),
            arguments=encoder.arguments(function, args, {}),
            kind="simulate",
            charge=charge,
            owner=self,
            label=label,
            key=asked.key,
            resources=resources,
            limit_s=self._limit_s,
            isolated=bool(getattr(simulation, "isolated", False)),
            keep=self._keep,
        )
        self._dispatcher.submit(self._task)

    def _answers(self, record: Record) -> bool:
        """A run that met a limit says nothing about a longer one."""
        if record.outcome != "timed_out" or record.limit_s is None:
            return True
        return self._limit_s is not None and self._limit_s <= record.limit_s

    def ended(self, task: Task, result: TaskResult) -> None:
        """The task is over: keep the record."""
        if result.outcome not in ("ok", "failed"):
            _simulate.sweep(self._dispatcher.workdirs)  # its process may have been killed
        if result.outcome in ("lost", "cancelled"):
            self._end(task.error(result))
            return
        try:
            record = self._record(task, result)
            self._store.put(record).add_done_callback(lambda kept: self._kept(record, kept))
        except Exception as error:
            self._end(error)

    def _record(self, task: Task, result: TaskResult) -> Record:
        return _simulate.record_of(
            self._asked,
            result.outcome,
            value_of(result) if result.outcome == "ok" else str(result.value),
            limit_s=self._limit_s,
            cost_s=(result.ended_ns - result.started_ns) / 1e9 * task.resources.cores * task.resources.ranks,
            system=self._dispatcher.system,
        )

    def _kept(self, record: Record, kept: Future[None]) -> None:
        error = kept.exception()
        if isinstance(error, StoreFull) and self._keep == "may":
            record, error = replace(record, kept=False), None
            self._trace_not_kept(record, str(kept.exception()))
        if error is None:
            self._trace_reused(record, self._waiters[1:])
        self._end(record if error is None else error)

    def _end(self, answer: Record | BaseException) -> None:
        with self._dispatcher.lock:
            self._dispatcher.in_flight.pop(self._same, None)
            waiters, self._waiters, self._task = self._waiters, [], None
        for future, _ in waiters:
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def leave(self, future: _Seat) -> bool:
        """One waiter cancels; with the last one, the task is."""
        with self._dispatcher.lock:
            entry = next((entry for entry in self._waiters if entry[0] is future), None)
            if entry is None:
                return False
            if len(self._waiters) == 1:
                task = self._task
            else:
                self._waiters.remove(entry)
                task = None
        if task is not None:
            return self._dispatcher.cancel(task.number)
        if entry in self._waiters:
            return False  # not submitted yet: it is just being looked up
        future.set_exception(task_error(f"Simulation {self._asked.key[:12]}", "cancelled", "", None))
        return True

    def _trace_reused(self, record: Record, waiters: list[tuple[_Seat, Charge]]) -> None:
        trace = self._dispatcher.trace
        for _, charge in waiters:
            data = {"key": record.key, "charge": charge, "cost_s": record.cost_s}
            trace.emit(Decision(t=trace.clock.now_ns(), decision="reused", data=data))
        self._dispatcher.flush()

    def _trace_not_kept(self, record: Record, reason: str) -> None:
        trace = self._dispatcher.trace
        trace.emit(Decision(t=trace.clock.now_ns(), decision="not_kept", data={"key": record.key, "reason": reason}))
        self._dispatcher.flush()


class _Seat(LeanFuture[Record]):
    """One waiter's future of the record."""

    __slots__ = ("_flight",)

    def __init__(self, flight: Flight) -> None:
        super().__init__()
        self._flight = flight

    def cancel(self) -> bool:
        """Leave; the last one who does ends the task. The future then raises TaskError with outcome `cancelled`."""
        return self._flight.leave(self)
