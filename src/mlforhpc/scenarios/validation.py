"""Validation on held-out runs: how a user of the library knows what the surrogate is worth; charged like all runs.

    q^2 = mean over runs and arrays of [mean over elements of (p - r)^2 - se^2] / scale^2

With one run a point, the run's stated standard error is taken out; a benchmark's referee uses two runs instead,
which needs no error bar to be believed (DESIGN: "gain at equal quality").
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from mlforhpc.core.broker import Broker
from mlforhpc.core.learner import Dataset, Surrogate
from mlforhpc.core.record import Record
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.scenarios.relative import scale_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Error and coverage on held-out runs.

    Attributes:
        runs: held-out runs that succeeded.
        error: relative RMS error q, in [0, inf), the runs' own stated noise taken out (0 if that leaves nothing).
        worst: largest relative RMS error of a single run, noise included.
        coverage: share of output elements inside the 90 % interval for a run, in [0, 1].
        held: those runs.
    """

    runs: int
    error: float
    worst: float
    coverage: float
    held: Dataset


def validate(
    broker: Broker,
    simulation: Simulation,
    surrogate: Surrogate,
    *,
    runs: int,
    run: Callable[..., Future[Record]],
    fidelity: float,
    seed: int,
) -> Validation:
    """Simulate `runs` fresh points (Sobol, own seed) and compare."""
    design = qmc.Sobol(len(simulation.space), rng=np.random.default_rng(seed)).random(1 << (runs - 1).bit_length())[:runs]
    points = [simulation.space.point(row) for row in simulation.space.decode(design)]
    futures = [run(x, fidelity=fidelity, seed=derive(seed, i), label=f"held-out {i}") for i, x in enumerate(points)]
    data = Dataset.of_records(simulation, [f.result() for f in futures])
    held = data.rows(data.ok)
    found = compare(surrogate, held)
    broker.quality(error=found.error, worst=found.worst, coverage=found.coverage, keys=list(held.keys))
    return found


def compare(surrogate: Surrogate, held: Dataset) -> Validation:
    """A surrogate against runs that it has not seen."""
    if not len(held):
        return Validation(runs=0, error=float("nan"), worst=float("nan"), coverage=float("nan"), held=held)
    p = surrogate.predict(held.x, coverage=0.9, of="run")
    squared, noise, inside = [], [], []
    for output in held.outputs:
        r, mean = held.y[output.name], p.mean[output.name]
        inside.append(((r >= p.lower[output.name]) & (r <= p.upper[output.name])).mean(axis=tuple(range(1, r.ndim))))
        if output.derived:
            continue
        scale = np.array([scale_of(output, one) for one in r])  # (n,)
        se = np.nan_to_num(held.y_se.get(output.name, np.zeros_like(r)))
        squared.append(((mean - r) ** 2).reshape(len(held), -1).mean(1) / scale**2)
        noise.append((se**2).reshape(len(held), -1).mean(1) / scale**2)
    total = np.mean(squared, axis=0)  # (n,)
    return Validation(
        runs=len(held),
        error=float(np.sqrt(max(0.0, (total - np.mean(noise, axis=0)).mean()))),
        worst=float(np.sqrt(total.max())),
        coverage=float(np.mean(inside)),
        held=held,
    )
