"""System figures of a run: throughput, latency, utilization, overhead, per kind of task and per charge. A function of the trace alone.

    utilization = busy slot-seconds / (slots x makespan),    overhead = 1 - utilization of all tasks
Phases (simulate, learn, infer, prepare, move, decide) are counted apart: their needs differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlforhpc.core.events import Decision, Event
from mlforhpc.metrics.timeline import Row, Timeline, timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The tasks of one kind, of one charge, or all of them.

    Attributes:
        tasks: finished ones, any outcome.
        outcomes: outcome -> attempts, "interrupted" ones included.
        throughput_per_s: finished tasks per second of makespan.
        latency_p50_s, latency_p99_s: from submitted to known to the driver; None without finished tasks.
        slot_s: busy slot-seconds, lost and interrupted attempts included.
        utilization: their share of slots x makespan, in [0, 1].
        bytes_in, bytes_out: moved.
        peak_memory_bytes: largest resident memory of a worker.
    """

    tasks: int
    outcomes: Mapping[str, int]
    throughput_per_s: float
    latency_p50_s: float | None
    latency_p99_s: float | None
    slot_s: float
    utilization: float
    bytes_in: int
    bytes_out: int
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFigures:
    """What the system did in one run.

    Attributes:
        makespan_s: summed over resumptions; the gaps between them are not counted.
        capacity_s: slots x makespan, slot-seconds.
        overhead: share of the capacity in no task, in [0, 1].
        resumptions: how often the run was resumed.
        total: all tasks together.
        by_kind, by_charge: kind or charge -> its tasks.
        slot_s: (kind, charge) -> slot-seconds.
        driver_cpu_s_per_task: CPU time of the driver / finished tasks; None where the run did not close.
        rows: of the timeline.
    """

    makespan_s: float
    capacity_s: float
    overhead: float
    resumptions: int
    total: Phase
    by_kind: Mapping[str, Phase]
    by_charge: Mapping[str, Phase]
    slot_s: Mapping[tuple[str, str], float]
    driver_cpu_s_per_task: float | None
    rows: tuple[Row, ...]


def system_figures(events: Iterable[Event]) -> SystemFigures:
    """Every system figure of a trace (`mlforhpc.core.trace.read`)."""
    events = list(events)
    line = timeline(events)
    rows = line.rows
    total = _phase(rows, line)
    pairs = sorted({(row.kind, row.charge) for row in rows})
    cpu = _driver_cpu_s(events)
    return SystemFigures(
        makespan_s=line.makespan_s,
        capacity_s=line.capacity_s,
        overhead=1.0 - total.utilization if line.capacity_s > 0 else 0.0,
        resumptions=max(len(line.sessions) - 1, 0),
        total=total,
        by_kind={kind: _phase([r for r in rows if r.kind == kind], line) for kind in sorted({r.kind for r in rows})},
        by_charge={charge: _phase([r for r in rows if r.charge == charge], line) for charge in sorted({r.charge for r in rows})},
        slot_s={pair: sum(r.slot_s for r in rows if (r.kind, r.charge) == pair) for pair in pairs},
        driver_cpu_s_per_task=cpu / total.tasks if cpu is not None and total.tasks else None,
        rows=rows,
    )


def _phase(rows: Sequence[Row], line: Timeline) -> Phase:
    final = [row for row in rows if row.last]
    latencies = [row.resolved_s - row.submitted_s for row in final]
    slot_s = sum(row.slot_s for row in rows)
    outcomes = [row.outcome for row in rows]
    return Phase(
        tasks=len(final),
        outcomes={outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        throughput_per_s=len(final) / line.makespan_s if line.makespan_s > 0 else 0.0,
        latency_p50_s=float(np.quantile(latencies, 0.5)) if latencies else None,
        latency_p99_s=float(np.quantile(latencies, 0.99)) if latencies else None,
        slot_s=slot_s,
        utilization=slot_s / line.capacity_s if line.capacity_s > 0 else 0.0,
        bytes_in=sum(row.bytes_in for row in rows),
        bytes_out=sum(row.bytes_out for row in rows),
        peak_memory_bytes=max((row.peak_memory_bytes for row in rows), default=0),
    )


def _driver_cpu_s(events: Sequence[Event]) -> float | None:
    """Summed over the sessions that closed; None if none did."""
    found = [e.data["driver_cpu_s"] for e in events if isinstance(e, Decision) and e.decision == "closed" and "driver_cpu_s" in e.data]
    return float(sum(found)) if found else None
