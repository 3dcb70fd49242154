"""How well does this engine launch small fits of R, one `Rscript` each or in an R process that stays, and how long must a fit be?

Fits:       glm and randomForest on tables of the suite's own simulations (300 runs each), sized for 2 ms to 1 s on one core.
Launched:   one task a fit, in an R process that lives as long as its slot, the table by value or by reference; or `Rscript` for each.
Quality:    every score equals, to the last bit, that of the same fit in a plain loop of R.
Baseline:   the same fits in plain loops inside warm R processes, as many as there are slots, timed by R, in turn with the launched ones.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from mlforhpc.benchmarks.local import _r
from mlforhpc.core.benchmark import Plan, SizeName
from mlforhpc.core.broker import Broker
from mlforhpc.core.check import Check
from mlforhpc.core.names import load
from mlforhpc.core.result import Result
from mlforhpc.core.space import FloatArray
from mlforhpc.metrics.launchingcase import checks
from mlforhpc.scenarios.launching import Effort, Fits, Way, launch
from mlforhpc.scenarios.launching_result import result
from mlforhpc.scenarios.launching_tasks import Fit, simulated

VERSION = "1"
CLASS = "local"
SOURCE = "Fox, Jha, Learning Everywhere: A Taxonomy for the Integration of Machine Learning and Simulations, eScience 2019"
TARGET = {"tiny": 0.0, "small": 0.0, "medium": 0.0}
EFFORTS = {
    "tiny": Effort(fits={2: 12, 10: 6, 30: 4, 100: 2}, rounds=2, trips=50, launches=200, each=1),
    "small": Effort(
        fits={2: 100, 3: 80, 10: 40, 30: 20, 100: 8, 300: 4, 1000: 2}, rounds=10, trips=100, launches=2_000, each=1
    ),
    "medium": Effort(
        fits={2: 1_000, 3: 800, 10: 400, 30: 200, 100: 80, 300: 40, 1000: 20}, rounds=20, trips=500, launches=20_000, each=4
    ),
}  # fmt: skip
PLANS = {
    "tiny": Plan(core_min=0.3, memory_bytes=2**29, disk_bytes=2**22, machine="any"),
    "small": Plan(core_min=4.0, memory_bytes=2**29, disk_bytes=2**25, machine="up to 16 slots"),
    "medium": Plan(core_min=60.0, memory_bytes=2**34, disk_bytes=2**28, machine="a many-core node"),
}
VERSIONS = _r.versions()  # here, so that the benchmark is skipped where R is not installed
REFERENCES = (
    "R Core Team, R: A Language and Environment for Statistical Computing, R Foundation for Statistical Computing, Vienna",
    "Liaw, Wiener, Classification and Regression by randomForest, R News 2(3), 18-22, 2002",
)


def _fits_of(length_ms: int, fit: Fit, simulation: str, size: int, least_score: float) -> Fits:
    family = fit.__name__
    ways = (
        Way(label="R that stays, by value", fit=fit),
        Way(label="R that stays, by reference", fit=fit, by_reference=True),
        Way(label="Rscript a fit", fit=partial(_r.script, family), most_a_slot=1),
    )
    loop = partial(_r.loop, family)
    return Fits(length_ms=length_ms, family=family, simulation=simulation, size=size, least_score=least_score, loop=loop, ways=ways)


FITS = (
    _fits_of(2, _r.linear, "borehole", 1, 0.9),
    _fits_of(3, _r.logistic, "piston", 1, 0.9),
    _fits_of(10, _r.forest, "friedman", 30, 0.5),
    _fits_of(30, _r.forest, "wing_weight", 100, 0.7),
    _fits_of(100, _r.forest, "borehole", 440, 0.7),
    _fits_of(300, _r.forest, "piston", 1300, 0.7),
    _fits_of(1000, _r.forest, "otl_circuit", 5000, 0.7),
)


def run(broker: Broker, *, referee: Broker, folder: Path, size: SizeName, seed: int) -> Result:
    """Launch the fits in every way, beside the plain loops, and compare scores and times."""
    launched = launch(broker, FITS, EFFORTS[size], referee=referee, seed=seed)
    for future in [broker.submit("prepare", _r.end) for _ in range(broker.slots)]:
        future.result()
    simulations = [load("simulations", name).create() for name in dict.fromkeys(one.simulation for one in launched.fits)]
    references = [*REFERENCES, *(line for simulation in simulations for line in simulation.references)]
    return result(launched, target=TARGET[size], installation=size == "tiny", folder=folder, references=references, versions=VERSIONS)


def verify() -> Iterator[Check]:
    """A fit against its closed form, the ways of asking R against each other, the metrics against cases worked by hand."""
    table, seed = simulated("borehole", 300, 0), 7
    drawn = subprocess.run(
        ["Rscript", "--vanilla", "-e", f"set.seed({seed}); cat(sample.int({len(table)}))"], capture_output=True, text=True, check=True
    )
    closed = _least_squares(table[np.array(drawn.stdout.split(), dtype=int) - 1])
    (score, took_s), *_ = _r.loop("linear", table, 1, [seed, seed + 1])
    away = abs(score - closed)
    sentence = f"glm scores {score:.6f}, as least squares do, to {away:.1e} (limit 1e-10)"
    yield Check(name="glm", passed=away < 1e-10 and 0 < took_s < 1, found=away, limit=1e-10, sentence=sentence)
    for family in _r.FAMILIES:
        (asked, _), *_ = _r.loop(family, table, 20, [seed, seed + 1])
        away = abs(asked - _r.script(family, table, 20, seed))
        sentence = f"{family}: Rscript and the loop differ by {away:.1e} (limit 0)"
        yield Check(name=f"{family} alone", passed=away == 0.0, found=away, limit=0.0, sentence=sentence)
    yield from checks()


def _least_squares(rows: FloatArray) -> float:
    """R2 on the last quarter of the rows of a linear fit to the others."""
    x = np.column_stack([np.ones(len(rows)), rows[:, :-1]])
    n = 3 * len(rows) // 4
    residual = rows[n:, -1] - x[n:] @ np.linalg.lstsq(x[:n], rows[:n, -1])[0]
    return 1.0 - float(residual @ residual) / float(((rows[n:, -1] - rows[n:, -1].mean()) ** 2).sum())
