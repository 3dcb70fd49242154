"""The timeline of a run for ui.perfetto.dev and chrome://tracing: JSON of the Trace Event Format, written event by event.

A process a host, a thread a slot, a complete event ("X") an attempt with its worker-side times; beside them the driver's thread with the
decisions and a counter of pending and running tasks. Times are microseconds since the trace's first event, on the driver's clock.
Source: Trace Event Format, the Chromium project, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from mlforhpc.core import trace
from mlforhpc.core.errors import UsageError
from mlforhpc.core.events import Decision, Event, Finished, Mark, Opened, Quality, Started, Submitted
from mlforhpc.metrics.timeline import Attempts, Row

FILE = "timeline.perfetto.json"
_RESOLUTION_NS = 1_000_000
_FEW = 40

_Json: TypeAlias = dict[str, Any]


def write_perfetto(folder: Path, path: Path | None = None) -> Path:
    """Write the timeline of a run or campaign folder, finished or not.

    Args:
        folder: with an events.jsonl.
        path: the file; replaced if it is there. None: `timeline.perfetto.json` in the folder.

    Raises:
        UsageError: the folder has no trace.
    """
    source = folder / "events.jsonl"
    if not source.is_file():
        raise UsageError(f"'{folder}' has no events.jsonl; give the folder of a run or of a campaign.")
    path = path or folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, encode = path.with_name(f".{path.name}.part"), msgspec.json.Encoder(enc_hook=str).encode
    with temporary.open("wb") as file:
        file.write(b'{"displayTimeUnit":"ms","otherData":' + encode({"run": folder.resolve().name}) + b',"traceEvents":[')
        for i, event in enumerate(trace_events(trace.read(source))):
            file.write((b",\n" if i else b"\n") + encode(event))
        file.write(b"\n]}\n")
    temporary.replace(path)
    return path


def trace_events(events: Iterable[Event]) -> Iterator[_Json]:
    """The events of the format, in the order in which they became known; the names of processes and threads come last."""
    attempts, tracks, counter = Attempts(), _Tracks(), _Counter()
    last_ns = 0
    for event in events:
        if isinstance(event, Opened):
            yield from counter.none(last_ns, tracks)
        ended = attempts.take(event)
        last_ns = max(0, event.t - (attempts.origin_ns or 0))
        for row in ended:
            yield _attempt(row, tracks)
        if isinstance(event, Opened):
            tracks.open(event)
        elif tracks.host:  # before it nothing says where the driver was
            yield from counter.take(event, last_ns, tracks)
        yield from _instants(event, last_ns, tracks, counter)
    for row in attempts.end():
        yield _attempt(row, tracks)
    yield from counter.none(last_ns, tracks)
    yield from tracks.names()


@dataclass(slots=True)
class _Tracks:
    """Numbers of processes (hosts) and threads (the driver, slots).

    Tasks of one slot follow one another; where they do not (a worker of several threads under one name), the slot has further threads.
    """

    host: str = ""
    processes: dict[str, int] = field(default_factory=dict)
    threads: dict[tuple[int, str], int] = field(default_factory=dict)
    free_ns: dict[tuple[int, int], int] = field(default_factory=dict)

    def open(self, event: Opened) -> None:
        """From now on the driver is on this host."""
        self.host = event.host or "driver"
        self._numbers(self.host, "driver")

    @property
    def driver(self) -> _Json:
        """Where the driver's own events stand."""
        return self._numbers(self.host, "driver")

    def slot(self, slot: str) -> _Json:
        """Where a slot's events stand: "3" is on the driver's host, "node7:3" on node7."""
        host, _, name = slot.rpartition(":")
        return self._numbers(host or self.host, f"slot {name}")

    def lane(self, slot: str, start_ns: int, end_ns: int) -> _Json:
        """The first thread of a slot that is free from `start_ns` on; it is then taken until `end_ns`."""
        host, _, name = slot.rpartition(":")
        for lane in range(1, 1 << 20):
            where = self._numbers(host or self.host, f"slot {name}" if lane == 1 else f"slot {name} ({lane})")
            key = (where["pid"], where["tid"])
            if self.free_ns.get(key, 0) <= start_ns:
                self.free_ns[key] = end_ns
                break
        return where

    def names(self) -> Iterator[_Json]:
        """What the viewer calls them, and in which order it shows them."""
        for host, pid in self.processes.items():
            yield {"name": "process_name", "ph": "M", "pid": pid, "tid": 0, "args": {"name": host}}
            yield {"name": "process_sort_index", "ph": "M", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
        for place, (pid, name) in enumerate(sorted(self.threads, key=_natural)):
            where = {"ph": "M", "pid": pid, "tid": self.threads[pid, name]}
            yield {"name": "thread_name", **where, "args": {"name": name}}
            yield {"name": "thread_sort_index", **where, "args": {"sort_index": place}}

    def _numbers(self, host: str, thread: str) -> _Json:
        pid = self.processes.setdefault(host, len(self.processes) + 1)
        return {"pid": pid, "tid": self.threads.setdefault((pid, thread), len(self.threads) + 1)}


@dataclass(slots=True)
class _Counter:
    """Pending and running tasks as the driver knew them; changes within a millisecond are written as one, as they came out."""

    pending: set[int] = field(default_factory=set)
    running: dict[int, str] = field(default_factory=dict)
    since_ns: int = 0
    held: _Json | None = None

    def take(self, event: Event, at_ns: int, tracks: _Tracks) -> Iterator[_Json]:
        """Count an event."""
        if isinstance(event, Submitted):
            self.pending.add(event.task)
        elif isinstance(event, Started):
            self.pending.discard(event.task)
            self.running[event.task] = event.slot
        elif isinstance(event, Finished):
            self.pending.discard(event.task)
            self.running.pop(event.task, None)
        else:
            return
        if self.held is not None and at_ns - self.since_ns >= _RESOLUTION_NS:
            yield self.held
            self.held = None
        if self.held is None:
            self.since_ns = at_ns
        self.held = self._now(at_ns, tracks)

    def none(self, at_ns: int, tracks: _Tracks) -> Iterator[_Json]:
        """A session has ended."""
        if self.held is not None:
            yield self.held
        if self.pending or self.running:
            self.pending.clear()
            self.running.clear()
            yield self._now(at_ns, tracks)
        self.held = None

    def _now(self, at_ns: int, tracks: _Tracks) -> _Json:
        counts = {"pending": len(self.pending), "running": len(self.running)}
        return {"name": "tasks", "ph": "C", "ts": _us(at_ns), "pid": tracks.driver["pid"], "args": counts}


def _attempt(row: Row, tracks: _Tracks) -> _Json:
    """A complete event; one that was never on a slot (cancelled while it waited) is an instant of the driver's."""
    start_ns, end_ns = max(0, _ns(row.start_s)), max(0, _ns(row.end_s))
    name = row.kind + (" (measurement)" if row.charge == "measurement" else "") + (f": {row.outcome}" if row.outcome != "ok" else "")
    about = {"task": row.task, "label": row.label, "waited_ms": round(max(0.0, row.start_s - row.submitted_s) * 1e3, 3)}
    usual = {"attempt": 1, "cores": 1, "bytes_in": 0, "bytes_out": 0, "peak_memory_bytes": 0}
    about |= {key: value for key, common in usual.items() if (value := getattr(row, key)) != common}
    common = {"name": name, "cat": f"{row.kind},{row.charge}", "ts": _us(start_ns), "args": about}
    if not row.slot:
        return {**common, "ph": "i", "s": "t", **tracks.driver}
    return {**common, "ph": "X", "dur": _us(end_ns - start_ns), **tracks.lane(row.slot, start_ns, end_ns)}


def _instants(event: Event, at_ns: int, tracks: _Tracks, counter: _Counter) -> Iterator[_Json]:
    """Sessions, decisions, quality figures and marks."""
    common: _Json = {"ph": "i", "s": "t", "ts": _us(at_ns)}
    if isinstance(event, Opened):
        about = {"engine": event.engine, "slots": event.slots, "system": event.system}
        yield {"name": "resumed" if event.resumed else "opened", "cat": "session", **common, **tracks.driver, "args": about}
    elif not tracks.host:
        return
    elif isinstance(event, Decision):
        yield {"name": event.decision, "cat": "decision", **common, **tracks.driver, "args": _short(event.data)}
    elif isinstance(event, Quality):
        about = {**_short(event.data), "keys": len(event.keys)}
        yield {"name": f"quality {event.name}".rstrip(), "cat": "quality", **common, **tracks.driver, "args": about}
    elif isinstance(event, Mark):
        slot = counter.running.get(event.task)
        where = tracks.slot(slot) if slot else tracks.driver
        yield {"name": event.name, "cat": "mark", **common, **where, "args": {"task": event.task, "value": event.value}}


def _short(data: Mapping[str, Any]) -> _Json:
    """A decision's fields; of long ones how many there are."""
    return {key: f"{len(value)} entries" if isinstance(value, list | dict) and len(value) > _FEW else value for key, value in data.items()}


def _natural(thread: tuple[int, str]) -> tuple[int, bool, list[tuple[bool, int, str]]]:
    """The driver first, then "slot 2" before "slot 10"."""
    pid, name = thread
    parts = name.replace("(", " ").replace(")", " ").split()
    return pid, name != "driver", [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def _ns(s: float) -> int:
    return round(s * 1e9)


def _us(ns: int) -> float:
    return ns / 1000
