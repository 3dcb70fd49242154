"""The broker contract: the one object through which scenarios submit tasks, and the only writer of the trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar, runtime_checkable

from numpy.typing import NDArray

from mlforhpc.core.engine import Ref
from mlforhpc.core.record import Record
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import Value
from mlforhpc.core.store import Store
from mlforhpc.core.task import Charge, Kind, Resources
from mlforhpc.core.trace import Subscription

T = TypeVar("T")


@runtime_checkable
class Broker(Protocol):
    """Submits tasks, keeps answers, writes the trace.

    A broker is a *view* on one dispatcher (engine + trace): it has the store that its simulations are kept in and
    the account (`charge`) that its tasks are booked on. The referee of a benchmark holds a second view with a second
    store, of which a scenario has no handle.
    """

    @property
    def slots(self) -> int: ...
    @property
    def store(self) -> Store: ...
    @property
    def charge(self) -> Charge: ...

    def submit(
        self,
        kind: Kind,
        function: Callable[..., T],
        *args: Any,
        resources: Resources = Resources(),
        limit_s: float | None = None,
        label: str = "",
    ) -> Future[T]:
        """Run function(*args) as one task; never memoised. A failed future raises TaskError."""
        ...

    def simulate(
        self,
        simulation: Simulation,
        x: Mapping[str, Value],
        *,
        seed: int,
        settings: Mapping[str, Value] | None = None,
        fidelity: float = 1.0,
        resources: Resources = Resources(),
        limit_s: float | None = None,
        label: str = "",
    ) -> Future[Record]:
        """The record of one simulation: from the store if it is there, else run, kept, and then returned.

        The future resolves after the record is on disk (or, where the broker was told that it need not be kept and the store is full,
        with `record.kept` False); it holds `failed` and `timed_out` records too, and raises
        TaskError only for `lost` (after retries) and `cancelled`. Settings left out take the default.

        Raises:
            OutOfBounds: before anything is submitted.
        """
        ...

    def share(self, array: NDArray[Any]) -> AbstractContextManager[Ref]:
        """`with broker.share(array) as ref`: pass `ref`, read it in the task with `mlforhpc.core.shared.read(ref)`."""
        ...

    def cancel(self, future: Future[Any]) -> bool:
        """Cancel a task, killing it if it runs."""
        ...

    def decide(self, decision: str, /, **fields: Any) -> None:
        """Trace a decision (ask, tell, gate, stop, which surrogate version): enough to replay."""
        ...

    def quality(self, **fields: Any) -> None:
        """Trace a quality figure with the store keys it came from."""
        ...

    def mark(self, name: str, value: float) -> None:
        """Trace a number of the driver's own; inside a task it is `mlforhpc.core.marks.mark`."""
        ...

    def subscribe(self) -> Subscription:
        """A bounded queue of the trace's events from now on; see `core.trace`."""
        ...
