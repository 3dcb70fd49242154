"""Rounds of task graphs and their result: real runs of small graphs, and figures that follow from hand-made ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlforhpc import Campaign
from mlforhpc.core import trace
from mlforhpc.metrics.graph import graph_figures
from mlforhpc.scenarios import graph_rounds
from mlforhpc.scenarios.graph_result import result
from mlforhpc.scenarios.graph_rounds import Case, Measured, measure
from mlforhpc.scenarios.task_graphs import chain, fan, independent

SHAPES = [chain(4), fan(3, 1)]


@pytest.fixture
def campaign(tmp_path):
    """Two slots."""
    with Campaign(tmp_path / "c", engine="processes", slots=2) as opened:
        yield opened


def measured(campaign, rounds: int = 2) -> Measured:
    """Two graphs at 1 and 10 ms."""
    return measure(campaign.broker, campaign.referee, SHAPES, lengths_s=(0.01, 0.001), rounds=rounds, folder=campaign.folder)


def test_every_graph_runs_at_every_length_in_every_round(campaign):
    """Shortest first; lengths are those asked for within what a shared machine does; nothing is faster than its bound."""
    found = measured(campaign)
    assert [case.label for case in found.cases] == ["chain 1 ms", "fan-out/fan-in 1 ms", "chain 10 ms", "fan-out/fan-in 10 ms"]
    assert found.wrong == {} and found.values == 2 * 2 * (4 + 5) and found.slots == 2
    for case, runs in zip(found.cases, found.figures, strict=True):
        assert len(runs) == 2
        for one in runs:
            assert one.tasks == len(case.repeats) and one.over_bound >= 1 and 0 < one.utilization <= 1
            assert one.list_s >= one.bound_s * (1 - 1e-12) and 0.2 < one.work_s / one.tasks / case.length_s < 20
    assert found.alone_s > 0.002 and found.busy_s > 0.002


def test_measurement_is_the_referee_s_and_the_graphs_are_charged(campaign):
    """36 tasks of the graphs; calibration, warm-up and the serial truth are measurement."""
    measured(campaign)
    asked = [e for e in trace.read(campaign.folder / "events.jsonl") if isinstance(e, trace.Submitted)]
    learned = [e.label for e in asked if e.charge == "learned"]
    assert len(learned) == len(set(learned)) == 36 and "chain 10 ms, round 1, task 3" in learned
    assert {e.label.split(" ")[0] for e in asked if e.charge == "measurement"} == {"calibrate", "warm-up", "busy", "alone", "serial"}


def test_a_value_that_is_not_the_serial_one_makes_the_run_invalid(campaign, monkeypatch):
    """The last bit of the last task of each graph: two values a length and round, and the sentence says where."""
    right = graph_rounds.evaluate
    monkeypatch.setattr(graph_rounds, "evaluate", lambda parents, repeats: [*right(parents, repeats)[:-1], 2.0])
    found = measured(campaign, rounds=1)
    assert found.wrong == dict.fromkeys((case.label for case in found.cases), 1)
    verdict = result(found, target=0.0).verdict
    assert verdict.status == "INVALID" and not verdict.ranked
    assert verdict.reason.startswith("4 of 18 values differ") and "fan-out/fan-in 10 ms" in verdict.reason


def by_hand(overheads_s: tuple[float, ...], lengths_s: tuple[float, ...] = (0.001, 0.01)) -> Measured:
    """A chain of ten and ten independent tasks on two slots; in each round every task loses the same time."""
    cases, figures = [], []
    for length_s in lengths_s:
        for shape, in_a_row in ((chain(10), 10), (independent(10), 5)):
            cases.append(Case(shape=shape, length_s=length_s, repeats=(1,) * 10))
            runs = [graph_figures(shape.parents, [length_s] * 10, makespan_s=in_a_row * (length_s + o), slots=2) for o in overheads_s]
            figures.append(tuple(runs))
    return Measured(
        slots=2, cases=tuple(cases), figures=tuple(figures), wrong={}, values=40, kernel_s=1e-6, alone_s=0.01, busy_s=0.012,
    )  # fmt: skip


def test_the_headline_by_hand():
    """0.5, 1 and 1.5 ms lost a task: that is the overhead; at 10 ms the makespan is 1.1 times the bound; a task is 1.2 times slower."""
    found = result(by_hand((0.0005, 0.001, 0.0015)), target=0.0)
    assert found.verdict.status == "VALID" and not found.verdict.ranked
    overhead, over, _, slower = found.headline.values()
    assert (overhead.value, overhead.lower, overhead.upper) == pytest.approx((1.0, 0.5, 1.5)) and overhead.coverage == 0.75
    assert (over.value, over.lower, over.upper) == pytest.approx((1.1, 1.05, 1.15)) and over.reference == 1.0
    assert slower.value == pytest.approx(1.2)
    assert found.quality == {"values that differ": 0.0, "values compared": 40.0, "graphs": 12.0}
    row = dict(zip(found.tables[0].columns, found.tables[0].rows[1], strict=True))
    assert row["graph"] == "independent" and row["makespan / bound"] == pytest.approx(2.0) and row["utilization"] == pytest.approx(0.5)
    assert "1.2 times as long with all slots busy" in found.tables[0].caption


def test_the_half_efficient_length_by_hand():
    """3 ms lost a task: efficiency 1/4 at 1 ms and 10/13 at 10 ms, so half at 10^((1/4) / (10/13 - 1/4)) = 10^(13/27) ms."""
    half = result(by_hand((0.003,)), target=0.0).headline["half-efficient task length, ms"]
    assert half.value == pytest.approx(10 ** (13 / 27))


def test_half_efficiency_outside_of_what_was_measured_is_said():
    """No number, and on which side it is."""
    quick = result(by_hand((0.0001,)), target=0.0).headline["half-efficient task length, ms"]
    slow = result(by_hand((0.1,)), target=0.0).headline["half-efficient task length, ms"]
    assert quick.value is None and quick.note.startswith("below 1 ms") and slow.value is None and slow.note.startswith("above 10 ms")


def test_an_overhead_below_zero_is_no_point_on_a_logarithmic_axis():
    """Clock resolution can put a makespan a hair below the schedule: it stays in the table and leaves the figure."""
    found = by_hand((0.0,))
    less = tuple(tuple(replace(one, overhead_per_task_s=-1e-9) for one in runs) for runs in found.figures)
    series = result(replace(found, figures=less), target=0.0).figures[0].panels[1].series
    assert all(y is None for one in series for y in one.y)
