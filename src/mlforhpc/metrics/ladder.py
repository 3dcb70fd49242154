"""The conventional cost of an error: the cheapest setting of the simulation itself whose error is no larger than q.

Rungs are runs of increasing effort (steps) on the same held-out systems; a rung's error is measured like the surrogate's,
against (r1, r2), by a run of its own seed. The reference pair is a rung too: half its mean squared difference is one run's error^2.
Monte Carlo and MD:    q^2 = A / steps,    cost = a + b steps,    so 1 / C(q^2) = q^2 / (a q^2 + b A)
which is smooth through q^2 = 0. Where the fitted slope of log q against log steps is not within 0.1 of -1/2: piecewise
linear in logs on the frontier of the rungs. A simulation without fidelity (steps None) is its own conventional method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.space import FloatArray
from mlforhpc.metrics.conventional import Exponents, inverse_interpolated, inverse_law, linear_cost, slope_in_logs
from mlforhpc.metrics.strata import Strata

SLOPE_TOLERANCE = 0.1
REACH = 2.0  # never extrapolated beyond this many times the top rung's steps
Model = Literal["law", "interpolated", "fixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One level of effort of the simulation.

    Attributes:
        name: for tables.
        steps: effort; None for a simulation without fidelity.
        terms: signed squared relative error of each held-out system's run (n,); NaN where the rung was not run.
        cost_s: slot-seconds of each system's run (n,); NaN where not run.
    """

    name: str
    steps: float | None
    terms: FloatArray
    cost_s: FloatArray

    @property
    def covered(self) -> FloatArray:
        """1 where the rung was run, else 0 (n,)."""
        return np.asarray(np.isfinite(self.terms) & np.isfinite(self.cost_s), dtype=float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a conventional run of error q costs.

    Attributes:
        cost_s: slot-seconds a run.
        steps: its effort; None where the simulation has no fidelity.
        bound: "lower bound" where q lies beyond twice the top rung, "extrapolated" where it lies above the bottom rung's error
            (a short run's error falls more slowly than the law, so gain is then understated), else "".
    """

    cost_s: float
    steps: float | None
    bound: Literal["", "lower bound", "extrapolated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Rungs in order of steps, and how they are turned into a cost.

    Attributes:
        rungs: ascending in steps (K).
        partner: for each rung the one that it is compared with: itself if it covers all systems, else the full rung nearest
            in log steps (ratio estimator: its error and cost over all systems, times the two rungs' ratio over the common ones).
        columns: weighted terms (n, J), see `_columns`; what a bootstrap resamples.
        model: "law", "interpolated" or "fixed".
        slope: of log q against log steps, -1/2 for Monte Carlo; None with one rung.
        q2, cost_s: of the rungs, comparable (K,).
    """

    rungs: tuple[Rung, ...]
    partner: tuple[int, ...]
    columns: FloatArray
    model: Model
    slope: float | None
    q2: FloatArray
    cost_s: FloatArray

    @property
    def steps(self) -> FloatArray:
        """(K,); ones for a simulation without fidelity."""
        return np.array([1.0 if rung.steps is None else rung.steps for rung in self.rungs])

    def figures(self, means: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Comparable q^2 and cost of the rungs, both (B, K), from the means of `columns` (B, J)."""
        return _ratios(means, self.partner, self.columns.sum(axis=0))

    def inverse_cost(self, q2: FloatArray, rung_q2: FloatArray, rung_cost: FloatArray) -> FloatArray:
        """1 / C(q2) per slot-second (B,), of the sign of q2, without the limit of twice the top rung; rungs (B, K)."""
        if self.model == "fixed":
            return 1.0 / rung_cost[:, 0]
        if self.model == "law":
            return inverse_law(q2, rung_q2, rung_cost, self.steps)
        return inverse_interpolated(q2, rung_q2, rung_cost, self._exponents)

    @property
    def ceiling_s(self) -> float:
        """Slot-seconds of a run of twice the top rung's steps; infinite for a simulation without fidelity."""
        if self.model == "fixed":
            return float("inf")
        steps = self.steps
        if self.model == "law":
            a, b = linear_cost(self.cost_s[None, :], steps)
            return float(a[0] + b[0] * REACH * steps[-1])
        exponents = self._exponents
        return float(self.cost_s.max()) * (REACH**exponents.cost if exponents.error < 0 else 1.0)

    def cost(self, q2: float) -> Cost:
        """The conventional cost of a run of error^2 q2; q2 <= 0 costs at least the ceiling."""
        if self.model == "fixed":
            return Cost(cost_s=float(self.cost_s[0]), steps=None, bound="")
        inverse = float(self.inverse_cost(np.array([q2]), self.q2[None, :], self.cost_s[None, :])[0])
        ceiling = self.ceiling_s
        if inverse * ceiling <= 1.0:
            return Cost(cost_s=ceiling, steps=REACH * float(self.steps[-1]), bound="lower bound")
        cost_s = 1.0 / inverse
        return Cost(cost_s=cost_s, steps=self._steps(q2, cost_s), bound="extrapolated" if q2 > self.q2.max() else "")

    def _steps(self, q2: float, cost_s: float) -> float:
        if self.model == "law":
            return float(np.mean(self.steps * self.q2)) / q2
        order = np.argsort(self.cost_s, kind="stable")
        return float(np.exp(np.interp(np.log(cost_s), np.log(self.cost_s[order]), np.log(self.steps[order]))))

    @property
    def _exponents(self) -> Exponents:
        return Exponents(error=slope_in_logs(self.steps, self.q2), cost=slope_in_logs(self.steps, self.cost_s))


def build_ladder(rungs: Sequence[Rung], strata: Strata) -> Ladder:
    """A ladder from its rungs, in any order; at least one must cover all systems (the reference pair does)."""
    _check(rungs, strata)
    rungs = tuple(sorted(rungs, key=lambda rung: rung.steps or 1.0))
    partner = _partners(rungs)
    columns = _columns(rungs, partner, strata)
    sums = columns.sum(axis=0)
    q2, cost_s = (figure[0] for figure in _ratios(sums[None, :], partner, sums))
    if cost_s.min() <= 0:
        raise UsageError(f"Every rung needs a positive cost, found {cost_s.tolist()} slot-seconds.")
    slope = None
    model: Model = "fixed"
    if rungs[0].steps is not None:
        if q2.max() <= 0:
            raise UsageError("At least one rung needs a positive error^2, found none: a deterministic reference pair is no rung.")
        steps = np.array([rung.steps for rung in rungs], dtype=float)
        slope = slope_in_logs(steps, q2) / 2.0 if len(rungs) > 1 else None
        model = "law" if slope is None or abs(slope + 0.5) <= SLOPE_TOLERANCE else "interpolated"
    return Ladder(rungs=rungs, partner=partner, columns=columns, model=model, slope=slope, q2=q2, cost_s=cost_s)


def _check(rungs: Sequence[Rung], strata: Strata) -> None:
    if not rungs:
        raise UsageError("A ladder needs at least one rung, found none.")
    n = len(strata)
    for rung in rungs:
        if rung.terms.shape != (n,) or rung.cost_s.shape != (n,):
            raise UsageError(f"Rung '{rung.name}' must have {n} terms and costs, found {rung.terms.shape} and {rung.cost_s.shape}.")
        if rung.steps is not None and not rung.steps > 0:
            raise UsageError(f"Rung '{rung.name}' must have positive steps, found {rung.steps:g}.")
    if len({rung.steps for rung in rungs}) < len(rungs):
        raise UsageError("Rungs must differ in steps: merge runs of equal effort into one rung.")
    if len(rungs) > 1 and any(rung.steps is None for rung in rungs):
        raise UsageError("A simulation without fidelity has one rung.")
    if not any(rung.covered.all() for rung in rungs):
        raise UsageError("At least one rung must cover all held-out systems; the reference pair does.")


def _partners(rungs: Sequence[Rung]) -> tuple[int, ...]:
    full = [k for k, rung in enumerate(rungs) if rung.covered.all()]
    logs = [float(np.log(rung.steps or 1.0)) for rung in rungs]
    return tuple(k if k in full else min(full, key=lambda j, k=k: abs(logs[j] - logs[k])) for k in range(len(rungs)))  # type: ignore[misc]


def _columns(rungs: Sequence[Rung], partner: Sequence[int], strata: Strata) -> FloatArray:
    """Per rung: weighted error and cost over its systems, and its partner's over the same systems: 4 columns a rung (n, 4 K)."""
    columns = []
    for rung, other in zip(rungs, partner, strict=True):
        weights = strata.weights * rung.covered
        for values in (rung.terms, rung.cost_s, rungs[other].terms, rungs[other].cost_s):
            columns.append(weights * np.where(rung.covered > 0, values, 0.0))
    return np.stack(columns, axis=1)


def _ratios(means: FloatArray, partner: Sequence[int], sums: FloatArray) -> tuple[FloatArray, FloatArray]:
    error, cost, error_partner, cost_partner = (means[:, j::4] for j in range(4))  # (B, K)
    q2, cost_s = error.copy(), cost.copy()
    for k, other in enumerate(partner):
        if other != k:
            q2[:, k] = error[:, other] * _ratio(error[:, k], error_partner[:, k], sums[4 * k + 2])
            cost_s[:, k] = cost[:, other] * _ratio(cost[:, k], cost_partner[:, k], sums[4 * k + 3])
    return q2, cost_s


def _ratio(over: FloatArray, under: FloatArray, usual: float) -> FloatArray:
    """over / under, 1 where a resample holds none of a partial rung's systems (and where a derivative is taken there)."""
    return np.divide(over, under, out=np.ones_like(over), where=np.abs(under) > 1e-6 * abs(usual))
