"""Learning by itself: the runs so far, which of them no surrogate has seen, when to fit again, and whether that made it better.

Every fifth point (by its hash) is held out until `HELD` newer ones are: no surrogate that is being compared was fitted to them. A new
surrogate replaces the old one only if its interval score on them is better (Gneiting & Raftery 2007, doi 10.1198/016214506000001437).
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from mlforhpc.core.learner import Dataset, Learner, Surrogate
from mlforhpc.core.record import Record
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.relative import scale_of

HELD = 30
MOST_ROWS = 1000
"""Runs that a fit learns from; with more, one drawn at random makes room for the newest."""
GROWTH = 1.5
"""Of the runs since the last fit, after which there is another ..."""
GROWTH_WHILE_WANTED = 1.25
"""... while the surrogate answers nothing, or requests have moved to where it is not sure, or audits closed thresholds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What a fit gives: the saved surrogate, and the slot time it took."""

    content: bytes
    cost_s: float


def fit(learner: Learner, data: Dataset, seed: int) -> Fitted:
    """A task: fit, calibrate, save."""
    began = time.perf_counter()
    surrogate = learner.fit(data, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "surrogate"
        surrogate.save(file)
        return Fitted(content=file.read_bytes(), cost_s=time.perf_counter() - began)


class Rows:
    """Runs as arrays that grow, so that a fit's data are made without touching each run again; `ok` runs only."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._n = 0
        self._keys: list[str] = []
        self._numbers = np.empty((16, len(simulation.space) + 2))  # x, fidelity, cost
        self._y = {o.name: np.empty((16, *o.shape)) for o in simulation.outputs}
        self._se: dict[str, FloatArray] = {}

    def __len__(self) -> int:
        return self._n

    def add(self, record: Record, at: int | None = None) -> None:
        """One more, or in the place of another."""
        if at is None:
            at, self._n = self._n, self._n + 1
            self._keys.append("")
            if self._n > len(self._numbers):
                self._numbers = _twice(self._numbers)
                self._y = {name: _twice(a) for name, a in self._y.items()}
                self._se = {name: _twice(a) for name, a in self._se.items()}
        self._keys[at] = record.key
        self._numbers[at] = [*self._simulation.space.row(record.parameters), record.fidelity, record.cost_s]
        for name, a in self._y.items():
            a[at] = record.outputs[name]
        for name, se in record.standard_errors.items():
            if name not in self._se:
                self._se[name] = np.full_like(self._y[name], np.nan)
            self._se[name][at] = se

    def data(self) -> Dataset:
        """A copy of all of them."""
        n = self._n
        return Dataset(
            space=self._simulation.space,
            outputs=tuple(self._simulation.outputs),
            x=self._numbers[:n, :-2].copy(),
            y={name: a[:n].copy() for name, a in self._y.items()},
            y_se={name: a[:n].copy() for name, a in self._se.items()},
            outcome=("ok",) * n,
            fidelity=self._numbers[:n, -2].copy(),
            cost_s=self._numbers[:n, -1].copy(),
            keys=tuple(self._keys),
        )


class Curriculum:
    """The runs so far and what is due. Not thread-safe: its owner holds a lock.

    Attributes:
        fitted_at: runs there were when the last fit began.
    """

    def __init__(self, simulation: Simulation, *, seed: int) -> None:
        self._simulation = simulation
        self._training = Rows(simulation)
        self._held: deque[Record] = deque()
        self._rng = np.random.default_rng(seed)
        self._keys: set[str] = set()
        self.runs = 0
        self.fitted_at = 0

    @property
    def first(self) -> int:
        """Runs that the first fit waits for."""
        return max(10, 2 * len(self._simulation.space) + 4)

    def add(self, record: Record) -> bool:
        """Take a run in; False if it is no `ok` one, or known."""
        if record.outcome != "ok" or record.key in self._keys:
            return False
        self._keys.add(record.key)
        self.runs += 1
        if crc32(self._simulation.space.row(record.parameters).tobytes()) % 5:
            self._train(record)
            return True
        self._held.append(record)
        if len(self._held) > HELD:
            self._train(self._held.popleft())
        return True

    def due(self, *, wanted: bool) -> bool:
        """Whether there is enough news for another fit; sooner where a better surrogate is wanted."""
        if not self.fitted_at:
            return self.runs >= self.first and len(self._training) >= 2
        return self.runs >= max(self.fitted_at + 4, self.fitted_at * (GROWTH_WHILE_WANTED if wanted else GROWTH))

    def lesson(self) -> Dataset:
        """What to fit to now."""
        self.fitted_at = self.runs
        return self._training.data()

    def held_out(self) -> Dataset:
        """What no surrogate has seen."""
        return Dataset.of_records(self._simulation, list(self._held))

    def _train(self, record: Record) -> None:
        full = len(self._training) >= MOST_ROWS
        self._training.add(record, int(self._rng.integers(MOST_ROWS)) if full else None)


def interval_score(surrogate: Surrogate, held: Dataset, *, coverage: float = 0.9) -> float:
    """Mean over runs and arrays of the interval score, in units of the arrays' scales; in (0, inf), lower is better."""
    p = surrogate.predict(held.x, coverage=coverage, of="run")
    scores = []
    for output in held.outputs:
        if output.derived:
            continue
        y, low, high = held.y[output.name], p.lower[output.name], p.upper[output.name]
        missed = np.maximum(low - y, 0.0) + np.maximum(y - high, 0.0)
        scale = np.array([scale_of(output, one) for one in y])  # (n,)
        scores.append(((high - low) + 2.0 / (1.0 - coverage) * missed).reshape(len(held), -1).mean(axis=1) / scale)
    return float(np.mean(scores))


def _twice(a: FloatArray) -> FloatArray:
    return np.concatenate([a, np.empty_like(a)])
