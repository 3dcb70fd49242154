"""What ran where and when, ready to be drawn: the trace's rows without the time between sessions, and the phases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from mlforhpc.core.events import Event
from mlforhpc.metrics.timeline import Row, Session, timeline

Layer: TypeAlias = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Span:
    """One attempt of a task: its slot and kind, whether it is the referee's measurement, and seconds of running time."""

    slot: str
    kind: str
    measurement: bool
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The tasks of one kind on one account, or "idle"; `share` of slots times makespan."""

    kind: str
    measurement: bool
    tasks: int
    slot_s: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a run did: spans in the order of their ends, phases largest first with idle at the end."""

    spans: tuple[Span, ...]
    phases: tuple[Phase, ...]
    makespan_s: float | None


def activity(events: Iterable[Event]) -> Activity:
    """Spans and phases of a trace; the gaps between the sessions of a resumed run are cut out."""
    line = timeline(events)
    if not line.rows:
        return Activity(spans=(), phases=(), makespan_s=None)
    spans = tuple(_span(row, line.sessions) for row in line.rows)
    return Activity(spans=spans, phases=_phases(line.rows, line.capacity_s), makespan_s=line.makespan_s)


def _span(row: Row, sessions: tuple[Session, ...]) -> Span:
    start_s, end_s = (_running_s(t, sessions) for t in (row.start_s, row.end_s))
    return Span(row.slot, row.kind, row.charge == "measurement", start_s, end_s)


def _running_s(t: float, sessions: tuple[Session, ...]) -> float:
    """Seconds that the run had been running at `t`."""
    passed = sum(min(session.end_s, t) - session.start_s for session in sessions if session.start_s < t)
    beyond = max(0.0, t - sessions[-1].end_s)  # a worker's clock may be a little ahead of the driver's last event
    return max(0.0, passed + beyond)


def _phases(rows: Iterable[Row], capacity_s: float) -> tuple[Phase, ...]:
    took_s: dict[Layer, float] = {}
    tasks: dict[Layer, int] = {}
    for row in rows:
        layer = (row.kind, row.charge == "measurement")
        took_s[layer] = took_s.get(layer, 0.0) + row.slot_s
        tasks[layer] = tasks.get(layer, 0) + row.last
    whole = max(capacity_s, sum(took_s.values()), 1e-12)
    listed = [
        Phase(kind=layer[0], measurement=layer[1], tasks=tasks[layer], slot_s=took, share=took / whole)
        for layer, took in sorted(took_s.items(), key=lambda item: (-item[1], item[0]))
    ]
    idle_s = whole - sum(took_s.values())
    return (*listed, Phase(kind="idle", measurement=False, tasks=0, slot_s=idle_s, share=idle_s / whole))
