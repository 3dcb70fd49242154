"""Scaling worked by hand: the same tasks on one slot and on two, laws and their inverses, intervals over repeats."""

from math import exp, log, sqrt

import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.events import Event, Finished, Opened, Submitted
from mlforhpc.metrics import scaling
from mlforhpc.metrics.scaling import Work

S = 1_000_000_000
ANY = {"bytes_in": 0, "bytes_out": 0, "peak_memory_bytes": 0, "attempt": 1, "reason": "", "outcome": "ok", "slot": "0"}


def events(slots: int, tasks: list[tuple[str, str, float, float, float]]) -> list[Event]:
    """A trace of tasks (kind, charge, start, end, known), all asked for at 1 s."""
    found: list[Event] = [
        Opened(t=0, host="h", pid=1, unix_ns=0, monotonic_ns=0, system="x", engine="processes", slots=slots, resumed=False)
    ]
    for task, (kind, charge, start, end, known) in enumerate(tasks, 1):
        found.append(Submitted(t=S, task=task, kind=kind, charge=charge, label="", cores=1, key=""))
        found.append(Finished(t=round(known * S), task=task, started_ns=round(start * S), ended_ns=round(end * S), **ANY))
    return found


ONE = events(1, [("simulate", "learned", 1, 3, 3), ("simulate", "measurement", 3, 5, 5), ("learn", "learned", 5, 6, 6.5)])
TWO = events(2, [("simulate", "learned", 1, 3, 3), ("simulate", "measurement", 1, 3, 3), ("learn", "learned", 3, 4, 4.5)])


def of(tasks_s: float, slot_s: float = 1.0) -> Work:
    """Work of one kind."""
    return Work(tasks=1, tasks_s=tasks_s, slot_s=slot_s, kinds_s={"simulate": tasks_s})


def test_work_is_from_the_first_task_asked_for_to_the_last_one_known() -> None:
    """1 s to 6.5 s; 5 slot-seconds; simulations ran 4 s on one slot and, side by side, 2 s on two."""
    assert scaling.work(ONE) == Work(tasks=3, tasks_s=5.5, slot_s=5.0, kinds_s={"learn": 1.0, "simulate": 4.0})
    assert scaling.work(TWO) == Work(tasks=3, tasks_s=3.5, slot_s=5.0, kinds_s={"learn": 1.0, "simulate": 2.0})


def test_work_of_one_charge_leaves_the_others_out() -> None:
    """Without the referee's simulation: 2 s of simulations, the learning until 6.5 s."""
    assert scaling.work(ONE, charge="learned") == Work(tasks=2, tasks_s=5.5, slot_s=3.0, kinds_s={"learn": 1.0, "simulate": 2.0})


def test_a_trace_without_tasks_is_refused() -> None:
    """Nothing can be said of it."""
    with pytest.raises(UsageError, match="no tasks"):
        scaling.work(ONE[:1])


def test_strong_scaling_by_hand() -> None:
    """S = 5.5 / 3.5; half of it is the efficiency; learning gains nothing from the second slot, simulations everything."""
    first, second = scaling.strong({2: {0: scaling.work(TWO)}, 1: {0: scaling.work(ONE)}})
    assert (first.slots, first.efficiency.value, first.serial) == (1, 1.0, None)
    assert second.speedup.value == pytest.approx(11 / 7)
    assert second.efficiency.value == pytest.approx(11 / 14)
    assert {kind: i.value for kind, i in second.kinds.items()} == pytest.approx({"learn": 0.5, "simulate": 1.0})
    assert second.serial == pytest.approx((7 / 11 - 0.5) / 0.5)
    assert (second.pace, second.utilization) == pytest.approx((1.0, 5 / 7))


def test_efficiency_is_pace_times_the_ratio_of_utilizations() -> None:
    """Tasks that take 6 instead of 5 slot-seconds, slots that are used 6 / 8 instead of 5 / 5.5."""
    first, second = scaling.strong({1: {0: of(5.5, 5.0)}, 2: {0: of(4.0, 6.0)}})
    assert second.pace == pytest.approx(5 / 6)
    assert second.efficiency.value == pytest.approx(second.pace * second.utilization / first.utilization)


def test_weak_scaling_by_hand() -> None:
    """Four times the work on 8 slots instead of 2 in 12.5 s instead of 10: efficiency 0.8, scaled speedup 3.2, serial 0.8 / 3."""
    _, second = scaling.weak({2: {0: of(10.0, 20.0)}, 8: {0: of(12.5, 100.0)}})
    assert (second.growth, second.efficiency.value, second.speedup.value) == pytest.approx((4.0, 0.8, 3.2))
    assert second.serial == pytest.approx(0.8 / 3)
    assert (second.pace, second.utilization) == pytest.approx((0.8, 1.0))
    assert second.kinds["simulate"].value == pytest.approx(0.8)


def test_intervals_are_paired_by_seed() -> None:
    """Speedups 1.6 and 2.0 of two seeds: geometric mean, and Student's t of one degree of freedom (12.706) on the logs."""
    (_, line) = scaling.strong({1: {0: of(8.0), 1: of(100.0)}, 2: {0: of(5.0), 1: of(50.0)}})
    half = 12.7062047 * abs(log(1.6 / 2.0)) / sqrt(2) / sqrt(2)
    middle = sqrt(1.6 * 2.0) / 2
    assert line.efficiency.value == pytest.approx(middle)
    assert (line.efficiency.lower, line.efficiency.upper) == pytest.approx((middle * exp(-half), middle * exp(half)))
    assert line.efficiency.note == "paired over 2 seeds"


def test_one_repeat_has_no_interval() -> None:
    """It says so instead of inventing one."""
    (_, line) = scaling.strong({1: {0: of(8.0)}, 2: {0: of(5.0)}})
    assert (line.efficiency.lower, line.efficiency.upper, line.efficiency.note) == (None, None, "one repeat, no interval")


def test_the_laws_and_their_inverses() -> None:
    """Amdahl: a tenth serial on ten slots gives 1 / 0.19; nothing serial gives all. Gustafson: 10 - 9 x 0.1."""
    assert scaling.amdahl(0.1, 10) == pytest.approx(1 / 0.19)
    assert scaling.amdahl(0.0, 10) == pytest.approx(10.0)
    assert scaling.amdahl_serial(1 / 0.19, 10) == pytest.approx(0.1)
    assert scaling.gustafson_serial(9.1, 10) == pytest.approx(0.1)
