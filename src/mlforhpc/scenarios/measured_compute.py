"""Compute of a given length whose result needs every bit of its arguments, so that no engine can skip, swap or change one unseen.

    x <- 3.99 x (1 - x)  on 2,048 lanes, `repeats` times: chaotic, and of operations that IEEE 754 rounds correctly, one by one,
so that every processor gives the same bits. Lanes start from the task's number and its parents' values, mixed in order; the value is
the exclusive or of all lanes' mantissas. The length is that of `repeats`, calibrated once a run; what counts is measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from mlforhpc.core.space import FloatArray

LANES = 2048
RATE = 3.99
_SPREAD = (LANES + np.arange(LANES)) / (2 * LANES)  # (LANES,) in [1/2, 1), exact
_BITS = 2**53 - 1
_ODD = 6364136223846793005  # Knuth's multiplier; as it is odd, modulo 2^53 no two numbers become one
_LONG_ENOUGH_S = 0.02


def compute(task: int, repeats: int, *parents: float) -> float:
    """The value of a task, in [0, 1)."""
    x = start(task, parents) * _SPREAD  # (LANES,)
    rest = np.empty_like(x)
    for _ in range(repeats):
        np.subtract(1.0, x, out=rest)
        np.multiply(x, rest, out=x)
        np.multiply(x, RATE, out=x)
    return folded(x)


def start(task: int, parents: Sequence[float]) -> float:
    """Where the lanes begin, in [0, 1): every bit of every parent's value, and their order, counts."""
    z = task + 1
    for number in (0, *(int(value * 2.0**53) for value in parents)):
        z = (z * _ODD + number) & _BITS
        z ^= z >> 26
    return z * 2.0**-53


def folded(x: FloatArray) -> float:
    """All lanes (LANES,) in one number of [0, 1)."""
    return (int(np.bitwise_xor.reduce(x.view(np.uint64))) & _BITS) * 2.0**-53


def evaluate(parents: Sequence[Sequence[int]], repeats: Sequence[int]) -> list[float]:
    """The values of all tasks of a graph, one after another in a plain loop: the truth that a run of the graph is held against."""
    values: list[float] = []
    for task, above in enumerate(parents):
        values.append(compute(task, repeats[task], *(values[parent] for parent in above)))
    return values


def calibrate() -> float:
    """Seconds a repeat, here and now, alone: the quickest of five."""
    repeats, took_s = 64, 0.0
    while took_s < _LONG_ENOUGH_S:
        repeats *= 2
        took_s = _timed(repeats)
    return min(_timed(repeats) for _ in range(5)) / repeats


def _timed(repeats: int) -> float:
    begin = time.perf_counter()
    compute(0, repeats)
    return time.perf_counter() - begin
