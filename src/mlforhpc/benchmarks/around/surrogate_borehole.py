"""Is the installation right, and is a surrogate of a smooth function accurate and calibrated?

The 8-parameter borehole function costs nothing, so nothing can be gained: accuracy and coverage are reported, no gain, no rank.
100 noise-free runs of a Sobol design, a Gaussian process, 400 held-out points. The error is relative to the function's standard
deviation over its space, so that the mean predictor scores 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlforhpc.core.benchmark import Plan, SizeName
from mlforhpc.core.broker import Broker
from mlforhpc.core.check import Check
from mlforhpc.core.names import load
from mlforhpc.core.result import Result
from mlforhpc.core.seeds import derive
from mlforhpc.metrics import handcase
from mlforhpc.scenarios.judged_result import result
from mlforhpc.scenarios.judgement import judge
from mlforhpc.scenarios.referee import HeldOut, measure
from mlforhpc.scenarios.surrogate import surrogate

VERSION = "2"
CLASS = "around"
SOURCE = "Morris, Mitchell, Ylvisaker, Bayesian design and analysis of computer experiments, Technometrics 35, 1993"
RUNS = {"tiny": 40, "small": 100, "medium": 400, "large": 1000}
TARGET = {"tiny": 0.10, "small": 0.03, "medium": 0.006, "large": 0.003}
HELD_OUT = 400
PLANS = {
    size: Plan(core_min=core_min, memory_bytes=2**28, disk_bytes=2**22, machine="any")
    for size, core_min in (("tiny", 0.1), ("small", 0.3), ("medium", 10.0), ("large", 200.0))
}


def run(broker: Broker, *, referee: Broker, folder: Path, size: SizeName, seed: int) -> Result:
    """Learn the borehole function and judge the surrogate on held-out points."""
    simulation = load("simulations", "borehole").create()
    learner = load("learners", "gaussian_process").create()
    learned = surrogate(broker, simulation, budget=RUNS[size], learner=learner, seed=seed)
    u = np.random.default_rng(derive(seed, "held-out")).random((HELD_OUT, len(simulation.space)))
    held = HeldOut(x=simulation.space.decode(u), stratum=("all",) * HELD_OUT, weight=np.full(HELD_OUT, 1 / HELD_OUT))
    measured = measure(referee, simulation, held, fidelity=1.0, seed=seed)
    judged = judge(
        referee, learned, measured, learner=load("learners", "gaussian_process").create(folds=2), steps_at_full=1.0,
        reference_fidelity=1.0, folder=folder, seed=seed,
        smaller=[RUNS[size] // 4, RUNS[size] // 2],
    )  # fmt: skip
    found = result(judged, target=TARGET[size], installation=size == "tiny")
    return replace(found, verdict=replace(found.verdict, ranked=False))


def verify() -> Iterator[Check]:
    """The function against its formula as a chain of resistances, its scale, and the metric against cases worked by hand."""
    simulation = load("simulations", "borehole").create()
    x = simulation.space.decode(np.random.default_rng(0).random((20_000, 8)))
    common = {"settings": {}, "fidelity": 1.0, "seed": 0, "workdir": Path()}
    flow = np.array([simulation.simulate(simulation.space.point(row), **common).values["flow"] for row in x])
    rw, r, tu, hu, tl, hl, length, kw = x.T
    log = np.log(r) - np.log(rw)
    resistance = log / (2 * np.pi * tu) + length / (np.pi * rw**2 * kw) + log / (2 * np.pi * tl)  # upper aquifer, pipe, lower aquifer
    worst = float(np.abs(flow * resistance / (hu - hl) - 1).max())
    sentence = f"flow times the three resistances is the head, to {worst:.1e} (limit 1e-12)"
    yield Check(name="formula", passed=worst < 1e-12, found=worst, limit=1e-12, sentence=sentence)
    ratio = float(flow.std() / simulation.outputs[0].scale)
    sentence = f"standard deviation over the space / declared scale is {ratio:.3f} (1 within 0.02)"
    yield Check(name="scale", passed=abs(ratio - 1) < 0.02, found=ratio, limit=0.02, sentence=sentence)
    yield from handcase.checks()
