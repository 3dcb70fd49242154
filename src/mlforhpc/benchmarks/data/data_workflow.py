"""How close does an engine come to the shortest time in which a task graph can be run, and down to which task length?

Graphs:     chain, fan-out/fan-in, diamond (wavefront), random layered (uneven tasks), of tasks that compute for 0.1 to 100 ms.
Tasks:      a chaotic map in correctly rounded arithmetic, as often as its calibrated speed asks for; each starts from its parents' values.
Quality:    every value of every graph in every round equals that of a serial evaluation, to the last bit.
Measured:   makespan over max(critical path, work / slots) of the task lengths measured on the workers; overhead per task; utilization.
Baseline:   the bound itself, and the first-come-first-served schedule of the same lengths without overhead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlforhpc.core.benchmark import Plan, SizeName
from mlforhpc.core.broker import Broker
from mlforhpc.core.check import Check
from mlforhpc.core.result import Result
from mlforhpc.core.seeds import derive
from mlforhpc.metrics import graph_truths
from mlforhpc.scenarios import measured_compute
from mlforhpc.scenarios.graph_result import result
from mlforhpc.scenarios.graph_rounds import measure
from mlforhpc.scenarios.task_graphs import Shape, chain, diamond, fan, layered

VERSION = "1"
CLASS = "data"
SOURCE = "Families and granularity after Slaughter et al., Task Bench, SC20, 2020, doi 10.1109/SC41405.2020.00066"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Set-up of one size.

    Attributes:
        tasks: of the chain.
        width, stages: of the fans.
        side: of the diamond.
        layers, across: of the random layers.
        lengths_s: asked of the tasks.
        rounds: of all graphs at each length; the range of six holds the median in 97 of 100 cases.
    """

    tasks: int
    width: int
    stages: int
    side: int
    layers: int
    across: int
    lengths_s: tuple[float, ...]
    rounds: int


SIZES = {
    "tiny": Size(tasks=12, width=8, stages=1, side=4, layers=4, across=4, lengths_s=(0.001, 0.01), rounds=2),
    "small": Size(tasks=30, width=20, stages=2, side=6, layers=6, across=6, lengths_s=(0.0001, 0.001, 0.01, 0.1), rounds=6),
    "medium": Size(tasks=200, width=256, stages=4, side=32, layers=16, across=64, lengths_s=(0.0001, 0.001, 0.01, 0.1), rounds=6),
}
TARGET = {"tiny": 0.0, "small": 0.0, "medium": 0.0}
PLANS = {
    "tiny": Plan(core_min=0.05, memory_bytes=2**28, disk_bytes=2**20, machine="any"),
    "small": Plan(core_min=2.5, memory_bytes=2**28, disk_bytes=2**22, machine="any"),
    "medium": Plan(core_min=50.0, memory_bytes=2**29, disk_bytes=2**26, machine="a node or a cluster"),
}


def run(broker: Broker, *, referee: Broker, folder: Path, size: SizeName, seed: int) -> Result:
    """Run the graphs in rounds and hold them against the bound."""
    setup = SIZES[size]
    measured = measure(broker, referee, shapes(setup, seed), lengths_s=setup.lengths_s, rounds=setup.rounds, folder=folder)
    return result(measured, target=TARGET[size])


def shapes(setup: Size, seed: int) -> list[Shape]:
    """The graphs of a size."""
    return [
        chain(setup.tasks),
        fan(setup.width, setup.stages),
        diamond(setup.side),
        layered(setup.layers, setup.across, seed=derive(seed, "layered")),
    ]


def verify() -> Iterator[Check]:
    """Critical path, bounds and schedules against hand and brute force; the kernel's every bit; and whether a broken dependence shows."""
    yield from graph_truths.checks()
    off = sum(_by_hand(task, 3, *above) != measured_compute.compute(task, 3, *above) for task, above in ((0, ()), (5, (0.25, 0.75))))
    sentence = f"{off} of 2 values of the kernel differ from plain Python arithmetic, lane by lane (limit 0)"
    yield Check(name="kernel", passed=off == 0, found=float(off), limit=0.0, sentence=sentence)
    unseen = sum(_unseen(shape) for shape in shapes(SIZES["tiny"], 0))
    sentence = f"of the dependences of all graphs, {unseen} can be left out or turned round without another final value (limit 0)"
    yield Check(name="every dependence shows", passed=unseen == 0, found=float(unseen), limit=0.0, sentence=sentence)


def _by_hand(task: int, repeats: int, *parents: float) -> float:
    """The kernel in Python's own floats and integers."""
    begin, bits = measured_compute.start(task, parents), 0
    for lane in range(measured_compute.LANES):
        x = begin * ((measured_compute.LANES + lane) / (2 * measured_compute.LANES))
        for _ in range(repeats):
            x = x * (1.0 - x) * measured_compute.RATE
        bits ^= int(np.float64(x).view(np.uint64))
    return (bits & (2**53 - 1)) * 2.0**-53


def _unseen(shape: Shape) -> int:
    """How many dependences of a graph can be left out, or its parents be swapped, without a change of any value."""
    repeats, unseen = [2] * len(shape.parents), 0
    right = measured_compute.evaluate(shape.parents, repeats)
    for task, above in enumerate(shape.parents):
        variants = [(*above[:i], *above[i + 1 :]) for i in range(len(above))] + ([above[::-1]] if len(above) > 1 else [])
        for variant in variants:
            values = measured_compute.evaluate([*shape.parents[:task], variant, *shape.parents[task + 1 :]], repeats)
            unseen += values[task] == right[task]
    return unseen
