"""A golden trace worked by hand: two slots, two sessions, a lost attempt, an interrupted task."""

import msgspec
import pytest

from mlforhpc.core.events import Decision, Event, Finished, Opened, Started, Submitted, decode
from mlforhpc.metrics.system import system_figures
from mlforhpc.metrics.timeline import timeline

T0 = 1_700_000_000_000_000_000


def ns(s: float) -> int:
    """Unix ns of a time in seconds."""
    return T0 + round(s * 1e9)


def opened(s: float, *, slots: int = 2, resumed: bool = False) -> Opened:
    """One `opened` line."""
    return Opened(t=ns(s), host="h", pid=1, unix_ns=ns(s), monotonic_ns=0, system="x", engine="processes", slots=slots, resumed=resumed)


def submitted(s: float, task: int, kind: str = "simulate", charge: str = "learned", cores: int = 1) -> Submitted:
    """One `submitted` line."""
    return Submitted(t=ns(s), task=task, kind=kind, charge=charge, label=f"task {task}", cores=cores, key="")


def started(s: float, task: int, slot: str = "0", attempt: int = 1) -> Started:
    """One `started` line."""
    return Started(t=ns(s), task=task, slot=slot, attempt=attempt)


def finished(
    s: float, task: int, ran: tuple[float, float], outcome: str = "ok", slot: str = "0", attempt: int = 1, memory: int = 0
) -> Finished:
    """One `finished` line; `ran` on the worker."""
    return Finished(
        t=ns(s),
        task=task,
        outcome=outcome,
        slot=slot,
        started_ns=ns(ran[0]),
        ended_ns=ns(ran[1]),
        bytes_in=10,
        bytes_out=100,
        peak_memory_bytes=memory,
        attempt=attempt,
        reason="",
    )


GOLDEN: list[Event] = [
    opened(0),
    submitted(0, 1),
    submitted(0, 2, charge="measurement"),
    submitted(1, 3, kind="learn", cores=2),
    started(0, 1),
    started(0, 2, slot="1"),
    finished(4.5, 1, (0, 4), memory=7),
    finished(5, 2, (0, 2), outcome="lost", slot="1"),
    started(5, 2, slot="1", attempt=2),
    finished(8, 2, (5, 8), slot="1", attempt=2, memory=9),
    started(8, 3),
    Decision(t=ns(10), decision="ask", data={}),  # the driver dies; task 3 has run for 2 s on two slots
    opened(100, slots=4, resumed=True),
    submitted(100, 4, kind="learn", cores=2),
    started(100, 4),
    finished(105, 4, (101, 105), memory=5),
    Decision(t=ns(105), decision="closed", data={"driver_cpu_s": 0.6}),
]


def test_makespan_leaves_out_the_gap_between_sessions() -> None:
    """10 s and 5 s, not 105 s; 2 slots x 10 s + 4 slots x 5 s of capacity."""
    found = system_figures(GOLDEN)
    assert found.makespan_s == pytest.approx(15.0)
    assert found.capacity_s == pytest.approx(40.0)
    assert found.resumptions == 1


def test_slot_seconds_and_utilization_by_hand() -> None:
    """4 of task 1; 2 lost and 3 of task 2; 2 x 2 interrupted of task 3; 2 x 4 of task 4."""
    found = system_figures(GOLDEN)
    assert found.slot_s == pytest.approx({("simulate", "learned"): 4.0, ("simulate", "measurement"): 5.0, ("learn", "learned"): 12.0})
    assert found.total.utilization == pytest.approx(21.0 / 40.0)
    assert found.overhead == pytest.approx(19.0 / 40.0)
    assert found.by_kind["learn"].utilization == pytest.approx(12.0 / 40.0)
    assert found.by_charge["measurement"].slot_s == pytest.approx(5.0)


def test_tasks_outcomes_latency_and_bytes_by_hand() -> None:
    """Task 1 took 4.5 s from asked to known, task 2 with its retry 8 s, task 4 5 s; task 3 never finished."""
    found = system_figures(GOLDEN)
    simulate = found.by_kind["simulate"]
    assert simulate.tasks == 2 and simulate.outcomes == {"lost": 1, "ok": 2}
    assert simulate.throughput_per_s == pytest.approx(2 / 15)
    assert simulate.latency_p50_s == pytest.approx(6.25)
    assert simulate.latency_p99_s == pytest.approx(4.5 + 0.99 * 3.5)
    assert found.by_kind["learn"].outcomes == {"interrupted": 1, "ok": 1} and found.by_kind["learn"].tasks == 1
    assert (found.total.bytes_in, found.total.bytes_out, found.total.peak_memory_bytes) == (40, 400, 9)
    assert found.driver_cpu_s_per_task == pytest.approx(0.2)


def test_timeline_rows() -> None:
    """What the report draws: slot, start, end, kind, charge, label, outcome."""
    rows = [(r.task, r.attempt, r.slot, r.start_s, r.end_s, r.kind, r.outcome, r.last) for r in system_figures(GOLDEN).rows]
    assert rows == [
        (1, 1, "0", 0.0, 4.0, "simulate", "ok", True),
        (2, 1, "1", 0.0, 2.0, "simulate", "lost", False),
        (2, 2, "1", 5.0, 8.0, "simulate", "ok", True),
        (3, 1, "0", 8.0, 10.0, "learn", "interrupted", False),
        (4, 1, "0", 101.0, 105.0, "learn", "ok", True),
    ]


def test_a_worker_that_died_is_charged_until_it_was_missed() -> None:
    """No worker-side times: from handed out to known as lost. A task cancelled while it waited costs nothing."""
    lost = msgspec.structs.replace(finished(3, 1, (0, 0), outcome="lost"), started_ns=0, ended_ns=0)
    cancelled = msgspec.structs.replace(finished(3, 2, (0, 0), outcome="cancelled"), started_ns=0, ended_ns=0)
    rows = timeline([opened(0), submitted(0, 1), submitted(0, 2), started(1, 1), lost, cancelled]).rows
    assert [row.slot_s for row in rows] == [pytest.approx(2.0), 0.0]


def test_figures_survive_the_file() -> None:
    """Through JSON lines and back: the same figures."""
    back = [decode(msgspec.json.encode(event)) for event in GOLDEN]
    assert None not in back
    assert system_figures(e for e in back if e is not None) == system_figures(GOLDEN)


def test_empty_traces_and_torn_heads_are_no_crash() -> None:
    """Nothing measured is zero or None."""
    for events in ([], [submitted(0, 1)], [opened(0)]):
        found = system_figures(events)
        assert found.makespan_s == 0.0 and found.total.tasks == 0 and found.total.latency_p50_s is None
        assert found.driver_cpu_s_per_task is None
