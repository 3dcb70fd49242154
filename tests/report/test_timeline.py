"""The slot timeline and the phases, from hand-made traces."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mlforhpc.core.events import Finished, Opened, Started, Submitted
from mlforhpc.report.spans import Span, activity
from mlforhpc.report.timeline import timeline

S = 1_000_000_000


def opened(t_s: float, slots: int = 2) -> Opened:
    """A driver opens the trace."""
    t = int(t_s * S)
    return Opened(t=t, host="h", pid=1, unix_ns=t, monotonic_ns=0, system="s", engine="serial", slots=slots, resumed=False)


def task(
    number: int, start_s: float, end_s: float, *, kind: str = "simulate", charge: str = "learned", slot: str = "0", cores: int = 1
) -> list[Any]:
    """The three events of a task."""
    a, b = int(start_s * S), int(end_s * S)
    return [
        Submitted(t=a, task=number, kind=kind, charge=charge, label="", cores=cores, key=""),
        Started(t=a, task=number, slot=slot, attempt=1),
        Finished(
            t=b,
            task=number,
            outcome="ok",
            slot=slot,
            started_ns=a,
            ended_ns=b,
            bytes_in=0,
            bytes_out=0,
            peak_memory_bytes=0,
            attempt=1,
            reason="",
        ),
    ]


def boxes(svg: str) -> list[tuple[int, int]]:
    """(start, width) of every box, in units of 1/2000 of the run."""
    return [(int(x), int(w)) for x, w in re.findall(r"M(\d+) \d+h(\d+)v", svg)]


def test_phases_are_slot_seconds_and_add_up() -> None:
    """Two slots for ten seconds: 6 + 3 slot-seconds of learned work, 4 of measurement, 7 idle."""
    events = [opened(0), *task(1, 0, 3, cores=2), *task(2, 3, 6, kind="learn"), *task(3, 6, 10, charge="measurement")]
    done = activity(events)
    assert [(p.kind, p.measurement, p.tasks, p.slot_s) for p in done.phases] == [
        ("simulate", False, 1, 6.0), ("simulate", True, 1, 4.0), ("learn", False, 1, 3.0), ("idle", False, 0, 7.0)
    ]  # fmt: skip
    assert sum(p.share for p in done.phases) == pytest.approx(1.0)
    assert done.makespan_s == 10.0


def test_time_between_sessions_is_cut_out() -> None:
    """A run of 2 s that was resumed after an hour for 3 s lasted 5 s, and its second task begins where the first ended."""
    events = [opened(0, 1), *task(1, 0, 2), opened(3600, 1), *task(2, 3600, 3603)]
    done = activity(events)
    assert [(s.start_s, s.end_s) for s in done.spans] == [(0.0, 2.0), (2.0, 5.0)]
    assert done.makespan_s == 5.0


def test_a_trace_without_tasks_has_no_activity() -> None:
    """Nothing ran: nothing to show."""
    assert activity([opened(0)]).phases == () and activity([]).makespan_s is None
    assert timeline([], prefix="t") is None


def test_long_tasks_are_boxes_of_their_own() -> None:
    """Two tasks in a row on one slot: two boxes with a gap, at their places."""
    found = timeline([Span("0", "simulate", False, 0, 5), Span("0", "simulate", False, 5, 10)], prefix="t")
    assert found is not None
    assert boxes(str(found.svg)) == [(0, 998), (1000, 998)]
    assert found.rows == ("0",)


def test_short_tasks_are_merged_and_the_majority_gives_the_colour() -> None:
    """Ten thousand tasks of a ten-thousandth are one box; a cell belongs to what took most of it."""
    many = [Span("0", "simulate", False, i / 10_000, (i + 1) / 10_000) for i in range(10_000)]
    found = timeline(many, prefix="t")
    assert found is not None
    (only,) = boxes(str(found.svg))
    assert only[0] == 0 and only[1] >= 2000
    mixed = [Span("0", "learn" if i % 10 == 0 else "infer", False, i / 20_000, (i + 1) / 20_000) for i in range(20_000)]
    svg = str(timeline(mixed, prefix="t").svg)  # type: ignore[union-attr]
    assert "k-infer" in svg and "k-learn" not in svg


def test_measurement_is_marked_and_slots_are_in_order() -> None:
    """The referee's tasks have a class of their own; host:10 comes after host:2."""
    spans = [Span(slot, "simulate", slot == "h:2", 0, 1) for slot in ("h:10", "h:2", "h:1")]
    found = timeline(spans, prefix="t")
    assert found is not None
    assert found.rows == ("h:1", "h:2", "h:10")
    assert 'class="k-simulate measurement"' in found.svg and found.layers == (("simulate", False), ("simulate", True))


def test_many_slots_become_busy_slots_over_time() -> None:
    """Hundred slots, half of them busy all the time: an area up to half the height."""
    spans = [Span(str(i), "simulate", False, 0, 10 if i < 50 else 1e-9) for i in range(100)]
    found = timeline(spans, prefix="t")
    assert found is not None
    assert found.rows == () and found.top == "100 slots"
    assert {float(y) for y in re.findall(r"L\d+ ([\d.]+)h4", str(found.svg))} == {120.0}


@pytest.mark.parametrize(("end_s", "last"), [(0.004, "4 ms"), (55.0, "50 s"), (321.0, "5 min"), (50_000.0, "10 h")])
def test_ticks_are_round_and_of_one_unit(end_s: float, last: str) -> None:
    """From zero on, in steps that people count in."""
    found = timeline([Span("0", "simulate", False, 0, end_s)], prefix="t")
    assert found is not None
    assert found.ticks[0] == (0, "0") and found.ticks[-1][1] == last
