"""Scaling: how the time of a campaign's tasks falls with slots (strong), and holds when the work grows with them (weak).

T(p) is the makespan of the tasks on p slots, from the first one asked for to the last one known; p0 the fewest slots, n = p / p0.
    strong, the same work:      speedup S = T(p0) / T(p),            efficiency S / n = W(p0) / W(p) x u(p) / u(p0)
    weak, n times the work:     scaled speedup n T(p0) / T(p),       efficiency T(p0) / T(p)
W: slot-seconds in tasks, u = W / (p T): what tasks lose by sharing the machine (their pace), and what slots lose by having no task.
    Amdahl 1967, doi 10.1145/1465482.1465560:      S = 1 / (f + (1 - f) / n)
    Karp & Flatt 1990, doi 10.1145/78607.78614:    so f = (1/S - 1/n) / (1 - 1/n)
    Gustafson 1988, doi 10.1145/42411.42415:       scaled speedup n - f' (n - 1)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TypeAlias

from mlforhpc.core.errors import UsageError
from mlforhpc.core.events import Event
from mlforhpc.core.result import Interval
from mlforhpc.metrics.compare import compare_paired
from mlforhpc.metrics.timeline import Row, timeline

ONE_REPEAT = "one repeat, no interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the tasks of one campaign took, s.

    Attributes:
        tasks: finished ones.
        tasks_s: their makespan, from the first one asked for to the last one known to the driver.
        slot_s: slot-seconds in them.
        kinds_s: kind -> time in which at least one task of it ran.
    """

    tasks: int
    tasks_s: float
    slot_s: float
    kinds_s: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One number of slots, over its repeats; ratios are to the fewest slots, each with its interval.

    Attributes:
        slots: p.
        growth: n = p / p0.
        tasks_s: mean makespan of the tasks, s.
        speedup: T(p0) / T(p), strong; n times that, weak; (0, inf).
        efficiency: of 1; above it, more slots gave more than their share.
        kinds: kind -> the efficiency of the time in which it ran.
        pace: W(p0) / W(p) for the same work: below 1, each task ran more slowly.
        utilization: W / (p T), [0, 1].
        serial: share of the work that more slots do not speed up, Amdahl's f or Gustafson's f'; None at p0.
    """

    slots: int
    growth: float
    tasks_s: float
    speedup: Interval
    efficiency: Interval
    kinds: Mapping[str, Interval]
    pace: float
    utilization: float
    serial: float | None


Runs: TypeAlias = Mapping[int, Mapping[int, Work]]
"""Slots -> seed -> work."""


def work(events: Iterable[Event], *, charge: str | None = None) -> Work:
    """What a trace says of its tasks, or of those of one charge."""
    rows = [row for row in timeline(events).rows if charge in (None, row.charge)]
    if not rows:
        raise UsageError("This trace has no tasks, so it says nothing about scaling; choose a benchmark that has some.")
    return Work(
        tasks=sum(row.last for row in rows),
        tasks_s=max(row.resolved_s for row in rows) - min(row.submitted_s for row in rows),
        slot_s=sum(row.slot_s for row in rows),
        kinds_s={kind: _covered([row for row in rows if row.kind == kind]) for kind in sorted({row.kind for row in rows})},
    )


def strong(runs: Runs) -> list[Line]:
    """A line for each number of slots, all with the same work."""
    return [_line(runs, slots, weak=False) for slots in sorted(runs)]


def weak(runs: Runs) -> list[Line]:
    """A line for each number of slots p, with work in proportion to p."""
    return [_line(runs, slots, weak=True) for slots in sorted(runs)]


def amdahl(serial: float, growth: float) -> float:
    """Speedup of the same work on `growth` times the slots if the share `serial` of it gains nothing."""
    return 1.0 / (serial + (1.0 - serial) / growth)


def amdahl_serial(speedup: float, growth: float) -> float:
    """The serial share that Amdahl's law needs for this speedup; below 0 where it is more than `growth`."""
    return (1.0 / speedup - 1.0 / growth) / (1.0 - 1.0 / growth)


def gustafson_serial(speedup: float, growth: float) -> float:
    """The serial share of the time on the larger system that Gustafson's law needs for this scaled speedup."""
    return (growth - speedup) / (growth - 1.0)


def _line(runs: Runs, slots: int, *, weak: bool) -> Line:
    fewest = min(runs)
    growth, first, many = slots / fewest, runs[fewest], runs[slots]
    ratio = _ratio(_times(first), _times(many), first=slots == fewest)
    speedup = _scaled(ratio, growth if weak else 1.0)
    serial = gustafson_serial if weak else amdahl_serial
    kinds = sorted(set.intersection(*(set(w.kinds_s) for w in (*first.values(), *many.values()))))
    return Line(
        slots=slots,
        growth=growth,
        tasks_s=fmean(w.tasks_s for w in many.values()),
        speedup=speedup,
        efficiency=_scaled(speedup, 1 / growth),
        kinds={
            kind: _scaled(_ratio(_times(first, kind), _times(many, kind), first=slots == fewest), 1.0 if weak else 1 / growth)
            for kind in kinds
        },
        pace=(growth if weak else 1.0) * fmean(w.slot_s for w in first.values()) / fmean(w.slot_s for w in many.values()),
        utilization=sum(w.slot_s for w in many.values()) / sum(slots * w.tasks_s for w in many.values()),
        serial=None if slots == fewest or not speedup.value else serial(speedup.value, growth),
    )


def _times(work: Mapping[int, Work], kind: str | None = None) -> dict[int, float]:
    """Seed -> makespan of the tasks, or the time in which a kind ran."""
    return {seed: w.tasks_s if kind is None else w.kinds_s[kind] for seed, w in work.items()}


def _ratio(a: Mapping[int, float], b: Mapping[int, float], *, first: bool) -> Interval:
    """a / b over the seeds; with fewer than two of them there is no honest interval."""
    if first:
        return Interval(value=1.0, note="by definition", better="higher")
    if len(a) > 1:
        return replace(compare_paired(a, b, better="higher").ratio, better="higher")
    ((one,), (other,)) = a.values(), b.values()
    return Interval(value=one / other if other > 0 else None, note=ONE_REPEAT, better="higher")


def _scaled(interval: Interval, factor: float) -> Interval:
    value, lower, upper = (None if end is None else end * factor for end in (interval.value, interval.lower, interval.upper))
    return replace(interval, value=value, lower=lower, upper=upper)


def _covered(rows: Sequence[Row]) -> float:
    """Time in which at least one of them ran, s."""
    total, end = 0.0, float("-inf")
    for row in sorted(rows, key=lambda row: row.start_s):
        total += max(0.0, row.end_s - max(row.start_s, end))
        end = max(end, row.end_s)
    return total
