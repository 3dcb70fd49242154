"""Many small independent fits on an engine, against the same fits in plain loops: cold start, round trips, launches, efficiency.

Each round does, of each task length, the bare loops (one task a slot, as many side by side as there are slots) and every way of
launching the same fits one by one, in changing order: what a round's fits take alone is measured beside what the engine makes of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeAlias

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import TaskError
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.launching_tasks import Fit, nothing, simulated, threads

Loop: TypeAlias = Callable[[FloatArray, int, Sequence[int]], list[tuple[float, float]]]
"""(table, size, seeds) -> (score, seconds) of each fit."""
BARE = "bare"
ROWS = 300
_QUICK_MS = 50
_WARM_UPS = 6
"""Fits a slot before anything is timed, of lengths below _QUICK_MS; of longer ones, one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of launching a fit.

    Attributes:
        label: in figures and tables.
        fit: what a task runs.
        by_reference: the table is shared once, and tasks get its reference; else it travels with each.
        most_a_slot: fits a slot and round at most; None for all.
    """

    label: str
    fit: Fit
    by_reference: bool = False
    most_a_slot: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fits:
    """The fits of one task length: a family on a table, with a seed each.

    Attributes:
        length_ms: nominal; what it is is measured.
        family, simulation: what is fitted to the table of which simulation.
        size: of the family (trees, epochs, steps), fixed so that a fit takes about its length on one core.
        least_score: mean score below which nothing was learned.
        loop: the same fits in a plain loop.
        ways: of launching them.
    """

    length_ms: int
    family: str
    simulation: str
    size: int
    least_score: float
    loop: Loop
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured at one size.

    Attributes:
        fits: task length in ms -> fits a round; the next multiple of the slots, so that no slot has less to do than another.
        rounds: of everything.
        trips, launches: no-op tasks a round, one at a time and all at once.
        each: fits a slot and round at least, where there are many slots.
    """

    fits: Mapping[int, int]
    rounds: int
    trips: int
    launches: int
    each: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The fits of one task length, once, in one way.

    Attributes:
        round, length_ms, way: which; the way is BARE for the plain loops.
        makespan_s: from the first submission to the last result in the driver's hands.
        scores: of each fit; None where its task failed.
        bare_s: of each fit, in the plain loops only.
    """

    round: int
    length_ms: int
    way: str
    makespan_s: float
    scores: list[float | None]
    bare_s: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Of its tasks in the trace."""
        return _label(self.length_ms, self.way, self.round)


def _label(length_ms: int, way: str, number: int) -> str:
    return f"{length_ms} ms, {way}, {f'round {number}' if number >= 0 else 'warm-up'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What was measured.

    Attributes:
        slots, fits, effort: of the engine, and what was asked for.
        cold_first_s, cold_all_s: from the first submission of a function that the engine had not seen, one task a slot, to the first
            result and to the last.
        threads: the most that a slot's libraries would use.
        trips_s: round -> round trips of a no-op, one at a time.
        launches_per_s: round -> rate of no-ops, all submitted at once.
        sweeps: in the order of time.
        failures: sentences of tasks that failed.
    """

    slots: int
    fits: Sequence[Fits]
    effort: Effort
    cold_first_s: float
    cold_all_s: float
    threads: int
    trips_s: list[list[float]]
    launches_per_s: list[float]
    sweeps: list[Sweep]
    failures: list[str]


def launch(broker: Broker, fits: Sequence[Fits], effort: Effort, *, referee: Broker, seed: int) -> Launched:
    """Measure everything.

    Args:
        broker: launches the fits.
        fits: task lengths, the shortest first.
        effort: how many of each.
        referee: makes the tables and runs the plain loops.
        seed: of tables and fits.
    """
    fits = [one for one in fits if one.length_ms in effort.fits]
    names = dict.fromkeys(one.simulation for one in fits)
    asked = {name: referee.submit("prepare", simulated, name, ROWS, derive(seed, "table", name)) for name in names}
    bench = _Bench(broker, referee, {name: future.result() for name, future in asked.items()}, effort, seed)
    cold_first_s, cold_all_s = bench.cold(fits[0])
    bench.warm_up(fits)
    most = max(future.result() for future in [referee.submit("prepare", threads) for _ in range(broker.slots)])
    trips_s, rates, sweeps = [], [], []
    for number in range(effort.rounds):
        trips_s.append(bench.trips())
        rates.append(bench.rate())
        for place, one in enumerate(fits):
            sweeps += bench.round(one, number, place)
    return Launched(
        slots=broker.slots, fits=fits, effort=effort, cold_first_s=cold_first_s, cold_all_s=cold_all_s, threads=most,
        trips_s=trips_s, launches_per_s=rates, sweeps=sweeps, failures=bench.failures,
    )  # fmt: skip


def count(effort: Effort, length_ms: int, slots: int) -> int:
    """Fits of a length and round on so many slots."""
    return max(-(-effort.fits[length_ms] // slots), effort.each) * slots


class _Bench:
    """The measurements, on one pair of brokers."""

    def __init__(self, broker: Broker, referee: Broker, tables: Mapping[str, FloatArray], effort: Effort, seed: int) -> None:
        self._broker = broker
        self._referee = referee
        self._tables = tables
        self._effort = effort
        self._seed = seed
        self.failures: list[str] = []

    def cold(self, one: Fits) -> tuple[float, float]:
        """Seconds to the first and to the last result of one fit a slot, of a function that no slot has seen."""
        ended: SimpleQueue[float] = SimpleQueue()
        began = time.perf_counter()
        for seed in self._seeds(one, self._broker.slots):
            future = self._broker.submit("learn", one.ways[0].fit, self._tables[one.simulation], one.size, seed, label="cold start")
            future.add_done_callback(lambda _: ended.put(time.perf_counter()))
        moments = [ended.get() - began for _ in range(self._broker.slots)]
        return min(moments), max(moments)

    def warm_up(self, fits: Sequence[Fits]) -> None:
        """Each function once or a few times on each slot, so that all is imported and the broker knows its pace."""
        done = set()
        for one in fits:
            for way in one.ways:
                if (way.fit, way.by_reference) not in done:
                    done.add((way.fit, way.by_reference))
                    quick = way.most_a_slot is None and one.length_ms < _QUICK_MS
                    self._sweep(one, way, -1, self._broker.slots * (_WARM_UPS if quick else 1))

    def trips(self) -> list[float]:
        """Seconds of no-ops, one at a time."""
        found = []
        for _ in range(self._effort.trips):
            began = time.perf_counter()
            self._broker.submit("prepare", nothing).result()
            found.append(time.perf_counter() - began)
        return found

    def rate(self) -> float:
        """No-ops a second, all submitted at once."""
        began = time.perf_counter()
        wait([self._broker.submit("prepare", nothing) for _ in range(self._effort.launches)])
        return self._effort.launches / (time.perf_counter() - began)

    def round(self, one: Fits, number: int, place: int) -> list[Sweep]:
        """The plain loops and every way, in an order that changes with round and length."""
        turns: list[Way | None] = [None, *one.ways]
        shift = (number + place) % len(turns)
        turns = turns[shift:] + turns[:shift]
        if number % 2:
            turns.reverse()
        n = count(self._effort, one.length_ms, self._broker.slots)
        return [self._loops(one, number, n) if way is None else self._sweep(one, way, number, self._at_most(way, n)) for way in turns]

    def _at_most(self, way: Way, n: int) -> int:
        return n if way.most_a_slot is None else min(n, way.most_a_slot * self._broker.slots)

    def _loops(self, one: Fits, number: int, n: int) -> Sweep:
        slots, seeds, label = self._broker.slots, self._seeds(one, n), _label(one.length_ms, BARE, number)
        began = time.perf_counter()
        futures = [
            self._referee.submit("learn", one.loop, self._tables[one.simulation], one.size, seeds[i::slots], label=label)
            for i in range(slots)
        ]
        parts = [future.result() for future in futures]
        makespan_s = time.perf_counter() - began
        found = [parts[i % slots][i // slots] for i in range(n)]
        scores: list[float | None] = [score for score, _ in found]
        return Sweep(round=number, length_ms=one.length_ms, way=BARE, makespan_s=makespan_s, scores=scores, bare_s=[s for _, s in found])

    def _sweep(self, one: Fits, way: Way, number: int, n: int) -> Sweep:
        table, seeds, label = self._tables[one.simulation], self._seeds(one, n), _label(one.length_ms, way.label, number)
        began = time.perf_counter()
        with self._broker.share(table) if way.by_reference else nullcontext(table) as sent:
            futures = [self._broker.submit("learn", way.fit, sent, one.size, seed, label=label) for seed in seeds]
            wait(futures)
        makespan_s = time.perf_counter() - began
        return Sweep(round=number, length_ms=one.length_ms, way=way.label, makespan_s=makespan_s, scores=[self._score(f) for f in futures])

    def _score(self, future: Future[Any]) -> float | None:
        try:
            return float(future.result())
        except TaskError as error:
            self.failures.append(str(error).splitlines()[0])
            return None

    def _seeds(self, one: Fits, n: int) -> list[int]:
        return [derive(self._seed, one.length_ms, i) for i in range(n)]
