"""The problems that surrogates are compared on: one cell is a function, a design of N runs and what it is judged by.

Designs are scipy's Latin hypercubes, test points uniform; a seed decides both, and the noise. Every method gets the same.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import qmc

from mlforhpc.core.learner import Dataset
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.simulations import borehole, environmental, friedman, otl_circuit, piston, wing_weight
from peers.measuring import Measured

FUNCTIONS: dict[str, Simulation] = {
    "borehole": borehole.create(),
    "otl_circuit": otl_circuit.create(),
    "piston": piston.create(),
    "wing_weight": wing_weight.create(),
    "friedman_noisy": friedman.create(noise=1.0),
    "environmental": environmental.create(),
}
SMOOTH = ("borehole", "otl_circuit", "piston", "wing_weight")
NOISY = {"friedman_noisy": friedman.create()}  # without its noise
SIZES = (50, 100, 200, 400)
SEEDS = 20
TEST_POINTS = 5000
MANY_POINTS = 10_000
ALPHA = 0.1


@dataclass(frozen=True, order=True)
class Key:
    """One cell and the method that it is measured with."""

    function: str
    method: str
    n: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Test:
    """What a method is judged by.

    Attributes:
        u, many: points in the unit cube (t, d), (10_000, d).
        truth: without noise (t,) or (t, m).
        observed: what an interval for an observation is to cover, of the same shape; the truth where nothing is noisy.
        spread: standard deviation of the truth, about the mean profile.
    """

    u: np.ndarray
    many: np.ndarray
    truth: np.ndarray
    observed: np.ndarray
    spread: float


@functools.lru_cache(maxsize=8)
def held_out(function: str, seed: int) -> Test:
    """The test of one seed, the same for all sizes of design."""
    simulation = FUNCTIONS[function]
    rng = np.random.default_rng(derive(seed, "test points"))
    u = rng.random((TEST_POINTS, len(simulation.space)))
    many = rng.random((MANY_POINTS, len(simulation.space)))
    observed = runs(simulation, u, derive(seed, "test noise"))
    truth = runs(NOISY[function], u, 0) if function in NOISY else observed
    spread = float(np.sqrt(np.mean((truth - truth.mean(axis=0)) ** 2)))
    return Test(u=u, many=many, truth=truth, observed=observed, spread=spread)


def design(function: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs in the unit cube (n, d) and outputs (n,) or (n, m) of one training set."""
    simulation = FUNCTIONS[function]
    u = qmc.LatinHypercube(len(simulation.space), rng=seed).random(n)
    return u, runs(simulation, u, derive(seed, "training noise"))


def runs(simulation: Simulation, u: np.ndarray, seed: int) -> np.ndarray:
    """One run a point; arrays are flattened. Standard errors are dropped: no method is told how large the noise is."""
    name = simulation.outputs[0].name
    points = [simulation.space.point(row) for row in simulation.space.decode(u)]
    seeds = [derive(seed, i) for i in range(len(points))]
    found = [
        simulation.simulate(point, settings={}, fidelity=1.0, seed=s, workdir=Path()).values[name]
        for point, s in zip(points, seeds, strict=True)
    ]
    y = np.array(found)
    return y if y.ndim == 1 else y.reshape(len(y), -1)


def dataset(simulation: Simulation, x: np.ndarray, y: np.ndarray) -> Dataset:
    """Runs at x (n, d), in physical units, that gave y (n, *shape) and state no standard errors."""
    n, name = len(x), simulation.outputs[0].name
    return Dataset(
        space=simulation.space,
        outputs=simulation.outputs,
        x=x,
        y={name: y},
        y_se={},
        outcome=("ok",) * n,
        fidelity=np.ones(n),
        cost_s=np.ones(n),
    )


def scores(found: Measured, test: Test) -> dict[str, float]:
    """Error, coverage of the 90 % interval, and its mean interval score (Gneiting & Raftery, doi:10.1198/016214506000001437)."""
    y, lower, upper = test.observed, found.lower, found.upper
    score = upper - lower + 2 / ALPHA * (np.maximum(lower - y, 0) + np.maximum(y - upper, 0))
    return {
        "nrmse": float(np.sqrt(np.mean((found.mean - test.truth) ** 2))) / test.spread,
        "coverage_90": float(np.mean((lower <= y) & (y <= upper))),
        "interval_score": float(np.mean(score)) / test.spread,
    }
