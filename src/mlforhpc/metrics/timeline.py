"""From trace events to rows: what ran where, when, on whose charge; and the sessions between a start and its end.

A campaign that was killed and resumed has one session per `opened`; the gap between a session's last event and the next
`opened` is nobody's time. An attempt that started and never finished (its driver died) lasts until its session's last event.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlforhpc.core.events import Event, Finished, Opened, Started, Submitted

NS = 1e-9
INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """From an `opened` to the last event before the next one; times in seconds since the trace's first event."""

    start_s: float
    end_s: float
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attempt of one task: one bar of the timeline.

    Attributes:
        task, attempt: which.
        kind, charge, label, cores: as submitted.
        slot: which slot ran it; the first of them where it has several cores.
        submitted_s, start_s, end_s, resolved_s: asked for; began and ended on the worker; known to the driver.
        outcome: of the attempt; "interrupted" where the driver died first.
        last: whether this attempt's outcome is the task's.
        bytes_in, bytes_out, peak_memory_bytes: as measured.
    """

    task: int
    attempt: int
    kind: str
    charge: str
    label: str
    cores: int
    slot: str
    submitted_s: float
    start_s: float
    end_s: float
    resolved_s: float
    outcome: str
    last: bool
    bytes_in: int = 0
    bytes_out: int = 0
    peak_memory_bytes: int = 0

    @property
    def slot_s(self) -> float:
        """Slot-seconds: worker wall time times slots."""
        return (self.end_s - self.start_s) * self.cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Rows in the order of their ends, and the sessions they ran in."""

    rows: tuple[Row, ...]
    sessions: tuple[Session, ...]
    submitted: int

    @property
    def makespan_s(self) -> float:
        """Sum of the sessions' durations."""
        return sum(session.end_s - session.start_s for session in self.sessions)

    @property
    def capacity_s(self) -> float:
        """Slot-seconds there were."""
        return sum((session.end_s - session.start_s) * session.slots for session in self.sessions)


@dataclass(slots=True)
class _Open:
    """What was seen so far."""

    origin_ns: int
    submitted: dict[int, Submitted]
    running: dict[int, Started]
    rows: list[Row]

    def seconds(self, ns: int) -> float:
        return (ns - self.origin_ns) * NS

    def row(self, started_or_finished: Started | Finished, *, start_ns: int, end_ns: int, outcome: str) -> Row | None:
        event = started_or_finished
        asked = self.submitted.get(event.task)
        if asked is None:
            return None
        measured = event if isinstance(event, Finished) else None
        return Row(
            task=event.task,
            attempt=event.attempt,
            kind=asked.kind,
            charge=asked.charge,
            label=asked.label,
            cores=asked.cores,
            slot=event.slot,
            submitted_s=self.seconds(asked.t),
            start_s=self.seconds(start_ns),
            end_s=self.seconds(end_ns),
            resolved_s=self.seconds(max(event.t, end_ns) if measured is None else event.t),
            outcome=outcome,
            last=False,
            bytes_in=measured.bytes_in if measured else 0,
            bytes_out=measured.bytes_out if measured else 0,
            peak_memory_bytes=measured.peak_memory_bytes if measured else 0,
        )


def timeline(events: Iterable[Event]) -> Timeline:
    """Rows and sessions of a trace, as `mlforhpc.core.trace.read` yields it."""
    sessions: list[tuple[int, int, int]] = []  # start, end, slots
    seen: _Open | None = None
    for event in events:
        if seen is None:
            seen = _Open(origin_ns=event.t, submitted={}, running={}, rows=[])
        if isinstance(event, Opened):
            if sessions:
                _interrupt(seen, sessions[-1][1])
            sessions.append((event.t, event.t, event.slots))
        elif not sessions:
            continue  # a torn head: nothing says how many slots there were
        start, end, slots = sessions[-1]
        sessions[-1] = (start, max(end, event.t), slots)
        _take(seen, event)
    if seen is None:
        return Timeline(rows=(), sessions=(), submitted=0)
    if sessions:
        _interrupt(seen, sessions[-1][1])
    return Timeline(
        rows=tuple(_marked(seen.rows)),
        sessions=tuple(Session(start_s=seen.seconds(a), end_s=seen.seconds(b), slots=k) for a, b, k in sessions),
        submitted=len(seen.submitted),
    )


def _take(seen: _Open, event: Event) -> None:
    if isinstance(event, Submitted):
        seen.submitted[event.task] = event
    elif isinstance(event, Started):
        seen.running[event.task] = event
    elif isinstance(event, Finished):
        started = seen.running.pop(event.task, None)
        start_ns, end_ns = event.started_ns, max(event.ended_ns, event.started_ns)
        if start_ns <= 0:  # no worker-side times: its worker died, or it never ran (cancelled while it waited)
            start_ns, end_ns = (event.t if started is None else started.t), event.t
        row = seen.row(event, start_ns=start_ns, end_ns=end_ns, outcome=event.outcome)
        if row is not None:
            seen.rows.append(row)


def _interrupt(seen: _Open, end_ns: int) -> None:
    for started in seen.running.values():
        row = seen.row(started, start_ns=started.t, end_ns=max(end_ns, started.t), outcome=INTERRUPTED)
        if row is not None:
            seen.rows.append(row)
    seen.running.clear()


def _marked(rows: list[Row]) -> list[Row]:
    """The rows with `last` set on each task's final attempt."""
    from dataclasses import replace

    final = {row.task: i for i, row in enumerate(rows)}
    return [replace(row, last=True) if final[row.task] == i and row.outcome != INTERRUPTED else row for i, row in enumerate(rows)]
