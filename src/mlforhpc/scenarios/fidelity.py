"""More runs or longer runs? What a budget buys at each fidelity, from pilots at the lowest and the highest.

    cost(f) = a + b f,   n(f) = budget / cost(f),   q(f)^2 = mean over r of sum_k c_k(r, r | n(f) runs with noise v_k(f))
c_k and v_k as the pilots' surrogate knows them: posterior covariance of part k of its error, and noise of a run of fidelity f, whose
variance falls with 1 / f as a Monte Carlo average's. The fidelity with the smallest expected error is taken.

Picheny, Ginsbourger, Richet & Caplin, Quantile-Based Optimization of Noisy Computer Experiments With Tunable Precision,
Technometrics 55, 2013, doi 10.1080/00401706.2012.707580.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import qmc

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset, Informative
from mlforhpc.core.space import FloatArray, Space

GRID = 9
"""Fidelities that are compared, evenly in the logarithm."""
MOST = 800
"""Runs that are planned at most; where a budget buys more, so many stand for them, each with as much less noise."""
POINTS = 256
"""That stand for the space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One way to spend a budget: runs of a fidelity, and the relative error to expect of the surrogate."""

    fidelity: float
    runs: int
    error: float


def splits(surrogate: Informative, data: Dataset, *, budget_s: float, low: float, high: float, seed: int) -> list[Split]:
    """What `budget_s` slot-seconds more would buy, for fidelities from `low` to `high`.

    Args:
        surrogate: of the pilots.
        data: the pilots, some of each of both fidelities.
        budget_s: still to be spent.
        low, high: the fidelities of the pilots.
        seed: of the planned designs.

    Raises:
        UsageError: the pilots state no standard errors, so that nothing is known of their noise, or the budget buys not one run.
    """
    if not data.y_se:
        raise UsageError(
            "To choose a fidelity, runs must state standard errors of their outputs; this simulation states none: give one fidelity."
        )
    fixed_s, rate_s = cost_model(data, low, high)
    space = data.space
    points = space.decode(qmc.Sobol(len(space), rng=np.random.default_rng(seed)).random(POINTS))
    found = []
    for f in np.geomspace(low, high, GRID):
        runs = int(budget_s / (fixed_s + rate_s * f))
        if runs >= 1:
            error = expected_error(surrogate, points, plan(space, min(runs, MOST), seed), fidelity=f * max(1.0, runs / MOST))
            found.append(Split(fidelity=float(f), runs=runs, error=error))
    if not found:
        raise UsageError(f"What is left of the budget, {budget_s:.3g} slot-seconds, buys not one run; raise the budget.")
    return found


def best(found: Sequence[Split]) -> Split:
    """The one with the smallest error to expect; of equal ones the first."""
    return min(found, key=lambda s: s.error)


def cost_model(data: Dataset, low: float, high: float) -> tuple[float, float]:
    """Slot-seconds of a run whatever its fidelity, and for each unit of fidelity; none negative."""
    cheap, dear = (float(data.cost_s[np.isclose(data.fidelity, f)].mean()) for f in (low, high))
    rate = max(0.0, (dear - cheap) / (high - low))
    fixed = max(0.0, cheap - rate * low)
    return fixed, rate if fixed + rate > 0 else 1e-9


def plan(space: Space, runs: int, seed: int) -> FloatArray:
    """Where the runs might be (runs, d)."""
    sequence = qmc.Sobol(len(space), rng=np.random.default_rng(seed + 1)).random_base2(int(runs - 1).bit_length())
    return space.decode(sequence[:runs])


def expected_error(surrogate: Informative, points: FloatArray, x: FloatArray, *, fidelity: float) -> float:
    """Relative RMS error at `points` (r, d) to expect after runs of a fidelity at x (n, d), besides those that were fitted."""
    everywhere = np.vstack([points, x])
    c = surrogate.covariance(everywhere, x)  # (k, r + n, n)
    noise = surrogate.run_variance(x, fidelity=fidelity)  # (k, n)
    before = np.diagonal(surrogate.covariance(points, points), axis1=1, axis2=2)  # (k, r)
    left = 0.0
    for part, v, prior in zip(c, noise, before, strict=True):
        cross, among = part[: len(points)], part[len(points) :]
        factor = cho_factor(among + np.diag(v + 1e-10 * (np.mean(np.diagonal(among)) + 1e-300)))
        left += float(np.mean(np.maximum(prior - np.sum(cross.T * cho_solve(factor, cross.T), axis=0), 0.0)))
    return float(np.sqrt(left))
