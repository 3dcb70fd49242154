"""How fast do surrogates answer under MLPerf LoadGen, one at a time, as they arrive and in batches, by which backend and over HTTP?

Surrogates: a Gaussian process of one number, an ensemble of networks of a profile, learned in the run from the suite's simulations.
Backends:   NumPy (the reference), ONNX Runtime, OpenVINO, PyTorch; one thread each, in a process of its own. Over HTTP: `mlforhpc serve`.
Scenarios:  SingleStream, Server (Poisson arrivals, 99 % within a bound), Offline by batch size; the verdict is LoadGen's own.
Quality:    every backend keeps its stated precision, in a check before and in the responses of LoadGen's queries.
Baseline:   the call in the same process, one sample at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlforhpc.core.benchmark import Plan, SizeName
from mlforhpc.core.broker import Broker
from mlforhpc.core.check import Check
from mlforhpc.core.names import load
from mlforhpc.core.result import Result
from mlforhpc.learners import gaussian_process, network
from mlforhpc.scenarios.inference import Case, infer
from mlforhpc.scenarios.inference_job import Load
from mlforhpc.scenarios.inference_result import result
from mlforhpc.scenarios.inference_truths import checks

VERSION = "1"
CLASS = "broker"
SOURCE = "Scenarios and rules after Reddi et al., MLPerf Inference Benchmark, ISCA 2020, doi 10.1109/ISCA45697.2020.00045"
QUERIES = {"SingleStream": 64, "Server": 460}  # what LoadGen's early stopping needs
SHARES = (0.9, 0.7, 0.5, 0.3, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Set-up of one size.

    Attributes:
        load: how LoadGen drives.
        runs: of each simulation.
        server: whether the server is asked, too.
        folds, hidden, members, updates: of the learners; None as the learner chooses.
    """

    load: Load
    runs: Mapping[str, int]
    server: bool = True
    folds: int
    hidden: tuple[int, ...]
    members: int
    updates: int | None


def _load(duration_s: float, calibration_s: float, queries: int, batches: tuple[int, ...] = (1, 16, 256)) -> Load:
    least = {scenario: max(n, queries) for scenario, n in QUERIES.items()}
    return Load(duration_s=duration_s, calibration_s=calibration_s, queries=least, batches=batches, shares=SHARES, bound_s=0.015)


def _full(load: Load) -> Size:
    return Size(load=load, runs={"borehole": 100, "environmental": 200}, folds=5, hidden=(64, 64, 64), members=5, updates=None)


SIZES = {
    "tiny": Size(
        load=Load(duration_s=0.05, calibration_s=0.05, queries={}, batches=(1, 16), shares=SHARES[2:3], bound_s=0.1),
        runs={"borehole": 24, "environmental": 24}, server=False, folds=2, hidden=(16, 16), members=2, updates=20,
    ),
    "small": _full(_load(2.0, 1.0, 0)),
    "medium": _full(_load(10.0, 1.0, 100)),  # LoadGen's own durations and queries
    "large": _full(_load(600.0, 1.0, 100)),  # those of a closed MLPerf submission
}  # fmt: skip
TARGET = {"tiny": 0.0, "small": 0.0, "medium": 0.0, "large": 0.0}
PLANS = {
    "tiny": Plan(core_min=0.3, memory_bytes=2**30, disk_bytes=2**24, machine="any"),
    "small": Plan(core_min=7.0, memory_bytes=2**30, disk_bytes=2**25, machine="any, with a core to spare"),
    "medium": Plan(core_min=30.0, memory_bytes=2**31, disk_bytes=2**26, machine="any, with a core to spare"),
    "large": Plan(core_min=1000.0, memory_bytes=2**34, disk_bytes=2**28, machine="a node of its own"),
}


def cases(size: Size) -> list[Case]:
    """What is learned and served; float32 loses five digits in a Gaussian process' sums over its runs."""
    runs = size.runs
    process = gaussian_process.create(folds=size.folds)
    networks = network.create(hidden=size.hidden, members=size.members, folds=size.folds, updates=size.updates)
    found = [
        Case(name="borehole, gaussian process", simulation="borehole", learner=process, runs=runs["borehole"], needs_float64=True),
        Case(name="environmental, network", simulation="environmental", learner=networks, runs=runs["environmental"]),
    ]
    by_server = Case(name="borehole, by the server", simulation="borehole", learner=None, runs=runs["borehole"])
    return [*found, by_server] if size.server else found


def run(broker: Broker, *, referee: Broker, folder: Path, size: SizeName, seed: int) -> Result:
    """Learn, serve and judge."""
    setup, tiny = SIZES[size], size == "tiny"
    found = infer(broker, cases(setup), setup.load, folder=folder, seed=seed, alone=not tiny)
    references = [line for case in cases(setup) for line in load("simulations", case.simulation).create().references]
    return result(found, target=TARGET[size], installation=tiny, references=references)


def verify() -> Iterator[Check]:
    """Exported graphs against a prediction by hand, a coarse backend, LoadGen's log and its verdict."""
    yield from checks()
