"""The broker that scenarios hold: a view on one dispatcher with a store and an account of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from numpy.typing import NDArray

from mlforhpc.broker._flight import Flight
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.broker.task import PLAIN, Keep, Task, task_error
from mlforhpc.broker.value import value_of
from mlforhpc.core.engine import Ref
from mlforhpc.core.errors import OutOfBounds, UsageError
from mlforhpc.core.future import LeanFuture
from mlforhpc.core.record import Record, key_of
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import Value
from mlforhpc.core.store import Store
from mlforhpc.core.task import Charge, Kind, Resources, TaskResult
from mlforhpc.core.trace import Decision, Mark, Quality, Subscription

T = TypeVar("T")


class Broker:
    """Implements `core.broker.Broker`.

    Args:
        dispatcher: shared by the views.
        store: keeps what this view simulates.
        charge: the account its tasks are booked on.
        keep: what becomes of a simulation when the store or the disk is full. "must": its future raises StoreFull, since a campaign
            has no use for what it cannot resume with. "may": it is answered with `record.kept` False, and decision "not_kept" says why.
    """

    def __init__(self, dispatcher: Dispatcher, *, store: Store, charge: Charge = "learned", keep: Keep = "must") -> None:
        self._dispatcher = dispatcher
        self._store = store
        self._charge = charge
        self._keep: Keep = keep

    @property
    def slots(self) -> int:
        return self._dispatcher.engine.slots

    @property
    def store(self) -> Store:
        return self._store

    @property
    def charge(self) -> Charge:
        return self._charge

    def submit(
        self,
        kind: Kind,
        function: Callable[..., T],
        *args: Any,
        resources: Resources = PLAIN,
        limit_s: float | None = None,
        label: str = "",
    ) -> Future[T]:
        _check_limit(limit_s)
        dispatcher, encoder = self._dispatcher, self._dispatcher.encoder
        future = _Answer(dispatcher)
        task = Task(
            function=encoder.function(function),
            arguments=encoder.arguments(function, args, {}),
            kind=kind,
            charge=self._charge,
            owner=future,
            label=label or getattr(function, "__qualname__", type(function).__qualname__),
            resources=resources,
            limit_s=limit_s,
        )
        dispatcher.submit(task)
        future.number = task.number
        return future

    def simulate(
        self,
        simulation: Simulation,
        x: Mapping[str, Value],
        *,
        seed: int,
        settings: Mapping[str, Value] | None = None,
        fidelity: float = 1.0,
        resources: Resources = PLAIN,
        limit_s: float | None = None,
        label: str = "",
    ) -> Future[Record]:
        _check_limit(limit_s)
        asked = _asked(simulation, x, settings=settings, fidelity=fidelity, seed=seed)
        dispatcher = self._dispatcher
        dispatcher.check(resources)
        same = (id(self._store), asked.key, limit_s, self._keep)
        with dispatcher.lock:
            known: Flight | None = dispatcher.in_flight.get(same)
            if known is not None:
                return known.join(self._charge)
            flight = dispatcher.in_flight[same] = Flight(dispatcher, self._store, same, asked, limit_s, self._keep)
            future = flight.join(self._charge)
        flight.start(simulation, charge=self._charge, resources=resources, label=label or simulation.name)
        return future

    @contextmanager
    def share(self, array: NDArray[Any]) -> Iterator[Ref]:
        engine = self._dispatcher.engine
        ref = engine.share(array)
        try:
            yield ref
        finally:
            engine.release(ref)

    def cancel(self, future: Future[Any]) -> bool:
        return not future.done() and future.cancel()

    def decide(self, decision: str, /, **fields: Any) -> None:
        trace = self._dispatcher.trace
        trace.write(Decision(t=trace.clock.now_ns(), decision=decision, data=fields))

    def quality(self, *, name: str = "", keys: Any = (), **fields: Any) -> None:
        trace = self._dispatcher.trace
        trace.write(Quality(t=trace.clock.now_ns(), name=name, data=fields, keys=list(keys)))

    def mark(self, name: str, value: float) -> None:
        trace = self._dispatcher.trace
        trace.write(Mark(t=trace.clock.now_ns(), task=0, name=name, value=float(value)))

    def subscribe(self) -> Subscription:
        return self._dispatcher.trace.subscribe()


class _Answer(LeanFuture[Any]):
    """The value of one submitted task; it knows the task by its number, so that it does not keep it alive."""

    __slots__ = ("_dispatcher", "number")

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self.number = 0

    def cancel(self) -> bool:
        """Cancel the task, killing it if it runs; the future then raises TaskError with outcome `cancelled`."""
        return self._dispatcher.cancel(self.number)

    def ended(self, task: Task, result: TaskResult) -> None:
        if result.outcome != "ok":
            self.set_exception(task.error(result))
            return
        try:
            value = value_of(result)
        except Exception as error:
            sentence = f"Its value cannot be read back: {type(error).__name__}: {error}"
            self.set_exception(task_error(f"Task {task.number} ({task.label})", "failed", sentence, None))
        else:
            self.set_result(value)


def _asked(simulation: Simulation, x: Mapping[str, Value], *, settings: Mapping[str, Value] | None, fidelity: float, seed: int) -> Record:
    """What is asked for, checked and in canonical form: 1 and 1.0 are one request."""
    x = simulation.space.point(simulation.space.row(x))
    if simulation.settings is not None:
        settings = simulation.settings.point(simulation.settings.row({**simulation.default_settings, **(settings or {})}))
    elif settings:
        raise UsageError(f"Simulation '{simulation.name}' has no settings, found {', '.join(settings)}.")
    if not 0 < fidelity <= 1:
        raise OutOfBounds(f"Fidelity must be in (0, 1], found {fidelity}.")
    return Record(
        key=key_of(simulation, x, settings=settings or {}, fidelity=fidelity, seed=seed),
        simulation=simulation.name,
        version=simulation.version,
        parameters=x,
        settings=settings or {},
        fidelity=float(fidelity),
        seed=int(seed),
        outcome="cancelled",
    )


def _check_limit(limit_s: float | None) -> None:
    if limit_s is not None and not limit_s > 0:
        raise UsageError(f"A time limit must be positive, found limit_s={limit_s}.")
