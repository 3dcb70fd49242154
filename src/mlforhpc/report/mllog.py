"""A run as an event log in the style of MLPerf's submissions: a line ":::MLLOG {...}" an event, from manifest, trace and result alone.

    {"namespace", "time_ms": unix ms, "event_type": "POINT_IN_TIME" | "INTERVAL_START" | "INTERVAL_END", "key", "value", "metadata"}
Who submits and what was cleared is not ours to say: submission_org, submission_division and cache_clear are absent. Each kind of task is
an interval from when one of them runs until none does (the referee's in the namespace "measurement"); marks are points.
Source: MLCommons, mlperf_logging, https://github.com/mlcommons/logging
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from mlforhpc.core.events import Decision, Event, Mark, Opened, Submitted
from mlforhpc.metrics.timeline import Row, timeline
from mlforhpc.report.run_folder import RunFolder, read

FILE = "mllog.txt"
PREFIX = ":::MLLOG "
APART_S = 0.1
"""Tasks of a kind with less time between them are one interval."""
_BLOCK = {"first_epoch_num": 1, "epoch_count": 1}

_Type: TypeAlias = Literal["POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END"]
_Line: TypeAlias = dict[str, Any]


def write_mllog(folder: Path, path: Path | None = None) -> Path:
    """Write the log of a run that has ended.

    Args:
        folder: of the run.
        path: the file; replaced if it is there. None: `mllog.txt` in the folder.

    Raises:
        UsageError: no run folder, or a run that did not end.
    """
    lines = log_lines(read(folder))
    path = path or folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, encode = path.with_name(f".{path.name}.part"), msgspec.json.Encoder(enc_hook=str).encode
    with temporary.open("wb") as file:
        for line in lines:
            file.write(PREFIX.encode() + encode(line) + b"\n")
    temporary.replace(path)
    return path


def log_lines(run: RunFolder) -> list[_Line]:
    """The lines in the order of time; of one millisecond, the beginning of the run first and its end last."""
    events = list(run.events())
    opened = next((event.t for event in events if isinstance(event, Opened)), events[0].t if events else 0)
    began = next((event.t for event in events if isinstance(event, Submitted)), opened)
    ended = max((event.t for event in events), default=opened)
    lines = [*_head(run, opened, began), *_kinds(events), *_points(events), *_tail(run, ended)]
    return sorted(lines, key=lambda line: line["time_ms"])


def _head(run: RunFolder, opened: int, began: int) -> Iterator[_Line]:
    """What ran, with which parameters, and until its first task."""
    m = run.manifest
    yield _line(opened, "submission_benchmark", m.benchmark, about={"benchmark_class": m.benchmark_class, "version": m.benchmark_version})
    yield _line(opened, "init_start", None, "INTERVAL_START")
    yield _line(opened, "seed", m.seed)
    facts = {"size": m.size, "repeat": m.repeat, "engine": m.engine, "slots": m.slots, **m.configuration}
    yield from (_line(opened, key, value) for key, value in facts.items())
    yield _line(began, "init_stop", None, "INTERVAL_END")
    yield _line(began, "run_start", None, "INTERVAL_START")
    yield _line(began, "block_start", None, "INTERVAL_START", about=_BLOCK)


def _tail(run: RunFolder, ended: int) -> Iterator[_Line]:
    """How good it was, and how it ended."""
    result = run.result
    judged = next(iter(result.quality.items()), None)
    rows = timeline(run.events()).rows
    for key, charge in (("train_samples", "learned"), ("eval_samples", "measurement")):
        ran = sum(row.kind == "simulate" and row.charge == charge and row.outcome == "ok" for row in rows)
        yield _line(ended, key, ran)
    yield _line(ended, "block_stop", None, "INTERVAL_END", about=_BLOCK)
    if judged is not None:
        name, value = judged
        about = {"epoch_num": 1, "quality": name, "target": result.verdict.target, "better": "lower"}
        yield _line(ended, "eval_accuracy", value, about=about)
    others = list(result.quality.items())[1:]
    yield from (_line(ended, f"quality {name}", value) for name, value in others if value is not None)
    status = "success" if result.verdict.status == "VALID" else "aborted"
    about = {"status": status, "verdict": result.verdict.status, "reason": result.verdict.reason}
    yield _line(ended, "run_stop", None, "INTERVAL_END", about=about)


def _kinds(events: Iterable[Event]) -> Iterator[_Line]:
    """When tasks of each kind and account ran."""
    events = list(events)
    origin = events[0].t if events else 0
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in timeline(events).rows:
        groups.setdefault((row.kind, row.charge), []).append(row)
    for (kind, charge), rows in groups.items():
        for start_s, end_s, tasks in _united(rows):
            namespace, about = "" if charge == "learned" else charge, {"tasks": tasks}
            yield _line(origin + round(1e9 * start_s), kind, None, "INTERVAL_START", namespace, about)
            yield _line(origin + round(1e9 * end_s), kind, None, "INTERVAL_END", namespace, about)


def _united(rows: Iterable[Row]) -> Iterator[tuple[float, float, int]]:
    """(start, end, tasks) of the times in which at least one ran."""
    start_s = end_s = 0.0
    tasks = 0
    for row in sorted(rows, key=lambda row: row.start_s):
        if tasks and row.start_s - end_s > APART_S:
            yield start_s, end_s, tasks
            tasks = 0
        start_s, end_s = (start_s, max(end_s, row.end_s)) if tasks else (row.start_s, row.end_s)
        tasks += 1
    if tasks:
        yield start_s, end_s, tasks


def _points(events: Iterable[Event]) -> Iterator[_Line]:
    """Marks from inside tasks, and each surrogate that was learned."""
    for event in events:
        if isinstance(event, Mark):
            yield _line(event.t, event.name, event.value, about={"task": event.task})
        elif isinstance(event, Decision) and event.decision == "learned":
            yield _line(event.t, "learned", event.data.get("version"))


def _line(t_ns: int, key: str, value: Any, event_type: _Type = "POINT_IN_TIME", namespace: str = "", about: _Line | None = None) -> _Line:
    time_ms = t_ns // 1_000_000
    return {"namespace": namespace, "time_ms": time_ms, "event_type": event_type, "key": key, "value": value, "metadata": about or {}}
