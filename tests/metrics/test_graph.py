"""Figures of task graphs, worked by hand; the bounds against brute force are in `metrics/graph_truths.py`, for `verify`."""

from __future__ import annotations

import pytest

from mlforhpc.metrics import graph, graph_truths
from mlforhpc.metrics.timeline import Row


def row(submitted_s: float, start_s: float, end_s: float, resolved_s: float) -> Row:
    """A task that ran from `start_s` to `end_s`."""
    return Row(
        task=1, attempt=1, kind="prepare", charge="learned", label="", cores=1, slot="0",
        submitted_s=submitted_s, start_s=start_s, end_s=end_s, resolved_s=resolved_s, outcome="ok", last=True,
    )  # fmt: skip


def test_a_chain_s_overhead_is_its_round_trip() -> None:
    """Three tasks of 2 s, 0.5 s lost at each: 7.5 s instead of 6 on any number of slots."""
    found = graph.graph_figures(((), (0,), (1,)), (2.0, 2.0, 2.0), makespan_s=7.5, slots=4)
    assert (found.tasks, found.work_s, found.critical_path_s, found.bound_s, found.list_s) == (3, 6.0, 6.0, 6.0, 6.0)
    assert found.over_bound == found.over_critical_path == found.over_list == 1.25
    assert found.overhead_per_task_s == pytest.approx(0.5)
    assert found.utilization == 6 / (4 * 7.5)


def test_independent_tasks_overhead_is_what_a_slot_loses_a_task() -> None:
    """Eight tasks of 1 s on two slots, 0.25 s lost at each of the four in a row: 5 s instead of 4."""
    found = graph.graph_figures([()] * 8, [1.0] * 8, makespan_s=5.0, slots=2)
    assert (found.work_s, found.critical_path_s, found.bound_s, found.list_s) == (8.0, 1.0, 4.0, 4.0)
    assert (found.over_bound, found.over_critical_path) == (1.25, 5.0)
    assert found.overhead_per_task_s == pytest.approx(0.25)
    assert found.utilization == 0.8


def test_the_graph_s_own_waiting_is_no_overhead() -> None:
    """Three tasks of 2 s on two slots: bound 3 s, but no schedule ends before 4; an engine that takes 4 s has no overhead."""
    found = graph.graph_figures([(), (), ()], [2.0] * 3, makespan_s=4.0, slots=2)
    assert (found.bound_s, found.list_s) == (3.0, 4.0)
    assert found.over_bound == pytest.approx(4 / 3) and found.over_list == 1.0 and found.overhead_per_task_s == 0.0


def test_lengths_are_the_worker_s_and_the_makespan_the_driver_s() -> None:
    """From the first task asked for, at 1 s, to the last result known, at 6.5 s; lengths 2 s and 1 s."""
    found = graph.figures_of_rows(((), (0,)), [row(1, 1.5, 3.5, 4), row(4, 5, 6, 6.5)], slots=1)
    assert (found.makespan_s, found.work_s, found.critical_path_s) == (5.5, 3.0, 3.0)


def test_the_truths_hold_and_see_what_is_wrong(monkeypatch) -> None:
    """All pass; a critical path that forgets the task's last parent, and a bound that forgets the path, are found."""
    assert [check.name for check in graph_truths.checks() if not check.passed] == []
    right = graph.critical_path_s
    monkeypatch.setattr(graph, "critical_path_s", lambda parents, lengths_s: right([above[:-1] for above in parents], lengths_s))
    assert {check.name for check in graph_truths.checks() if not check.passed} >= {"graph by hand", "critical path"}
    monkeypatch.undo()
    bound = graph.lower_bound_s
    monkeypatch.setattr(graph, "lower_bound_s", lambda *one: 1.01 * bound(*one))
    assert {check.name for check in graph_truths.checks() if not check.passed} == {"graph by hand", "lower bound"}
    monkeypatch.undo()
    lazy = graph.list_schedule_s
    monkeypatch.setattr(graph, "list_schedule_s", lambda parents, lengths_s, slots: lazy(parents, lengths_s, max(1, slots - 1)))
    assert "list schedule" in {check.name for check in graph_truths.checks() if not check.passed}


def test_granularity_is_interpolated_in_log_length() -> None:
    """Efficiency 0.25 at 1 ms and 0.75 at 100 ms: half of it half-way between, at 10 ms."""
    assert graph.granularity_s([0.1, 0.001], [0.75, 0.25], 0.5) == pytest.approx(0.01)
    assert graph.granularity_s([0.001, 0.01, 0.1], [0.2, 0.5, 0.9], 0.5) == pytest.approx(0.01)


def test_granularity_outside_of_what_was_measured_is_not_made_up() -> None:
    """All above, or the longest still below: None."""
    assert graph.granularity_s([0.001, 0.01], [0.6, 0.9], 0.5) is None
    assert graph.granularity_s([0.001, 0.01], [0.1, 0.4], 0.5) is None
    assert graph.granularity_s([0.001], [0.4], 0.5) is None


def test_the_range_of_six_rounds_holds_the_median_in_97_of_100_cases() -> None:
    """1 - 2^-5; of two rounds every other time, of one never."""
    assert graph.median_interval([3.0, 1.0, 2.0, 9.0, 4.0, 5.0]) == (3.5, 1.0, 9.0, 0.96875)
    assert graph.median_interval([2.0, 1.0]) == (1.5, 1.0, 2.0, 0.5)
    assert graph.median_interval([7.0]) == (7.0, 7.0, 7.0, 0.0)
