"""Launching small fits: every score held against the serial one, gates that fail, an order that changes, rows that can be added up."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from mlforhpc import Campaign
from mlforhpc.core.result import Result
from mlforhpc.scenarios.launching import BARE, Effort, Fits, Way, count, launch
from mlforhpc.scenarios.launching_result import judged, result
from mlforhpc.scenarios.launching_tasks import arrived, simulated, threads, timed

EFFORT = Effort(fits={1: 4, 2: 3}, rounds=2, trips=3, launches=5, each=1)


def fit(table, size, seed):
    """A number of the table, the size and the seed."""
    return float(arrived(table).sum()) * size + seed / 3


def one_bit_off(table, size, seed):
    """The same, but for odd seeds in its last bit."""
    score = fit(table, size, seed)
    return math.nextafter(score, math.inf) if seed % 2 else score


def failing(table, size, seed):
    """The same, but odd seeds fail."""
    if seed % 2:
        raise ArithmeticError("odd")
    return fit(table, size, seed)


def fits(launched=fit, *, least_score=-1e9):
    """Two lengths; `launched` is what tasks run, `fit` what the loops do."""
    ways = (Way(label="by value", fit=launched), Way(label="by reference", fit=launched, by_reference=True, most_a_slot=2))
    common = {"family": "sum", "least_score": least_score, "loop": partial(timed, fit), "ways": ways}
    return [Fits(length_ms=1, simulation="branin", size=1, **common), Fits(length_ms=2, simulation="borehole", size=2, **common)]


def run(tmp_path, launched=fit, *, engine="serial", slots=None, **options) -> Result:
    """The whole scenario, on a real engine."""
    with Campaign(tmp_path, engine=engine, slots=slots) as campaign:
        measured = launch(campaign.broker, fits(launched, **options), EFFORT, referee=campaign.referee, seed=5)
        return result(measured, target=0.0, installation=False, folder=tmp_path, references=["a"], versions={"sum": "1"})


def test_equal_scores_are_valid_by_value_and_by_reference(tmp_path):
    """On two slots: loops again and both ways, of each length, in each round but the first loops."""
    found = run(tmp_path, engine="processes", slots=2)
    assert found.verdict.status == "VALID" and found.verdict.ranked, found.verdict.reason
    assert found.quality["unequal_share"] == 0.0
    by_value, by_reference, again = 2 * (4 + 4), 2 * (4 + 4), 4 + 4
    assert found.performance["scores_compared"] == by_value + by_reference + again
    assert found.performance["cold_start_first_s"] <= found.performance["cold_start_all_slots_s"]


def test_one_bit_in_one_score_is_invalid(tmp_path):
    """The reason says how many of how many; nothing is ranked."""
    found = run(tmp_path, one_bit_off)
    assert found.verdict.status == "INVALID" and not found.verdict.ranked
    assert "scores differ from the serial ones" in found.verdict.reason and found.quality["unequal_share"] > 0


def test_a_fit_that_fails_is_a_score_that_is_missing(tmp_path):
    """The run goes on; its share counts, and the first failure is told where nothing else is wrong."""
    assert run(tmp_path, failing).verdict.status == "INVALID"
    assert judged(0.0, 10, target=0.0, failures=["tasks failed: odd"], installation=False).reason == "tasks failed: odd"


def test_a_family_that_learned_nothing_is_invalid(tmp_path):
    """Equal scores of nothing would say nothing."""
    found = run(tmp_path, least_score=1e12)
    assert found.verdict.status == "INVALID" and "learned nothing" in found.verdict.reason


def test_an_installation_check_has_no_rank():
    """Size tiny."""
    found = judged(0.0, 10, target=0.0, failures=[], installation=True)
    assert found.status == "VALID" and not found.ranked and "installation check" in found.reason


def test_the_mean_score_is_that_of_the_fits_that_every_engine_does(tmp_path):
    """Three fits on one slot, four on two: the figure is of the first three."""
    one, two = run(tmp_path / "1"), run(tmp_path / "2", engine="processes", slots=2)
    assert one.quality == two.quality


def test_the_rows_of_a_run_give_its_efficiency(tmp_path):
    """bare_s / (slots x makespan_s) of the rows, median over rounds."""
    found = run(tmp_path)
    rows = list(csv.DictReader((tmp_path / "artifacts" / "rounds.csv").read_text().splitlines()))
    for way, fits_a_round in (("by value", "3"), ("by reference", "2")):
        of = [r for r in rows if r["way"] == way and r["length_ms"] == "2"]
        assert [r["fits"] for r in of] == [fits_a_round] * 2
        shares = [float(r["bare_s"]) / float(r["makespan_s"]) for r in of]
        assert found.performance[f"efficiency[{way}, 2 ms]"] == pytest.approx(np.median(shares))
    assert 0 < found.performance["inside[by value, 2 ms]"] < 1


def test_a_busy_machine_is_named(tmp_path):
    """Loops that take three times as long in the second round: noted beside the figures that rest on them; not where they take the same."""
    with Campaign(tmp_path, engine="serial") as campaign:
        measured = launch(campaign.broker, fits(), EFFORT, referee=campaign.referee, seed=5)
    told = {}
    for factor in (1.0, 3.0):
        sweeps = [replace(s, bare_s=[1e-3 * factor**s.round] * len(s.bare_s)) for s in measured.sweeps]
        found = result(
            replace(measured, sweeps=sweeps), target=0.0, installation=False, folder=tmp_path, references=["a"], versions={"sum": "1"}
        )
        told[found.performance["bare_spread"]] = [name for name, figure in found.headline.items() if "busy machine" in figure.note]
    assert told == {1.0: [], 3.0: ["efficiency at 100 ms", "length at 90 % (s)"]}


def test_loops_and_ways_take_turns(tmp_path):
    """Each of them is first in some round of some length."""
    with Campaign(tmp_path, engine="serial") as campaign:
        effort = Effort(fits={1: 2, 2: 2}, rounds=3, trips=1, launches=1, each=1)
        sweeps = launch(campaign.broker, fits(), effort, referee=campaign.referee, seed=5).sweeps
    assert {s.way for s in sweeps[::3]} == {BARE, "by value", "by reference"}
    assert len({tuple(s.way for s in sweeps[i : i + 3]) for i in range(0, len(sweeps), 3)}) > 3


@pytest.mark.parametrize(("slots", "expected"), [(1, 5), (2, 6), (5, 5), (16, 32)])
def test_no_slot_has_less_to_do_than_another(slots, expected):
    """Five fits, at least two a slot where there are many."""
    wanted = Effort(fits={1: 5}, rounds=1, trips=1, launches=1, each=1 if slots < 16 else 2)
    assert count(wanted, 1, slots) == expected


def test_a_table_is_the_simulation_s():
    """Rows of the unit cube with the function's value; the same for the same seed."""
    table = simulated("branin", 4, 3)
    assert table.shape == (4, 3) and (table[:, :2] >= 0).all() and (table[:, :2] <= 1).all()
    x1, x2 = 15 * table[0, 0] - 5, 15 * table[0, 1]
    value = (x2 - 5.1 / (4 * np.pi**2) * x1**2 + 5 / np.pi * x1 - 6) ** 2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x1) + 10
    assert table[0, 2] == pytest.approx(value)
    assert (simulated("branin", 4, 3) == table).all() and (simulated("branin", 4, 4) != table).any()


def test_threads_are_seen(monkeypatch):
    """What a subprocess would be told counts too."""
    monkeypatch.setenv("OMP_NUM_THREADS", "57")
    assert threads() >= 57
