"""Streams of requests to an online scenario, each answer compared with the truth: is the promise kept, and how soon does it pay?

    uniform         points over the whole space
    shifted         from the middle on, all in one corner of it
    overconfident   uniform, and the surrogate's intervals are a third of what they should be
One request after the other, everything that it caused finished before the next, so that a stream is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.broker import Broker
from mlforhpc.core.learner import Dataset
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray, Space
from mlforhpc.learners import gaussian_process
from mlforhpc.learners._calibration import Calibration
from mlforhpc.learners._surrogate import GaussianProcessSurrogate
from mlforhpc.learners.gaussian_process import GaussianProcess
from mlforhpc.scenarios.online import Answer, Online, Status
from mlforhpc.scenarios.relative import scale_of

Case: TypeAlias = Literal["uniform", "shifted", "overconfident"]
CASES: tuple[Case, ...] = ("uniform", "shifted", "overconfident")


@dataclass(frozen=True, slots=True)
class Overconfident:
    """A Gaussian process whose intervals are too narrow by a factor: what the gate has to find out."""

    learner: GaussianProcess = field(default_factory=gaussian_process.create)
    factor: float = 3.0
    name: str = "gaussian_process"

    def fit(self, data: Dataset, *, seed: int, broker: Broker | None = None) -> GaussianProcessSurrogate:
        """See `mlforhpc.core.learner.Learner`."""
        fitted = self.learner.fit(data, seed=seed, broker=broker)
        return replace(fitted, stated=self._narrowed(fitted.stated), foreseen=self._narrowed(fitted.foreseen))

    def _narrowed(self, c: Calibration) -> Calibration:
        return Calibration(pointwise=c.pointwise / self.factor, joint=c.joint / self.factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What came of a stream of n requests.

    Attributes:
        by_surrogate: who answered (n,).
        broken: the surrogate's answer was off by more than the tolerance (n,).
        errors: of every answer over the tolerance (n,).
        limits: online upper limit of the broken share after each request (n,), NaN before the first answer of the surrogate.
        status: at the end.
    """

    by_surrogate: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    errors: FloatArray
    limits: FloatArray
    status: Status

    @property
    def broken_share(self) -> float:
        """Of the surrogate's answers; 0 if it gave none."""
        return float(self.broken.sum() / max(1, self.by_surrogate.sum()))

    @property
    def limit_held(self) -> bool:
        """Whether the limit was at no time below the true share."""
        shares = np.cumsum(self.broken) / np.maximum(1, np.cumsum(self.by_surrogate))
        return not bool((self.limits < shares - 1e-12).any())


def requests(space: Space, case: Case, n: int, *, corner: Mapping[str, tuple[float, float]], seed: int) -> FloatArray:
    """Points (n, d) of a stream; `corner` gives ranges of some parameters, in physical units."""
    rng = np.random.default_rng(derive(seed, "requests", case))
    x = space.decode(rng.random((n, len(space))))
    if case == "shifted":
        late = np.arange(n) >= n // 2
        for name, (low, high) in corner.items():
            column = space.names.index(name)
            x[late, column] = low + (high - low) * rng.random(int(late.sum()))
    return x


def follow(online: Online, x: FloatArray, truth: Callable[[FloatArray], Mapping[str, FloatArray]]) -> Course:
    """Ask at each point of x (n, d) in turn; `truth` gives output name -> (n, *shape)."""
    true = truth(x)
    n = len(x)
    by_surrogate, errors, limits = np.zeros(n, dtype=bool), np.zeros(n), np.full(n, np.nan)
    for i, row in enumerate(x):
        answer = online.ask(online.simulation.space.point(row))
        online.settle()
        by_surrogate[i] = answer.source == "surrogate"
        errors[i] = relative_error(online.simulation, answer, {name: a[i] for name, a in true.items()}) / online.terms.tolerance
        limit = online.broken_limit()
        limits[i] = np.nan if limit is None else limit
    return Course(by_surrogate=by_surrogate, broken=by_surrogate & (errors > 1.0), errors=errors, limits=limits, status=online.status())


def relative_error(simulation: Simulation, answer: Answer, truth: Mapping[str, FloatArray]) -> float:
    """Of one answer, as in q, relative to the truth's own scales."""
    terms = [
        float(np.mean((answer.values[o.name] - truth[o.name]) ** 2)) / scale_of(o, truth[o.name]) ** 2
        for o in simulation.outputs
        if not o.derived
    ]
    return float(np.sqrt(np.mean(terms)))
