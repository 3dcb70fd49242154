"""One fit, timed the same way for ours and for every peer; runs in either environment, so NumPy only.

fit(x, y, seed) -> predict,   predict(x) -> mean, lower, upper   (90 % interval for an observation)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Answer = tuple[np.ndarray, np.ndarray, np.ndarray]
Predict = Callable[[np.ndarray], Answer]
Fit = Callable[..., Predict]

NORMAL_90 = 1.6448536269514722
SINGLE_CALLS = 101
SINGLE_LIMIT_S = 3.0
"""The median latency is that of so many calls, or of those that fit into this time (20 at least)."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one method did with one design.

    Attributes:
        mean, lower, upper: at the test points, (t,) or (t, m).
        times: CSV column -> value.
    """

    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    times: dict[str, float]


def measure(fit: Fit, x: np.ndarray, y: np.ndarray, test: np.ndarray, many: np.ndarray, *, seed: int) -> Measured:
    """Fit, answer at all test points, then one point at a time, then all of `many` at once.

    In CPU time of the process, because the machine may be shared; with one thread on a quiet machine it is the wall time.
    """
    begin = time.process_time()
    predict = fit(x, y, seed=seed)
    times = {"fit_cpu_s": time.process_time() - begin}
    mean, lower, upper = predict(test)
    times["latency_p50_cpu_ms"] = 1e3 * float(np.median(_single(predict, test)))
    begin = time.process_time()
    predict(many)
    times[f"answers_{len(many)}_cpu_s"] = time.process_time() - begin
    return Measured(mean=mean, lower=lower, upper=upper, times=times)


def _single(predict: Predict, points: np.ndarray) -> list[float]:
    for i in range(5):
        predict(points[i : i + 1])
    found: list[float] = []
    while len(found) < 20 or (len(found) < SINGLE_CALLS and sum(found) < SINGLE_LIMIT_S):
        i = len(found)
        before = time.process_time()
        predict(points[i : i + 1])
        found.append(time.process_time() - before)
    return found
