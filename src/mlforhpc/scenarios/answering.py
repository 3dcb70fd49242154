"""Scenario `answering`: is the promise kept, how quickly does a server answer under load, and does it pay? Streams of requests to `online`.

A stream is one law of the gate on one case of requests, followed against the exact truth from an empty store, as a task of its own. Growth
is the same scenario on the broker of the run, whose simulations are paid for there. The load on a server is in `answering_load.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlforhpc.core.broker import Broker
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray
from mlforhpc.learners.gaussian_process import GaussianProcess
from mlforhpc.scenarios.answering_server import Loaded
from mlforhpc.scenarios.online import Online, Status, Terms
from mlforhpc.scenarios.request_streams import Case, Course, Overconfident, follow, requests

POINTS = 100
"""Of a stream's curves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamJob:
    """A stream of requests.

    Attributes:
        law: of the gate.
        case: of the requests; see `request_streams`.
        seed: of requests, runs, fits and coins.
        requests: how many, one after the other.
        tolerance, fidelity: see `Terms`.
        learner: what is learned with.
        corner: where requests move to: parameter -> range.
    """

    law: str
    case: Case
    seed: int
    requests: int
    tolerance: float
    fidelity: float
    learner: GaussianProcess
    corner: Mapping[str, tuple[float, float]]

    @property
    def name(self) -> str:
        """In tables and sentences."""
        return f"{self.law}, {self.case}, seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What answers cost, in numbers and slot-seconds.

    Attributes:
        simulations, simulation_s: runs, audits among them.
        audit_runs, audit_s: those of audits.
        fits, fit_s: of learning.
    """

    simulations: int
    simulation_s: float
    audit_runs: int
    audit_s: float
    fits: int
    fit_s: float

    @classmethod
    def of(cls, status: Status) -> Spent:
        """So far."""
        return cls(
            simulations=status.simulations, simulation_s=status.simulations * (status.simulation_cost_s or 0.0),
            audit_runs=status.audit_runs, audit_s=status.audit_s, fits=status.fits, fit_s=status.fit_s,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What came of a stream.

    Attributes:
        job: what was asked.
        answered: requests that the surrogate answered.
        answered_late: its share of the last quarter.
        broken_share: of its answers, by the truth; 0 if it gave none.
        error: root mean square over its answers, over the tolerance; None if it gave none.
        limit: the online upper limit of the broken share, at the end.
        limit_held: it was at no time below the true share.
        curve: (requests, broken share so far, limit; None before the first answer of the surrogate).
        spent: what it cost.
    """

    job: StreamJob
    answered: int
    answered_late: float
    broken_share: float
    error: float | None
    limit: float | None
    limit_held: bool
    curve: tuple[tuple[int, float | None, float | None], ...]
    spent: Spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What came of requests whose simulations are paid for.

    Attributes:
        simulation, requests, tolerance: what was asked, how often, how exactly.
        answers: source -> how many.
        noise: relative standard error of a run; None while not known.
        limit: online upper limit of the broken share; None if the surrogate gave no answer.
        grown: (answers, effective speedup, gain); None while not known.
        spent: what it cost.
        makespan_s: of all requests.
    """

    simulation: str
    requests: int
    tolerance: float
    answers: Mapping[str, int]
    noise: float | None
    limit: float | None
    grown: tuple[tuple[int, float | None, float | None], ...]
    spent: Spent
    makespan_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """All of it: streams, the server under load, growth, sentences about what failed and about what was left out."""

    streams: Sequence[Stream]
    loaded: Loaded | None
    growth: Growth | None
    failures: Sequence[str] = ()
    skipped: Sequence[str] = ()


def streamed(
    broker: Broker, simulation: Simulation, truth: Callable[[FloatArray], Mapping[str, FloatArray]], job: StreamJob, *, folder: Path
) -> Stream:
    """Follow a stream; `truth` gives output name -> (n, *shape) at points (n, d)."""
    learner = Overconfident(job.learner) if job.case == "overconfident" else job.learner
    terms = Terms(tolerance=job.tolerance, fidelity=job.fidelity, learner=learner, law=job.law, seed=job.seed)
    x = requests(simulation.space, job.case, job.requests, corner=job.corner, seed=job.seed)
    with Online(broker, simulation, folder=folder, terms=terms) as online:
        return of_course(job, follow(online, x, truth))


def of_course(job: StreamJob, course: Course) -> Stream:
    """The figures of a stream that was followed."""
    by, late = course.by_surrogate, slice(-(-3 * job.requests // 4), None)
    return Stream(
        job=job,
        answered=int(by.sum()),
        answered_late=float(by[late].mean()),
        broken_share=course.broken_share,
        error=float(np.sqrt(np.mean(course.errors[by] ** 2))) if by.any() else None,
        limit=course.status.broken_limit,
        limit_held=course.limit_held,
        curve=_curve(course),
        spent=Spent.of(course.status),
    )


def _curve(course: Course) -> tuple[tuple[int, float | None, float | None], ...]:
    answers, broken = np.cumsum(course.by_surrogate), np.cumsum(course.broken)
    places = np.unique(np.linspace(0, len(answers) - 1, POINTS).astype(int)).tolist()
    return tuple(
        (i + 1, float(broken[i] / answers[i]) if answers[i] else None, None if np.isnan(course.limits[i]) else float(course.limits[i]))
        for i in places
    )


def grow(broker: Broker, simulation: Simulation, *, n: int, terms: Terms, folder: Path) -> Growth:
    """Ask at n points over the whole space, each when all that the one before caused is finished, so that the numbers are the same on every
    engine; in a folder of before, go on where that stopped."""
    x = requests(simulation.space, "uniform", n, corner={}, seed=derive(terms.seed, "growth"))
    began = time.monotonic()
    with Online(broker, simulation, folder=folder, terms=terms) as online:
        status = online.status()
        grown = list(status.growth)
        for i in range(sum(status.answers.values()), n):
            online.ask(simulation.space.point(x[i]))
            online.settle()
            status = online.status()
            grown.append((i + 1, status.effective_speedup, status.gain))
    return Growth(
        simulation=simulation.name, requests=n, tolerance=terms.tolerance, answers=status.answers, noise=status.noise,
        limit=status.broken_limit, grown=tuple(grown), spent=Spent.of(status), makespan_s=time.monotonic() - began,
    )  # fmt: skip
