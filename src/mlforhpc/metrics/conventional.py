"""Formulas behind the ladder, over many resamples at once: rungs (B, K), targets (B,), steps (K,) ascending.

All inverse costs have the sign of q^2 and are monotonic in it, so that limits of 1 / C invert to limits of C.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlforhpc.core.space import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponents:
    """error: d log q^2 / d log steps (-1 for Monte Carlo); cost: d log cost / d log steps."""

    error: float
    cost: float

    @property
    def inverse(self) -> float:
        """p in 1 / C ~ (q^2)^p beyond the ladder's ends, bounded to 0.1-10; 1 where the error does not fall with steps."""
        return float(np.clip(self.cost / -self.error, 0.1, 10.0)) if self.error < 0 else 1.0


def slope_in_logs(x: FloatArray, y: FloatArray) -> float:
    """Least-squares d log y / d log x over the positive y (K,); 0 where fewer than two are."""
    positive = y > 0
    if positive.sum() < 2:
        return 0.0
    u, v = np.log(x[positive]), np.log(y[positive])
    u = u - u.mean()
    return float(np.sum(u * v) / np.sum(u * u))


def linear_cost(cost_s: FloatArray, steps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """a, b >= 0 of cost = a + b steps, both (B,): least squares of the relative residuals; a = 0 with one rung."""
    weights = 1.0 / cost_s**2  # (B, K)
    sw, sx, sy = weights.sum(axis=1), (weights * steps).sum(axis=1), (weights * cost_s).sum(axis=1)
    sxx, sxy = (weights * steps**2).sum(axis=1), (weights * steps * cost_s).sum(axis=1)
    determinant = sw * sxx - sx * sx
    solvable = determinant > 1e-12 * sw * sxx
    safe = np.where(solvable, determinant, 1.0)
    a = np.where(solvable, (sxx * sy - sx * sxy) / safe, -1.0)
    b = np.where(solvable, (sw * sxy - sx * sy) / safe, 0.0)
    b = np.where(a < 0, sxy / sxx, b)
    a = np.where(b < 0, sy / sw, np.maximum(a, 0.0))
    return a, np.maximum(b, 0.0)


def inverse_law(q2: FloatArray, rung_q2: FloatArray, rung_cost: FloatArray, steps: FloatArray) -> FloatArray:
    """1 / C = q^2 / (a q^2 + b A), A = mean of steps q^2 over the rungs; for q^2 < 0 its tangent at zero, q^2 / (b A)."""
    a, b = linear_cost(rung_cost, steps)
    amplitude = np.mean(rung_q2 * steps, axis=1)
    amplitude = np.maximum(amplitude, 1e-12 * np.max(np.abs(rung_q2 * steps), axis=1))
    return np.asarray(q2 / (a * np.maximum(q2, 0.0) + b * amplitude))


def inverse_interpolated(q2: FloatArray, rung_q2: FloatArray, rung_cost: FloatArray, exponents: Exponents) -> FloatArray:
    """1 / C linear in logs between the rungs; beyond them 1 / C ~ sign(q^2) |q^2|^p.

    A rung that costs more and errs no less than a cheaper one is passed over: it gets that one's error and cost. (q^2)^p has
    no finite slope at zero where p < 1; deterministic simulations, which need it, have no q^2 below zero.
    """
    order = np.argsort(rung_cost.mean(axis=0), kind="stable")
    cost = np.maximum.accumulate(rung_cost[:, order], axis=1)
    floor = 1e-12 * np.max(np.abs(rung_q2), axis=1, keepdims=True)
    error = np.minimum.accumulate(np.maximum(rung_q2[:, order], floor), axis=1)
    for k in range(1, error.shape[1]):
        cost[:, k] = np.where(error[:, k] < error[:, k - 1], cost[:, k], cost[:, k - 1])
    size = np.maximum(np.abs(q2), 1e-300)
    power = exponents.inverse
    end = np.where(q2 > error[:, -1], 0, -1)[:, None]  # which end to extrapolate from
    end_error, end_cost = (np.take_along_axis(x, end % x.shape[1], axis=1)[:, 0] for x in (error, cost))
    inverse = np.sign(q2) * (size / end_error) ** power / end_cost
    for k in range(error.shape[1] - 1):
        high, low = error[:, k], error[:, k + 1]
        here = (q2 <= high) & (q2 > low)
        width = np.where(high > low, np.log(high) - np.log(low), 1.0)
        share = (np.log(high) - np.log(size)) / width
        logs = (1.0 - share) * np.log(cost[:, k]) + share * np.log(cost[:, k + 1])
        inverse = np.where(here, np.exp(-logs), inverse)
    return np.asarray(inverse)
