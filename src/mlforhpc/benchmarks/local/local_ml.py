"""How well does this engine launch thousands of small independent fits, and how long must a fit be for the launching not to matter?

Capacity rather than capability: the launcher's speed, and the speed of each fit on its slot.
Fits:       scikit-learn families on tables of the suite's own simulations (300 runs each), sized for 1 ms to 1 s on one core.
Launched:   one task a fit; the table travels with each task, or is shared once and travels as a reference.
Quality:    every score equals, to the last bit, that of the same fit in a plain loop.
Baseline:   the same fits in plain loops, as many side by side as there are slots, BLAS on one thread, in turn with the launched ones.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from mlforhpc.benchmarks.local import _fits
from mlforhpc.core.benchmark import Plan, SizeName
from mlforhpc.core.broker import Broker
from mlforhpc.core.check import Check
from mlforhpc.core.names import load
from mlforhpc.core.result import Result
from mlforhpc.metrics.launchingcase import checks
from mlforhpc.scenarios.launching import Effort, Fits, Way, launch
from mlforhpc.scenarios.launching_result import result
from mlforhpc.scenarios.launching_tasks import Fit, simulated, timed

VERSION = "1"
CLASS = "local"
SOURCE = "Fox, Jha, Learning Everywhere: A Taxonomy for the Integration of Machine Learning and Simulations, eScience 2019"
TARGET = {"tiny": 0.0, "small": 0.0, "medium": 0.0}
EFFORTS = {
    "tiny": Effort(fits={1: 20, 3: 10, 10: 6, 30: 4, 100: 2}, rounds=3, trips=50, launches=200, each=1),
    "small": Effort(
        fits={1: 200, 3: 100, 10: 40, 30: 20, 100: 8, 300: 4, 1000: 2}, rounds=10, trips=100, launches=2_000, each=1
    ),
    "medium": Effort(
        fits={1: 2_000, 3: 1_000, 10: 400, 30: 200, 100: 80, 300: 40, 1000: 20}, rounds=20, trips=500, launches=20_000, each=4
    ),
}  # fmt: skip
PLANS = {
    "tiny": Plan(core_min=0.2, memory_bytes=2**29, disk_bytes=2**22, machine="any"),
    "small": Plan(core_min=4.0, memory_bytes=2**29, disk_bytes=2**25, machine="up to 16 slots"),
    "medium": Plan(core_min=60.0, memory_bytes=2**34, disk_bytes=2**28, machine="a many-core node"),
}
REFERENCES = ("Pedregosa et al., Scikit-learn: Machine Learning in Python, Journal of Machine Learning Research 12, 2825-2830, 2011",)


def _fits_of(length_ms: int, fit: Fit, simulation: str, size: int, least_score: float) -> Fits:
    ways = (Way(label="by value", fit=fit), Way(label="by reference", fit=fit, by_reference=True))
    name = fit.__name__.replace("_", " ")
    return Fits(
        length_ms=length_ms, family=name, simulation=simulation, size=size, least_score=least_score, loop=partial(timed, fit), ways=ways
    )


FITS = (
    _fits_of(1, _fits.ridge, "borehole", 1, 0.9),
    _fits_of(3, _fits.logistic, "piston", 1, 0.9),
    _fits_of(10, _fits.support_vectors, "otl_circuit", 10, 0.9),
    _fits_of(30, _fits.gaussian_process, "friedman", 4, 0.9),
    _fits_of(100, _fits.forest, "wing_weight", 90, 0.7),
    _fits_of(300, _fits.network, "borehole", 600, 0.9),
    _fits_of(1000, _fits.forest, "piston", 900, 0.7),
)


def run(broker: Broker, *, referee: Broker, folder: Path, size: SizeName, seed: int) -> Result:
    """Launch the fits in every way, beside the plain loops, and compare scores and times."""
    launched = launch(broker, FITS, EFFORTS[size], referee=referee, seed=seed)
    simulations = [load("simulations", name).create() for name in dict.fromkeys(one.simulation for one in launched.fits)]
    references = [*REFERENCES, *(line for simulation in simulations for line in simulation.references)]
    versions = {"scikit-learn": importlib.metadata.version("scikit-learn")}
    return result(launched, target=TARGET[size], installation=size == "tiny", folder=folder, references=references, versions=versions)


def verify() -> Iterator[Check]:
    """A fit against its closed form, the plain loop's clock against a known time, the metrics against cases worked by hand."""
    table = simulated("borehole", 300, 0)
    x, y, unseen, wanted = _fits.split(table, 7)
    centred, mean = x - x.mean(axis=0), y.mean()
    weights = np.linalg.solve(centred.T @ centred + _fits.ALPHA * np.eye(x.shape[1]), centred.T @ (y - mean))
    residual = wanted - (mean + (unseen - x.mean(axis=0)) @ weights)
    closed = 1.0 - float(residual @ residual) / float(((wanted - wanted.mean()) ** 2).sum())
    away = abs(_fits.ridge(table, 1, 7) - closed)
    sentence = f"ridge scores {closed:.6f}, as the normal equations do, to {away:.1e} (limit 1e-10)"
    yield Check(name="ridge", passed=away < 1e-10, found=away, limit=1e-10, sentence=sentence)

    def sleeping(table: object, size: int, seed: int) -> float:
        time.sleep(0.02)
        return float(seed)

    (score, took_s), *_ = timed(sleeping, table, 1, [3, 4])
    sentence = f"a fit of 20 ms takes {1e3 * took_s:.1f} ms in the plain loop (20 to 200)"
    yield Check(name="clock", passed=score == 3.0 and 0.02 <= took_s < 0.2, found=took_s, limit=0.02, sentence=sentence)
    yield from checks()
