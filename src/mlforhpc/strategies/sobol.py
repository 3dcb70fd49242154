"""A space-filling design: points 0 .. runs - 1 of one scrambled Sobol sequence, whatever comes back.

The first n points of a longer design are the design of n runs. With `reach` r the sequence fills [-r, 1 + r] of each
real parameter's unit interval and what lies outside is put on the edge, where surrogates are least sure.

Owen, Scrambling Sobol' and Niederreiter-Xing points, Journal of Complexity 14, 1998.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray, Real, Space
from mlforhpc.core.strategy import Observation, Proposal


@dataclass(slots=True, kw_only=True)
class Sobol:
    """See `mlforhpc.core.strategy.Strategy`, and `create` for the attributes; proposal i is point i of the sequence."""

    space: Space
    seed: int
    runs: int
    batch: int
    fidelity: float
    reach: float
    _x: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    _asked: int = 0
    _told: set[int] = field(default_factory=set)

    def ask(self, n: int) -> Sequence[Proposal]:
        first = self._asked
        if first % self.batch == 0 and len(self._told) < first:
            return []  # the batch before is not complete
        open_until = min((first // self.batch + 1) * self.batch, self.runs)
        self._asked = min(first + max(n, 0), open_until)
        if self._asked > len(self._x):  # twice as many as are asked for, so that a long campaign calculates each point a few times
            self._x = design(self.space, seed=self.seed, runs=min(2 * self._asked, self.runs), reach=self.reach)
        return [Proposal(id=i, x=self._x[i].copy(), fidelity=self.fidelity) for i in range(first, self._asked)]

    def tell(self, observations: Sequence[Observation]) -> None:
        for observation in observations:
            if not 0 <= observation.id < self._asked:
                raise UsageError(f"Observation {observation.id} answers no proposal; {self._asked} were asked for.")
            self._told.add(observation.id)

    @property
    def done(self) -> str | None:
        return f"All {self.runs} points of the design came back." if len(self._told) == self.runs else None


def create(
    space: Space,
    *,
    seed: int,
    runs: int,
    outputs: tuple[Output, ...] = (),
    batch: int | None = None,
    fidelity: float = 1.0,
    reach: float = 0.0,
) -> Sobol:
    """A design of `runs` points, whatever the outputs; with `batch`, the next so many are proposed when all before them came back."""
    if not 0.0 <= reach < 1.0:
        raise UsageError(f"reach is a share of each parameter's range in [0, 1), found {reach}.")
    if runs < 1 or (batch is not None and batch < 1) or not 0.0 < fidelity <= 1.0:
        raise UsageError(f"Sobol needs runs >= 1, batch >= 1 and a fidelity in (0, 1], found {runs}, {batch} and {fidelity}.")
    return Sobol(space=space, seed=seed, runs=runs, batch=batch or runs, fidelity=fidelity, reach=reach)


def design(space: Space, *, seed: int, runs: int, reach: float = 0.0) -> FloatArray:
    """The first points of the sequence in physical units (runs, d)."""
    from scipy.stats import qmc  # 0.4 s that only a design needs

    sequence = qmc.Sobol(len(space), scramble=True, rng=np.random.default_rng(seed))
    u = sequence.random_base2(int(runs - 1).bit_length())[:runs]  # (runs, d)
    real = [isinstance(p, Real) for p in space.parameters.values()]
    u[:, real] = np.clip((1.0 + 2.0 * reach) * u[:, real] - reach, 0.0, 1.0)
    return space.decode(u)
