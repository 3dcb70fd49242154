"""What the launching scenario runs in slots: nothing, a table of simulations, fits in a plain loop, and a look at the threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mlforhpc.core.engine import Ref
from mlforhpc.core.names import load
from mlforhpc.core.shared import read
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray

Fit: TypeAlias = Callable[[FloatArray | Ref, int, int], float]
"""(table, size, seed) -> score."""


def nothing() -> None:
    """The shortest task there is."""


def simulated(name: str, rows: int, seed: int) -> FloatArray:
    """A table of a suite's own simulation: parameters in the unit cube, and its first output (rows, d + 1)."""
    simulation: Simulation = load("simulations", name).create()
    u = np.random.default_rng(seed).random((rows, len(simulation.space)))
    first = simulation.outputs[0].name

    def output(row: FloatArray) -> float:
        point = simulation.space.point(row)
        return float(simulation.simulate(point, settings={}, fidelity=1.0, seed=0, workdir=Path()).values[first])

    x = simulation.space.decode(u)
    return np.column_stack([u, [output(row) for row in x]])


def arrived(table: FloatArray | Ref) -> FloatArray:
    """The table as a task got it: by value, or by reference."""
    return read(table) if isinstance(table, Ref) else table


def timed(fit: Fit, table: FloatArray, size: int, seeds: Sequence[int]) -> list[tuple[float, float]]:
    """The bare loop: (score, seconds) of each fit, one after another in one process."""
    found = []
    for seed in seeds:
        began = time.perf_counter()
        score = fit(table, size, seed)
        found.append((score, time.perf_counter() - began))
    return found


def threads() -> int:
    """The most threads that a numerical library of this slot, or a subprocess of it, would use."""
    import threadpoolctl

    told = int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1
    return max([told, *(int(library["num_threads"]) for library in threadpoolctl.threadpool_info())])
