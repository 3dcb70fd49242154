"""Launching: efficiency, its interval over rounds, and where it passes a level, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc.metrics import launchingcase
from mlforhpc.metrics.launching import at, curve, efficiency, lost_s, over_rounds, passing, unequal_share


def test_the_hand_cases_hold():
    """What `verify` holds the code against."""
    for name, (found, expected) in launchingcase.cases().items():
        assert found == pytest.approx(expected, rel=1e-12), name


def test_efficiency_is_bare_time_over_the_slots_time():
    """0.1 + 0.3 s of fits; two slots for 0.25 s: 0.8, and (0.5 - 0.4) / 2 s lost a fit; nothing lost at 0.2 s."""
    assert efficiency([0.1, 0.3], slots=2, makespan_s=0.25) == pytest.approx(0.8)
    assert lost_s([0.1, 0.3], slots=2, makespan_s=0.25) == pytest.approx(0.05)
    assert efficiency([0.1, 0.3], slots=2, makespan_s=0.2) == pytest.approx(1.0)


def test_a_score_is_equal_to_the_last_bit_or_not_at_all():
    """One bit, a missing score, and NaN each count."""
    assert unequal_share([0.5, 0.25, 1.0, 2.0], [0.5, 0.25, 1.0, 2.0]) == 0.0
    assert unequal_share([0.5, 0.25, 1.0, 2.0], [np.nextafter(0.5, 0), 0.25, None, 2.0]) == 0.5
    assert unequal_share([float("nan")], [float("nan")]) == 1.0


def test_the_median_has_an_interval_from_six_rounds_on():
    """2 / 2^5 is more than 0.05, 2 / 2^6 is less; with nine rounds one may be left out at each end; one wild round moves nothing."""
    assert over_rounds([1.0, 2.0, 3.0, 4.0, 5.0]).lower is None
    six = over_rounds([6.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    assert (six.value, six.lower, six.upper) == (3.5, 1.0, 6.0)
    nine = over_rounds([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 1e9])
    assert (nine.value, nine.lower, nine.upper) == (5.0, 2.0, 8.0)


def test_the_interval_covers_the_median_as_often_as_it_says():
    """Ten rounds of a skewed figure: at least 95 %, by its distribution 97.9 %."""
    rng = np.random.default_rng(0)
    found = [over_rounds(rng.lognormal(size=10).tolist()) for _ in range(2000)]
    assert np.mean([one.lower <= 1.0 <= one.upper for one in found]) == pytest.approx(0.979, abs=0.012)


def test_lengths_are_put_in_order_and_each_round_with_them():
    """The longest first, or last: the same curve."""
    rounds = np.array([[0.4, 0.9], [0.5, 0.8]])
    one, other = curve([0.001, 0.1], rounds), curve([0.1, 0.001], rounds[:, ::-1])
    assert one.value.tolist() == other.value.tolist() == pytest.approx([0.45, 0.85])
    assert one.lengths_s.tolist() == other.lengths_s.tolist() and one.lower is None


def test_a_level_is_passed_where_it_is_last_crossed():
    """Up, down and up again: the last time; half-way between the logarithms of 10 and 100 ms."""
    found = curve([0.001, 0.01, 0.1], np.array([[0.95, 0.85, 0.95]]))
    assert passing(found, 0.9).value == pytest.approx(10**-1.5)


def test_the_interval_of_a_length_is_where_the_band_passes():
    """Six rounds 0.4 to 0.9 at 1 ms and 0.9 to 1.4 at 100 ms: median 0.65 and 1.15, band 0.4-0.9 and 0.9-1.4."""
    rounds = np.column_stack([np.arange(0.4, 0.95, 0.1), np.arange(0.9, 1.45, 0.1)])
    found = passing(curve([0.001, 0.1], rounds), 0.75)
    assert found.value == pytest.approx(10 ** (-3 + 2 * 0.2))
    assert found.lower is None  # the band's upper end is above the level from the shortest length on
    assert found.upper == pytest.approx(10 ** (-3 + 2 * 0.7))


def test_a_level_that_is_not_passed_says_on_which_side():
    """Above it everywhere: at most the shortest length; below it to the end: at least the longest; with a note."""
    found = curve([0.001, 0.1], np.array([[0.6, 0.8]]))
    above, below = passing(found, 0.5), passing(found, 0.9)
    assert above.value is None and (above.lower, above.upper) == (None, 0.001) and "above" in above.note
    assert below.value is None and (below.lower, below.upper) == (0.1, None) and "below" in below.note


def test_nothing_is_said_of_lengths_that_were_not_measured():
    """Between them, linear in the logarithm; outside, None and why."""
    found = curve([0.001, 0.1], np.array([[0.6, 0.8]]))
    assert at(found, 0.01).value == pytest.approx(0.7)
    assert at(found, 0.2).value is None and "0.001 to 0.1" in at(found, 0.2).note
