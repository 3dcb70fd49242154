"""From trace events to rows: what ran where, when, on whose charge; and the sessions between a start and its end.

A campaign that was killed and resumed has one session per `opened`; the gap between a session's last event and the next
`opened` is nobody's time. An attempt that started and never finished (its driver died) lasts until its session's last event.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

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
class Attempts:
    """Rows as attempts end, event by event; it holds what is not over, so that a trace of any length can be read.

    Attributes:
        origin_ns: unix time of the first event; None before it.
        sessions: (first, last event, slots) of each, in ns.
        submitted: tasks so far.
    """

    origin_ns: int | None = None
    sessions: list[tuple[int, int, int]] = field(default_factory=list)
    submitted: int = 0
    _asked: dict[int, Submitted] = field(default_factory=dict)
    _running: dict[int, Started] = field(default_factory=dict)

    def take(self, event: Event) -> list[Row]:
        """The attempts that end with this event, `last` not yet set; those that nobody heard of again end with their session."""
        if self.origin_ns is None:
            self.origin_ns = event.t
        ended: list[Row] = []
        if isinstance(event, Opened):
            ended = self.end()
            self.sessions.append((event.t, event.t, event.slots))
        elif not self.sessions:
            return []  # a torn head: nothing says how many slots there were
        start, end, slots = self.sessions[-1]
        self.sessions[-1] = (start, max(end, event.t), slots)
        if isinstance(event, Submitted):
            self.submitted += 1
            self._asked[event.task] = event
        elif isinstance(event, Started):
            self._running[event.task] = event
        elif isinstance(event, Finished):
            ended += self._finished(event)
        return ended

    def end(self) -> list[Row]:
        """The attempts that were running when the trace, or a session, ended."""
        if not self.sessions:
            return []
        end_ns = self.sessions[-1][1]
        rows = [self._row(one, start_ns=one.t, end_ns=max(end_ns, one.t), outcome=INTERRUPTED) for one in self._running.values()]
        self._running.clear()
        self._asked.clear()
        return [row for row in rows if row is not None]

    def seconds(self, ns: int) -> float:
        """Since the first event."""
        return (ns - (self.origin_ns or 0)) * NS

    def _finished(self, event: Finished) -> list[Row]:
        started = self._running.pop(event.task, None)
        start_ns, end_ns = event.started_ns, max(event.ended_ns, event.started_ns)
        if start_ns <= 0:  # no worker-side times: its worker died, or it never ran (cancelled while it waited)
            start_ns, end_ns = (event.t if started is None else started.t), event.t
        row = self._row(event, start_ns=start_ns, end_ns=end_ns, outcome=event.outcome)
        if event.outcome != "lost":  # one that is lost may come again
            self._asked.pop(event.task, None)
        return [] if row is None else [row]

    def _row(self, event: Started | Finished, *, start_ns: int, end_ns: int, outcome: str) -> Row | None:
        asked = self._asked.get(event.task)
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
    attempts = Attempts()
    rows = [row for event in events for row in attempts.take(event)] + attempts.end()
    return Timeline(
        rows=tuple(_marked(rows)),
        sessions=tuple(Session(start_s=attempts.seconds(a), end_s=attempts.seconds(b), slots=k) for a, b, k in attempts.sessions),
        submitted=attempts.submitted,
    )


def _marked(rows: list[Row]) -> list[Row]:
    """The rows with `last` set on each task's final attempt."""
    final = {row.task: i for i, row in enumerate(rows)}
    return [replace(row, last=True) if final[row.task] == i and row.outcome != INTERRUPTED else row for i, row in enumerate(rows)]
