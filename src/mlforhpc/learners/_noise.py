"""How large the stated standard error of a run will be: log se^2 as a quadratic in the inputs, by ridge regression.

An interval for a run that was not made needs it. The standard errors of Monte Carlo and molecular dynamics fall with
the square root of the fidelity, so it is fitted to se^2 x fidelity.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.space import FloatArray

MOST_QUADRATIC = 8
"""With more inputs than this, the logarithm is linear in them."""
RIDGE = 1.0


def features(u: FloatArray) -> FloatArray:
    """1, centred inputs and, if they are few, their products: (n, f)."""
    c = 2.0 * u - 1.0
    columns = [np.ones((len(u), 1)), c]
    d = u.shape[1]
    if d <= MOST_QUADRATIC:
        i, j = pairs(d)
        columns.append(c[:, i] * c[:, j])
    return np.hstack(columns)


@cache
def pairs(d: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the products of d inputs, each once."""
    i, j = np.triu_indices(d)
    return i, j


def fit_noise(u: FloatArray, se2: FloatArray, fidelity: FloatArray) -> FloatArray:
    """Coefficients (f, m) of log(se^2 x fidelity); se2 (n, m)."""
    at_one = se2 * fidelity[:, None]
    floor = 1e-6 * at_one.mean(axis=0) + 1e-300
    target = np.log(np.maximum(at_one, floor))  # (n, m)
    h = features(u)
    level = target.mean(axis=0)
    penalty = RIDGE * np.eye(h.shape[1])
    coefficients: FloatArray = np.linalg.solve(h.T @ h + penalty, h.T @ (target - level))
    coefficients[0] += level
    fitted = np.exp(h @ coefficients)
    coefficients[0] += np.log((at_one.mean(axis=0) + 1e-300) / (fitted.mean(axis=0) + 1e-300))
    return coefficients


def predict_noise(u: FloatArray, coefficients: FloatArray) -> FloatArray:
    """se^2 of a run of fidelity 1, (n, m)."""
    log_se2 = features(u) @ coefficients
    return np.exp(log_se2, out=log_se2)
