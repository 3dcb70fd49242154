"""The timeline as Trace Event Format: a small trace by hand, several hosts, what goes wrong, and a real run."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlforhpc import Campaign
from mlforhpc.core.errors import TaskError, UsageError
from mlforhpc.core.events import ENCODER, Decision, Event, Finished, Mark, Opened, Quality, Started, Submitted
from mlforhpc.report import write_perfetto
from mlforhpc.report.perfetto import trace_events

T0 = 1_700_000_000_000_000_000


def ns(ms: float) -> int:
    """Unix ns of a time in ms."""
    return T0 + round(ms * 1e6)


def opened(ms: float = 0, host: str = "h", slots: int = 2, resumed: bool = False) -> Opened:
    """A driver opens the trace."""
    return Opened(
        t=ns(ms), host=host, pid=1, unix_ns=ns(ms), monotonic_ns=0, system="a machine", engine="processes", slots=slots, resumed=resumed
    )


def submitted(ms: float, task: int, kind: str = "simulate", charge: str = "learned") -> Submitted:
    """A task is asked for."""
    return Submitted(t=ns(ms), task=task, kind=kind, charge=charge, label=f"run {task}", cores=1, key="")


def started(ms: float, task: int, slot: str = "0") -> Started:
    """An attempt is handed out."""
    return Started(t=ns(ms), task=task, slot=slot, attempt=1)


def finished(ms: float, task: int, ran: tuple[float, float] | None, outcome: str = "ok", slot: str = "0", attempt: int = 1) -> Finished:
    """An attempt ends; `ran` on the worker, None if nobody knows."""
    start, end = (0, 0) if ran is None else map(ns, ran)
    return Finished(
        t=ns(ms), task=task, outcome=outcome, slot=slot, started_ns=start, ended_ns=end,
        bytes_in=0, bytes_out=0, peak_memory_bytes=0, attempt=attempt, reason="",
    )  # fmt: skip


def tasks(*rows: tuple[str, float, float], host: str = "h") -> list[dict[str, Any]]:
    """The complete events of tasks (slot, start, end), numbered from 1."""
    events: list[Event] = [opened(host=host)]
    for i, (slot, start, end) in enumerate(rows, 1):
        events += [submitted(0, i), started(start, i, slot), finished(end, i, (start, end), slot=slot)]
    return list(trace_events(events))


def names(events: list[dict[str, Any]]) -> dict[tuple[int, int], tuple[str, str]]:
    """(pid, tid) -> (host, thread)."""
    host = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    return {(e["pid"], e["tid"]): (host[e["pid"]], e["args"]["name"]) for e in events if e["name"] == "thread_name"}


def complete(events: list[dict[str, Any]]) -> list[tuple[str, str, float, float]]:
    """(host, thread, start, duration) of each complete event, us."""
    where = names(events)
    return [(*where[e["pid"], e["tid"]], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]


def check(events: list[dict[str, Any]]) -> None:
    """Every event has what its phase needs; nothing is negative; complete events of one thread do not overlap."""
    needed = {
        "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"},
        "C": {"name", "ph", "ts", "pid", "args"},
        "i": {"name", "cat", "ph", "s", "ts", "pid", "tid", "args"},
        "M": {"name", "ph", "pid", "tid", "args"},
    }
    where = names(events)
    busy: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        assert set(event) == needed[event["ph"]], event
        assert event.get("ts", 0) >= 0 and event.get("dur", 0) >= 0
        if event["ph"] == "C":
            assert min(event["args"].values()) >= 0
        if event["ph"] in "Xi":
            assert (event["pid"], event["tid"]) in where
        if event["ph"] == "X":
            start = round(event["ts"] * 1000)
            busy[event["pid"], event["tid"]].append((start, start + round(event["dur"] * 1000)))
    for spans in busy.values():
        spans.sort()
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


SMALL: list[Event] = [
    opened(),
    Decision(t=ns(1), decision="ask", data={"n": 2, "ids": list(range(50))}),
    submitted(2, 1),
    submitted(2.5, 2, kind="learn", charge="measurement"),
    started(5, 1),
    Mark(t=ns(6), task=1, name="loss", value=0.5),
    finished(10.25, 1, (5.5, 10), slot="0"),
    started(20, 2, "node7:3"),
    finished(31, 2, (20.000001, 30.5), "failed", "node7:3"),
    Quality(t=ns(40), name="q", data={"q2": 0.25}, keys=["a", "b"]),
]


def test_a_small_trace_becomes_exactly_this(tmp_path: Path) -> None:
    """Two tasks on two hosts, a decision, a mark, a quality figure, the counter; times in us from the first event on."""
    (tmp_path / "events.jsonl").write_bytes(b"".join(ENCODER.encode(event) + b"\n" for event in SMALL))
    path = write_perfetto(tmp_path)
    assert path == tmp_path / "timeline.perfetto.json" and {p.name for p in tmp_path.iterdir()} == {"events.jsonl", path.name}
    driver, slot, node = {"pid": 1, "tid": 1}, {"pid": 1, "tid": 2}, {"pid": 2, "tid": 3}

    def instant(name: str, cat: str, ts: float, where: dict[str, int], **args: object) -> dict[str, object]:
        return {"name": name, "cat": cat, "ph": "i", "s": "t", "ts": ts, **where, "args": args}

    def count(ts: float, pending: int, running: int) -> dict[str, object]:
        return {"name": "tasks", "ph": "C", "ts": ts, "pid": 1, "args": {"pending": pending, "running": running}}

    def named(name: str, where: dict[str, int], value: object) -> dict[str, object]:
        return {"name": name, "ph": "M", **where, "args": {"sort_index" if name.endswith("index") else "name": value}}

    assert json.loads(path.read_bytes()) == {
        "displayTimeUnit": "ms",
        "otherData": {"run": tmp_path.name},
        "traceEvents": [
            instant("opened", "session", 0, driver, engine="processes", slots=2, system="a machine"),
            instant("ask", "decision", 1000, driver, n=2, ids="50 entries"),
            count(2500, 2, 0),  # the two came within a millisecond
            instant("loss", "mark", 6000, slot, task=1, value=0.5),
            {
                "name": "simulate", "cat": "simulate,learned", "ph": "X", "ts": 5500, "dur": 4500, **slot,
                "args": {"task": 1, "label": "run 1", "waited_ms": 3.5},
            },
            count(5000, 1, 1),
            count(10250, 1, 0),
            {
                "name": "learn (measurement): failed", "cat": "learn,measurement", "ph": "X", "ts": 20000.001, "dur": 10499.999, **node,
                "args": {"task": 2, "label": "run 2", "waited_ms": 17.5},
            },
            count(20000, 0, 1),
            instant("quality q", "quality", 40000, driver, q2=0.25, keys=2),
            count(31000, 0, 0),
            named("process_name", {"pid": 1, "tid": 0}, "h"), named("process_sort_index", {"pid": 1, "tid": 0}, 1),
            named("process_name", {"pid": 2, "tid": 0}, "node7"), named("process_sort_index", {"pid": 2, "tid": 0}, 2),
            named("thread_name", driver, "driver"), named("thread_sort_index", driver, 0),
            named("thread_name", slot, "slot 0"), named("thread_sort_index", slot, 1),
            named("thread_name", node, "slot 3"), named("thread_sort_index", node, 2),
        ],
    }  # fmt: skip
    check(list(trace_events(SMALL)))


def test_a_process_is_a_host_and_a_thread_a_slot_in_natural_order() -> None:
    """A slot named host:pid is on that host, also where its name has colons; plain slots are on the driver's host."""
    events = tasks(("h:10", 0, 1), ("h:2", 0, 1), ("node:a", 0, 1), ("fe80::1:7", 0, 1), ("4", 0, 1))
    assert [where[:2] for where in complete(events)] == [
        ("h", "slot 10"), ("h", "slot 2"), ("node", "slot a"), ("fe80::1", "slot 7"), ("h", "slot 4")
    ]  # fmt: skip
    place = {(e["pid"], e["tid"]): e["args"]["sort_index"] for e in events if e["name"] == "thread_sort_index"}
    in_order = [names(events)[key] for key in sorted(place, key=lambda key: place[key])]
    assert in_order[:4] == [("h", "driver"), ("h", "slot 2"), ("h", "slot 4"), ("h", "slot 10")]
    check(events)


def test_tasks_at_once_under_one_slot_s_name_get_threads_of_their_own() -> None:
    """A long one that ends last, two short ones beside it, one after: three bars on one thread and the long one on a second."""
    events = tasks(("w:1", 1, 2), ("w:1", 2, 3), ("w:1", 0.5, 4), ("w:1", 4, 5))
    assert complete(events) == [
        ("w", "slot 1", 1000, 1000), ("w", "slot 1", 2000, 1000), ("w", "slot 1 (2)", 500, 3500), ("w", "slot 1", 4000, 1000)
    ]  # fmt: skip
    check(events)


def test_a_clock_that_is_a_little_behind_makes_nothing_negative() -> None:
    """A worker that says it began before the trace did."""
    events = list(trace_events([opened(), submitted(0.001, 1), started(0.002, 1), finished(1, 1, (-0.5, 0.5))]))
    assert complete(events) == [("h", "slot 0", 0, 500)]
    check(events)


def test_lost_interrupted_and_never_run_tasks() -> None:
    """A lost attempt and its retry, one that its driver left, one cancelled while it waited (on no slot); then a second session."""
    events: list[Event] = [opened(), *(submitted(0, i) for i in (1, 2, 3)), started(1, 1), started(1, 2, "1")]
    events += [finished(5, 1, None, "lost"), started(6, 1), finished(9, 1, (6, 8), attempt=2), finished(9.5, 3, None, "cancelled", "")]
    events += [opened(100, host="other", resumed=True), submitted(101, 4), started(101, 4), finished(103, 4, (101, 102))]
    found = list(trace_events(events))
    bars = [(e["name"], e["ts"], e["dur"]) for e in found if e["ph"] == "X"]
    assert bars == [
        ("simulate: lost", 1000, 4000), ("simulate", 6000, 2000), ("simulate: interrupted", 1000, 8500), ("simulate", 101000, 1000)
    ]  # fmt: skip
    instants = [(e["name"], names(found)[e["pid"], e["tid"]]) for e in found if e["ph"] == "i"]
    assert instants == [("opened", ("h", "driver")), ("simulate: cancelled", ("h", "driver")), ("resumed", ("other", "driver"))]
    assert next(e["args"]["attempt"] for e in found if e["ph"] == "X" and e["ts"] == 6000) == 2
    counts = [(e["ts"], e["args"]["pending"], e["args"]["running"]) for e in found if e["ph"] == "C"]
    assert (9500, 0, 1) in counts and counts[counts.index((9500, 0, 1)) + 1] == (9500, 0, 0) and counts[-1] == (103000, 0, 0)
    check(found)


def test_a_torn_head_and_an_empty_trace_are_no_crash() -> None:
    """Without `opened` nobody knows where anything was."""
    assert list(trace_events([])) == []
    assert list(trace_events([submitted(0, 1), started(1, 1), Decision(t=ns(1), decision="ask", data={}), finished(2, 1, (1, 2))])) == []


def test_events_are_written_as_they_are_read() -> None:
    """Memory does not grow with the trace: of a trace without end, twenty thousand bars come out, and less than 100 kB is held."""

    def endless() -> Iterator[Event]:
        yield opened()
        for i in itertools.count(1):
            yield from (submitted(i, i), started(i, i, str(i % 2)), finished(i + 1, i, (i, i + 1), slot=str(i % 2)))

    bars = (e for e in trace_events(endless()) if e["ph"] == "X")
    first = next(bars)
    tracemalloc.start()
    for _ in itertools.islice(bars, 20_000):
        pass
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first["ts"] == 1000 and held < 100_000


def test_a_folder_without_a_trace_is_a_sentence(tmp_path: Path) -> None:
    """Wanted, found, way out."""
    with pytest.raises(UsageError, match=r"has no events.jsonl; give the folder of a run or of a campaign"):
        write_perfetto(tmp_path)


def work(ms: float) -> None:
    """Takes so long."""
    time.sleep(ms / 1000)


def die() -> None:
    """Kills its own slot."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_real_campaign_gives_a_valid_trace(tmp_path: Path) -> None:
    """Forty tasks, short and long, and one that kills its slot three times: every bar is on a slot, none overlaps another."""
    with Campaign(tmp_path / "c", engine="processes", slots=2) as campaign:
        futures = [campaign.broker.submit("simulate", work, 10 if i % 4 == 0 else 0.5) for i in range(40)]
        dying = campaign.broker.submit("learn", die)
        for future in futures:
            future.result()
        with pytest.raises(TaskError):
            dying.result()
        document = json.loads(write_perfetto(tmp_path / "c", tmp_path / "deep" / "t.json").read_bytes())
    events = document["traceEvents"]
    check(events)
    bars = complete(events)
    assert {where[1] for where in bars} == {"slot 0", "slot 1"}
    by_name = [e["name"] for e in events if e["ph"] == "X"]
    assert by_name.count("simulate") == 40 and by_name.count("learn: lost") == 3
    assert [e["args"]["running"] for e in events if e["ph"] == "C"][-1] == 0
