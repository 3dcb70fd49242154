"""Active learning: after a few points of a Sobol design, each run where it takes most from the surrogate's expected error.

    gain(x) = cost(x)^-thrift mean over r of sum_k c_k(r, x)^2 / (c_k(x, x) + v_k(x))
c_k: posterior covariance of part k of the error, v_k: variance of a run's noise there, r: points that stand for the space. It
depends on where runs are, not on what they will give: so runs still going on count as made, and a batch is chosen one by one, each
knowing the others. So do runs that failed, so that the next one is made elsewhere. The surrogate is fitted anew when the runs have
grown by a share since its last fit. Where runs cost the same, what it saves is measured in docs/active-learning.md.

Sacks, Welch, Mitchell & Wynn, Design and Analysis of Computer Experiments, Statistical Science 4, 1989, doi 10.1214/ss/1177012413;
Cohn, Ghahramani & Jordan, Active Learning with Statistical Models, JAIR 4, 1996, doi 10.1613/jair.295.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset, Informative, Surrogate
from mlforhpc.core.names import load
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray, Space
from mlforhpc.core.strategy import Observation, Proposal
from mlforhpc.strategies.sobol import design

NUMBERS = 1 << 23
"""Covariances of candidates and points of the space that are held at once, over all parts."""
MOST = 1024
"""Candidates; half as many points stand for the space."""
FLOOR = 1e-9
"""Least variance of a candidate, relative to the mean over all: below it, what a run would teach is rounding error."""

Cost: TypeAlias = Callable[[FloatArray], FloatArray]


def here(function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function where it stands; a campaign gives what makes a task of it."""
    return function(*args)


@dataclass(slots=True, kw_only=True)
class Variance:
    """See `mlforhpc.core.strategy.Strategy`, and `create` for the attributes.

    The points of the Sobol design come first; later ones are taken from it where too few runs succeed to fit anything.
    """

    space: Space
    outputs: tuple[Output, ...]
    seed: int
    runs: int
    first: int
    share: float
    fidelity: float
    reach: float
    learner: str
    call: Callable[..., Any]
    cost: Cost | None
    thrift: float
    _x: list[FloatArray] = field(default_factory=list)
    _told: dict[int, Observation] = field(default_factory=dict)
    _known: set[int] = field(default_factory=set)
    _fitted: tuple[int, Surrogate] | None = None

    def ask(self, n: int) -> Sequence[Proposal]:
        asked, told = len(self._x), len(self._told)
        if asked < self.first:
            new = self._design(min(asked + n, self.first))
        elif told < self.first / 2:
            return []  # too little is known, and more is coming
        else:
            n = min(n, self.runs - asked, max(1, int(self.share * told)))
            new = self._choose(n) if n > 0 and sum(o.outcome == "ok" for o in self._told.values()) >= 2 else self._design(asked + n)
        self._x += list(new)
        return [Proposal(id=asked + i, x=x.copy(), fidelity=self.fidelity) for i, x in enumerate(new)]

    def tell(self, observations: Sequence[Observation]) -> None:
        for observation in observations:
            if not 0 <= observation.id < len(self._x):
                raise UsageError(f"Observation {observation.id} answers no proposal; {len(self._x)} were asked for.")
            self._told[observation.id] = observation

    @property
    def done(self) -> str | None:
        return f"All {self.runs} runs came back." if len(self._told) == self.runs else None

    def _design(self, until: int) -> FloatArray:
        """Points of the Sobol design from the next one on."""
        return design(self.space, seed=self.seed, runs=until, reach=self.reach)[len(self._x) :]

    def _choose(self, n: int) -> FloatArray:
        """The next n points (n, d)."""
        told = len(self._told)
        if self._fitted is None or told >= (1.0 + self.share) * self._fitted[0]:
            self._fitted = told, self.call(fitted, self.learner, self._data(), derive(self.seed, "fit", told))
            self._known = {i for i, told_of in self._told.items() if told_of.outcome == "ok"}
        _, surrogate = self._fitted
        running = np.array([x for i, x in enumerate(self._x) if i not in self._known]).reshape(-1, len(self.space))
        seed = derive(self.seed, "choose", len(self._x))
        wanted = (surrogate, running, n, seed, self.fidelity, self.reach, self.cost, self.thrift)
        return np.asarray(self.call(most_informative, *wanted))

    def _data(self) -> Dataset:
        """What came back, in the order of asking, so that it does not matter in which order it was told."""
        told = [self._told[i] for i in sorted(self._told)]
        empty = {o.name: np.full(o.shape, np.nan) for o in self.outputs}
        stated = [o.name for o in self.outputs if any(o.name in t.se for t in told)]
        return Dataset(
            space=self.space,
            outputs=self.outputs,
            x=np.array([self._x[i] for i in sorted(self._told)]),
            y={name: np.array([t.y.get(name, nan) for t in told]) for name, nan in empty.items()},
            y_se={name: np.array([t.se.get(name, empty[name]) for t in told]) for name in stated},
            outcome=tuple(t.outcome for t in told),
            fidelity=np.array([t.fidelity for t in told]),
            cost_s=np.array([t.cost_s for t in told]),
        )


def create(
    space: Space,
    *,
    outputs: tuple[Output, ...],
    seed: int,
    runs: int,
    first: int | None = None,
    share: float = 0.2,
    fidelity: float = 1.0,
    reach: float = 0.0,
    learner: str = "gaussian_process",
    call: Callable[..., Any] = here,
    cost: Cost | None = None,
    thrift: float = 0.5,
) -> Variance:
    """A campaign of `runs` points.

    Args:
        space, outputs: of the simulation.
        seed: of design, candidates and fits.
        runs: in all.
        first: runs of the Sobol design before the first choice; None: four for each parameter and at least ten, at most half of all.
        share: by which the runs grow from one fit to the next, and so the size of a batch, in (0, 1].
        fidelity: of every run, in (0, 1].
        reach: of the design, and of candidates, over the edges of real parameters, which are put on the edge, in [0, 1).
        learner: name of a learner whose surrogates are `Informative`.
        call: runs a function of arguments; a campaign gives what makes a task of it.
        cost: what a run at x (n, d), in physical units, costs beside others, known beforehand: positive (n,); None: all the same.
        thrift: power of the cost that a gain is divided by, in [0, 1]: 1 is gain a unit of cost, 0 takes no notice of it.
    """
    first = min(max(10, 4 * len(space)), max(2, runs // 2)) if first is None else first
    if not 0.0 <= thrift <= 1.0:
        raise UsageError(f"thrift is the power of the cost that a gain is divided by, in [0, 1], found {thrift}.")
    if not (1 <= first <= runs and 0.0 < share <= 1.0 and 0.0 < fidelity <= 1.0 and 0.0 <= reach < 1.0):
        message = f"{first} of {runs}, share {share}, fidelity {fidelity}, reach {reach}"
        raise UsageError(f"Strategy 'variance' needs 1 <= first <= runs, share and fidelity in (0, 1], reach in [0, 1); found {message}.")
    return Variance(
        space=space, outputs=outputs, seed=seed, runs=runs, first=first, share=share, fidelity=fidelity, reach=reach,
        learner=learner, call=call, cost=cost, thrift=thrift,
    )  # fmt: skip


def fitted(learner: str, data: Dataset, seed: int) -> Surrogate:
    """The task that fits what is known, without folds: only what the surrogate does not know is asked of it."""
    surrogate: Surrogate = load("learners", learner).create(folds=0).fit(data, seed=seed)
    if not isinstance(surrogate, Informative):
        raise UsageError(f"Strategy 'variance' needs surrogates that tell their covariance; those of learner '{learner}' do not.")
    return surrogate


def most_informative(
    surrogate: Informative,
    running: FloatArray,
    n: int,
    seed: int,
    fidelity: float,
    reach: float,
    cost: Cost | None = None,
    thrift: float = 0.5,
) -> FloatArray:
    """The task that chooses n points (n, d), given that runs at `running` (r, d) count as made."""
    space = surrogate.space  # type: ignore[attr-defined]
    parts = len(surrogate.run_variance(design(space, seed=seed, runs=1), fidelity=fidelity))
    m = min(MOST, 1 << int(np.log2(np.sqrt(NUMBERS / max(parts, 1)))))
    candidates = np.vstack([running, design(space, seed=derive(seed, "candidates"), runs=m, reach=reach)])
    points = design(space, seed=derive(seed, "points"), runs=m // 2)
    c = surrogate.covariance(np.vstack([points, candidates]), candidates)  # (k, points + candidates, candidates)
    noise = surrogate.run_variance(candidates, fidelity=fidelity)  # (k, candidates)
    noise += FLOOR * np.diagonal(c[:, len(points) :], axis1=1, axis2=2).mean(axis=1, keepdims=True) + 1e-300
    price = np.ones(len(candidates)) if cost is None else prices(cost, candidates) ** thrift
    chosen: list[int] = []
    for i in range(len(running) + n):
        variance = np.maximum(np.diagonal(c[:, len(points) :], axis1=1, axis2=2), 0.0) + noise
        if i < len(running):
            j = i
        else:
            gain = (np.mean(c[:, : len(points)] ** 2, axis=1) / variance).sum(axis=0) / price
            j = int(np.argmax(gain))
            chosen.append(j)
        column = c[:, :, j].copy()
        row = c[:, len(points) + j, :] / variance[:, j, None]
        c -= column[:, :, None] * row[:, None, :]
    return np.asarray(candidates[chosen])


def prices(cost: Cost, x: FloatArray) -> FloatArray:
    """What runs at x (n, d) cost (n,), relative to the dearest."""
    found = np.asarray(cost(x), dtype=float)
    if found.shape != (len(x),) or not np.all(np.isfinite(found) & (found > 0.0)):
        raise UsageError(
            f"cost(x) must give one positive number for each of {len(x)} points, found an array {found.shape} of {found.dtype}."
        )
    return np.asarray(found / found.max())
