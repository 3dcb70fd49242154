"""The lines that the dispatcher writes to the trace."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from mlforhpc.broker.task import Task, last_line
from mlforhpc.core.engine import Engine, Joined
from mlforhpc.core.task import TaskResult
from mlforhpc.core.trace import Finished, Host, Opened, Submitted, Trace


def opened(engine: Engine, trace: Trace, system: str) -> Opened:
    """A driver begins to write."""
    now = trace.clock.now_ns()
    return Opened(
        t=now,
        host=platform.node(),
        pid=os.getpid(),
        unix_ns=now,
        monotonic_ns=now - trace.clock.offset_ns,
        system=system,
        engine=engine.name,
        slots=engine.slots,
        resumed=trace.resumed,
    )


def host(joined: Joined, now_ns: int) -> Host:
    """A worker on another clock has joined."""
    return Host(t=now_ns, host=joined.host, clock=joined.clock, offset_ns=joined.offset_ns, uncertainty_ns=joined.uncertainty_ns)


def submitted(task: Task, now_ns: int) -> Submitted:
    """A task is queued."""
    return Submitted(
        t=now_ns,
        task=task.number,
        kind=task.kind,
        charge=task.charge,
        label=task.label,
        cores=task.resources.cores,
        key=task.key,
    )


def finished(task: Task, result: TaskResult, now_ns: int) -> Finished:
    """An attempt is over."""
    ok = result.outcome == "ok"
    return Finished(
        t=now_ns,
        task=task.number,
        outcome=result.outcome,
        slot=result.slot,
        started_ns=result.started_ns,
        ended_ns=result.ended_ns,
        bytes_in=len(task.arguments),
        bytes_out=_size(result) if ok else 0,
        peak_memory_bytes=result.peak_memory_bytes,
        attempt=task.attempt,
        reason="" if ok or not isinstance(result.value, str) else last_line(result.value),
    )


def _size(result: TaskResult) -> int:
    if not result.in_file:
        return len(result.value)
    try:
        return Path(str(result.value)).stat().st_size
    except OSError:
        return 0
