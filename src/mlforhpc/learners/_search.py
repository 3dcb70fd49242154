"""Hyperparameters: penalised restricted likelihood, by L-BFGS-B released in stages.

First one length for all inputs and the noise, then a length each, then growth. What the data say clearly is settled
before what they say faintly; released at once, the search more often ends in a poor optimum (borehole, OTL, piston and
wing weight from 50 runs: mean error 10 % larger).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from mlforhpc.core.space import FloatArray
from mlforhpc.learners._kernel import Singular, restricted_likelihood

FLOOR = 1e-10
"""Smallest nugget, relative to the variance of y."""
LENGTH, GROWTH = np.log([0.01, 200.0]), np.array([-2.0, 2.0])
VARIANCE, NOISE_SCALE, NUGGET = np.log([1e-4, 1e4]), np.log([1e-2, 1e2]), np.log([FLOOR, 4.0])


@dataclass(frozen=True, slots=True)
class Penalised:
    """-log of the restricted likelihood with the penalty of `prior`: u (n, d), y (n,), v (n,), h (n, p)."""

    u: FloatArray
    y: FloatArray
    v: FloatArray
    h: FloatArray

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient."""
        centre, width = prior(self.u.shape[1])
        z = (theta - centre) / width
        try:
            value, gradient = restricted_likelihood(theta, self.u, self.y, self.v, self.h)
        except Singular:
            return 1e25, np.zeros_like(theta)
        return value + 0.5 * float(z @ z), gradient + z / width

    def released(self, theta: FloatArray, directions: FloatArray) -> tuple[FloatArray, float]:
        """The best theta + directions @ step, inside the bounds, and its value; each column moves equal entries."""

        def along(step: FloatArray) -> tuple[float, FloatArray]:
            value, gradient = self(theta + directions @ step)
            return value, gradient @ directions

        d = self.u.shape[1]
        room = np.array([LENGTH] * d + [GROWTH] * d + [VARIANCE, NOISE_SCALE, NUGGET]) - theta[:, None]
        start = np.zeros(directions.shape[1])
        found = minimize(
            along,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=room[np.argmax(directions, axis=0)],
            options={"maxiter": 150, "ftol": 1e-7},
        )
        return theta + directions @ found.x, float(found.fun)


def hyperparameters(u: FloatArray, y: FloatArray, v: FloatArray, h: FloatArray, *, rng: np.random.Generator, starts: int) -> FloatArray:
    """The best theta (2 d + 3,) of a few starts: the best with one length, and random lengths around it."""
    d, objective = u.shape[1], Penalised(u, y, v, h)
    entries = np.eye(2 * d + 3)
    lengths, growth, noise = entries[:, :d], entries[:, d : 2 * d], entries[:, 2 * d :]
    first = prior(d)[0]
    first[:d] -= np.log(4.0)
    first[-1] = np.log(0.01)
    first, _ = objective.released(first, np.hstack([lengths.sum(axis=1, keepdims=True), noise]))
    best, best_value = first, np.inf
    for i in range(starts):
        theta = first.copy()
        if i:
            theta[:d] = np.clip(theta[:d] + rng.uniform(-1.5, 1.5, size=d), *LENGTH)
        theta, _ = objective.released(theta, np.hstack([lengths, noise]))
        theta, value = objective.released(theta, np.hstack([lengths, growth, noise]))
        if value < best_value:
            best, best_value = theta, value
    return best


def prior(d: int) -> tuple[FloatArray, FloatArray]:
    """Centre and width of the normal penalty on theta; lengths grow with sqrt(d), as distances in the cube do.

    Growth is kept small, the smaller the more inputs it could come from. Hvarfner, Hellsten & Nardi, Vanilla Bayesian
    Optimization Performs Great in High Dimensions, 2024.
    """
    centre = np.array([np.log(2.0) + 0.5 * np.log(d)] * d + [0.0] * d + [0.0, 0.0, np.log(1e-8)])
    width = np.array([3.0] * d + [min(0.5, 2.0 / d)] * d + [4.0, 1.0, 8.0])
    return centre, width
