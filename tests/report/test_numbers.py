"""Numbers are written as people read them, the same everywhere."""

from __future__ import annotations

import math

import pytest

from mlforhpc.core.result import Interval
from mlforhpc.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (math.nan, "–"), (math.inf, "–"), (0, "0"), (0.0432, "0.0432"), (0.00099996, "0.00100"), (12.345, "12.3"),
        (1234.5, "1,230"), (99999, "99,999"), (1.5e7, "1.5 × 10⁷"), (-0.5, "−0.500"), (3.0, "3"),
        (1e-7, "1 × 10⁻⁷"), (9.999e-5, "0.000100"),
    ],
)  # fmt: skip
def test_three_digits(value: float | None, text: str) -> None:
    """Three significant digits, groups of three, powers of ten beyond a million and below a ten-thousandth."""
    assert numbers.number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.001, "0.001"), (2.0, "2"), (10000.0, "10,000"), (1e5, "10⁵"), (2e-6, "2×10⁻⁶"), (0.0, "")])
def test_ticks(value: float, text: str) -> None:
    """Ticks of a logarithmic axis."""
    assert numbers.tick(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0 s"), (3.2e-6, "3.20 µs"), (0.041, "41 ms"), (12.3, "12.3 s"), (119, "119 s"),
     (250, "4 min 10 s"), (300, "5 min"), (7500, "2 h 05 min"), (7200, "2 h")],
)  # fmt: skip
def test_times(value: float | None, text: str) -> None:
    """From microseconds to hours."""
    assert numbers.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "–"), (1536, "1.50 KiB"), (24 * 2**30, "24 GiB")])
def test_sizes(value: int, text: str) -> None:
    """Binary units; zero means not stated."""
    assert numbers.size(value) == text


@pytest.mark.parametrize(("share", "text"), [(0.0, "0 %"), (0.0004, "< 0.1 %"), (0.034, "3.4 %"), (0.5, "50 %"), (1.0, "100 %")])
def test_shares(share: float, text: str) -> None:
    """No share that exists is written as zero."""
    assert numbers.percent(share) == text


def test_intervals_say_which_end_is_open() -> None:
    """Two ends, one, or none."""
    assert numbers.estimate(Interval(value=11.1, lower=8.4, upper=14.7)) == "11.1 [8.40, 14.7]"
    assert numbers.estimate(Interval(value=None, lower=8.4)) == "– ≥ 8.40"
    assert numbers.span(Interval(value=1.0, upper=0.055)) == "≤ 0.0550"
    assert numbers.estimate(None) == "–"


def test_a_given_number_gets_no_more_digits() -> None:
    """A target of 0.05 is not 0.0500."""
    assert [numbers.given(v) for v in (0.05, 1.0, 0.9, 1e-9)] == ["0.05", "1", "0.9", "1 × 10⁻⁹"]
