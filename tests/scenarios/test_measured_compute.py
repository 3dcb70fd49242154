"""The kernel: the same bits everywhere, every bit of every argument counts, and its length follows from its repeats."""

from __future__ import annotations

import math

import numpy as np

from mlforhpc.scenarios import measured_compute
from mlforhpc.scenarios.measured_compute import calibrate, compute, evaluate, folded


def test_the_last_bit_and_the_order_of_the_parents_change_the_value():
    """And so do the task's number and its repeats; values are in [0, 1)."""
    values = [
        compute(1, 50, 0.25, 0.5), compute(1, 50, 0.25, math.nextafter(0.5, 1)), compute(1, 50, 0.25 + 2**-53, 0.5),
        compute(1, 50, 0.5, 0.25), compute(2, 50, 0.25, 0.5), compute(1, 51, 0.25, 0.5), compute(1, 50, 0.25),
    ]  # fmt: skip
    assert len(set(values)) == len(values) and all(0 <= value < 1 for value in values)


def test_a_change_of_one_bit_in_one_lane_shows():
    """The value holds all 2,048 lanes."""
    x = np.full(measured_compute.LANES, 0.3)
    before = folded(x)
    x[1000] = math.nextafter(0.3, 1)
    assert folded(x) != before


def test_a_known_value():
    """The same on every machine and with every NumPy; a change of it is a change of VERSION."""
    assert compute(3, 100, 0.2, 0.3) == 0.9040188036049032


def test_a_graph_is_evaluated_in_order_with_its_parents_values():
    """Three tasks by hand."""
    first, second = compute(0, 5), compute(1, 6)
    assert evaluate([(), (), (1, 0)], [5, 6, 7]) == [first, second, compute(2, 7, second, first)]


def test_the_calibrated_repeats_take_about_as_long_as_asked_for():
    """50 ms within a factor of three, alone, on a machine that others use too: the best of five."""
    repeats = round(0.05 / calibrate())
    took_s = min(measured_compute._timed(repeats) for _ in range(5))
    assert 0.05 / 3 < took_s < 0.05 * 3
