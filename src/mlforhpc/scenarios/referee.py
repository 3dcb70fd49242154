"""The referee's measurements: held-out systems, their reference pairs, and the conventional method's fidelity ladder.

Each held-out system is simulated twice (r1, r2: own seed, own equilibration), so that the error of any prediction p,
(p - r1)(p - r2), is unbiased without believing an error bar. Each rung of the ladder is a run of its own seed at a lower
or higher fidelity, never a prefix of a reference. A rung longer than the references is a pair of such runs, whose difference
says its error: against (r1, r2) it would drown in theirs. All of it goes through the referee's view of the broker: its store
is out of the scenario's reach, and its tasks are booked as measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import MLforHPCError
from mlforhpc.core.learner import Dataset, Surrogate
from mlforhpc.core.record import Record
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Systems that no learner sees.

    Attributes:
        x: parameters (n, d).
        stratum: name of each one's stratum (n,).
        weight: share of the space that each stands for (n,), summing to 1.
    """

    x: FloatArray
    stratum: tuple[str, ...]
    weight: FloatArray

    def rows(self, index: NDArray[np.intp]) -> HeldOut:
        """Some of them, weights as they are."""
        return HeldOut(x=self.x[index], stratum=tuple(self.stratum[i] for i in index), weight=self.weight[index])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A rung of the ladder: a fidelity, and on every how-manieth held-out system it is measured."""

    fidelity: float
    every: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRung:
    """A rung's runs: row k of `data`, and of `again` where the rung is a pair, belongs to held-out system `index[k]`."""

    fidelity: float
    index: NDArray[np.intp]
    data: Dataset
    again: Dataset | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the referee knows: systems whose references both succeeded, their pairs, the ladder, and what was dropped."""

    held: HeldOut
    r1: Dataset
    r2: Dataset
    rungs: tuple[MeasuredRung, ...]
    dropped: int


def measure(referee: Broker, simulation: Simulation, held: HeldOut, *, fidelity: float, rungs: Sequence[Rung] = (), seed: int) -> Measured:
    """Simulate the reference pair of every held-out system and the ladder's rungs, the longest first.

    Raises:
        MLforHPCError: no held-out system has two references.
    """
    points = [simulation.space.point(row) for row in held.x]

    def submit(label: str, i: int, f: float) -> Future[Record]:
        run_seed = derive(seed, "referee", label, i)
        return referee.simulate(simulation, points[i], fidelity=f, seed=run_seed, label=f"{label} {i}")

    everyone = range(len(points))
    jobs = [(r.fidelity, name, range(0, len(points), r.every)) for r in rungs for name in _names(r, fidelity)]
    jobs += [(fidelity, "reference 1", everyone), (fidelity, "reference 2", everyone)]
    futures = {label: [submit(label, i, f) for i in members] for f, label, members in sorted(jobs, key=lambda j: -j[0])}
    data = {label: Dataset.of_records(simulation, [f.result() for f in each]) for label, each in futures.items()}
    whole = np.flatnonzero(data["reference 1"].ok & data["reference 2"].ok)
    if not len(whole):
        raise MLforHPCError(f"No held-out system of '{simulation.name}' has two references: all reference runs failed.")
    place = {int(system): k for k, system in enumerate(whole)}
    measured = []
    for rung in rungs:
        runs, members = [data[name] for name in _names(rung, fidelity)], range(0, len(points), rung.every)
        rows = np.array([k for k, i in enumerate(members) if i in place and all(r.ok[k] for r in runs)], dtype=np.intp)
        index = np.array([place[members[k]] for k in rows], dtype=np.intp)
        again = runs[1].rows(rows) if len(runs) > 1 else None
        measured.append(MeasuredRung(fidelity=rung.fidelity, index=index, data=runs[0].rows(rows), again=again))
    return Measured(
        held=held.rows(whole),
        r1=data["reference 1"].rows(whole),
        r2=data["reference 2"].rows(whole),
        rungs=tuple(measured),
        dropped=len(points) - len(whole),
    )


def _names(rung: Rung, reference: float) -> list[str]:
    """Labels of the rung's runs: one, or a pair where it is longer than the references."""
    name = f"rung {rung.fidelity:g}"
    return [name, f"{name} again"] if rung.fidelity > reference else [name]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupTimes:
    """Seconds of one slot for one `predict` with interval: alone, and per answer in batches of 10,000."""

    single_s: float
    batched_s: float


BATCH = 10_000


def time_lookups(surrogate: Surrogate, seed: int, repeats: int = 7) -> LookupTimes:
    """Medians over `repeats`, after one that is not counted; runs as a task of kind "infer" on one slot."""
    x = surrogate.space.decode(np.random.default_rng(seed).random((BATCH, len(surrogate.space))))  # (10000, d)

    def timed(points: FloatArray) -> float:
        start = perf_counter()
        surrogate.predict(points)
        return perf_counter() - start

    single = [timed(x[i : i + 1]) for i in range(50 * repeats)]
    batched = [timed(x) for _ in range(repeats + 1)]
    return LookupTimes(single_s=median(single[50:]), batched_s=median(batched[1:]) / BATCH)
