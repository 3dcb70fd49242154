"""Better, worse, or no difference shown."""

import numpy as np
import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.result import Interval
from mlforhpc.metrics.compare import compare, compare_paired


def gain(value: float | None, lower: float | None, upper: float | None) -> Interval:
    """A figure of which more is better."""
    return Interval(value=value, lower=lower, upper=upper, better="higher")


def test_half_widths_add_in_squares_on_the_log_scale() -> None:
    """8 [4, 16] / 2 [1, 4]: 4 with a factor 2^sqrt(2) either way."""
    found = compare(gain(8.0, 4.0, 16.0), gain(2.0, 1.0, 4.0))
    assert found.ratio.value == pytest.approx(4.0)
    assert found.ratio.lower == pytest.approx(4.0 / 2 ** np.sqrt(2)) and found.ratio.upper == pytest.approx(4.0 * 2 ** np.sqrt(2))
    assert found.finding == "better"


def test_each_side_has_its_own_width() -> None:
    """Down: a's lower and b's upper; up: a's upper and b's lower. Open ends stay open."""
    found = compare(gain(10.0, 5.0, 10.0), gain(10.0, 10.0, 10.0))
    assert (found.ratio.lower, found.ratio.upper) == (pytest.approx(0.5), pytest.approx(1.0))
    assert compare(gain(10.0, 9.0, None), gain(1.0, 0.9, 1.1)).ratio.upper is None
    assert compare(gain(10.0, 9.0, None), gain(1.0, 0.9, 1.1)).finding == "better"
    assert compare(gain(10.0, 9.0, 11.0), gain(1.0, 0.9, None)).finding == "no difference shown"


def test_findings_follow_which_way_is_better() -> None:
    """A larger error is worse; swapping the two swaps the finding."""
    small = Interval(value=0.02, lower=0.018, upper=0.022, better="lower")
    large = Interval(value=0.05, lower=0.045, upper=0.055, better="lower")
    assert compare(small, large).finding == "better" and compare(large, small).finding == "worse"
    assert compare(small, small).finding == "no difference shown"


def test_what_has_no_value_is_not_comparable() -> None:
    """Below resolution, say."""
    assert compare(gain(None, None, 2.0), gain(1.0, 0.5, 2.0)).finding == "not comparable"
    with pytest.raises(UsageError, match="which way is better"):
        compare(Interval(value=1.0), Interval(value=1.0))
    with pytest.raises(UsageError, match="one coverage"):
        compare(gain(1.0, 1.0, 1.0), Interval(value=1.0, coverage=0.9, better="higher"))


def test_paired_by_hand() -> None:
    """log ratios 0.1, 0.2, 0.3: mean 0.2, sd 0.1, t(2) = 4.302653; seeds that only one has are left out."""
    b = {0: 1.0, 1: 5.0, 2: 2.0, 9: 1.0}
    a = {0: np.exp(0.1), 1: 5 * np.exp(0.2), 2: 2 * np.exp(0.3), 7: 99.0}
    found = compare_paired(a, b, better="higher")
    half = 4.302652729696142 * 0.1 / np.sqrt(3)
    assert found.ratio.value == pytest.approx(np.exp(0.2))
    assert (found.ratio.lower, found.ratio.upper) == (pytest.approx(np.exp(0.2 - half)), pytest.approx(np.exp(0.2 + half)))
    assert found.finding == "no difference shown"


def test_pairing_sees_what_the_seeds_hide() -> None:
    """Seeds that differ tenfold, one side always 10 % better."""
    b = {s: 10.0**s for s in range(5)}
    a = {s: 10.0**s * (1.1 + 0.001 * s) for s in range(5)}
    assert compare_paired(a, b, better="higher").finding == "better"
    assert compare_paired(a, b, better="lower").finding == "worse"
    with pytest.raises(UsageError, match="two seeds"):
        compare_paired({0: 1.0}, b, better="lower")
    assert compare_paired({0: 0.0, 1: 1.0}, b, better="lower").finding == "not comparable"
