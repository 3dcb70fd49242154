"""The simulations of an online scenario: which replica of a point is next, how many are under way, and what came back, once each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Condition

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import UsageError
from mlforhpc.core.future import LeanFuture
from mlforhpc.core.record import Record
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.gated import Answer
from mlforhpc.scenarios.online_terms import Busy, Terms

_REPLICAS = 16
"""Of a point, whose seeds are recognised in a store."""


def seed_of(terms: Terms, x: FloatArray, replica: int) -> int:
    """Of the k-th run of a point x (d,); another one at each point, so that no noise is common to what is learned and what it is compared
    with."""
    return derive(terms.seed, "run", replica, x.tobytes().hex())


class Runs:
    """See the file's docstring; the k-th run of a point always has the same seed, so that the store knows it.

    Attributes:
        answers, audits: runs under way or waiting for callers, and for audits.
        busy_s: time in which any run was under way.
        done: called with each run that is new, under the lock.
    """

    def __init__(self, broker: Broker, simulation: Simulation, terms: Terms, lock: Condition, done: Callable[[Record], None]) -> None:
        self._broker, self._simulation, self._terms, self._lock, self._done = broker, simulation, terms, lock, done
        self._replicas: dict[bytes, int] = {}
        self._paid: set[str] = set()
        self._flying, self._since = 0, 0.0
        self.answers = self.audits = 0
        self.busy_s = 0.0

    @property
    def flying(self) -> int:
        """Runs under way or waiting."""
        return self._flying

    def recall(self) -> Iterator[Record]:
        """Runs of the same version, fidelity and settings that the store has."""
        settings = self._simulation.settings
        wanted = (
            {} if settings is None else settings.point(settings.row({**self._simulation.default_settings, **(self._terms.settings or {})}))
        )
        for run in self._broker.store.scan(self._simulation.name):
            if (run.version, run.fidelity, dict(run.settings)) == (self._simulation.version, self._terms.fidelity, wanted):
                self._paid.add(run.key)
                x = self._simulation.space.row(run.parameters)
                replica = next((k for k in range(_REPLICAS) if seed_of(self._terms, x, k) == run.seed), None)
                if replica is not None:
                    self._replicas[x.tobytes()] = max(self._replicas.get(x.tobytes(), 0), replica + 1)
                yield run

    def known(self, x: FloatArray) -> bool:
        """Whether the point was run before; x (d,)."""
        return x.tobytes() in self._replicas

    def reserve(self, x: FloatArray, replicas: int) -> list[int]:
        """Numbers of the next runs of a point; under the lock."""
        key = x.tobytes()
        first = self._replicas.get(key, 0)
        self._replicas[key] = first + replicas
        return list(range(first, first + replicas))

    def room(self, runs: int) -> None:
        """Take room for the runs of a request; under the lock.

        Raises:
            Busy: there is none now.
            UsageError: there never is.
        """
        queue = self._terms.queue
        if runs > queue:
            raise UsageError(f"{runs} simulations were asked for at once, and at most {queue} may wait; ask for fewer points at a time.")
        if self.answers + runs > queue:
            raise Busy(self.answers, min(3600.0, max(1.0, self.one_s * (self.answers + runs - queue) / self._broker.slots)))
        self.answers += runs

    one_s = 1.0
    """Mean slot time of a run, set by whoever keeps the accounts."""

    def start(self, x: FloatArray, replica: int, label: str) -> Future[Record]:
        """Run, or take from the store."""
        with self._lock:
            if not self._flying:
                self._since = time.monotonic()
            self._flying += 1
        try:
            future = self._broker.simulate(
                self._simulation,
                self._simulation.space.point(x),
                seed=seed_of(self._terms, x, replica),
                settings=self._terms.settings,
                fidelity=self._terms.fidelity,
                limit_s=self._terms.limit_s,
                label=label,
            )
        except BaseException:
            self._landed()
            raise
        future.add_done_callback(self._ended)
        return future

    def _ended(self, ended: Future[Record]) -> None:
        with self._lock:
            self._landed()
            if ended.exception() is None and (run := ended.result()).key not in self._paid:
                self._paid.add(run.key)
                self._done(run)
            self._lock.notify_all()

    def _landed(self) -> None:
        with self._lock:
            self._flying -= 1
            if not self._flying:
                self.busy_s += time.monotonic() - self._since


class Asked(LeanFuture[Answer]):
    """An answer that the simulation gives; to cancel it is to leave its run."""

    __slots__ = ("_run",)

    def __init__(self, run: Future[Record]) -> None:
        super().__init__()
        self._run = run

    def cancel(self) -> bool:
        return self._run.cancel()
